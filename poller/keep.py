"""What a poll read becomes events: keys, look-up, normalise only what is unseen, one commit.

Known records are the common case, ten or more for each new one: for them nothing happens but `keys` and the look-up.
"""

from collections import Counter
from hashlib import blake2b

import msgspec
from msgspec import Struct, field, structs

from poller import checkpoint as checkpoints
from poller import segment
from poller.checkpoint import Checkpoint, Hour, Hours
from poller.clock import Clock
from poller.errors import BadRecord, Outdated, PollerError
from poller.event import Encoder, instant
from poller.hours import Book, counted, hour_of, tell
from poller.identity import Identity, thing
from poller.metrics import RECORD_RESULTS, Metrics
from poller.model import (
    DAY,
    HOUR,
    CheckpointKey,
    DeadRecord,
    Event,
    Keys,
    Mention,
    Normal,
    PageCommit,
    SeenKey,
    Sighting,
    Window,
)
from poller.options import EndpointOptions
from poller.protocols import Endpoint
from poller.shard import Shard
from poller.tally import Tally

BROKEN = "\ufffd".encode()
"""What stands for bytes that could not be decoded."""
_BROKEN_FIRST = BROKEN[0]
"""Looked for first: one byte is found many times faster than three."""
NEAR_REACH = 0.8
"""Rows later than this share of the longest rung's reach are counted and warned about."""


class Walk(Struct):
    """One window while it is read, page by page: what is known when it begins, and what shows meanwhile."""

    ask: str
    generation: int
    """The shard's belief under which the checkpoint was read: what a store without it would be told is void."""
    asked: Window
    tolerance: int
    """Seconds by which a record may lie outside `asked` without suspicion."""
    horizon: int
    """Records with own time before it are never new."""
    read_until: int | None
    complete_until: int | None
    reach: int
    """`back` of the longest rung."""
    offset: int | None = None
    """The vendor's UTC offset as its answers show it."""
    ordinals: Counter[str] = field(default_factory=Counter)
    inside: int = 0
    outside: int = 0


class _Chunk(Struct):
    """What one call of `keep` gathers."""

    tally: Tally
    commit: PageCommit
    recorded: str
    """When its events are first seen."""
    events: list[Event] = field(default_factory=list)
    mentions: dict[str, Mention] = field(default_factory=dict)
    hours: dict[int, Hour] = field(default_factory=dict)
    """What became of the records by the hour of their own time, where that is counted."""


