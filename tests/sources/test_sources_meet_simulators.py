"""The JSON vendors' endpoints read whole worlds from the simulators, over real HTTP, without the rest of the program."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from simulate_asking import NOON, Asking, asking

from poller.model import Ask, Page, Request, Window
from poller.protocols import Endpoint
from poller.simulate.fonouc import SHAPES, FonoucOptions
from poller.simulate.run import Simulation
from poller.simulate.world import WorldOptions
from poller.sources import fonouc, thulium

LITERALS = {"literals": True}


def send(asked: Asking, vendor: str, request: Request, headers: dict[str, str]) -> bytes:
    """One request as the program makes it; refuses any status but 200."""
    answer = asked.http.request(
        request.method,
        asked.sims.url(vendor) + request.path,
        params=list(request.query),
        content=request.json,
        headers={**headers, **dict(request.headers)},
        auth=httpx.BasicAuth(*request.basic) if request.basic else None,
    )
    assert answer.status_code == 200, answer.text
    return answer.content


def pages(asked: Asking, vendor: str, endpoint: Endpoint, window: Window, headers: dict[str, str]) -> Iterator[Page]:
    """A walk; a window that is cut is halved."""
    cursor: str | None = None
    for _ in range(400):
        reading = endpoint.reading(Ask(), window, cursor)
        first = reading.feed(send(asked, vendor, endpoint.request(Ask(), window, cursor), headers))
        page = reading.close()
        page.records = first + page.records
        yield page
        if page.cut:
            middle = (window.begin + window.end) // 120 * 60
            for half in (Window(window.begin, middle), Window(middle, window.end)):
                yield from pages(asked, vendor, endpoint, half, headers)
        cursor = page.next
        if cursor is None:
            return
    raise AssertionError("a walk without end")


def found(asked: Asking, vendor: str, endpoint: Endpoint, window: Window, headers: dict[str, str]) -> set[str]:
    """The ids of everything in a window; each record is normalised, too."""
    ids: set[str] = set()
    for page in pages(asked, vendor, endpoint, window, headers):
        assert page.gap is None
        for record in page.records:
            keys = endpoint.keys(record, None)
            assert endpoint.normalise(record, None).subject == keys.id
            ids.add(keys.id)
    return ids


def visible(asked: Asking, endpoint: str) -> set[str]:
    """The ids of the rows that the world shows now."""
    return {row.id for row, _ in asked.sims.world.all(endpoint)}


def simulation(vendor: str, rate: float, history: float, **options: Any) -> Simulation:
    """A world that stands still at noon."""
    world = WorldOptions(calls_per_minute=rate, history=history, seed=11)
    return Simulation(vendors=(vendor,), world=world, at=NOON, speed=0, **options)


def test_fonouc_in_every_shape() -> None:
    with asking(simulation("fonouc", 6, 3600, fonouc=FonoucOptions(shape="rotate", empty_body=True))) as asked:
        assert read_fonouc(asked, page_size=20) > len(SHAPES)


@pytest.mark.parametrize("options", [{"keys": "opaque"}, {"listing": "by_month"}, {"token_field": "accessToken"}])
def test_fonouc_in_every_version(options: dict[str, str]) -> None:
    with asking(simulation("fonouc", 6, 3600, fonouc=FonoucOptions(**options))) as asked:  # type: ignore[arg-type]
        read_fonouc(asked, page_size=50)


def test_fonouc_pages_smaller_than_a_second() -> None:
    with asking(simulation("fonouc", 200, 60)) as asked:
        read_fonouc(asked, page_size=2)


def read_fonouc(asked: Asking, page_size: int) -> int:
    """Logs in and reads both lists; how many pages' worth of calls there were."""
    options = asked.sims.config.fonouc
    keys = {
        "kind": "fonouc",
        "base_url": asked.sims.url("fonouc"),
        "username": options.username,
        "password": options.password,
        "domain": options.domain,
        "account_id": options.account_id,
        "endpoints": {"cdrs": {"page_size": page_size}, "recordings": {"page_size": page_size}},
    }
    source = fonouc.build("f", fonouc.Config.model_validate(keys, context=LITERALS))
    assert source.login is not None
    token = source.login.token(send(asked, "fonouc", source.login.request(), {}), NOON)
    assert NOON < token.expires < NOON + 3600
    for name, endpoint in source.endpoints.items():
        ids = found(asked, "fonouc", endpoint, Window(NOON - 86_400, NOON), dict(token.headers))
        assert ids == visible(asked, f"fonouc.{name}")
        assert ids
        empty = Window(NOON - 20 * 86_400, NOON - 19 * 86_400)
        assert found(asked, "fonouc", endpoint, empty, dict(token.headers)) == set()
    return len(visible(asked, "fonouc.cdrs")) // page_size


@pytest.mark.parametrize(("rate", "history"), [(5, 7200), (130, 180)])
def test_thulium_cut_and_walked(rate: float, history: float) -> None:
    with asking(simulation("thulium", rate, history)) as asked:
        options = asked.sims.config.thulium
        keys = {
            "kind": "thulium",
            "base_url": asked.sims.url("thulium"),
            "username": options.username,
            "password": options.password,
            "endpoints": {"connections": {}, "recordings": {}},
        }
        source = thulium.build("t", thulium.Config.model_validate(keys, context=LITERALS))
        for name, endpoint in source.endpoints.items():
            ids = found(asked, "thulium", endpoint, Window(NOON - 3 * 3600, NOON + 60), {})
            assert ids == visible(asked, f"thulium.{name}")
            assert ids
