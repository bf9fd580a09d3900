"""The one place where the database library's errors become ours."""

import re

import psycopg

from poller.errors import Outdated, PollerError, StoreFault, StoreFull, StoreRefused
from poller.stores.postgres.dsn import Dsn

CLASHES = frozenset({"40001", "40P01"})
"""Serialization failure, deadlock: nothing was written, and the same may work at once."""
_GONE = frozenset({"42P01", "3F000", "42703"})
_LOST = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03", "25P04"})
_READ_ONLY = (
    StoreFault,
    (
        "takes no writes ({said}): it is a standby or set to read only; name all servers in store.dsn (host=one,two) with "
        "target_session_attrs=read-write, so that the one that takes writes is found"
    ),
)
_SENTENCES: dict[str, tuple[type[PollerError], str]] = {
    "53100": (StoreFull, "has no room left on its disk ({said}): free some; polling goes on by itself then"),
    "53200": (StoreFault, "has no memory left ({said})"),
    "53300": (StoreFault, "takes no more connections ({said}): raise max_connections or lower store.connections"),
    "55P03": (StoreFault, "keeps a lock for too long ({said}): look for long transactions in pg_stat_activity"),
    "57014": (StoreFault, "took longer than its deadline ({said}): check its load and its locks"),
    "25006": _READ_ONLY,
    "40001": (StoreFault, "let other transactions go first again and again ({said})"),
    "40P01": (StoreFault, "let other transactions go first again and again ({said})"),
    "42501": (
        StoreRefused,
        "refuses this role a right ({said}): grant it what docs/postgres.md lists, or run `poller migrate` as the owner",
    ),
    "XX001": (StoreRefused, "is damaged ({said}): restore a backup; what Kafka already has is not published again"),
    "XX002": (StoreRefused, "is damaged ({said}): REINDEX the schema or restore a backup"),
}
_AT_THE_DOOR: tuple[tuple[str, type[PollerError], str], ...] = (
    (r"password authentication failed|no password supplied|fe_sendauth", StoreRefused, "refuses the user or the password"),
    (r"database \".*\" does not exist", StoreRefused, "does not exist: create it (CREATE DATABASE), or correct store.dsn"),
    (r"role \".*\" does not exist", StoreRefused, "does not know the user: create the role, or correct store.dsn"),
    (r"no pg_hba.conf entry|not permitted to log in|permission denied for database", StoreRefused, "does not let this user in from here"),
    (r"certificate|SSL|server does not support", StoreRefused, "and this client do not agree on encryption: check sslmode and sslrootcert in store.dsn"),
    (r"session is read-only|not (read-write|in hot standby)", *_READ_ONLY),
    (r"too many clients|remaining connection slots|too many connections", *_SENTENCES["53300"]),
    (r"starting up|shutting down|recovery mode|not yet accepting", StoreFault, "is starting or stopping"),
    (r"could not translate host name|Name or service not known|nodename nor servname", StoreFault, "cannot be found: check the host in store.dsn and the name server"),
)  # fmt: skip
"""What the library tells of a failed connection is text only, in the server's language; what is not recognised may pass."""


class Gone(Outdated):
    """The tables are not there any more: dropped, or the database was put in place anew."""


def lost(error: psycopg.Error) -> bool:
    """Whether the connection itself ended."""
    state = error.sqlstate or ""
    return state in _LOST or state.startswith("08") or (not state and isinstance(error, psycopg.OperationalError))


def refusal(dsn: Dsn, error: psycopg.Error) -> PollerError:
    """Why no connection could be made. Several hosts: the last one's reason decides."""
    said = dsn.clean(error)
    for pattern, kind, sentence in _AT_THE_DOOR:
        if re.search(pattern, said):
            return _told(dsn, kind, sentence, said)
    return _told(dsn, StoreFault, "cannot be reached", said)


def fault(dsn: Dsn, error: psycopg.Error) -> PollerError:
    """What a statement met."""
    said = dsn.clean(error)
    state = error.sqlstate or ""
    if state in _GONE:
        return Gone(f"the database {dsn.shown} does not have the tables of poller any more (it said: {said})")
    if lost(error):
        return _told(dsn, StoreFault, "ended the connection", said)
    kind, sentence = _SENTENCES.get(state, (StoreFault, f"failed, state {state or 'unknown'}"))
    return _told(dsn, kind, sentence, said)


def unknown_outcome(dsn: Dsn, said: str) -> StoreFault:
    """The connection ended while the transaction was being committed.

    Nothing is assumed then. The next write locks the shard's row and so waits for whatever that transaction still does;
    if it was committed the end of the log is another one than the writer believes, and the write is Outdated: the writer
    reads anew what is there and finds its ids known. If it was not, the same page is read again and written. Neither
    loses a record nor publishes one twice; what moves no end (a position, a checkpoint) may be written again as it is.
    """
    return StoreFault(
        f"the database {dsn.shown} was lost while it committed ({said}): whether it did is found out by the next write"
    )


def _told(dsn: Dsn, kind: type[PollerError], sentence: str, said: str) -> PollerError:
    text = sentence.format(said=f"it said: {said}") if "{said}" in sentence else f"{sentence} (it said: {said})"
    return kind(f"the database {dsn.shown} {text}")
