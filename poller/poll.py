"""The way in: checkpoint → window → request → fetch → parse → keep what is unseen → commit.

A `Track` is one endpoint asked in one way (user, direction, filters); each has a checkpoint of its own. `poll` reads the passes
that are due, slice by slice, until they are done or the next poll is due.
"""

import random
from collections.abc import Sequence

from msgspec import Struct

from poller import checkpoint as checkpoints
from poller import window
from poller.backoff import delay
from poller.checkpoint import Checkpoint, Gap, Pass, Step
from poller.clock import Clock
from poller.errors import (
    BadAnswer,
    ClockChange,
    Denied,
    FilterIgnored,
    Incomplete,
    Outdated,
    PollerError,
    TooLarge,
    Transient,
)
from poller.http import Vendor
from poller.identity import Identity
from poller.keep import NEAR_REACH, Keeper, Tally, Walk
from poller.log import Outage, get_logger
from poller.metrics import Metrics, poll_outcome
from poller.model import Ask, CheckpointKey, Page, Window
from poller.options import EndpointOptions
from poller.protocols import Endpoint
from poller.shard import Shard
from poller.window import Slice

CHUNK = 1_000
"""Records per commit: an answer of any size is read in bounded memory."""
MAX_PAGES = 2_000
"""Pages of one walk: an endless one is halved instead."""
EMPTY_PAGES = 10
"""Pages without a record, in a row, after which a walk is not believed."""
EASY_RECORDS = 20_000
"""An answer with fewer records, in a quarter of the timeout, lets the next slice be longer."""
SHORTER_PER_POLL = 3
"""So many bad answers in a row end a poll: the next one waits, and goes on with the shorter windows."""
BELIEVED = 20
"""So many records outside the window, and none inside, say that the filter was not used."""
AHEAD = 3_600
"""A vendor's clock is believed to be ahead of ours by no more than this."""
DENIED_WAIT = 300.0
"""Seconds before a refused credential is tried again: some vendors log every refusal."""
LONGEST_WAIT = 300.0

_log = get_logger()


class Setup(Struct):
    """What every track of a source shares."""

    name: str
    """The source's name in the configuration: labels and logs."""
    id: str
    """What identities and checkpoints hang on."""
    vendor: Vendor
    shard: Shard
    clock: Clock
    metrics: Metrics
    rnd: random.Random
    seen_ttl: int
    skew: float | None = None
    """The vendor's clock minus ours, from its last answer that had a Date."""