class Keeper:
    """Keeps what is unseen of one endpoint of one source."""

    def __init__(
        self,
        source: str,
        endpoint: Endpoint,
        options: EndpointOptions,
        shard: Shard,
        *,
        metrics: Metrics,
        clock: Clock,
        mentions: bool,
        name: str,
        book: Book | None = None,
    ) -> None:
        """`book`: where hours are counted for the sinks that ask for them; None: nobody does."""
        self._source = source
        self._endpoint = endpoint
        self._options = options
        self._shard = shard
        self._metrics = metrics
        self._clock = clock
        self._name = name
        self.book = book
        self._near = metrics.near_reach_rows[name, endpoint.name]
        self._late = metrics.late_arrival_seconds.labels(endpoint.name)
        self._encoder = Encoder(source, endpoint.kind)
        self._recordings = (Identity(source, "recording"), Encoder(source, "recording")) if mentions else None
        self._reported: set[str] = set()
        self.identities: list[tuple[int, Identity]] = [(0, self.identity(options.dedupe_by))]

    def identity(self, dedupe_by: str) -> Identity:
        """How ids are hashed under a `dedupe_by`."""
        return Identity(self._source, self._endpoint.kind, rows=dedupe_by == "row")

    async def keep(
        self,
        records: list[bytes],
        walk: Walk,
        checkpoint: Checkpoint | None = None,
        *,
        advances: bool = False,
        closes: tuple[str, ...] = (),
    ) -> Tally:
        """Commits what is unseen among `records`, and what is known then: one transaction, or none where nothing changes.

        `checkpoint`: of the list that they come from. `advances`: it says more than the store knows; else it is written only where
        counts of hours have changed. `closes`: dead letters that this commit ends. Raises StoreFault and Outdated; nothing is counted then.
        """
        commit = PageCommit(closes=closes)
        chunk = _Chunk(Tally(), commit, instant(self._clock.now()))
        kept, rows, keys = self._keys(records, walk, chunk)
        async with self._shard.lock:
            if walk.generation != self._shard.generation:
                raise Outdated("the store was believed anew while this window was read: it is read again")
            await self._unseen(kept, rows, keys, walk, chunk)
            await self._mentioned(chunk)
            hours = await self._note(checkpoint, walk, chunk, advances=advances)
            if commit.seen or commit.dead or commit.checkpoints or closes:
                await self._commit(commit, chunk.events)
            if self.book is not None and hours is not None:
                self.book.note(walk.ask, walk.generation, hours, checkpoint if commit.checkpoints else None)
        self._count(chunk)
        return chunk.tally

    async def look(
        self, records: list[bytes], walk: Walk
    ) -> tuple[list[Keys], list[SeenKey], dict[int, Sighting], Tally]:
        """What the store knows of records, without writing: of those it can know, what identifies each, and what is unseen."""
        chunk = _Chunk(Tally(), PageCommit(), "")
        _, rows, keys = self._keys(records, walk, chunk)
        sightings = await self._shard.store.look_up(None, keys) if keys else {}
        return rows, keys, sightings, chunk.tally

    def inside(self, record: bytes, walk: Walk) -> bool:
        """Whether a record lies in the period that was asked for, as far as it shows."""
        try:
            own = self._endpoint.keys(record, walk.offset).own
        except Exception:  # noqa: BLE001 what cannot be read shows nothing; `keep` will say so
            return False
        return own is None or abs(own - (walk.asked.begin + walk.asked.end) / 2) <= walk.asked.span / 2 + walk.tolerance

    def _keys(self, records: list[bytes], walk: Walk, chunk: _Chunk) -> tuple[list[bytes], list[Keys], list[SeenKey]]:
        """The records that may be unseen, what identifies each, and its key: three lists of one length."""
        kept: list[bytes] = []
        rows: list[Keys] = []
        seen: list[SeenKey] = []
        keys_of, horizon, offset = self._endpoint.keys, walk.horizon, walk.offset
        low, high = walk.asked.begin - walk.tolerance, walk.asked.end + walk.tolerance
        counts = self.book is not None and self.book.counts
        hour, end = Hour(0), 0
        identities = self.identities
        identity = identities[-1][1]
        seen_key = identity.seen_key
        for record in records:
            try:
                keys = keys_of(record, offset)
                if _BROKEN_FIRST in record and BROKEN in record:
                    _check_broken(record, keys)
            except Exception as error:  # noqa: BLE001 whatever one record does, its neighbours go on
                self._bury(record, walk, error, chunk.commit)
                chunk.tally.invalid += 1
                continue
            own = keys.own
            if own is not None:
                if low <= own <= high:
                    walk.inside += 1
                else:
                    walk.outside += 1
                if own < horizon:
                    chunk.tally.filtered += 1
                    continue
                if counts:
                    if not hour.begin <= own < end:
                        hour, end = hour_of(own, chunk.hours)
                    hour.duplicate += 1  # until it turns out to be something else
            if len(identities) > 1:
                identity = self._identity_at(keys)
                seen_key = identity.seen_key
            seen.append(seen_key(keys, _ordinal(keys, walk, identity) if keys.counted else 0))
            rows.append(keys)
            kept.append(record)
        return kept, rows, seen

    def _identity_at(self, keys: Keys) -> Identity:
        """A changed `dedupe_by` holds for records dated after the change; where only a day is known, from the second day on.

        The day may be the vendor's local one, and what was published on the day of the change must not come again.
        """
        at = keys.own if keys.own is not None else (keys.day - 1) * DAY
        for since, identity in reversed(self.identities):
            if at >= since:
                return identity
        return self.identities[0][1]

    async def _unseen(
        self, records: list[bytes], rows: list[Keys], keys: list[SeenKey], walk: Walk, chunk: _Chunk
    ) -> None:
        """What is unseen becomes events, one record after the other: what a record needs on its way is gone before the next."""
        tally, commit = chunk.tally, chunk.commit
        sightings = await self._shard.store.look_up(self._shard.held, keys) if keys else {}
        tally.duplicate += len(rows) - len(sightings)
        here: dict[bytes, list[SeenKey]] = {}
        repeated = len({keys[index].id for index in sightings}) < len(sightings)
        for index in sorted(sightings):
            sighting, key = sightings[index], keys[index]
            among = here.get(key.id, ()) if repeated else ()
            if among and any(known.state == key.state for known in among):
                tally.duplicate += 1
                continue
            day = among[0].day if among else sighting.day
            if day != key.day:
                key = SeenKey(day, key.id, key.state)
            states = sighting.states + len(among)
            if states and self._options.on_change == "ignore":
                commit.seen.append((key, 0))
                tally.duplicate += 1
            elif (normal := self._normalise(records[index], walk, commit)) is None:
                tally.invalid += 1
                if (hour := counted(chunk.hours, rows[index].own)) is not None:
                    hour.invalid, hour.duplicate = hour.invalid + 1, hour.duplicate - 1
                continue
            else:
                self._mark(normal, rows[index], states, walk, chunk)
                self._publish(normal, key, states, chunk)
            if repeated:
                here.setdefault(key.id, []).append(key)

    def _publish(self, normal: Normal, key: SeenKey, states: int, chunk: _Chunk) -> None:
        if states:
            chunk.tally.updated += 1
        else:
            chunk.tally.new += 1
        self._append(self._encoder, normal, key, chunk, new=not states)
        for mention in normal.mentions:
            chunk.mentions[mention.id] = mention

    def _append(self, encoder: Encoder, normal: Normal, key: SeenKey, chunk: _Chunk, *, new: bool) -> None:
        """Encodes an event and remembers its key, under the number that its commit will give it."""
        seq = self._shard.held.last.seq + len(chunk.events) + 1
        chunk.events.append(encoder.event(normal, key, new=new, seq=seq, recorded=chunk.recorded))
        chunk.commit.seen.append((key, seq))

    def _normalise(self, record: bytes, walk: Walk, commit: PageCommit) -> Normal | None:
        try:
            return self._endpoint.normalise(record, walk.offset)
        except Exception as error:  # noqa: BLE001 whatever one record does, its neighbours go on
            self._bury(record, walk, error, commit)
            return None

    def _mark(self, normal: Normal, keys: Keys, states: int, walk: Walk, chunk: _Chunk) -> None:
        """Revision and lateness. Late: the record's span had been claimed complete, as far as it shows where it belongs."""
        normal.data.revision = states + 1
        own, complete, hour = keys.own, walk.complete_until, counted(chunk.hours, keys.own)
        normal.data.late = complete is not None and (walk.asked.end <= complete if own is None else own < complete)
        if hour is not None:
            hour.duplicate -= 1
            hour.new, hour.updated = hour.new + (not states), hour.updated + (states > 0)
        if own is None or walk.read_until is None or own >= walk.read_until:
            return
        lateness = self._clock.now() - own
        self._late.observe(lateness)
        chunk.tally.late += 1
        chunk.tally.latest = max(chunk.tally.latest, lateness)
        if hour is not None:
            hour.late_by = max(hour.late_by or 0.0, lateness)
        if lateness > NEAR_REACH * walk.reach:
            self._near.inc()

    async def _mentioned(self, chunk: _Chunk) -> None:
        """Publishes the recordings that new or changed calls name and that no list and no other call has shown yet."""
        if self._recordings is None or not chunk.mentions:
            return
        identity, encoder = self._recordings
        mentions = list(chunk.mentions.values())
        keys = [identity.mention_key(mention.id, mention.day) for mention in mentions]
        sightings = await self._shard.store.look_up(self._shard.held, keys)
        for index, sighting in sorted(sightings.items()):
            if not sighting.states:
                self._append(encoder, _as_normal(mentions[index]), keys[index], chunk, new=True)

    async def _note(self, checkpoint: Checkpoint | None, walk: Walk, chunk: _Chunk, *, advances: bool) -> Hours | None:
        """Adds the checkpoint to the commit, with the counts of hours and what tells those that are whole with it."""
        book, hours, commit = self.book, None, chunk.commit
        if checkpoint is not None and book is not None:
            hours = book.counted(walk.ask, walk.generation, chunk.hours, walk.asked.end)
        if checkpoint is None or not (advances or any(hour.new or hour.updated for hour in chunk.hours.values())):
            return hours
        if book is not None and hours is not None and (due := book.due(walk.ask, walk.generation, checkpoint, hours)):
            keys = [book.key(whole) for whole in due]
            # Told once, whatever the store forgot and was given back.
            for index in sorted(await self._shard.store.look_up(self._shard.held, keys)):
                seq = self._shard.held.last.seq + len(chunk.events) + 1
                chunk.events.append(book.event(due[index], keys[index], seq, chunk.recorded))
                commit.seen.append((keys[index], seq))
            hours = tell(hours, due[-1].begin + HOUR)
        key = CheckpointKey(self._source, self._endpoint.name, walk.ask)
        commit.checkpoints = {key: checkpoints.dump(structs.replace(checkpoint, hours=hours))}
        return hours

    async def _commit(self, commit: PageCommit, events: list[Event]) -> None:
        shard, began = self._shard, self._clock.mono()
        if events:
            commit.segment = segment.pack(events, shard.held.last, self._clock.now())
        shard.held = await shard.store.commit_page(shard.held, commit)
        self._metrics.store_commit_seconds.observe(self._clock.mono() - began)
        if events:
            shard.tell()

    def _bury(self, record: bytes, walk: Walk, error: Exception, commit: PageCommit) -> None:
        """A dead letter with the record's bytes, once: the store keeps one of the same id."""
        name = self._endpoint.name
        identifier = blake2b(f"{self._source}\0{name}\0".encode() + record, digest_size=16).hexdigest()
        if identifier in self._reported:
            return
        commit.dead.append(
            DeadRecord(
                id=identifier,
                source=self._source,
                endpoint=name,
                ask=walk.ask,
                reason=BadRecord.reason,
                error=str(error) if isinstance(error, PollerError) else f"a defect of this program: {error!r}",
                raw=record,
                offset=walk.offset,
                at=self._clock.now(),
            )
        )

    def _count(self, chunk: _Chunk) -> None:
        """After the commit, so that a failed one counts nothing twice."""
        for result in RECORD_RESULTS:
            if count := getattr(chunk.tally, result):
                self._metrics.records[self._name, self._endpoint.name, result].inc(count)
        for kind, count in Counter(event.type for event in chunk.events).items():
            self._metrics.events[kind].inc(count)
        for dead in chunk.commit.dead:
            if dead.id not in self._reported:
                self._reported.add(dead.id)
                self._metrics.record_dead_letters[dead.endpoint, dead.reason].inc()

    def knows_dead(self, identifiers: set[str]) -> None:
        """Dead letters that the store holds already."""
        self._reported |= identifiers


def _check_broken(record: bytes, keys: Keys) -> None:
    """Bytes of another charset were replaced. In a name that is a blemish; in what identifies the thing it makes up a state."""
    if "\ufffd" in keys.id or "\ufffd" in keys.state or any("\ufffd" in name for name in msgspec.json.decode(record)):
        raise BadRecord("the record's id, its declared fields or its field names hold bytes that are no UTF-8")


def _ordinal(keys: Keys, walk: Walk, identity: Identity) -> int:
    """Equal rows of one answer without a vendor id are different things: the first is 0, the next 1."""
    text = thing(keys, 0, rows=identity.rows)
    ordinal = walk.ordinals[text]
    walk.ordinals[text] += 1
    return ordinal


def _as_normal(mention: Mention) -> Normal:
    data = mention.data
    key = data.call_id or data.connection_id or data.uniqueid or mention.id
    return Normal(data=data, subject=mention.id, time=data.started_at, partition_key=key)
