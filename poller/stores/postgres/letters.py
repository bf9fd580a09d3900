"""Dead letters in the database: how an event is kept, and what is asked and deleted."""

from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import islice
from operator import attrgetter

import msgspec
import zstandard

from poller.kept import Discarded, LetterHead, LetterPlace, LetterTotal, Which
from poller.model import DeadEvent, DeadRecord, Event
from poller.stores.postgres.database import Database, Row
from poller.stores.postgres.values import storable, to_text

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Event).decode
_compress = zstandard.ZstdCompressor(level=1, write_content_size=True).compress
_decompress = zstandard.ZstdDecompressor().decompress


def pack(event: Event) -> bytes:
    """About half the size of the event."""
    return _compress(_encode(event))


def _unpack(data: bytes) -> Event:
    return _decode(_decompress(data))


# --- looking ---------------------------------------------------------------------------------------------------------


async def totals(database: Database) -> list[LetterTotal]:
    """A few rows, whatever they count."""
    return sorted(LetterTotal(*row) for row in await database.rows("dead_totals"))


async def heads(database: Database, which: Which, after: LetterPlace, until: float, limit: int) -> list[LetterHead]:
    """Records and events merged by time and id."""
    if not all(storable(text or "") for text in (which.sink, which.source, which.reason, after.id)):
        return []
    bound: dict[str, object] = {
        "at": after.at, "id": after.id, "until": until, "source": which.source, "reason": which.reason, "limit": limit,
    }  # fmt: skip
    if which.sink is not None:
        return list(_heads(await database.rows("dead_event_heads_of_sink", sink=which.sink, **bound)))
    sorts = [_heads(await database.rows(name, **bound)) for name in ("dead_record_heads", "dead_event_heads")]
    return list(islice(merge(*sorts, key=attrgetter("at", "id")), limit))


async def like(database: Database, start: str, limit: int) -> list[LetterHead]:
    """By id."""
    if not storable(start):
        return []
    names = ("dead_records_like", "dead_events_like")
    sorts = [_heads(await database.rows(name, start=start, limit=limit)) for name in names]
    return list(islice(merge(*sorts, key=attrgetter("id")), limit))


def _heads(rows: Sequence[Row]) -> Iterator[LetterHead]:
    for what, letter, source, endpoint, sink, shard, reason, error, at, size in rows:
        yield LetterHead(
            what=what, id=letter, source=source, endpoint=endpoint, sink=sink, shard=shard, reason=reason,
            error=to_text(error), at=at, size=size,
        )  # fmt: skip


async def some(database: Database, wanted: Sequence[str]) -> list[DeadRecord | DeadEvent]:
    """In the order of `wanted`."""
    ids = [letter for letter in dict.fromkeys(wanted) if storable(letter)]
    if not ids:
        return []
    found: dict[str, DeadRecord | DeadEvent] = {}
    for row in await database.rows("some_dead_records", ids=ids):
        found[row[0]] = _record(row)
    for row in await database.rows("some_dead_events", ids=ids):
        found[row[0]] = _event(row)
    return [found[letter] for letter in ids if letter in found]


async def record_ids(database: Database, source: str) -> set[str]:
    """From an index alone."""
    return {letter for (letter,) in await database.rows("dead_record_ids", source=source)}


def _record(row: Row) -> DeadRecord:
    letter, source, endpoint, ask, reason, error, raw, offset, at = row
    return DeadRecord(
        id=letter, source=source, endpoint=endpoint, ask=ask, reason=reason, error=to_text(error), raw=raw,
        offset=offset, at=at,
    )  # fmt: skip


def _event(row: Row) -> DeadEvent:
    letter, sink, shard, seq, reason, error, event, at = row
    return DeadEvent(
        id=letter, sink=sink, shard=shard, seq=seq, reason=reason, error=to_text(error), event=_unpack(event), at=at
    )


# --- deleting --------------------------------------------------------------------------------------------------------


async def expire(database: Database, before: float, limit: int) -> tuple[int, int]:
    """How many records and events went, in one statement."""
    ((records, events),) = await database.rows("expire_dead_letters", before=before, limit=limit)
    return records, events


async def discard(database: Database, sink: str, keep: int, limit: int) -> Discarded:
    """The oldest ones, until the rest fits, in one statement."""
    (row,) = await database.rows("discard_dead_events", sink=sink, keep=keep, limit=limit)
    return Discarded(*row)
