"""The connection string: read once, shown without its secrets."""

from collections.abc import Mapping

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from poller.errors import StoreRefused
from poller.redact import Redactor
from poller.stores.postgres.config import Config

_DEFAULTS: Mapping[str, str] = {
    "application_name": "poller",
    "client_encoding": "UTF8",
    "connect_timeout": "5",  # seconds, for each host
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",  # milliseconds: a network that is cut is noticed by then
}


def _check_at_signs(text: str) -> None:
    """Raises ValueError where a password with a bare `@` or `/` would be read as a part of the host or the database, and shown."""
    scheme, mark, rest = text.partition("://")
    authority, _, path = rest.partition("?")[0].partition("/")
    if mark and scheme.strip() in {"postgresql", "postgres"} and (authority.count("@") > 1 or "@" in path):
        raise ValueError


class Dsn:
    """Where the database is and how to get in. Raises StoreRefused where that cannot be read."""

    def __init__(self, config: Config, *, looking: bool = False) -> None:
        """`looking`: a server that takes no writes will do."""
        text = config.dsn.reveal()
        try:
            _check_at_signs(text)
            given = {name: str(value) for name, value in conninfo_to_dict(text).items() if value is not None}
        except (psycopg.Error, ValueError):  # the library's message quotes the string
            raise StoreRefused(
                "store.dsn is no connection string: write postgresql://user:password@host:5432/database "
                "(a reserved character in the password as %XX), or host=… dbname=… user=… password=…"
            ) from None
        hosts = given.get("host", given.get("hostaddr", ""))
        several = {"target_session_attrs": "read-write"} if "," in hosts and not looking else {}
        self._whole = make_conninfo(**{**_DEFAULTS, **several, **given})
        self.shown = (
            f"{given.get('dbname') or given.get('user') or 'of the default name'} at {hosts or 'the local socket'}"
        )
        self._redact = Redactor(text, given.get("password", ""), given.get("sslpassword", ""))

    def __repr__(self) -> str:
        """Without the password."""
        return f"<Dsn {self.shown}>"

    def reveal(self) -> str:
        """The whole connection string, for the library alone."""
        return self._whole

    def clean(self, said: object) -> str:
        """What the database or its library said, on one line and without secrets."""
        return " ".join(self._redact(str(said)).split())
