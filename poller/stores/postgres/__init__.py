"""The store for several replicas: one PostgreSQL database."""

from poller.stores.postgres.config import Config
from poller.stores.postgres.opening import migrate, obstacles, open_read, open_store, pending
from poller.stores.postgres.store import PostgresStore

__all__ = ["Config", "PostgresStore", "migrate", "obstacles", "open_read", "open_store", "pending"]
