"""What every sink must do, through the real way out. The subjects are found by folder.

`tests/sinks/<kind>/sink_harness.py` says how to build one, how to make it fail, and how to read what it has delivered. Some sinks
take whole segments on a lane, others take events one by one: what only lanes promise is tested of those that have them.
"""

import importlib.util
import json
import pkgutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from delivery_events import call_event, segments
from sink_deliveries import PATIENCE, deliver, delivered, delivering

import poller.sinks
from poller.kinds import KINDS as ALL
from poller.model import Position
from poller.options import SinkOptions
from poller.redact import secrets_of
from poller.segment import end, pack
from poller.signing import hmac_text

pytestmark = pytest.mark.anyio

KINDS = sorted(module.name for module in pkgutil.iter_modules(poller.sinks.__path__))
LANES = ["kafka", "ndjson"]
SECRET = hmac_text(b"what nobody may see, in any form")


def harness_module(kind: str) -> Any:
    path = Path(__file__).parent.parent / "sinks" / kind / "sink_harness.py"
    spec = importlib.util.spec_from_file_location(f"sink_harness_{kind}", path)
    assert spec is not None, f"no harness for the sink {kind}: write {path}"
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def subjects(kinds: list[str]) -> Any:
    return [pytest.param(kind, marks=pytest.mark.kafka) if kind == "kafka" else kind for kind in kinds]


def maker(request: pytest.FixtureRequest, prefix: str) -> Callable[..., Any]:
    module = harness_module(request.param)
    needed = request.getfixturevalue(module.needs)
    return lambda **options: module.Harness(needed, prefix, **options)


@pytest.fixture(params=subjects(KINDS))
def make(request: pytest.FixtureRequest, prefix: str) -> Callable[..., Any]:
    return maker(request, prefix)


@pytest.fixture(params=subjects(LANES))
def make_laned(request: pytest.FixtureRequest, prefix: str) -> Callable[..., Any]:
    return maker(request, prefix)


def test_every_kind_is_found() -> None:
    assert {"kafka", "ndjson", "webhook"} <= set(KINDS)


# --- of every sink -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_configuration_is_a_sink_s(kind: str) -> None:
    module = importlib.import_module(f"poller.sinks.{kind}")
    assert issubclass(module.Config, SinkOptions)
    assert module.Config.model_fields["kind"].annotation.__args__ == (kind,)


async def test_it_has_lanes_or_attempts(make: Callable[..., Any]) -> None:
    async with make() as harness:
        assert harness.sink.name == "subject"
        assert hasattr(harness.sink, "lane") is not hasattr(harness.sink, "attempt")


async def test_delivers_each_event_once_and_as_it_is(make: Callable[..., Any]) -> None:
    log = segments(3, 20)
    async with make(vendor="include") as harness:
        await deliver(harness.sink, harness.config, log)
        bodies = [json.loads(body) for body in await harness.bodies()]
    assert sorted(body["subject"] for body in bodies) == sorted(f"c{number}" for number in range(1, 61))
    assert {body["id"] for body in bodies} == {call_event(f"c{seq}", seq).id for seq in range(1, 61)}
    assert all("price" in body["data"]["vendor"] for body in bodies)


async def test_passes_over_what_is_for_others(make: Callable[..., Any]) -> None:
    events = [call_event("mine", 1), call_event("other", 2), call_event("also", 3)]
    only = {"mine": ("subject",), "other": ("crm",), "also": ("crm", "subject")}
    log = [pack([msgspec.structs.replace(each, only=only[each.subject]) for each in events], Position(), 1.7e9)]
    async with make() as harness:
        await deliver(harness.sink, harness.config, log)
        assert sorted(json.loads(body)["subject"] for body in await harness.bodies()) == ["also", "mine"]


async def test_leaves_out_the_raw_record_and_masks_numbers(make: Callable[..., Any]) -> None:
    async with make(vendor="omit", mask_numbers=True) as harness:
        await deliver(harness.sink, harness.config, segments(1, 1))
        (body,) = await harness.bodies()
    data = json.loads(body)["data"]
    assert "vendor" not in data
    assert data["from"] == {"number": "+** ** *** *5 67", "name": "Jan ******200"}
    assert data["to"]["number"] == "196"


async def test_nothing_is_lost_when_the_other_side_fails_first(make: Callable[..., Any]) -> None:
    log = segments(3, 5)
    async with make() as harness:
        await harness.fail()
        async with delivering(harness.sink, harness.config, log) as delivery:
            with anyio.fail_after(PATIENCE):
                while not harness.failed(delivery):  # noqa: ASYNC110 each kind knows it from somewhere else
                    await anyio.sleep(0.01)
            await harness.mend()
            await delivered(delivery, log)
        found = Counter(json.loads(body)["id"] for body in await harness.bodies())
    assert found == Counter(call_event(f"c{seq}", seq).id for seq in range(1, 16))


async def test_closing_twice_is_fine(make: Callable[..., Any]) -> None:
    async with make() as harness:
        await harness.sink.close()
        await harness.sink.close()


@pytest.mark.parametrize("kind", KINDS)
def test_secrets_are_in_no_repr_and_no_dump(kind: str) -> None:
    module, folder = harness_module(kind), importlib.import_module(f"poller.sinks.{kind}")
    model = ALL.model(ALL.sinks, kind)
    assert model is not None
    has_secrets = '"env"' in json.dumps(model.model_json_schema())
    assert has_secrets is hasattr(module, "with_secrets"), "say in the harness which settings hold secrets"
    if not has_secrets:
        return
    config = module.with_secrets(SECRET)
    assert SECRET in set(secrets_of(config))
    sink = folder.build("subject", config, shards=1)
    for shown in (repr(sink), repr(vars(sink)), repr(config), config.model_dump_json(), str(config.model_dump())):
        assert SECRET.removeprefix("whsec_")[:16] not in shown


# --- of lanes ----------------------------------------------------------------------------------------------------------


def test_lanes_are_what_they_are_said_to_be() -> None:
    builds = {kind: importlib.import_module(f"poller.sinks.{kind}").build for kind in KINDS}
    assert [kind for kind in KINDS if hasattr(builds[kind].__annotations__["return"], "lane")] == LANES


async def test_a_lane_tells_how_far_it_came(make_laned: Callable[..., Any]) -> None:
    async with make_laned() as harness:
        lane = await harness.sink.lane(0)
        log = segments(3, 20)
        assert (await lane.send(log[:2])).position == end(log[1])
        assert (await lane.send(log[2:])).position == end(log[2])
        await lane.close()
        assert len(await harness.bodies()) == 60


async def test_progress_is_kept_or_not_as_it_says(make_laned: Callable[..., Any]) -> None:
    async with make_laned() as harness:
        lane = await harness.sink.lane(0)
        log = segments(1, 3)
        await lane.send(log)
        await lane.close()
        again = await harness.sink.lane(0)
        kept = again.progress.position if again.progress else None
        assert kept == (end(log[0]) if harness.sink.keeps_progress else None)
        noted = Position(77, b"n" * 16)
        await again.note(noted)
        await again.close()
        peeked = await harness.sink.peek(0)
        assert (peeked.position if peeked else None) == (noted if harness.sink.keeps_progress else None)


async def test_closing_a_lane_twice_is_fine(make_laned: Callable[..., Any]) -> None:
    async with make_laned() as harness:
        lane = await harness.sink.lane(0)
        await lane.close()
        await lane.close()
