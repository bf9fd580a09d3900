"""Reads a closed span of one list again, by the same pages as polling, and compares it id by id with what was published.

Nothing is written. What was published is known in two ways: by the seen ids, which are kept for `seen_ttl`, and by the log, which is kept
for `retention` and alone says which states came last and what the vendor does not show any more.
"""

from collections import Counter
from collections.abc import Sequence

import anyio.lowlevel
import msgspec
from msgspec import Raw, Struct, field

from poller import checkpoint as checkpoints
from poller import segment, window
from poller.app_parts import App
from poller.checkpoint import Checkpoint
from poller.crosscheck import source_id
from poller.errors import BadAnswer, PollerError, Unknown
from poller.identity import MENTION, event_id, shard_of
from poller.keep import Walk
from poller.model import Event, Keys, SeenKey, Window, utc
from poller.operations import Difference, Reconcile, Reconciled, Unread
from poller.poll import read_slice
from poller.replay_step import oldest, seek
from poller.shard import Shard
from poller.track import Setup, Track

MOST = 1_000
"""Differences of one span that are named; all are counted."""
MARGIN = 600
"""Seconds that our wall clock may have been moved back between two commits."""
TRIES = 60
"""Bad answers after which a span is given up."""
ORDINALS = 16
"""Equal rows without a vendor id that are told apart when what was published is looked for."""
_READ = 4 << 20


class _Data(Struct):
    vendor: Raw = Raw(b"null")


class _Body(Struct):
    data: _Data


_decode = msgspec.json.Decoder(_Body).decode


class Shown(Struct):
    """What the vendor showed of a span."""

    span: Window
    rows: dict[bytes, tuple[Keys, SeenKey]] = field(default_factory=dict)
    """By the hash of the id."""
    missing: set[bytes] = field(default_factory=set)
    other: set[bytes] = field(default_factory=set)
    """Known ids in a state that was never seen."""
    offsets: set[int | None] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)


class Rereading(Track):
    """The same list asked in the same way. What is read goes nowhere."""

    def __init__(self, of: Track, setup: Setup, shown: Shown, horizon: int) -> None:
        super().__init__(setup, of.endpoint, of.options, of.ask, of.keeper)
        self.generation = of.generation
        self._shown = shown
        self._horizon = horizon

    def walk(self, checkpoint: Checkpoint, part: window.Slice) -> Walk:
        """With the horizon of what is polled."""
        return msgspec.structs.replace(super().walk(checkpoint, part), horizon=self._horizon)

    def suspect(self, reason: str) -> None:
        """Polling has said it."""

    async def keep(self, records: list[bytes], walk: Walk, draft: Checkpoint | None = None) -> None:  # noqa: ARG002 the track's
        """Compares with what is seen."""
        shown, span = self._shown, self._shown.span
        rows, keys, sightings, tally = await self.keeper.look(records, walk)
        shown.offsets.add(walk.offset)
        shown.counts["invalid"] += tally.invalid
        shown.counts["forgotten"] += tally.filtered
        for index, (row, key) in enumerate(zip(rows, keys, strict=True)):
            if row.own is not None and not span.begin <= row.own < span.end:
                continue
            shown.rows[key.id] = (row, key)
            sighting = sightings.get(index)
            if sighting is not None:
                (shown.other if sighting.states else shown.missing).add(key.id)


async def reconcile(app: App, asked: Reconcile, *, running: bool) -> Reconciled:
    """Raises Unknown for a wrong name, PollerError where the span is not closed or the vendor cannot be asked.

    `running`: this process works on the source's shard, and stops asking when it loses it; else it only looks.
    """
    tracks = _tracks(app, asked)
    setup = tracks[0].setup
    if not running:
        setup = msgspec.structs.replace(setup, shard=Shard(app.store, setup.shard.number))
    limits = tracks[0].endpoint.limits
    span = Window(asked.begin - asked.begin % limits.resolution, asked.end - asked.end % limits.resolution)
    known = [await track.load(int(app.clock.now())) for track in tracks]
    _check(span, known)
    horizon = max(checkpoints.horizon(one, track.setup.seen_ttl) for one, track in zip(known, tracks, strict=True))
    shown, unread = Shown(span), list[Unread]()
    for track, checkpoint in zip(tracks, known, strict=True):
        unread += await _read(Rereading(track, setup, shown, horizon), checkpoint, span)
    published = Published(tracks[0], shown, unread)
    published_from = await published.find(app)
    complete = [checkpoints.complete_until(one) for one in known]
    differences = sorted(published.differences(), key=lambda one: (one.own or 0.0, one.id))
    counts = Counter(one.what for one in differences)
    return Reconciled(
        begin=span.begin,
        end=span.end,
        records=len(shown.rows),
        differences=differences[:MOST],
        counts={name: counts[name] for name in ("missing", "unknown", "changed")} | dict(shown.counts),
        unread=unread,
        known_from=horizon if horizon > span.begin and horizon > min(one.start for one in known) else None,
        published_from=published_from,
        judges_unknown=limits.shows_own_time,
        complete_until=min((at for at in complete if at is not None), default=None) if None not in complete else None,
    )


