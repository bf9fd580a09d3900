"""The way in: checkpoint → window → request → fetch → parse → keep what is unseen → commit.

`poll` reads the passes that are due, slice by slice, until they are done or the next poll is due.
"""

from msgspec import Struct

from poller import checkpoint as checkpoints
from poller import window
from poller.answer import Answer
from poller.checkpoint import Checkpoint, Gap, Pass
from poller.errors import BadAnswer, ClockChange, FilterIgnored, Incomplete, PollerError, TooLarge, bare
from poller.keep import Walk
from poller.log import get_logger
from poller.model import Page, Window
from poller.track import Track
from poller.window import Slice

CHUNK = 1_000
"""Records per commit: an answer of any size is read in bounded memory."""
GATHERED = 4_000
"""Records that one commit takes of pages that come quickly. New ids lie scattered over the tree of their day, and a commit writes each
leaf that it touches: four times as many ids cost half as much each.
"""
GATHERED_BYTES = 8 << 20
"""The same where records are large: a few pages are no reason to hold much memory."""
GATHERING = 0.25
"""Seconds after which what was gathered waits for no further page."""
MAX_PAGES = 300
"""Pages of one walk: an endless one is halved instead."""
EMPTY_PAGES = 10
"""Pages without a record, in a row, after which a walk is not believed."""
EASY_RECORDS = 20_000
"""An answer with fewer records, and quick, lets the next slice be longer."""
SHORTER_PER_POLL = 3
"""So many bad answers in a row end a poll: the next one waits, and goes on with the shorter windows."""
BELIEVED = 20
"""So many records outside the window, and none inside, say that the filter was not used."""

_log = get_logger()


async def poll(track: Track, until: float | None, *, force: bool = False) -> bool:
    """One poll: reads what is due until it is done or the monotonic clock passes `until`. True: every pass is done.

    Raises PollerError; the pass then stays due, and what was committed of it is not read again.
    """
    await track.setup.shard.until_polling()
    target = track.target()
    checkpoint = await track.load(target)
    window.plan(checkpoint, track.ladder, target, track.endpoint.limits, force=force)
    gone_on: set[int] = set()
    track.begin_poll()
    while (item := window.current(checkpoint)) is not None:
        if gone_on and until is not None and track.setup.clock.mono() >= until:
            # Where every answer is slow, the shortest rung takes all the time there is: the longest gets a slice of each poll.
            item = max(checkpoint.passes, key=lambda one: one.top)
            if item.top in gone_on:
                break
        gone_on.add(item.top)
        _stay_narrow(track, checkpoint, item)
        part = window.next_slice(checkpoint, item, track.endpoint.limits)
        if part is None:  # limits that were changed can leave nothing to read
            window.settle_if_done(checkpoint, item, track.endpoint.limits)
            continue
        checkpoint = await read_slice(track, checkpoint, item, part)
    if track.bad is not None and checkpoint.passes and not track.read_something:
        raise track.bad  # the time is over and nothing could be read: shorter windows go on, but that is no success
    return not checkpoint.passes


async def read_slice(track: Track, checkpoint: Checkpoint, item: Pass, part: Slice) -> Checkpoint:
    """Reads one slice to its last page and commits it, or makes it shorter. Returns the checkpoint to go on with."""
    began = track.setup.clock.mono()
    walk = track.walk(checkpoint, part)
    track.lately.asks(part.asked.begin, part.asked.end)
    try:
        end = await read_pages(track, walk, part)
    except ClockChange:
        _learn(checkpoint, walk)
        if not window.clock_changed(checkpoint, part, track.endpoint.limits):
            raise
        return checkpoint
    except BadAnswer as error:
        _learn(checkpoint, walk)
        bare(error)
        track.bad = error
        return _make_shorter(track, checkpoint, item, part, error)
    draft = checkpoints.load(checkpoints.dump(checkpoint), track.ladder)
    _learn(draft, walk)
    same = next(other for other in draft.passes if other.top == item.top)
    if end.cut:
        await _cut(track, draft, same, part, walk, end)
    else:
        took = track.setup.clock.mono() - began
        easy = _quick(took, end.count, track.options.timeout) and end.count < EASY_RECORDS and not end.near_cap
        bound = end.bound(track.options.settle)
        window.read(draft, same, part, track.endpoint.limits, bound=bound, easy=easy, found=end.gaps)
    await _commit(track, draft, walk, end)
    track.checkpoint, track.shortened, track.read_something = draft, 0, True
    if track.narrow is not None and track.narrow[0] == item.number:
        track.narrow = None
    return draft


def _stay_narrow(track: Track, checkpoint: Checkpoint, item: Pass) -> None:
    """A pass goes on with the windows it has come to: what shorter passes read meanwhile has made them longer again, every time."""
    if track.narrow is not None and track.narrow[0] == item.number:
        checkpoint.span = min(checkpoint.span, track.narrow[1])


