"""What each reading call asks."""

import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from poller.errors import Outdated
from poller.kept import Place, Retry
from poller.model import Behind, CheckpointKey, Event, Held, Position, SeenKey, Segment, Sighting
from poller.protocols import Facts
from poller.stores.sqlite import letters, ranges
from poller.stores.sqlite.config import Config
from poller.stores.sqlite.queries import SQL

_decode = msgspec.msgpack.Decoder(Event).decode
AT_ONCE = 4_096
"""Keys that one statement looks for or remembers: as many as it has numbers for."""
_FIRST_DAY = -(1 << 62)
_names = msgspec.json.Decoder(tuple[str, ...]).decode


def check(connection: sqlite3.Connection, held: Held) -> None:
    """Raises Outdated where the shard is not as the writer believes."""
    row = connection.execute(SQL["read_shard"], (held.shard,)).fetchone()
    if row != (held.epoch, held.last.seq, held.last.chain):
        found = "knows nothing of it" if row is None else f"has epoch {row[0]} and last seq {row[1]}"
        raise Outdated(
            f"shard {held.shard}: the writer believes epoch {held.epoch} and last seq {held.last.seq}, the store {found}: "
            "it was restored, emptied, or taken over by another writer"
        )


def look_up(connection: sqlite3.Connection, held: Held | None, keys: Sequence[SeenKey]) -> dict[int, Sighting]:
    """One statement for each day finds what is not known exactly; only for those the neighbours are looked at."""
    if held is not None:
        check(connection, held)
    found: dict[int, Sighting] = {}
    for day, all_indexes in _by_day(keys).items():
        for at in range(0, len(all_indexes), AT_ONCE):
            indexes = all_indexes[at : at + AT_ONCE]
            packed = b"".join([keys[index].id + keys[index].state for index in indexes])
            bound = {"day": day, "keys": packed, "count": len(indexes)}
            # By place: one that the day knows in several other states comes several times.
            unknown = dict(connection.execute(SQL["unknown"], bound))
            if unknown:
                here = [indexes[place] for place, under_this_day in unknown.items() if under_this_day]
                found.update(_sightings(connection, day, [indexes[place] for place in unknown], here, keys))
    return found


def _by_day(keys: Sequence[SeenKey]) -> Mapping[int, Sequence[int]]:
    """The places of the keys; those of a page are mostly of one day."""
    if len({key.day for key in keys}) == 1:
        return {keys[0].day: range(len(keys))}
    days: dict[int, list[int]] = {}
    for index, key in enumerate(keys):
        days.setdefault(key.day, []).append(index)
    return days


def _sightings(
    connection: sqlite3.Connection, day: int, unknown: list[int], here: list[int], keys: Sequence[SeenKey]
) -> dict[int, Sighting]:
    """`here`: those of the unknown ones whose id the day itself knows in other states."""
    known: dict[int, dict[int, set[bytes]]] = {}
    for where, indexes in ((day, here), (day - 1, unknown), (day + 1, unknown)):
        for index, state in _states(connection, where, indexes, keys):
            known.setdefault(index, {}).setdefault(where, set()).add(state)
    found = dict.fromkeys(unknown, Sighting(day, 0))  # the common case here: never seen under any of the three days
    for index, states in known.items():
        if any(keys[index].state in group for group in states.values()):
            del found[index]
        else:
            found[index] = sighting(day, states)
    return found


def _states(
    connection: sqlite3.Connection, day: int, indexes: list[int], keys: Sequence[SeenKey]
) -> Iterator[tuple[int, bytes]]:
    """What one day knows of some ids. The day after the newest is empty: the common case takes one look."""
    if not indexes or not connection.execute(SQL["day_known"], (day,)).fetchone()[0]:
        return
    bound = {"day": day, "ids": b"".join([keys[index].id for index in indexes]), "count": len(indexes)}
    for place, state in connection.execute(SQL["states"], bound):
        yield indexes[place], state


def sighting(day: int, states: dict[int, set[bytes]]) -> Sighting:
    """The nearest day counts as the id's, the earlier one first; the states of all three days count."""
    if not states:
        return Sighting(day, 0)
    nearest = min(states, key=lambda where: (abs(where - day), where))
    return Sighting(nearest, len(set().union(*states.values())))


def seen_after(connection: sqlite3.Connection, after: SeenKey | None, limit: int) -> list[SeenKey]:
    """In the order of the primary key."""
    begin = (_FIRST_DAY, b"", b"") if after is None else (after.day, after.id, after.state)
    return [SeenKey(*row) for row in connection.execute(SQL["seen_list"], (*begin, limit))]


def segments_after(connection: sqlite3.Connection, shard: int, seq: int, max_bytes: int) -> list[Segment]:
    """Stops reading rows once there is enough."""
    return _some(connection.execute(SQL["segments_after"], (shard, seq)), max_bytes)


def segments_before(connection: sqlite3.Connection, shard: int, seq: int, max_bytes: int) -> list[Segment]:
    """Newest first."""
    return _some(connection.execute(SQL["segments_before"], (shard, seq)), max_bytes)


