"""The way of one call, recording or event, found again in what the store keeps: by keys, and in a bounded part of the log."""

import math
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta

import anyio.lowlevel
import msgspec
from msgspec import Raw, Struct

from poller import segment, stops
from poller.app_parts import App
from poller.crosscheck import source_id
from poller.errors import PollerError
from poller.event import instant
from poller.identity import MENTION, Identity, event_id, shard_of
from poller.journeys import Journey, Leg
from poller.kept import LetterHead, LetterPlace, LetterTotal, Which
from poller.kinds import kind_of, load_source_kind
from poller.model import DeadRecord, Event, Kind, SeenKey, Segment
from poller.outgoing import recorded_time
from poller.protocols import Endpoint
from poller.recent import Polled

LONGEST = 512
"""Characters of an id."""
EVENTS = 20_000
"""Newest events of the log that are looked through, of all shards together."""
BYTES = 64 << 20
"""Of their bodies, before compression."""
SECONDS = 5.0
"""For that, and for the records."""
LEGS = 50
"""Events that are shown of those that were found by key, and of the others."""
RECORDS = 500
"""Records that were not understood that are looked through."""
_READ = 1 << 20
_BODY = 64 << 10
_EVERYTHING = 1 << 62
_EPOCH = date(1970, 1, 1)
_KINDS: tuple[Kind, ...] = ("call", "recording")
_SORTS: dict[str, Kind] = {f"{kind}s": kind for kind in _KINDS}


class Found(Struct, frozen=True):
    """An entry of a shard's log. `event`: None where it is not kept any more; `key`: what `seen` has of it."""

    shard: int
    seq: int
    key: SeenKey | None
    event: Event | None = None
    segment: Segment | None = None