class Track:
    """One endpoint, asked in one way."""

    def __init__(self, setup: Setup, endpoint: Endpoint, options: EndpointOptions, ask: Ask, keeper: Keeper) -> None:
        self.setup = setup
        self.endpoint = endpoint
        self.options = options
        self.ask = ask
        self.keeper = keeper
        self.key = CheckpointKey(setup.id, endpoint.name, ask.key)
        self.ladder = [Step(int(rung.back), int(rung.period)) for rung in options.ladder]
        self.checkpoint: Checkpoint | None = None
        self.last_error: PollerError | None = None
        self.tally = Tally()
        where = {"source": setup.name, "endpoint": endpoint.name} | ({"ask": ask.key} if ask.key else {})
        self.outage = Outage(_log.bind(**where), setup.clock)
        self.shortened = 0
        self.generation = -1

    async def keep(
        self, records: list[bytes], walk: Walk, checkpoint: tuple[CheckpointKey, bytes] | None = None
    ) -> None:
        """Commits and tallies."""
        self.tally.add(await self.keeper.keep(records, walk, checkpoint))

    def target(self) -> int | None:
        """The vendor's present minus `settle`; None while neither its clock nor ours can be believed."""
        clock, skew = self.setup.clock, self.setup.skew
        if skew is None and not clock.steady():
            return None
        return int(clock.now() + min(skew or 0.0, AHEAD) - self.options.settle)

    async def load(self, target: int) -> Checkpoint:
        """The checkpoint as the store has it, a new one where there is none; kept until the shard is believed anew."""
        shard = self.setup.shard
        if self.checkpoint is not None and self.generation == shard.generation:
            return self.checkpoint
        self.generation = shard.generation
        data = (await shard.store.checkpoints(self.setup.id)).get(self.key)
        if data is None:
            self.checkpoint = self._fresh(target)
        else:
            self.checkpoint = checkpoints.load(data, self.ladder)
        self._remember_identity(self.checkpoint, target)
        self._say_edits(self.checkpoint)
        return self.checkpoint

    def _fresh(self, target: int) -> Checkpoint:
        return checkpoints.begin(self.options.start, target, self.ladder, self.endpoint.limits.first_span)

    def rewound(self, published_at: float) -> tuple[int, bytes]:
        """For a store that was emptied: where to begin again, and the checkpoint that says so.

        The earlier of `start` and what the ladder reaches back from the last publication.
        """
        known = self.checkpoint if self.generation == self.setup.shard.generation else None
        fresh = self._fresh(int(self.setup.clock.now() - self.options.settle))
        fresh.start = min(fresh.start, known.start) if known is not None else fresh.start
        checkpoints.rewind(fresh, int(published_at) - self.ladder[-1].back)
        return fresh.start, checkpoints.dump(fresh)

    def _remember_identity(self, checkpoint: Checkpoint, target: int) -> None:
        """A changed `dedupe_by` or identity version holds for records dated after the change."""
        current = (self.options.dedupe_by, self.endpoint.version)
        if not checkpoint.identities:
            checkpoint.identities = [(0, *current)]
        elif checkpoint.identities[-1][1:] != current:
            checkpoint.identities.append((target, *current))
            _log.warning("identity changed", source=self.setup.name, endpoint=self.endpoint.name, dedupe_by=current[0],
                         detail="holds for records dated after now; older ones keep the identity they were published under")  # fmt: skip
        known: list[tuple[int, Identity]] = [
            (since, self.keeper.identity(dedupe_by)) for since, dedupe_by, _ in checkpoint.identities
        ]
        self.keeper.identities = known

    def _say_edits(self, checkpoint: Checkpoint) -> None:
        if checkpoint.configured_start != self.options.start:
            _log.warning("start was edited", source=self.setup.name, endpoint=self.endpoint.name,
                         detail="the first pass has fixed it; the edit changes nothing", start=checkpoint.start)  # fmt: skip
            checkpoint.configured_start = self.options.start

    def walk(self, checkpoint: Checkpoint, part: Slice) -> Walk:
        """What is known when a walk over this slice begins."""
        limits = self.endpoint.limits
        return Walk(
            ask=self.ask.key,
            generation=self.generation,
            asked=part.asked,
            # In a doubled hour the vendor's local bounds fit both hours, and rows of both come.
            tolerance=limits.resolution + (3_600 if limits.zone or limits.learns_offset else 0),
            horizon=checkpoints.horizon(checkpoint, self.setup.seen_ttl),
            read_until=checkpoints.read_until(checkpoint),
            complete_until=checkpoints.complete_until(checkpoint),
            reach=self.ladder[-1].back,
        )

    def suspect(self, reason: str) -> None:
        """Counted always, logged once."""
        series = self.setup.metrics.suspicions[self.setup.name, self.endpoint.name, reason]
        if not series.value:
            _log.warning("suspicious answer", source=self.setup.name, endpoint=self.endpoint.name, reason=reason)
        series.inc()


# --- the line --------------------------------------------------------------------------------------------------------


