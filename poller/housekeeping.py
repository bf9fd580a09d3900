"""What is done beside the two lines: gauges that nobody else sets, and expiry."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Protocol, TypeAlias

from poller import checkpoint as checkpoints
from poller.checkpoint import Checkpoint, Step
from poller.clock import Clock
from poller.config import Settings
from poller.errors import Damaged, PollerError, StoreFault
from poller.event import instant
from poller.hosts import Hosts
from poller.kept import Discarded
from poller.log import Outage, SharedOutage, get_logger
from poller.metrics import Metrics
from poller.model import CheckpointKey, Limits
from poller.options import EndpointOptions, show_size
from poller.protocols import Store
from poller.recent import Polled
from poller.shard import Shard
from poller.track import Track, claims

_NAME = "housekeeping"
EVERY = 5.0
ALL_EVERY = 30.0
"""Seconds after which every endpoint is shown anew: rungs become overdue by themselves. All else moves with polls, which are far fewer."""
EXPIRE_EVERY = 300.0
ENDPOINTS = 100
"""Shown at a time: polls have their turn in between."""
PAUSE = 0.05
EXPIRE_ROWS = 5_000
"""Rows deleted at a time, so that commits do not wait long."""
LETTERS = 500
"""Dead letters deleted at a time: each has a body."""
_ROUNDS = 200
"""Such times in a row, before other work has its turn."""
_DOWN_TO = 0.9
"""Part of `max_dead_letters` that is left by a deletion, so that one sentence stands for many letters."""
Mark: TypeAlias = tuple[Checkpoint | None, tuple[Polled, ...], float | None]
"""What a poll moves: the checkpoint, the polls that are remembered, and whether one is under way."""
REASONS = ("rebuilding", "backlog", "store_full")


class Parts(Protocol):
    """What it looks after."""

    settings: Settings
    store: Store
    shards: list[Shard]
    tracks: list[Track]
    clock: Clock
    metrics: Metrics
    outage: SharedOutage
    hosts: Hosts


class Housekeeping:
    """Runs until cancelled; a store that is away is only said once."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._log = get_logger().bind(what=_NAME)
        self._outage = Outage(self._log, parts.clock)
        self._marks: dict[Track, Mark] = {}
        """Of what is shown."""
        self._all_shown = -ALL_EVERY
        self._unread = Outage(get_logger().bind(what="expiry of ids"), parts.clock)

    @property
    def in_charge(self) -> bool:
        """Of the replicas that share the store one deletes: the one that works on the first shard."""
        return self._parts.shards[0].ours

    async def run(self) -> None:
        """Gauges every few seconds, expiry every few minutes."""
        clock, store = self._parts.clock, self._parts.outage
        expired = clock.mono()
        while True:
            try:
                await self.show_tracks()
                await self.show_store()
                await self.limit_letters()
                if self.in_charge and clock.mono() - expired >= EXPIRE_EVERY:
                    await self.expire()
                    await self.expire_letters()
                    expired = clock.mono()
                self._outage.ended()
                store.ended(_NAME)
            except PollerError as error:
                fault = isinstance(error, StoreFault)
                if fault:
                    store.failed(_NAME, error)
                self._outage.failed(error, quietly=fault)
            await clock.sleep(EVERY)

    async def close_connections(self) -> None:
        """Those that are idle, every second, until cancelled."""
        while True:
            for vendor in list(self._parts.hosts.used):
                await vendor.close_idle()
            await self._parts.clock.sleep(1.0)

    async def show_tracks(self) -> None:
        """Claims, gaps and overdue rungs per endpoint: the least of its tracks, the sum of their troubles."""
        for at, (key, tracks) in enumerate(by_endpoint(self._to_show())):
            if at % ENDPOINTS == 0:
                await self._parts.clock.sleep(0)
            shard = tracks[0].setup.shard
            if self._parts.shards[shard.number] is shard:  # not given up meanwhile
                self._show(*key, tracks)

    def _to_show(self) -> list[Track]:
        """Those of endpoints that were polled since the last look; now and then all."""
        tracks, now = self._parts.tracks, self._parts.clock.mono()
        before, self._marks = self._marks, {track: _mark(track) for track in tracks}
        if now - self._all_shown >= ALL_EVERY:
            self._all_shown = now
            return tracks
        moved = {_name(track) for track, mark in self._marks.items() if _moved(before.get(track), mark)}
        return [track for track in tracks if _name(track) in moved]

    def _show(self, source: str, endpoint: str, tracks: list[Track]) -> None:
        metrics = self._parts.metrics
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
        metrics.store_free_bytes.set(facts.free_bytes)
        metrics.store_least_free_bytes.set(facts.least_free_bytes)
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
        day = self._first_day(await parts.store.checkpoints())
        before = parts.clock.now() - parts.settings.retention
        sinks = list(parts.settings.sinks)  # only what is configured holds the log back
        while (
            self.in_charge
            and await parts.store.expire(log_before=before, seen_before_day=day, limit=EXPIRE_ROWS, sinks=sinks)
            >= EXPIRE_ROWS
        ):
            await parts.clock.sleep(PAUSE)

    def _first_day(self, stored: Mapping[CheckpointKey, bytes]) -> int:
        """All ids stay where one checkpoint does not say any more which it needs."""
        ttl = int(self._parts.settings.seen_ttl)
        try:
            days = [checkpoints.seen_day(checkpoints.read(data, key), ttl) for key, data in stored.items()]
        except Damaged as error:
            self._unread.failed(error)
            return 0
        self._unread.ended()
        return min(days, default=0)

    # --- dead letters ------------------------------------------------------------------------------------------------

    async def limit_letters(self) -> None:
        """What the dead letters of each sink take; the oldest go where that is more than its `max_dead_letters`."""
        parts, held = self._parts, Counter[str]()
        for total in await parts.store.letter_totals():
            held[total.sink] += total.bytes
        for name, options in parts.settings.sinks.items():
            limit = options.max_dead_letters
            if limit is not None and held[name] > limit and self.in_charge:
                held[name] -= await self._discard(name, limit)
            parts.metrics.dead_letter_bytes[name].set(held[name])

    async def _discard(self, sink: str, limit: int) -> int:
        """Returns the bytes that went."""
        parts, gone = self._parts, Discarded()
        try:
            for _ in range(_ROUNDS):
                if not self.in_charge:
                    break
                some = await parts.store.discard_letters(sink, keep=int(limit * _DOWN_TO), limit=LETTERS)
                parts.metrics.dead_letters_discarded[sink].inc(some.letters)
                gone = Discarded(gone.letters + some.letters, gone.bytes + some.bytes, some.until or gone.until)
                if some.letters < LETTERS:
                    break
                await parts.clock.sleep(PAUSE)
        finally:  # a store that fails halfway does not hide what is gone
            if gone.letters:
                self._log.error(
                    "the oldest dead letters were deleted",
                    sink=sink, letters=gone.letters, set_aside_until=instant(gone.until),
                    detail=f"they took more than max_dead_letters ({show_size(limit)}): mend the receiver and retry the rest",
                )  # fmt: skip
        return gone.bytes

    async def expire_letters(self) -> None:
        """Those past `dead_letter_retention`."""
        parts, gone = self._parts, Counter[str]()
        before = parts.clock.now() - parts.settings.dead_letter_retention
        try:
            while self.in_charge:
                records, events = await parts.store.expire_letters(before=before, limit=LETTERS)
                for what, count in (("record", records), ("event", events)):
                    gone[what] += count
                    parts.metrics.dead_letters_expired[what].inc(count)
                if records + events < LETTERS:
                    break
                await parts.clock.sleep(PAUSE)
        finally:
            if gone.total():
                self._log.warning(
                    "old dead letters were deleted", records=gone["record"], events=gone["event"],
                    set_aside_before=instant(before),
                )  # fmt: skip