class Search:
    """One search for one id. `running`: what deliveries remember is this daemon's own."""

    def __init__(self, app: App, wanted: str, *, running: bool) -> None:
        self._app = app
        self._store = app.store
        self._wanted = wanted.encode("utf-8", "replace").decode().strip()  # no part of a character stands alone
        self._running = running
        self._ids: dict[str, str] = {source_id(name, options): name for name, options in app.settings.sources.items()}
        self._ids |= {track.key.source: track.setup.name for track in app.tracks}
        self._whose: dict[bytes, tuple[str, Kind]] = {}
        """Source id and kind by the hash that the wanted id has there."""
        self._where: dict[bytes, int] = {}
        """The shard in which an id was found."""
        self._looked: list[str] = []
        self._found: dict[tuple[int, int], Found] = {}
        """By key."""
        self._others: dict[tuple[int, int], Found] = {}
        """What else names the id, or belongs to it: the newest."""
        self._more = 0

    async def run(self) -> Journey:
        """Raises PollerError for what cannot be an id, StoreFault."""
        if not 0 < len(self._wanted) <= LONGEST:
            raise PollerError(f"an id has 1 to {LONGEST} characters")
        remembered = await self._by_key()
        await self._in_the_log()
        letters = await self._letters()
        found = self._others | self._found
        if self._more:
            self._looked.append(f"{self._more} more events of the log have to do with it; the newest {LEGS} are shown.")
        legs = [await self._leg(found[place]) for place in sorted(found)]
        return Journey(
            wanted=self._wanted, legs=legs, letters=letters, remembered=remembered, looked=list(self._looked)
        )

    # --- by key ------------------------------------------------------------------------------------------------------

    async def _by_key(self) -> int:
        """The events that `seen` points at. Returns how many states are remembered without one."""
        hashes = await self._hashes()
        rows = await self._store.states_of(hashes)
        places = sorted(((seq, key) for key, seq in rows if seq), key=lambda place: place[0])
        lost: set[bytes] = set()
        for seq, key in reversed(_ends(places)):  # what is older than what the log has no more is not there, either
            if key.id not in lost and not await self._point(key, seq):
                lost.add(key.id)
        self._looked.append(
            f"By key: the id of {len(self._whose) // 2} sources, under every day that is remembered"
            + ("." if rows else "; none of them knows it.")
        )
        if len(places) > LEGS:
            self._looked.append(
                f"{len(places) - LEGS} more states of it by key; the first and the newest {LEGS - 1} are shown."
            )
        return len(rows) - len(places)

    async def _hashes(self) -> list[bytes]:
        sources = {*self._ids, *(key.source for key in await self._store.checkpoints())}
        for source in sorted(sources):
            for kind in _KINDS:
                self._whose[Identity(source, kind).mention_key(self._wanted, 0).id] = (source, kind)
        return [*self._whose, *_event_ids(self._wanted)]

    async def _point(self, key: SeenKey, seq: int) -> bool:
        """One entry, read from its segment where that is kept. False where it may be in any shard and is in none."""
        whose = self._whose.get(key.id)
        own = self._shard_of(whose[0]) if whose is not None else self._where.get(key.id)
        for shard in range(self._store.shards) if own is None else [own]:
            for one in await self._store.segments_after(shard, seq - 1, 0):
                event = segment.unpack(one)[seq - one.first] if one.first <= seq else None
                if event is not None and event.seen is not None and event.seen.id == key.id:
                    self._found[shard, seq] = Found(shard, seq, key, event, one)
                    self._where[key.id] = shard
                    return True
        if whose is not None and own is not None:
            self._found[own, seq] = Found(own, seq, key)
        return own is not None

    def _shard_of(self, source: str) -> int:
        here = (track.setup.shard.number for track in self._app.tracks if track.key.source == source)
        return next(here, shard_of(source, self._store.shards))

    # --- in the log --------------------------------------------------------------------------------------------------

    async def _in_the_log(self) -> None:
        """The newest events: what names the id, or belongs to what was found by key."""
        known = [one.event for one in self._found.values() if one.event is not None]
        keys, needle = {event.key for event in known} | {self._wanted}, msgspec.json.encode(self._wanted)
        shards = sorted({one.shard for one in self._found.values()}) or list(range(self._store.shards))
        count, oldest, whole = 0, None, True
        until, most = self._app.clock.mono() + SECONDS, BYTES // len(shards)
        for place, shard in enumerate(shards):
            share = (EVENTS - count) // (len(shards) - place)
            left, seq, size = share, _EVERYTHING, 0
            while True:
                if self._app.clock.mono() > until or (size and (left <= 0 or size > most)):
                    whole = False
                    break
                await anyio.lowlevel.checkpoint()  # a store in memory lets nobody else have a turn
                lots = await self._store.segments_before(shard, seq, min(_READ, most))
                if not lots:
                    break
                for one in lots:
                    self._look_at(shard, one, keys, needle)
                    left, seq, size = left - (one.last - one.first + 1), one.first, size + one.recorded_bytes
                    oldest = one.at if oldest is None else min(oldest, one.at)
            count += share - left
        self._looked.append(_scanned(count, oldest, whole=whole))

    def _look_at(self, shard: int, one: Segment, keys: set[str], needle: bytes) -> None:
        last = one.last
        for back, event in enumerate(reversed(segment.unpack(one))):
            seq = last - back
            if event.key in keys or self._wanted in (event.id, event.subject) or needle in event.body:
                if (shard, seq) in self._found:
                    continue
                if len(self._others) < LEGS:
                    self._others[shard, seq] = Found(shard, seq, event.seen, event, one)
                else:
                    self._more += 1

    # --- dead letters ------------------------------------------------------------------------------------------------

    async def _letters(self) -> list[str]:
        """Records that were not understood and hold the id, and a dead letter of this very id."""
        totals = [one for one in await self._store.letter_totals() if one.what == "record"]
        found = [one.id for one in await self._store.letters([self._wanted])]
        needle, until, looked = self._wanted.encode(), self._app.clock.mono() + SECONDS, 0
        for lot in _lots(await self._records(totals)):
            if self._app.clock.mono() > until:
                break
            letters = await self._store.letters(lot)
            found += [one.id for one in letters if isinstance(one, DeadRecord) and needle in one.raw]
            looked += len(lot)
        total = sum(one.letters for one in totals)
        if total:
            self._looked.append(f"{looked} of {total} records that were not understood, byte by byte.")
        return list(dict.fromkeys(found))

    async def _records(self, totals: Sequence[LetterTotal]) -> list[LetterHead]:
        heads: list[LetterHead] = []
        for one in totals:
            if len(heads) < RECORDS:
                which = Which(source=one.source, reason=one.reason)
                some = await self._store.letter_heads(which, after=LetterPlace(), until=math.inf, limit=RECORDS)
                heads += [head for head in some if head.what == "record"]
        return heads[:RECORDS]

    # --- what is shown of one ----------------------------------------------------------------------------------------

    async def _leg(self, found: Found) -> Leg:
        event, one = found.event, found.segment
        source, kind = _whose(event) if event is not None else self._whose[found.key.id if found.key else b""]
        numbers = stops.Numbers(found.shard, found.seq, _candidates(found))
        at = found.key or (event.seen if event is not None else None)
        leg = Leg(
            kind=kind, source=self._ids.get(source, source), shard=found.shard, seq=found.seq,
            day=str(_EPOCH + timedelta(days=at.day)) if at is not None and abs(at.day) < _DAYS else None,
            stops=await stops.of_event(self._app, numbers, event, running=self._running),
        )  # fmt: skip
        if event is None or one is None:
            return leg
        seen = _seconds(recorded_time(event.body).decode())
        data = msgspec.json.decode(event.body, type=_Body).data
        return msgspec.structs.replace(
            leg,
            event=event.id,
            type=event.type,
            subject=event.subject,
            time=event.time,
            first_seen=seen,
            committed=one.at,
            late=data.late,
            revision=data.revision,
            lists=self._lists(source, kind, event, data.vendor),
            mentioned=event.seen is not None and event.seen.state == MENTION,
            poll=self._poll(source, seen),
            together=one.last - one.first + 1,
            again=event.seen is None,
            body=event.body if len(event.body) <= _BODY else None,
        )

    def _lists(self, source: str, kind: Kind | None, event: Event, vendor: Raw) -> list[str]:
        """The endpoints by which the record has exactly the event's id."""
        found = []
        for endpoint in self._endpoints(source) if event.seen is not None and bytes(vendor) else ():
            if kind is not None and endpoint.kind == kind:
                try:
                    keys = endpoint.keys(bytes(vendor), None)
                except Exception:  # noqa: BLE001, S112 another list's record
                    continue
                ids = [Identity(source, kind, rows=rows).seen_key(keys).id for rows in (False, True)]
                if event.seen is not None and event.seen.id in ids:
                    found.append(endpoint.name)
        return list(dict.fromkeys(found))

    def _endpoints(self, source: str) -> list[Endpoint]:
        """Those that are configured, whoever reads them."""
        here = [track.endpoint for track in self._app.tracks if track.key.source == source]
        name = self._ids.get(source)
        if here or name not in self._app.settings.sources:
            return here
        options = self._app.settings.sources[name]
        return list(load_source_kind(kind_of(options)).build(name, options).endpoints.values())

    def _poll(self, source: str, seen: float | None) -> Polled | None:
        """The poll during which it was first seen, where this process remembers it and no other can be meant."""
        polls = (poll for track in self._app.tracks if track.key.source == source for poll in track.lately.polls)
        fitting = [
            poll
            for poll in polls
            if seen is not None and poll.at - 0.001 <= seen <= poll.at + poll.seconds and poll.new + poll.updated
        ]
        return fitting[0] if len(fitting) == 1 else None