async def poll(track: Track, until: float | None, *, force: bool = False) -> bool:
    """One poll: reads what is due until it is done or the monotonic clock passes `until`. True: every pass is done.

    Raises PollerError; the pass then stays due, and what was committed of it is not read again.
    """
    await track.setup.shard.until_polling()
    if (target := track.target()) is None:
        return True
    checkpoint = await track.load(target)
    window.plan(checkpoint, track.ladder, target, track.endpoint.limits, force=force)
    while (item := window.current(checkpoint)) is not None:
        part = window.next_slice(checkpoint, item, track.endpoint.limits)
        if part is None:
            raise AssertionError("a pass in progress has nothing left to read")
        checkpoint = await read_slice(track, checkpoint, item, part)
        if until is not None and track.setup.clock.mono() >= until:
            break
    return not checkpoint.passes


async def read_slice(track: Track, checkpoint: Checkpoint, item: Pass, part: Slice) -> Checkpoint:
    """Reads one slice to its last page and commits it, or makes it shorter. Returns the checkpoint to go on with."""
    began = track.setup.clock.mono()
    walk = track.walk(checkpoint, part)
    try:
        end = await read_pages(track, walk, part)
    except ClockChange:
        _learn(checkpoint, walk)
        if not window.clock_changed(checkpoint, part, track.endpoint.limits):
            raise
        return checkpoint
    except BadAnswer as error:
        _learn(checkpoint, walk)
        return _make_shorter(track, checkpoint, item, part, error)
    draft = checkpoints.load(checkpoints.dump(checkpoint), track.ladder)
    _learn(draft, walk)
    same = next(other for other in draft.passes if other.top == item.top)
    if end.cut:
        await _cut(track, draft, same, part, walk, end)
    else:
        took = track.setup.clock.mono() - began
        easy = took < track.options.timeout / 4 and end.count < EASY_RECORDS and not end.near_cap
        bound = end.bound(track.options.settle)
        window.read(draft, same, part, track.endpoint.limits, bound=bound, easy=easy, found=end.gaps)
    await _commit(track, draft, walk, end)
    track.checkpoint, track.shortened = draft, 0
    return draft


async def _cut(track: Track, draft: Checkpoint, item: Pass, part: Slice, walk: Walk, end: "_End") -> None:
    """The window holds more than can be asked for: halved. The records that came are good."""
    now = int(track.setup.clock.now())
    if not window.unreadable(draft, item, part, track.endpoint.limits, reason="too_many", now=now):
        await track.keep(end.rest, walk)
        raise Incomplete(f"{track.endpoint.name}: more rows than can be asked for, even in the shortest windows")


class _End(Struct):
    """How a walk ended."""

    rest: list[bytes]
    count: int = 0
    cut: bool = False
    near_cap: bool = False
    gaps: list[Gap] = []
    vendor_time: float | None = None

    def bound(self, settle: float) -> int | None:
        """The vendor's present when it began to answer the walk's first page, minus `settle`."""
        return None if self.vendor_time is None else int(self.vendor_time - settle)


async def read_pages(track: Track, walk: Walk, part: Slice) -> _End:
    """Walks from the first page to the last. Everything but the last page's rest is committed on the way."""
    end, cursor, cursors = _End([]), None, set[str]()
    empty, totals, prints = 0, list[int](), set[tuple[int, int]]()
    for _ in range(MAX_PAGES):
        page, count, vendor_time = await read_page(track, walk, part.asked, cursor)
        end.count += count
        end.vendor_time = _earlier(end.vendor_time, vendor_time)
        for reason in page.suspicions:
            track.suspect(reason)
        if page.gap is not None:
            now = int(track.setup.clock.now())
            end.gaps.append(Gap(page.gap.begin, page.gap.end, now, "stuck_key"))
        if page.total is not None:
            if totals and page.total < totals[-1]:
                track.suspect("shrinking_total")
            totals.append(page.total)
        end.rest, end.cut = page.records, page.cut
        if page.next is None or page.cut:
            end.near_cap = track.endpoint.limits.cap is not None and end.count * 2 > track.endpoint.limits.cap
            await _check_inside(track, walk, end)
            return end
        empty = empty + 1 if not count else 0
        _check_progress(track, page, cursors, prints, empty)
        cursor = page.next
        await track.keep(end.rest, walk)
        end.rest = []
    raise TooLarge(f"{track.endpoint.name}: {MAX_PAGES} pages and no end in sight")


