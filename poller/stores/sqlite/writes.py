"""What each writing call does in its one transaction. Runs in the writer's thread."""

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from poller.kept import Attempted, Retry
from poller.model import CheckpointKey, DeadEvent, DeadRecord, Healing, Held, PageCommit, Position, SeenKey, Segment
from poller.stores.sqlite import letters, ranges
from poller.stores.sqlite.file import Database
from poller.stores.sqlite.queries import SQL
from poller.stores.sqlite.reads import AT_ONCE, check

_encode = msgspec.msgpack.Encoder().encode
_json = msgspec.json.Encoder().encode
_HOLDING = ("seen", "segment", "checkpoint", "position", "retry", "dead_record", "dead_event")


def hold(database: Database, shard: int) -> Held:
    """Raises the epoch and tells what is there."""
    with database.transaction() as connection:
        epoch, seq, chain = connection.execute(SQL["hold"], (shard,)).fetchone()
    return Held(shard, epoch, Position(seq, chain))


def commit_page(database: Database, held: Held, page: PageCommit) -> Held:
    """Seen ids, events, checkpoints and dead letters, or nothing."""
    database.check_room()
    with database.transaction() as connection:
        check(connection, held)
        last = held.last
        if page.segment is not None:
            last = _append(connection, held.shard, last, [page.segment])
            _move(connection, held.shard, last)
        _remember(connection, page.seen)
        _write_checkpoints(connection, page.checkpoints)
        _add_dead_records(connection, page.dead)
        _close_dead_letters(connection, page.closes)
    return Held(held.shard, held.epoch, last)


def delivered(database: Database, held: Held, sink: str, position: Position, dead: Sequence[DeadEvent]) -> None:
    """The dead letters are there before the position passes them."""
    with database.transaction() as connection:
        check(connection, held)
        _deliver(connection, held.shard, sink, position, dead)


def attempted(database: Database, held: Held, sink: str, came: Attempted) -> None:
    """Outcomes, dead letters and the position, or nothing."""
    place = (sink, held.shard)
    with database.transaction() as connection:
        check(connection, held)
        connection.executemany(SQL["keep_retry"], (_retry_row(place, retry) for retry in came.later))
        connection.executemany(SQL["retry_due"], ((due, *place, seq) for seq, due in came.due.items()))
        connection.executemany(SQL["drop_retry"], ((*place, seq) for seq in came.over))
        _deliver(connection, held.shard, sink, came.position, came.dead)
        connection.execute(SQL["write_done"], (ranges.pack(came.done), *place))


def heal(database: Database, held: Held, healing: Healing) -> Held:
    """Nothing of the log is dropped."""
    with database.transaction() as connection:
        check(connection, held)
        if healing.position.seq < held.last.seq:
            raise ValueError(f"a healing goes back: {healing.position.seq} < {held.last.seq}")
        _append(connection, held.shard, healing.position, healing.segments)
        _move(connection, held.shard, healing.last)
        _remember(connection, healing.seen)
        _write_checkpoints(connection, healing.checkpoints)
        _deliver(connection, held.shard, healing.sink, healing.position, [])
    return Held(held.shard, held.epoch, healing.last)


def expire_segments(database: Database, limit: int, before: float, sinks: Collection[str] | None) -> int:
    """A shard without any position keeps everything: its sinks are not registered yet."""
    passed: dict[int, int] = {}
    gone = 0
    with database.transaction() as connection:
        for sink, shard, seq, _ in connection.execute(SQL["positions"]).fetchall():
            if sinks is None or sink in sinks:
                passed[shard] = min(seq, passed.get(shard, seq))
        for shard, seq in passed.items():
            bounds = {"shard": shard, "passed": seq, "before": before, "limit": limit - gone}
            gone += connection.execute(SQL["expire_segments"], bounds).rowcount
    return gone


def expire_seen(database: Database, limit: int, day: int) -> int:
    """The oldest rows first, as one range."""
    with database.transaction() as connection:
        after = connection.execute(SQL["seen_after"], {"day": day, "limit": limit}).fetchone()
        statement, bounds = ("expire_seen", (day,)) if after is None else ("expire_seen_to", after)
        gone = connection.execute(SQL[statement], bounds).rowcount
        connection.execute(SQL["count"], (-gone, "seen"))
    return gone


def forget_sink(database: Database, sink: str) -> bool:
    """Positions, what was noted behind them, retries and dead events."""
    with database.transaction() as connection:
        retries = connection.execute(SQL["forget_retries"], (sink,)).rowcount
        events = connection.execute(SQL["forget_dead_events"], (sink,)).rowcount
        positions = connection.execute(SQL["forget_positions"], (sink,)).rowcount
    return bool(events or positions or retries)