def by_endpoint(tracks: Iterable[Track]) -> list[tuple[tuple[str, str], list[Track]]]:
    """The tracks of each (source name, endpoint name)."""
    return [(key, list(group)) for key, group in groupby(sorted(tracks, key=_name), _name)]


def _name(track: Track) -> tuple[str, str]:
    return track.setup.name, track.endpoint.name


def _mark(track: Track) -> Mark:
    return track.known, track.lately.polls, track.lately.polling_since


def _moved(before: Mark | None, now: Mark) -> bool:
    """Whether it is polled just now, or was polled or believed anew since."""
    return before is None or before[0] is not now[0] or before[1] is not now[1] or now[2] is not None


def open_gaps(track: Track) -> int:
    """Spans that could not be read yet, those of a pass in progress included."""
    if track.checkpoint is None:
        return 0
    return len(track.checkpoint.gaps) + sum(len(item.skipped) for item in track.checkpoint.passes)


def overdue(track: Track) -> int:
    """Rungs whose last pass ended so long ago that one whole turn was missed."""
    if track.checkpoint is None:
        return 0
    now = track.setup.now() + (track.setup.skew or 0.0)
    return missed_turns(track.checkpoint, track.ladder, track.options, track.endpoint.limits, now)


def missed_turns(
    checkpoint: Checkpoint, ladder: Sequence[Step], options: EndpointOptions, limits: Limits, now: float
) -> int:
    """The same of a checkpoint, at `now` by the vendor's clock."""
    count = 0
    for step, rung in zip(ladder, checkpoint.rungs, strict=True):
        turn = turn_of(step, options, limits)
        count += now - options.settle - (rung.last or checkpoint.start) > 2 * turn + options.timeout
    return count


def turn_of(step: Step, options: EndpointOptions, limits: Limits) -> float:
    """Seconds between two passes of a rung."""
    return max(step.every, options.interval, limits.resolution)  # what is asked by minutes has nothing new before


def lag(checkpoint: Checkpoint, ladder: Sequence[Step], options: EndpointOptions, limits: Limits, now: float) -> float:
    """Seconds by which the end of a rung's last pass lies further back than its turn allows: the largest of all rungs."""
    rungs = zip(ladder, checkpoint.rungs, strict=True)
    return max(
        now - options.settle - (rung.last or checkpoint.start) - turn_of(step, options, limits) for step, rung in rungs
    )