async def read_page(track: Track, walk: Walk, asked: Window, cursor: str | None) -> tuple[Page, int, float | None]:
    """One request: full chunks are committed while the answer comes in. Returns the page, its number of records, the vendor's time."""
    endpoint, options = track.endpoint, track.options
    reading = endpoint.reading(track.ask, asked, cursor)
    pending: list[bytes] = []
    count = 0
    request = endpoint.request(track.ask, asked, cursor)
    try:
        async with track.setup.vendor.fetch(
            request, timeout=options.timeout, max_body=options.max_body, endpoint=endpoint.name
        ) as answer:
            async for data in answer.chunks():
                records = reading.feed(data)
                count += len(records)
                pending += records
                walk.offset = reading.offset
                while len(pending) > CHUNK:
                    await track.keep(pending[:CHUNK], walk)
                    del pending[:CHUNK]
        page = reading.close()
        if answer.skew is not None:
            track.setup.skew = answer.skew
    finally:
        walk.offset = reading.offset
    page.records = pending + page.records
    return page, count + len(page.records) - len(pending), answer.vendor_time


def _earlier(one: float | None, other: float | None) -> float | None:
    return other if one is None else one


def _check_progress(track: Track, page: Page, cursors: set[str], prints: set[tuple[int, int]], empty: int) -> None:
    """A repeated key or page, or pages without end, are a fault of the walk and never its end."""
    if page.next in cursors:
        track.suspect("repeated_key")
        raise Incomplete(f"{track.endpoint.name}: the vendor gave a page key again that it had given in this walk")
    if page.next is not None:
        cursors.add(page.next)
    if empty >= EMPTY_PAGES:
        track.suspect("empty_pages")
        raise Incomplete(
            f"{track.endpoint.name}: {empty} pages in a row without a record, each with a key of a next one"
        )
    if len(page.records) > 1 and not page.again:
        mark = (hash(page.records[0]), hash(page.records[-1]))
        if mark in prints:
            track.suspect("repeated_page")
            raise Incomplete(f"{track.endpoint.name}: the vendor gave a page again that it had given in this walk")
        prints.add(mark)


async def _check_inside(track: Track, walk: Walk, end: _End) -> None:
    """Whether the vendor used the period that was asked for, as far as its records show."""
    if not walk.outside or not track.endpoint.limits.shows_own_time:
        return
    track.suspect("outside_window")
    if not walk.inside and walk.outside >= BELIEVED:
        await track.keep(end.rest, walk)
        raise FilterIgnored(
            f"{track.endpoint.name}: all {walk.outside} records lie outside the period that was asked for: the filter was not used"
        )


async def _commit(track: Track, checkpoint: Checkpoint, walk: Walk, end: _End) -> None:
    await track.keep(end.rest, walk, (track.key, checkpoints.dump(checkpoint)))


def _make_shorter(track: Track, checkpoint: Checkpoint, item: Pass, part: Slice, error: BadAnswer) -> Checkpoint:
    """Halves what cannot be read; what stays unreadable becomes a gap at the end of the pass. Raises `error` when it is an outage."""
    now = int(track.setup.clock.now())
    known = list(checkpoint.gaps)
    track.shortened += 1
    if not window.unreadable(checkpoint, item, part, track.endpoint.limits, reason=error.reason, now=now):
        raise error
    _log.info("window shortened", source=track.setup.name, endpoint=track.endpoint.name, reason=error.reason,
              seconds=part.covers.span, error=str(error))  # fmt: skip
    for gap in checkpoint.gaps:
        if gap not in known:
            _log.error("span cannot be read", source=track.setup.name, endpoint=track.endpoint.name, reason=gap.reason,
                       begin=gap.begin, end=gap.end, detail="an open gap: every pass of the longest rung tries it again")  # fmt: skip
    if track.shortened % SHORTER_PER_POLL == 0:
        raise error
    return checkpoint