def _some(rows: Iterator[tuple[Any, ...]], max_bytes: int) -> list[Segment]:
    segments: list[Segment] = []
    size = 0
    for row in rows:
        segment = _segment(row)
        size += segment.recorded_bytes
        if segments and size > max_bytes:
            break
        segments.append(segment)
    return segments


def holds(connection: sqlite3.Connection, shard: int, position: Position) -> bool:
    """The beginning is always held."""
    if position == Position():
        return True
    place = (shard, position.seq, position.chain)
    return connection.execute(SQL["segment_ends"], place * 2).fetchone() is not None


def find_event(connection: sqlite3.Connection, shard: int, key: SeenKey) -> Segment | None:
    """By the largest seq of all states of the id: its newest state knows the most."""
    (seq,) = connection.execute(SQL["latest_seq"], {"day": key.day, "id": key.id}).fetchone()
    if seq is None:
        return None
    row = connection.execute(SQL["segment_with"], {"shard": shard, "seq": seq}).fetchone()
    return None if row is None else _segment(row)


def states_of(connection: sqlite3.Connection, ids: Sequence[bytes]) -> list[tuple[SeenKey, int]]:
    """One statement."""
    bound = {"ids": b"".join(set(ids)), "count": len(set(ids))}
    return [(SeenKey(day, one, state), seq) for day, one, state, seq in connection.execute(SQL["states_of"], bound)]


def checkpoints(connection: sqlite3.Connection, source: str | None) -> dict[CheckpointKey, bytes]:
    """By their keys."""
    rows = connection.execute(SQL["checkpoints"], (source,))
    return {CheckpointKey(name, endpoint, ask): value for name, endpoint, ask, value in rows}


def position(connection: sqlite3.Connection, sink: str, shard: int) -> Position | None:
    """None: it has none."""
    row = connection.execute(SQL["position"], (sink, shard)).fetchone()
    return None if row is None else Position(*row)


def positions(connection: sqlite3.Connection) -> dict[tuple[str, int], Position]:
    """By sink and shard."""
    rows = connection.execute(SQL["positions"])
    return {(sink, shard): Position(seq, chain) for sink, shard, seq, chain in rows}


def done(connection: sqlite3.Connection, sink: str, shard: int) -> tuple[int, ...]:
    """Without those that the position has passed since, on a way that writes none."""
    seq, packed = connection.execute(SQL["done"], (sink, shard)).fetchone() or (0, b"")
    return tuple(number for number in ranges.unpack(packed) if number > seq)


def places(connection: sqlite3.Connection, sink: str, shard: int) -> list[Place]:
    """By number."""
    return [Place(*row) for row in connection.execute(SQL["places"], (sink, shard))]


def retries(connection: sqlite3.Connection, sink: str, shard: int, seqs: Sequence[int]) -> list[Retry]:
    """By number."""
    rows = [connection.execute(SQL["retry"], (sink, shard, seq)).fetchone() for seq in sorted(set(seqs))]
    return [
        Retry(
            sink=name, shard=number, seq=seq, event=_decode(event), attempts=attempts, step=step, first=first, due=due,
            reason=reason, error=error,
        )
        for name, number, seq, event, attempts, step, first, due, reason, error in filter(None, rows)
    ]  # fmt: skip


def retrying(connection: sqlite3.Connection) -> dict[tuple[str, int], int]:
    """From an index alone."""
    return {(sink, shard): count for sink, shard, count in connection.execute(SQL["retrying"])}


def backlog(connection: sqlite3.Connection, shard: int, seq: int, sink: str) -> Behind:
    """From the index alone."""
    return Behind(*connection.execute(SQL["backlog"], {"shard": shard, "seq": seq, "sink": sink}).fetchone())


def _segment(row: tuple[Any, ...]) -> Segment:
    first, last, chain, at, data, size, only = row
    return Segment(first, last, chain, at, data, size, _names(only) if only else None)


def get_meta(connection: sqlite3.Connection, name: str) -> str | None:
    """None: there is none."""
    row = connection.execute(SQL["get_meta"], (name,)).fetchone()
    return None if row is None else str(row[0])


def facts(connection: sqlite3.Connection, config: Config) -> Facts:
    """From counters and the file's header: flat in the size of the store."""
    counters = dict(connection.execute(SQL["counters"]).fetchall())
    (used,) = connection.execute(SQL["used_bytes"]).fetchone()
    dead = letters.totals(connection)
    return Facts(
        bytes=used,
        limit_bytes=config.max_bytes,
        free_bytes=_free(config.path),
        least_free_bytes=config.min_free,
        seen_ids=counters["seen"],
        dead_records=sum(total.letters for total in dead if total.what == "record"),
        dead_events=sum(total.letters for total in dead if total.what == "event"),
    )


def _free(path: Path) -> int | None:
    try:
        return shutil.disk_usage(path.parent).free
    except OSError:
        return None
