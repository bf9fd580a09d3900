"""What is done beside the two lines: gauges that nobody else sets, and expiry."""

from collections.abc import Iterable
from itertools import groupby
from typing import Protocol

import msgspec

from poller import checkpoint as checkpoints
from poller.checkpoint import Checkpoint
from poller.clock import Clock
from poller.config import Settings
from poller.errors import PollerError
from poller.log import Outage, get_logger
from poller.metrics import Metrics
from poller.protocols import Store
from poller.shard import Shard
from poller.track import Track, claims

_NAME = "housekeeping"
EVERY = 5.0
EXPIRE_EVERY = 300.0
PAUSE = 0.05
EXPIRE_ROWS = 5_000
"""Rows deleted at a time, so that commits do not wait long."""
REASONS = ("rebuilding", "backlog", "store_full")


class Parts(Protocol):
    """What it looks after."""

    settings: Settings
    store: Store
    shards: list[Shard]
    tracks: list[Track]
    clock: Clock
    metrics: Metrics


class Housekeeping:
    """Runs until cancelled; a store that is away is only said once."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._outage = Outage(get_logger().bind(what=_NAME), parts.clock)

    async def run(self) -> None:
        """Gauges every few seconds, expiry every few minutes."""
        clock, shard = self._parts.clock, self._parts.shards[0]
        expired = clock.mono()
        while True:
            try:
                self.show_tracks()
                await self.show_store()
                if clock.mono() - expired >= EXPIRE_EVERY:
                    await self.expire()
                    expired = clock.mono()
                self._outage.ended()
                shard.store_works(_NAME)
            except PollerError as error:
                self._outage.failed(error, quietly=shard.store_failed(_NAME, error))
            await clock.sleep(EVERY)

    def show_tracks(self) -> None:
        """Claims, gaps and overdue rungs per endpoint: the least of its tracks, the sum of their troubles."""
        metrics = self._parts.metrics
        for (source, endpoint), tracks in by_endpoint(self._parts.tracks):
            read, complete = claims(tracks)
            metrics.read_until[source, endpoint].set(read)
            metrics.complete_until[source, endpoint].set(complete)
            metrics.open_gaps[source, endpoint].set(sum(open_gaps(track) for track in tracks))
            metrics.overdue_rungs[source, endpoint].set(sum(overdue(track) for track in tracks))

    async def show_store(self) -> None:
        """Sizes, and why polling pauses."""
        metrics, facts = self._parts.metrics, await self._parts.store.facts()
        metrics.store_bytes.set(facts.bytes)
        metrics.store_limit_bytes.set(facts.limit_bytes)
        metrics.seen_ids.set(facts.seen_ids)
        paused = {reason.split()[0] for shard in self._parts.shards for reason in shard.paused}  # `backlog of kafka`
        full = any(
            track.last_error is not None and track.last_error.reason == "store_full" for track in self._parts.tracks
        )
        for reason in REASONS:
            metrics.polling_paused[reason].set(float(reason in paused or (full and reason == "store_full")))

    async def expire(self) -> None:
        """Segments past `retention`, and seen days below the earliest horizon of all checkpoints, removed sources' included."""
        parts = self._parts
        known = [msgspec.json.decode(data, type=Checkpoint) for data in (await parts.store.checkpoints()).values()]
        ttl = int(parts.settings.seen_ttl)
        day = min((checkpoints.seen_day(one, ttl) for one in known), default=0)
        before = parts.clock.now() - parts.settings.retention
        sinks = list(parts.settings.sinks)  # only what is configured holds the log back
        while (
            await parts.store.expire(log_before=before, seen_before_day=day, limit=EXPIRE_ROWS, sinks=sinks)
            >= EXPIRE_ROWS
        ):
            await parts.clock.sleep(PAUSE)


def by_endpoint(tracks: Iterable[Track]) -> list[tuple[tuple[str, str], list[Track]]]:
    """The tracks of each (source name, endpoint name)."""

    def name(track: Track) -> tuple[str, str]:
        return track.setup.name, track.endpoint.name

    return [(key, list(group)) for key, group in groupby(sorted(tracks, key=name), name)]


def open_gaps(track: Track) -> int:
    """Spans that could not be read yet, those of a pass in progress included."""
    if track.checkpoint is None:
        return 0
    return len(track.checkpoint.gaps) + sum(len(item.skipped) for item in track.checkpoint.passes)


def overdue(track: Track) -> int:
    """Rungs whose last pass ended so long ago that one whole turn was missed."""
    if track.checkpoint is None:
        return 0
    target = track.setup.clock.now() + (track.setup.skew or 0.0) - track.options.settle
    count = 0
    for step, rung in zip(track.ladder, track.checkpoint.rungs, strict=True):
        turn = max(step.every, track.options.interval)
        count += target - (rung.last or track.checkpoint.start) > 2 * turn + track.options.timeout
    return count
