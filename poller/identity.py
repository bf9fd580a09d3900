"""Pure: vendor ids to seen keys and event ids.

The hash covers (source id, kind, id), and for a state the normal form of the declared fields. The day only places the key.
"""

from hashlib import blake2b

from poller.model import DAY, Keys, Kind, SeenKey, Window

MENTION = b"mention\0"
"""The state of a recording of which only a call's mention is known."""
COMPLETE = b"complete"
"""The state of a window that is whole, the only one that it has."""
_STATE = blake2b(digest_size=8)
"""Copied for each state: a copy costs a third of a new one."""


class Identity:
    """Hashes the ids of one source and kind. `rows`: every distinct state is a thing of its own (`dedupe_by: row`)."""

    __slots__ = ("_prefix", "rows")

    def __init__(self, source: str, kind: Kind, *, rows: bool = False) -> None:
        self._prefix = blake2b(f"{len(source)}:{source}:{kind}:".encode(), digest_size=16)
        self.rows = rows

    def seen_key(self, keys: Keys, ordinal: int = 0) -> SeenKey:
        """The key of a record; `ordinal` tells equal rows of one answer apart where there is no vendor id."""
        text = thing(keys, ordinal, rows=self.rows) if ordinal or self.rows else keys.id
        hasher, state = self._prefix.copy(), _STATE.copy()
        hasher.update(text.encode("utf-8", "surrogatepass"))
        state.update(
            keys.state.encode("utf-8", "surrogatepass")
        )  # as `state_hash`, whose call costs a tenth of all this
        return SeenKey(keys.day, hasher.digest(), state.digest())

    def mention_key(self, recording_id: str, day: int) -> SeenKey:
        """The key of a recording that a call mentions."""
        hasher = self._prefix.copy()
        hasher.update(recording_id.encode("utf-8", "surrogatepass"))
        return SeenKey(day, hasher.digest(), MENTION)


def window_key(source: str, endpoint: str, window: Window) -> SeenKey:
    """The key of the event that says that a window of an endpoint is whole."""
    text = f"{len(source)}:{source}:window:{endpoint}\x1e{window.begin}\x1e{window.end}"
    return SeenKey(window.begin // DAY, blake2b(text.encode(), digest_size=16).digest(), COMPLETE)


def thing(keys: Keys, ordinal: int, *, rows: bool) -> str:
    """The text that is hashed: the id, made longer only where the id alone is not enough."""
    if rows:
        return f"{keys.id}\x1e{keys.state}\x1e{ordinal}"
    return f"{keys.id}\x1e{ordinal}" if ordinal else keys.id


def state_hash(state: str) -> bytes:
    """8 bytes: states are compared within one id only."""
    hasher = _STATE.copy()
    hasher.update(state.encode("utf-8", "surrogatepass"))
    return hasher.digest()


def event_id(key: SeenKey, *, new: bool) -> str:
    """32 hex digits. The same thing in the same state has the same event id for ever, wherever it is published."""
    return key.id.hex() if new else blake2b(key.id + key.state, digest_size=16).hexdigest()


def chain(before: bytes, first: int, ids: list[str]) -> bytes:
    """The running hash over a shard's log, after a segment that begins at seq `first`."""
    return blake2b(before + first.to_bytes(8) + "".join(ids).encode(), digest_size=16).digest()


def day_of(epoch: float) -> int:
    """Days since 1970 (UTC)."""
    return int(epoch // DAY)


def shard_of(source: str, shards: int) -> int:
    """Which shard a source (its id) belongs to."""
    return int.from_bytes(blake2b(source.encode()).digest()[:8]) % shards