def _learn(checkpoint: Checkpoint, walk: Walk) -> None:
    if walk.offset is not None:
        checkpoint.offset = walk.offset


# --- going on for ever -----------------------------------------------------------------------------------------------


async def keep_polling(track: Track) -> None:
    """Polls on the endpoint's interval until cancelled; a failure is retried after a growing, jittered wait."""
    clock, interval = track.setup.clock, track.options.interval
    due = clock.mono() + track.setup.rnd.uniform(0, interval)
    while True:
        await clock.sleep(due - clock.mono())
        track.setup.metrics.schedule_lateness_seconds.observe(max(0.0, clock.mono() - due))
        error = await poll_once(track, until=due + interval)
        now = clock.mono()
        due = max(due + interval, now) if error is None else now + wait_after(track, error)


async def poll_once(track: Track, *, until: float | None, force: bool = False) -> PollerError | None:
    """One poll with everything that is counted and said about it. Returns the error that ended it, if any."""
    setup, began = track.setup, track.setup.clock.mono()
    track.tally = Tally()
    error: PollerError | None = None
    try:
        await poll(track, until, force=force)
        track.outage.ended()
        setup.metrics.last_success[setup.name, track.endpoint.name].set(setup.clock.now())
    except PollerError as failure:
        error = failure
        await _failed(track, failure)
    track.last_error = error
    setup.metrics.polls[setup.name, track.endpoint.name, poll_outcome(error)].inc()
    setup.metrics.poll_seconds.labels(track.endpoint.name).observe(setup.clock.mono() - began)
    _say(track)
    return error


async def _failed(track: Track, error: PollerError) -> None:
    track.outage.failed(error)
    if isinstance(error, Outdated):
        shard = track.setup.shard
        async with shard.lock:
            if shard.generation == track.generation:
                track.setup.metrics.store_rollbacks.inc()
                await shard.believe()


def wait_after(track: Track, error: PollerError) -> float:
    """Seconds until a failed poll is tried again."""
    asked = error.retry_after if isinstance(error, Transient) else None
    least = DENIED_WAIT if isinstance(error, Denied) else 0.0
    wait = delay(
        track.outage.attempts,
        first=min(5.0, track.options.interval),
        limit=max(LONGEST_WAIT, track.options.interval),
        rnd=track.setup.rnd,
    )
    return max(asked or 0.0, least, wait, min(1.0, track.options.interval))


def _say(track: Track) -> None:
    tally = track.tally
    if tally.new or tally.updated or tally.invalid:
        _log.info("polled", source=track.setup.name, endpoint=track.endpoint.name, new=tally.new, updated=tally.updated,
                  duplicate=tally.duplicate, invalid=tally.invalid, filtered=tally.filtered)  # fmt: skip
    if tally.latest > NEAR_REACH * track.ladder[-1].back:
        _log.warning("row close to the ladder's reach", source=track.setup.name, endpoint=track.endpoint.name,
                     late_seconds=round(tally.latest), reach_seconds=track.ladder[-1].back,
                     detail="rows that come later than the longest rung reaches back are missed: make the ladder longer")  # fmt: skip


def claims(tracks: Sequence[Track]) -> tuple[int | None, int | None]:
    """(read_until, complete_until) of an endpoint: the least over its tracks; None while one of them claims nothing."""
    known = [track.checkpoint for track in tracks if track.checkpoint is not None]
    if len(known) < len(tracks):
        return None, None
    return _least([checkpoints.read_until(one) for one in known]), _least(
        [checkpoints.complete_until(one) for one in known]
    )


def _least(values: list[int | None]) -> int | None:
    found = [value for value in values if value is not None]
    return min(found) if found and len(found) == len(values) else None
