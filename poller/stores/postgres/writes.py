"""Pure: the statements of each write for a shard. They run in one transaction, after the shard's row was compared and locked."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from poller.kept import Attempted, Retry
from poller.model import CheckpointKey, DeadEvent, DeadRecord, Healing, Held, PageCommit, Position, SeenKey, Segment
from poller.stores.postgres import letters
from poller.stores.postgres.database import Statement
from poller.stores.postgres.values import array, runs, to_bytes

_encode = msgspec.msgpack.Encoder().encode
_SEEN_AT_A_TIME = 5_000


def commit_page(held: Held, page: PageCommit) -> tuple[Position, list[Statement]]:
    """Seen ids, events, checkpoints and dead letters, and where the log ends then. Raises ValueError where the segment does not follow."""
    segments = [page.segment] if page.segment is not None else []
    last, appended = _append(held.shard, held.last, segments)
    moved = [_move(held.shard, last, segments)] if segments else []
    kept = [*_remember(held.shard, page.seen), *_checkpoints(page.checkpoints)]
    return last, [*appended, *moved, *kept, *_dead_records(page.dead), *_closed(page.closes)]


def lone_checkpoint(page: PageCommit) -> tuple[CheckpointKey, bytes] | None:
    """The checkpoint of a page that writes nothing else."""
    if page.segment is not None or page.seen or page.dead or page.closes or len(page.checkpoints) != 1:
        return None
    return next(iter(page.checkpoints.items()))


def delivered(held: Held, sink: str, position: Position, dead: Sequence[DeadEvent]) -> list[Statement]:
    """The dead letters with the position that passes them."""
    place = {"sink": sink, "shard": held.shard}
    return [*map(_dead_event, dead), ("write_position", place | {"seq": position.seq, "chain": position.chain})]


def attempted(held: Held, sink: str, came: Attempted) -> list[Statement]:
    """Outcomes, dead letters and the position."""
    place: dict[str, object] = {"sink": sink, "shard": held.shard}
    statements: list[Statement] = [("keep_retry", place | _retry(retry)) for retry in came.later]
    if came.due:
        statements.append(("retry_due", place | {"seqs": array(came.due), "dues": array(came.due.values())}))
    if came.over:
        statements.append(("drop_retry", place | {"seqs": array(came.over)}))
    return [
        *statements,
        *delivered(held, sink, came.position, came.dead),
        ("write_done", place | {"done": runs(came.done)}),
    ]


def heal(held: Held, healing: Healing) -> list[Statement]:
    """Nothing of the log is dropped. Raises ValueError where the healing goes back."""
    if healing.position.seq < held.last.seq:
        raise ValueError(f"a healing goes back: {healing.position.seq} < {held.last.seq}")
    _, appended = _append(held.shard, healing.position, healing.segments)
    moved = _move(held.shard, healing.last, healing.segments)
    kept = [*_remember(held.shard, healing.seen), *_checkpoints(healing.checkpoints)]
    return [*appended, moved, *kept, *delivered(held, healing.sink, healing.position, [])]


def _append(shard: int, last: Position, segments: Sequence[Segment]) -> tuple[Position, list[Statement]]:
    statements: list[Statement] = []
    for segment in segments:
        if segment.first != last.seq + 1:
            raise ValueError(f"a segment begins at {segment.first} behind {last.seq}")
        only = None if segment.only is None else list(segment.only)
        statements.append(("append", msgspec.structs.asdict(segment) | {"shard": shard, "only": only}))
        last = Position(segment.last, segment.chain)
    return last, statements


def _move(shard: int, last: Position, segments: Sequence[Segment]) -> Statement:
    size = sum(len(segment.data) for segment in segments)
    return "move_shard", {"shard": shard, "seq": last.seq, "chain": last.chain, "bytes": size}


def _remember(shard: int, seen: Sequence[tuple[SeenKey, int]]) -> Iterator[Statement]:
    for begin in range(0, len(seen), _SEEN_AT_A_TIME):
        lot = seen[begin : begin + _SEEN_AT_A_TIME]
        keys = b"".join([key.id + key.state for key, _ in lot])
        days, seqs = array([key.day for key, _ in lot]), array([seq for _, seq in lot])
        yield "remember", {"shard": shard, "keys": keys, "days": days, "seqs": seqs}


def _checkpoints(checkpoints: Mapping[CheckpointKey, bytes]) -> Iterator[Statement]:
    for key, value in checkpoints.items():
        yield "write_checkpoint", msgspec.structs.asdict(key) | {"value": value}


def _retry(retry: Retry) -> dict[str, object]:
    event = retry.event
    return {
        "seq": retry.seq, "key": to_bytes(event.key), "due": retry.due, "size": len(event.body),
        "attempts": retry.attempts, "step": retry.step, "first": retry.first, "reason": retry.reason,
        "error": to_bytes(retry.error), "event": _encode(event),
    }  # fmt: skip


def _dead_event(dead: DeadEvent) -> Statement:
    return "add_dead_event", {
        "id": dead.id, "sink": dead.sink, "shard": dead.shard, "seq": dead.seq, "source": dead.source,
        "reason": dead.reason, "error": to_bytes(dead.error), "at": dead.at, "size": len(dead.event.body),
        "event": letters.pack(dead.event),
    }  # fmt: skip


def _dead_records(dead: Sequence[DeadRecord]) -> Iterator[Statement]:
    for one in dead:
        yield "add_dead_record", msgspec.structs.asdict(one) | {"error": to_bytes(one.error)}


def _closed(ids: Sequence[str]) -> list[Statement]:
    bound = {"ids": list(ids)}
    return [("close_dead_records", bound), ("close_dead_events", bound)] if ids else []