class _Data(Struct):
    late: bool = False
    revision: int = 1
    vendor: Raw = Raw()


class _Body(Struct):
    data: _Data


_DAYS = 700_000


def _event_ids(wanted: str) -> Iterator[bytes]:
    """The hash that a first event's id is made of."""
    try:
        found = bytes.fromhex(wanted)
    except ValueError:
        return
    if len(found) == 16:
        yield found


def _candidates(found: Found) -> list[str]:
    """The ids that its event may have."""
    if found.event is not None:
        return [found.event.id]
    return [event_id(found.key, new=new) for new in (True, False)] if found.key is not None else []


def _ends(places: Sequence[tuple[int, SeenKey]]) -> Sequence[tuple[int, SeenKey]]:
    """The first one, and as many of the last ones as are shown."""
    return [*places[:1], *places[1:][-(LEGS - 1) :]]


def _lots(heads: Sequence[LetterHead]) -> Iterator[list[str]]:
    """Ids of letters that are read together: one of them may be megabytes."""
    lot: list[str] = []
    size = 0
    for head in heads:
        if lot and size + head.size > _READ:
            yield lot
            lot, size = [], 0
        lot.append(head.id)
        size += head.size
    if lot:
        yield lot


def _whose(event: Event) -> tuple[str, Kind | None]:
    """Source id and kind, as `/poller/ID/calls` says them; no kind: what tells a whole hour of a list."""
    parts = event.source.split("/")
    return "/".join(parts[2:-1]), _SORTS.get(parts[-1])


def _seconds(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def _scanned(count: int, oldest: float | None, *, whole: bool) -> str:
    if oldest is None:
        return "The log holds no events." if whole else "The log was not looked through: the store takes too long."
    if whole:
        return f"The whole log: {count} events, back to {instant(oldest)}."
    return (
        f"The newest {count} events of the log, back to {instant(oldest)}. Older ones are found by what identifies them: the "
        "vendor's id of the call or recording, or the id of a first event; not by other ids that they hold."
    )