def _tracks(app: App, asked: Reconcile) -> list[Track]:
    options = app.settings.sources.get(asked.source)
    if options is None:
        raise Unknown(f"there is no source {asked.source}; there are: {', '.join(app.settings.sources) or 'none'}")
    here = [track for track in app.tracks if track.setup.name == asked.source]
    if not here:
        app.shards[shard_of(source_id(asked.source, options), app.store.shards)].check()
    found = [track for track in here if asked.endpoint in {track.endpoint.name, track.endpoint.name.partition(".")[2]}]
    if not found:
        names = sorted({track.endpoint.name for track in here})
        raise Unknown(f"{asked.source} has no list {asked.endpoint}; there are: {', '.join(names) or 'none'}")
    return found


def _check(span: Window, known: Sequence[Checkpoint]) -> None:
    """A span that polling has read: before its beginning nothing was asked for, and after its end there is nothing to compare."""
    if span.begin >= span.end:
        raise PollerError("reconcile: the span ends before it begins")
    start, ends = max(one.start for one in known), [checkpoints.read_until(one) for one in known]
    if span.begin < start:
        raise PollerError(
            f"reconcile: the list is polled from {utc(start):%Y-%m-%d %H:%M:%SZ} on: ask for a later span"
        )
    until = min((at for at in ends if at is not None), default=None)
    if until is None or None in ends or span.end > until:
        said = f"up to {utc(until):%Y-%m-%d %H:%M:%SZ}" if until is not None and None not in ends else "not at all"
        raise PollerError(f"reconcile: the list has been read {said} so far: ask for a span before that")


async def _read(track: Rereading, known: Checkpoint, span: Window) -> list[Unread]:
    """Every slice of the span, shorter ones where the vendor cannot give it. Raises PollerError."""
    limits = track.endpoint.limits
    checkpoint = checkpoints.begin(float(span.begin), span.end, track.ladder, min(known.span, limits.max_span))
    checkpoint.offset, checkpoint.changes = known.offset, list(known.changes)
    window.plan(checkpoint, track.ladder, span.end, limits)
    bad = 0
    while (item := window.current(checkpoint)) is not None:
        part = window.next_slice(checkpoint, item, limits)
        if part is None:
            window.settle_if_done(checkpoint, item, limits)
            continue
        try:
            checkpoint = await read_slice(track, checkpoint, item, part)
        except BadAnswer:
            bad += 1
            if bad >= TRIES:
                raise
    return [Unread(gap.begin, gap.end, gap.reason) for gap in checkpoint.gaps]


class Published:
    """What the log holds of a span, beside what the vendor showed."""

    def __init__(self, track: Track, shown: Shown, unread: Sequence[Unread]) -> None:
        self._track = track
        self._shown = shown
        self._unread = unread
        self._last: dict[bytes, bytes] = {}
        """The state that was published last, by the hash of the id."""
        self._gone: dict[bytes, Difference] = {}

    async def find(self, app: App) -> float | None:
        """Looks through what was written since the span began. Since when the log is kept, where that is later."""
        number, begin = self._track.setup.shard.number, self._shown.span.begin - MARGIN
        seq = await seek(app.store, number, begin)
        while found := await app.store.segments_after(number, seq, _READ):
            for one in found:
                for event in segment.unpack(one):
                    self._note(event)
                await anyio.lowlevel.checkpoint()
            seq = found[-1].last
        first = await oldest(app.store, number)
        return first if first is not None and first > begin else None

    def _note(self, event: Event) -> None:
        kind, source = self._track.endpoint.kind, self._track.setup.id
        if event.source != f"/poller/{source}/{kind}s" or event.seen is None or event.seen.state == MENTION:
            return
        if event.seen.id in self._shown.rows:
            self._last[event.seen.id] = event.seen.state
        elif self._track.endpoint.limits.shows_own_time:
            self._miss(event, event.seen)

    def _miss(self, event: Event, seen: SeenKey) -> None:
        """Whether it lies in the span, by its own record: surely, whatever offset the answers have shown."""
        raw = bytes(_decode(event.body).data.vendor)
        rows = [keys for offset in self._shown.offsets if (keys := self._keys(raw, offset)) is not None]
        self._gone.pop(seen.id, None)
        if rows and all(self._is(keys, seen) and self._inside(keys.own) for keys in rows):
            self._gone[seen.id] = Difference(
                what="unknown", id=event.subject, own=rows[0].own, event=event_id(seen, new=True)
            )

    def _keys(self, raw: bytes, offset: int | None) -> Keys | None:
        try:
            return self._track.endpoint.keys(raw, offset)
        except Exception:  # noqa: BLE001 a record of another list of this source, which shares its events
            return None

    def _is(self, keys: Keys, seen: SeenKey) -> bool:
        """Whether this list gave the record: another one of the source makes another id of it."""
        ordinals = range(ORDINALS if keys.counted else 1)
        identities = [identity for _, identity in self._track.keeper.identities]
        return any(one.seen_key(keys, number).id == seen.id for one in identities for number in ordinals)

    def _inside(self, own: float | None) -> bool:
        span = self._shown.span
        if own is None or not span.begin <= own < span.end:
            return False
        return not any(gap.begin <= own <= gap.end for gap in self._unread)

    def differences(self) -> list[Difference]:
        """All of them."""
        shown = self._shown
        changed = shown.other | {
            thing for thing, (_, key) in shown.rows.items() if self._last.get(thing, key.state) != key.state
        }
        if self._track.options.on_change == "ignore":
            changed = set()
        found = list(self._gone.values())
        for what, things in (("missing", shown.missing), ("changed", changed - shown.missing)):
            for thing in things:
                keys, key = shown.rows[thing]
                found.append(Difference(what=what, id=keys.id, own=keys.own, event=event_id(key, new=True)))  # type: ignore[arg-type]
        return found
