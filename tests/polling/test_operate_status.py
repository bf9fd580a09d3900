"""What waits for a sink, as `poller status` counts it."""

import random

import pytest
from fake_clock import FakeClock
from leases_table import LeaseTable
from polling_app import app_of
from stores_content import event, retry

from poller import segment
from poller.config import Settings
from poller.kept import Attempted, Retry
from poller.metrics import Metrics
from poller.model import Healing, Position, Segment
from poller.operate import Work
from poller.options import SinkOptions
from poller.shard import Nobody, Shard
from poller.sinks import ndjson
from poller.stores.memory import Config, MemoryStore

pytestmark = pytest.mark.anyio


def packed(count: int) -> list[Segment]:
    """Segments of three events each."""
    segments: list[Segment] = []
    for first in range(1, count, 3):
        after = segment.end(segments[-1]) if segments else Position()
        segments.append(segment.pack([event(first), event(first + 1), event(first + 2)], after, 1000.0 + first))
    return segments


async def figures(
    position: int, done: tuple[int, ...], later: list[Retry], sinks: dict[str, SinkOptions] | None = None
) -> dict[str, tuple[int, int]]:
    """(pending, retrying) by sink, with nine events in the log; `position`: how many segments the sink has passed."""
    store = MemoryStore(Config())
    shard = Shard(store, 0)
    await shard.believe()
    segments = packed(9)
    end = segment.end(segments[-1])
    shard.held = await store.heal(shard.held, Healing(sink="kafka", position=Position(), last=end, segments=segments))
    place = segment.end(segments[position - 1]) if position else Position()
    await store.attempted(shard.held, "hook", Attempted(position=place, done=done, later=later))
    app = app_of(Settings(store=Config(), sinks=sinks or {}), store, FakeClock(), Metrics(), random.Random(1), [shard])
    status = await Work(app, running=True).status()
    return {sink.sink: (sink.pending, sink.retrying) for sink in status.sinks}


@pytest.mark.parametrize(
    ("position", "done", "later", "expected"),
    [
        (0, (), [], (9, 0)),
        (1, (5, 9), [], (4, 0)),
        (1, (5, 9), [retry(9)], (5, 1)),
        (3, (), [retry(2), retry(4), retry(5)], (3, 3)),
    ],
    ids=["nothing done", "done behind the position", "one of them is kept", "only kept ones"],
)
async def test_what_is_kept_waits_and_what_is_done_does_not(
    position: int, done: tuple[int, ...], later: list[Retry], expected: tuple[int, int]
) -> None:
    assert await figures(position, done, later) == {"kafka": (9, 0), "hook": expected}


async def test_a_rebuild_says_which_shards_were_not_asked_and_where_they_are() -> None:
    store, clock = MemoryStore(Config(shards=4)), FakeClock()
    table = LeaseTable(clock.now)
    shards = [Shard(store, number, owner=Nobody(number) if number else None) for number in range(4)]
    app = app_of(Settings(store=Config(), sinks={}), store, clock, Metrics(), random.Random(1), shards)
    work = Work(app, running=True)
    assert await work.rebuild(sink=None, accept_duplicates=True) == ["nothing waits for a rebuild here"]
    app.leasing = table
    for shard, owner in ((0, "one-1"), (1, "two-2"), (3, "two-2")):
        table.claimed(shard, owner, 15.0)
    said = await work.rebuild(sink=None, accept_duplicates=True)
    assert [sentence.partition(" works on")[0] for sentence in said] == [
        "nothing waits for a rebuild here",
        "not asked: shards 2, which nobody",
        "not asked: shards 1, 3, which two-2",
    ]


async def test_the_earlier_name_of_a_sink_waits_for_nothing() -> None:
    renamed: dict[str, SinkOptions] = {"crm": ndjson.Config(kind="ndjson", renamed_from="hook")}
    assert await figures(1, (), [retry(2)], renamed) == {"kafka": (9, 0)}