def forget_source(database: Database, source: str) -> bool:
    """Checkpoints."""
    with database.transaction() as connection:
        return connection.execute(SQL["forget_checkpoints"], (source,)).rowcount > 0


def empty(database: Database, held: Sequence[Held]) -> None:
    """Each table whole, which does not visit its rows, but for dead letters: those are counted."""
    with database.transaction() as connection:
        for one in held:
            check(connection, one)
            _move(connection, one.shard, Position())
        for table in _HOLDING:
            connection.execute(SQL[f"empty_{table}"])
        connection.execute(SQL["count_nothing"])


def put_meta(database: Database, name: str, value: str | None) -> None:
    """None removes."""
    with database.transaction() as connection:
        if value is None:
            connection.execute(SQL["drop_meta"], (name,))
        else:
            connection.execute(SQL["put_meta"], (name, value))


def swap_meta(database: Database, name: str, before: str | None, value: str) -> bool:
    """False where something else is there."""
    with database.transaction() as connection:
        if before is None:
            return connection.execute(SQL["first_meta"], (name, value)).rowcount > 0
        return connection.execute(SQL["swap_meta"], (value, name, before)).rowcount > 0


def _append(connection: sqlite3.Connection, shard: int, last: Position, segments: Sequence[Segment]) -> Position:
    for segment in segments:
        if segment.first != last.seq + 1:
            raise ValueError(f"a segment begins at {segment.first} behind {last.seq}")
        sinks = "" if segment.only is None else _json(segment.only).decode()
        connection.execute(
            SQL["append"],
            (
                shard,
                segment.first,
                segment.last,
                segment.chain,
                segment.at,
                segment.data,
                segment.recorded_bytes,
                sinks,
            ),
        )
        last = Position(segment.last, segment.chain)
    return last


def _move(connection: sqlite3.Connection, shard: int, last: Position) -> None:
    connection.execute(SQL["move_shard"], (last.seq, last.chain, shard))


def _remember(connection: sqlite3.Connection, seen: Iterable[tuple[SeenKey, int]]) -> None:
    days: dict[int, list[bytes]] = {}
    for key, seq in seen:
        days.setdefault(key.day, []).append(b"%b%b%019d" % (key.id, key.state, seq))
    for day, rows in sorted(days.items()):
        rows.sort()  # in the order of the key: neighbours share pages
        for at in range(0, len(rows), AT_ONCE):
            some = rows[at : at + AT_ONCE]
            bound = {"day": day, "rows": b"".join(some), "count": len(some)}
            _count(connection, "seen", connection.execute(SQL["remember"], bound))


def _write_checkpoints(connection: sqlite3.Connection, checkpoints: Mapping[CheckpointKey, bytes]) -> None:
    rows = ((key.source, key.endpoint, key.ask, value) for key, value in checkpoints.items())
    connection.executemany(SQL["write_checkpoint"], rows)


def _add_dead_records(connection: sqlite3.Connection, dead: Sequence[DeadRecord]) -> None:
    rows = ((d.id, d.source, d.endpoint, d.ask, d.reason, d.error, d.raw, d.offset, d.at) for d in dead)
    connection.executemany(SQL["add_dead_record"], rows)


def _deliver(
    connection: sqlite3.Connection, shard: int, sink: str, position: Position, dead: Sequence[DeadEvent]
) -> None:
    connection.executemany(SQL["add_dead_event"], map(_dead_event_row, dead))
    connection.execute(SQL["write_position"], (sink, shard, position.seq, position.chain))


def _retry_row(place: tuple[str, int], retry: Retry) -> tuple[object, ...]:
    event = retry.event
    return (
        *place, retry.seq, event.key, retry.due, len(event.body), retry.attempts, retry.step, retry.first, retry.reason,
        retry.error, _encode(event),
    )  # fmt: skip


def _dead_event_row(dead: DeadEvent) -> tuple[object, ...]:
    return (
        dead.id, dead.sink, dead.shard, dead.seq, dead.source, dead.reason, dead.error, dead.at, len(dead.event.body),
        letters.pack(dead.event),
    )  # fmt: skip


def _close_dead_letters(connection: sqlite3.Connection, ids: Sequence[str]) -> None:
    rows = [(dead,) for dead in ids]
    for kind in ("dead_record", "dead_event"):
        connection.executemany(SQL[f"close_{kind}"], rows)


def _count(connection: sqlite3.Connection, name: str, cursor: sqlite3.Cursor) -> None:
    if cursor.rowcount > 0:
        connection.execute(SQL["count"], (cursor.rowcount, name))
