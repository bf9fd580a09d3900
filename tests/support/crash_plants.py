"""Six known defects, each put in the place of what the program does right. Only here: nothing of it is in the program."""

from collections.abc import Callable, Sequence
from typing import Any

from crash_time import NOW, replace

import poller.sinks.kafka.producer
import poller.sinks.kafka.reading
from poller import checkpoint as checkpoints
from poller import deliver, identity, keep, poll, window
from poller.checkpoint import Checkpoint, Pass
from poller.model import Keys, Position, Segment
from poller.protocols import Lane
from poller.sinks.kafka.faults import mapped
from poller.track import Track
from poller.window import Slice


def mark_then_send() -> None:
    """What is to be sent is noted as delivered before it is."""

    async def send(self: Any, lane: Lane, before: Position, segments: Sequence[Segment]) -> None:  # noqa: ARG001 as the right one
        position = Position(segments[-1].last, segments[-1].chain)
        async with self.shard.lock:
            if self._generation != self.shard.generation:
                return
            await self._store.delivered(self.shard.held, self.sink.name, position, [])
        await lane.send(segments)
        self.position = position
        self._tell()

    replace(deliver.Delivery, "_send", send)


def cursor_before_last_page() -> None:
    """A slice counts as read before its last page is there."""
    read_slice = poll.read_slice

    async def early(track: Track, checkpoint: Checkpoint, item: Pass, part: Slice) -> Checkpoint:
        draft = checkpoints.load(checkpoints.dump(checkpoint), track.ladder)
        same = next(other for other in draft.passes if other.top == item.top)
        window.read(draft, same, part, track.endpoint.limits, bound=None, easy=False, found=[])
        walk = track.walk(checkpoint, part)
        await track.keep([], walk, draft)
        return await read_slice(track, checkpoint, item, part)

    replace(poll, "read_slice", early)


def advance_to_now() -> None:
    """The next pass begins where this one ended by the clock, not where what was asked for ended, nor as far before it as rows come late."""
    complete = window._complete

    def late(checkpoint: Checkpoint, item: Pass) -> None:
        complete(checkpoint, item)
        for rung in checkpoint.rungs:
            if rung.back in item.rungs and rung.last is not None:
                rung.last = max(rung.last, int(NOW.wall) + rung.back)

    replace(window, "_complete", late)


def unawaited_send() -> None:
    """Nobody asks what became of what was sent."""

    async def send(self: Any, batches: Sequence[Any]) -> None:
        with mapped("sending", self._config.commit_timeout):
            for topic, partition, batch in batches:
                self._futures.append(await self._inner.send_batch(batch, topic, partition=partition))
        self._futures.clear()

    replace(poller.sinks.kafka.producer.Producer, "send", send)


def stable_offset_only() -> None:
    """Progress is read up to where it is decided now, not up to where it was written."""

    async def ends(self: Any, partitions: Sequence[Any]) -> dict[Any, int]:
        async with self._consumer("read_committed") as consumer:
            return dict(await consumer.end_offsets(list(partitions)))

    replace(poller.sinks.kafka.reading.Reading, "_ends", ends)


def dedupe_by_time() -> None:
    """Two things of one second are taken for one."""

    def thing(keys: Keys, ordinal: int, *, rows: bool) -> str:  # noqa: ARG001 as the right one
        return f"{keys.own}" if keys.own is not None else keys.id

    replace(identity, "thing", thing)
    replace(keep, "thing", thing)


PLANTS: dict[str, Callable[[], None]] = {
    "mark-then-send": mark_then_send,
    "cursor-before-last-page": cursor_before_last_page,
    "advance-to-now": advance_to_now,
    "unawaited-send": unawaited_send,
    "stable-offset-only": stable_offset_only,
    "dedupe-by-time": dedupe_by_time,
}
