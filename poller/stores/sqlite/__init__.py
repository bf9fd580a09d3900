"""The embedded store: one SQLite file, one daemon."""

from poller.stores.sqlite.config import Config
from poller.stores.sqlite.store import SqliteStore, open_store

__all__ = ["Config", "SqliteStore", "open_store"]
