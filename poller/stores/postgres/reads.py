"""What each reading call asks, and rows as values."""

from collections.abc import Mapping, Sequence

import msgspec

from poller.errors import Outdated
from poller.kept import Place, Retry
from poller.model import Behind, Event, Held, Position, SeenKey, Segment, Sighting
from poller.protocols import Facts
from poller.stores.postgres.database import Database, Row
from poller.stores.postgres.pool import Session
from poller.stores.postgres.queries import SQL
from poller.stores.postgres.values import array, to_text

_decode = msgspec.msgpack.Decoder(Event).decode


async def look_up(database: Database, held: Held | None, keys: Sequence[SeenKey]) -> dict[int, Sighting]:
    """One statement for each day, all in one round trip."""
    days: dict[int, list[int]] = {}
    for index, key in enumerate(keys):
        days.setdefault(key.day, []).append(index)
    believed = {
        "shard": held and held.shard, "epoch": held and held.epoch,
        "seq": held and held.last.seq, "chain": held and held.last.chain,
    }  # fmt: skip
    bounds = [
        believed
        | {
            "day": day,
            "count": len(indexes),
            "keys": b"".join([keys[index].id + keys[index].state for index in indexes]),
        }
        for day, indexes in days.items()
    ]
    found: dict[int, Sighting] = {}
    if not keys:
        return found
    for (day, indexes), rows in zip(days.items(), await _look_up_days(database, bounds), strict=True):
        found.update(_sightings(day, indexes, keys, rows))
    return found


async def _look_up_days(database: Database, bounds: Sequence[Mapping[str, object]]) -> list[list[Row]]:
    async def work(session: Session) -> list[list[Row]]:
        connection = session.connection
        if len(bounds) == 1:
            return [await (await connection.execute(SQL["look_up"], bounds[0], binary=True)).fetchall()]
        async with connection.pipeline():
            cursors = [await connection.execute(SQL["look_up"], bound, binary=True) for bound in bounds]
        return [await cursor.fetchall() for cursor in cursors]

    return await database.call(work)


def _sightings(day: int, indexes: Sequence[int], keys: Sequence[SeenKey], rows: Sequence[Row]) -> dict[int, Sighting]:
    """Rows: (place, day, state), for each place all states of its id under the three days; (place, null, null) where there is none.

    (-1, null, null) where the shard is not as it is believed to be.
    """
    found: dict[int, Sighting] = {}
    known: dict[int, dict[int, set[bytes]]] = {}
    for place, where, state in rows:
        if place < 0:
            raise Outdated(
                "the store is not as the writer believes: it was restored, emptied, or taken over by another writer"
            )
        if where is None:
            found[indexes[place]] = Sighting(day, 0)
        else:
            known.setdefault(indexes[place], {}).setdefault(where, set()).add(state)
    for index, states in known.items():
        if not any(keys[index].state in group for group in states.values()):
            nearest = min(states, key=lambda where: (abs(where - day), where))  # the earlier one first
            found[index] = Sighting(nearest, len(set().union(*states.values())))
    return found


async def segments_after(database: Database, shard: int, seq: int, max_bytes: int) -> list[Segment]:
    """Oldest first."""
    rows = await database.rows("segments_after", shard=shard, seq=seq, max_bytes=max_bytes)
    return [_segment(row) for row in rows]


async def segments_before(database: Database, shard: int, seq: int, max_bytes: int) -> list[Segment]:
    """Newest first."""
    rows = await database.rows("segments_before", shard=shard, seq=seq, max_bytes=max_bytes)
    return [_segment(row) for row in rows]


async def states_of(database: Database, ids: Sequence[bytes]) -> list[tuple[SeenKey, int]]:
    """One statement."""
    wanted = set(ids)
    rows = await database.rows("states_of", ids=b"".join(wanted), count=len(wanted))
    return [(SeenKey(day, one, state), seq) for day, one, state, seq in rows]


async def find_event(database: Database, shard: int, key: SeenKey) -> Segment | None:
    """By the largest seq of all states of the id: its newest state knows the most."""
    rows = await database.rows("find_event", shard=shard, day=key.day, id=key.id)
    return _segment(rows[0]) if rows else None


def _segment(row: Row) -> Segment:
    first, last, chain, at, data, size, sinks = row
    return Segment(first, last, chain, at, data, size, None if sinks is None else tuple(sinks))


async def backlog(database: Database, shard: int, seq: int, sink: str) -> Behind:
    """From indexes."""
    (row,) = await database.rows("backlog", shard=shard, seq=seq, sink=sink)
    return Behind(*row)


async def holds(database: Database, shard: int, position: Position) -> bool:
    """The beginning is always held."""
    if position == Position():
        return True
    rows = await database.rows("segment_ends", shard=shard, seq=position.seq, chain=position.chain)
    return bool(rows[0][0])


async def retries(database: Database, sink: str, shard: int, seqs: Sequence[int]) -> list[Retry]:
    """By number."""
    wanted = array(seqs)
    return [
        Retry(
            sink=name, shard=number, seq=seq, event=_decode(event), attempts=attempts, step=step, first=first, due=due,
            reason=reason, error=to_text(error),
        )
        for name, number, seq, event, attempts, step, first, due, reason, error in await database.rows(
            "retries", sink=sink, shard=shard, seqs=wanted
        )
    ]  # fmt: skip


async def places(database: Database, sink: str, shard: int) -> list[Place]:
    """By number."""
    rows = await database.rows("places", sink=sink, shard=shard)
    return [Place(seq, to_text(key), due, size) for seq, key, due, size in rows]


async def facts(database: Database) -> Facts:
    """From counts that the writes keep: flat in the size of the store."""
    ((kept, seen, records, events),) = await database.rows("facts")
    return Facts(
        bytes=kept, limit_bytes=database.config.max_bytes, seen_ids=seen, dead_records=records, dead_events=events
    )
