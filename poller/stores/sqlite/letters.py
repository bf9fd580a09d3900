"""Dead letters in the file: how an event is kept, and what is asked and deleted."""

import sqlite3
from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Any

import msgspec
import zstandard

from poller.kept import Discarded, LetterHead, LetterPlace, LetterTotal, Which
from poller.model import DeadEvent, DeadRecord, Event
from poller.stores.sqlite.file import Database
from poller.stores.sqlite.queries import SQL

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Event).decode
_compress = zstandard.ZstdCompressor(level=1, write_content_size=True).compress
_decompress = zstandard.ZstdDecompressor().decompress
_MAGIC = zstandard.FRAME_HEADER


def pack(event: Event) -> bytes:
    """About half the size of the event."""
    return _compress(_encode(event))


def unpack(data: bytes) -> Event:
    """Older rows are not compressed; an event's first byte cannot be that of a compressed one."""
    return _decode(_decompress(data) if data.startswith(_MAGIC) else data)


# --- looking ---------------------------------------------------------------------------------------------------------


def totals(connection: sqlite3.Connection) -> list[LetterTotal]:
    """A few rows, whatever they count."""
    return [LetterTotal(*row) for row in connection.execute(SQL["dead_totals"])]


def heads(
    connection: sqlite3.Connection, which: Which, after: LetterPlace, until: float, limit: int
) -> list[LetterHead]:
    """Records and events merged by time and id."""
    bound = {
        "at": after.at, "id": after.id, "until": until, "sink": which.sink, "source": which.source,
        "reason": which.reason, "limit": limit,
    }  # fmt: skip
    statements = ("dead_record_heads", "dead_event_heads") if which.sink is None else ("dead_event_heads_of_sink",)
    sorts = [_heads(connection, statement, bound) for statement in statements]
    return list(islice(merge(*sorts, key=lambda head: (head.at, head.id)), limit))


def _heads(connection: sqlite3.Connection, statement: str, bound: dict[str, object]) -> Iterator[LetterHead]:
    for what, letter, source, endpoint, sink, shard, reason, error, at, size in connection.execute(
        SQL[statement], bound
    ):
        yield LetterHead(
            what=what, id=letter, source=source, endpoint=endpoint, sink=sink, shard=shard, reason=reason, error=error, at=at,
            size=size,
        )  # fmt: skip


def like(connection: sqlite3.Connection, start: str, limit: int) -> list[LetterHead]:
    """By id."""
    bound: dict[str, object] = {"start": start, "limit": limit}
    sorts = [_heads(connection, statement, bound) for statement in ("dead_records_like", "dead_events_like")]
    return list(islice(merge(*sorts, key=lambda head: head.id), limit))


def some(connection: sqlite3.Connection, wanted: Sequence[str]) -> list[DeadRecord | DeadEvent]:
    """One look-up for each."""
    found: list[DeadRecord | DeadEvent] = []
    for letter in dict.fromkeys(wanted):
        if (row := connection.execute(SQL["dead_event"], (letter,)).fetchone()) is not None:
            found.append(_event(row))
        elif (row := connection.execute(SQL["dead_record"], (letter,)).fetchone()) is not None:
            found.append(_record(row))
    return found


def record_ids(connection: sqlite3.Connection, source: str) -> set[str]:
    """From an index alone."""
    return {letter for (letter,) in connection.execute(SQL["dead_record_ids"], (source,))}


def _record(row: tuple[Any, ...]) -> DeadRecord:
    letter, source, endpoint, ask, reason, error, raw, offset, at = row
    return DeadRecord(
        id=letter, source=source, endpoint=endpoint, ask=ask, reason=reason, error=error, raw=raw, offset=offset, at=at
    )


def _event(row: tuple[Any, ...]) -> DeadEvent:
    letter, sink, shard, seq, reason, error, event, at = row
    return DeadEvent(id=letter, sink=sink, shard=shard, seq=seq, reason=reason, error=error, event=unpack(event), at=at)


# --- deleting --------------------------------------------------------------------------------------------------------


def expire(database: Database, before: float, limit: int) -> tuple[int, int]:
    """How many records and events went."""
    gone = {"dead_record": 0, "dead_event": 0}
    with database.transaction() as connection:
        for letter, kind, _ in connection.execute(
            SQL["old_dead_letters"], {"before": before, "limit": limit}
        ).fetchall():
            gone[kind] += connection.execute(SQL[f"close_{kind}"], (letter,)).rowcount
    return gone["dead_record"], gone["dead_event"]


def discard(database: Database, sink: str, keep: int, limit: int) -> Discarded:
    """The oldest ones, until the rest fits."""
    gone = Discarded()
    with database.transaction() as connection:
        (size,) = connection.execute(SQL["dead_event_bytes"], (sink,)).fetchone()
        if size <= keep:
            return gone
        for letter, bytes_, at in connection.execute(SQL["oldest_dead_events"], (sink, limit)).fetchall():
            if size - gone.bytes <= keep:
                break
            connection.execute(SQL["close_dead_event"], (letter,))
            gone = Discarded(gone.letters + 1, gone.bytes + bytes_, at)
    return gone