def _quick(took: float, count: int, timeout: float) -> bool:
    """Whether a longer window would still be answered in time. What is slow with little in it is not slow for its length."""
    return took < timeout / 4 or (count < CHUNK and took < timeout * 3 / 4)


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
    """Walks from the first page to the last. Everything but the rest is committed on the way, or where the walk ends early."""
    end = _End([])
    try:
        await _read_pages(track, walk, part, end)
    except PollerError:
        if end.rest:  # good records, whatever comes behind them
            await track.keep(end.rest, walk)
        raise
    return end


async def _read_pages(track: Track, walk: Walk, part: Slice, end: _End) -> None:
    cursor, cursors = None, set[str]()
    empty, size, totals, prints = 0, 0, list[int](), set[tuple[int, int]]()
    mono, since = track.setup.clock.mono, track.setup.clock.mono()
    # Records are read with the offset that their own answer has shown.
    gathered = 1 if track.endpoint.limits.learns_offset else GATHERED
    for _ in range(MAX_PAGES):
        page, count, vendor_time = await _believed_page(track, walk, part.asked, cursor)
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
        if page.next is None or page.cut:
            end.rest += page.records
            end.cut = page.cut
            end.near_cap = track.endpoint.limits.cap is not None and end.count * 2 > track.endpoint.limits.cap
            return await _check_inside(track, walk, end)
        empty = empty + 1 if not count else 0
        _check_progress(track, page, cursors, prints, empty)
        cursor = page.next
        end.rest += page.records
        size += sum(map(len, page.records))
        if len(end.rest) >= gathered or size >= GATHERED_BYTES or mono() - since >= GATHERING:
            rest, end.rest, size, since = end.rest, [], 0, mono()
            await track.keep(rest, walk)
    raise TooLarge(f"{track.endpoint.name}: {MAX_PAGES} pages and no end in sight")


async def _believed_page(track: Track, walk: Walk, asked: Window, cursor: str | None) -> tuple[Page, int, float | None]:
    """As `read_page`. What may be an empty list and may be no answer at all is asked for once more."""
    for again in (False, True):
        found = await read_page(track, walk, asked, cursor)
        if not found[0].doubtful:
            if again:
                track.suspect("empty_body")
            break
    return found


async def read_page(track: Track, walk: Walk, asked: Window, cursor: str | None) -> tuple[Page, int, float | None]:
    """One request: full chunks are committed while the answer comes in. Returns the page, its number of records, the vendor's time."""
    endpoint, options = track.endpoint, track.options
    reading = endpoint.reading(track.ask, asked, cursor)
    pending: list[bytes] = []
    count = 0
    request = endpoint.request(track.ask, asked, cursor)
    track.setup.shard.check()
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
    finally:
        walk.offset = reading.offset
    page.records = pending + page.records
    return page, count + len(page.records) - len(pending), _vendor_time(track, answer)


def _vendor_time(track: Track, answer: Answer) -> float | None:
    """The vendor's clock, where it can be believed; passes follow it then."""
    if answer.skew is None:
        return None
    known = track.known
    if not track.setup.hear(answer.skew, answer.ahead, checkpoints.read_until(known) if known is not None else None):
        track.suspect("absurd_date")
        return None
    return answer.vendor_time


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
    """Whether the vendor used the period that was asked for, as far as its records show.

    What is left of the last page is kept first where it may be all there is to judge by: the slice must not count as read.
    """
    if not track.endpoint.limits.shows_own_time:
        return
    if not walk.inside and end.rest and not track.keeper.inside(end.rest[0], walk):
        rest, end.rest = end.rest, []
        await track.keep(rest, walk)
    if not walk.inside and walk.outside >= BELIEVED:
        track.suspect("outside_window")
        raise FilterIgnored(
            f"{track.endpoint.name}: all {walk.outside} records lie outside the period that was asked for: the filter was not used"
        )


async def _commit(track: Track, checkpoint: Checkpoint, walk: Walk, end: _End) -> None:
    await track.keep(end.rest, walk, checkpoint)
    if walk.outside and track.endpoint.limits.shows_own_time:
        track.suspect("outside_window")


def _make_shorter(track: Track, checkpoint: Checkpoint, item: Pass, part: Slice, error: BadAnswer) -> Checkpoint:
    """Halves what cannot be read; what stays unreadable becomes a gap at the end of the pass. Raises `error` when it is an outage."""
    now = int(track.setup.clock.now())
    known = list(checkpoint.gaps)
    track.shortened += 1
    if not window.unreadable(checkpoint, item, part, track.endpoint.limits, reason=error.reason, now=now):
        track.narrow = None
        raise error
    track.narrow = (item.number, checkpoint.span)
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
