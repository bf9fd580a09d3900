"""What every sink must do. The subjects are found by folder; `tests/sinks/<kind>/sink_harness.py` says how to build one."""

import importlib.util
import json
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from delivery_events import call_event, segments

import poller.sinks
from poller.model import Position
from poller.options import SinkOptions
from poller.segment import end, pack

pytestmark = pytest.mark.anyio

KINDS = sorted(module.name for module in pkgutil.iter_modules(poller.sinks.__path__))


def harness_module(kind: str) -> Any:
    path = Path(__file__).parent.parent / "sinks" / kind / "sink_harness.py"
    spec = importlib.util.spec_from_file_location(f"sink_harness_{kind}", path)
    assert spec is not None, f"no harness for the sink {kind}: write {path}"
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.kafka) if kind == "kafka" else kind for kind in KINDS])
def make(request: pytest.FixtureRequest, prefix: str) -> Callable[..., Any]:
    module = harness_module(request.param)
    needed = request.getfixturevalue(module.needs)
    return lambda **options: module.Harness(needed, prefix, **options)


def test_every_kind_is_found() -> None:
    assert {"kafka", "ndjson"} <= set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_configuration_is_a_sink_s(kind: str) -> None:
    module = importlib.import_module(f"poller.sinks.{kind}")
    assert issubclass(module.Config, SinkOptions)
    assert module.Config.model_fields["kind"].annotation.__args__ == (kind,)


async def test_sends_each_event_once_in_order_of_its_key(make: Callable[..., Any]) -> None:
    harness = make()
    lane = await harness.sink.lane(0)
    log = segments(3, 20)
    assert (await lane.send(log[:2])).position == end(log[1])
    assert (await lane.send(log[2:])).position == end(log[2])
    await lane.close()
    bodies = [json.loads(body) for body in await harness.bodies()]
    assert sorted(body["subject"] for body in bodies) == sorted(f"c{number}" for number in range(1, 61))
    assert all("price" in body["data"]["vendor"] for body in bodies)


async def test_passes_over_what_is_for_others(make: Callable[..., Any]) -> None:
    harness = make()
    events = [call_event("mine", 1), call_event("other", 2)]
    segment = pack([events[0], msgspec.structs.replace(events[1], only=("crm",))], Position(), 1.7e9)
    lane = await harness.sink.lane(0)
    assert (await lane.send([segment])).position == end(segment)
    await lane.close()
    assert [json.loads(body)["subject"] for body in await harness.bodies()] == ["mine"]


async def test_progress_is_kept_or_not_as_it_says(make: Callable[..., Any]) -> None:
    harness = make()
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
    await harness.sink.close()


async def test_leaves_out_the_raw_record_and_masks_numbers(make: Callable[..., Any]) -> None:
    harness = make(vendor="omit", mask_numbers=True)
    lane = await harness.sink.lane(0)
    await lane.send(segments(1, 1))
    await lane.close()
    (body,) = await harness.bodies()
    data = json.loads(body)["data"]
    assert "vendor" not in data
    assert data["from"] == {"number": "+** ** *** *5 67", "name": "Jan ******200"}
    assert data["to"]["number"] == "196"


async def test_closing_twice_is_fine(make: Callable[..., Any]) -> None:
    lane = await make().sink.lane(0)
    await lane.close()
    await lane.close()
