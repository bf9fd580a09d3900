"""The embedded store: one SQLite file, one daemon."""

from poller.stores.sqlite.config import Config
from poller.stores.sqlite.opening import migrate, obstacles, open_read, open_store, pending
from poller.stores.sqlite.store import SqliteStore

__all__ = ["Config", "SqliteStore", "migrate", "obstacles", "open_read", "open_store", "pending"]
