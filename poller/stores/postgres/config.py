"""The configuration of the store in a PostgreSQL database."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from poller.options import Between, Duration, Options, Secret, Size


def _free(name: str) -> str:
    if name.startswith("pg_") or name == "information_schema":
        raise ValueError("is a name of PostgreSQL's own")
    return name


class Config(Options):
    """`store: {kind: postgres, dsn: {env: POLLER_DSN}}`."""

    kind: Literal["postgres"] = "postgres"
    dsn: Secret = Field(
        description="The connection string, as libpq reads it: `postgresql://user:password@host/database` or `host=… dbname=…`."
    )
    shards: int = Field(
        16, ge=1, le=256, description="Parts that the sources are spread over. Fixed when the store is created."
    )
    schema_: Annotated[str, AfterValidator(_free)] = Field(
        "poller",
        alias="schema",
        pattern=r"^[a-z_][a-z0-9_]{0,62}$",
        description="The schema of the database that holds the tables; nothing else should live in it.",
    )
    connections: int = Field(
        8, ge=2, le=64, description="Most connections to the database at a time; two more are kept for leases."
    )
    lease: Annotated[Duration, Between("1s", "10m")] = Field(
        15.0,
        description="So long a replica that died, or that cannot reach the database, keeps its shards from the others.",
    )
    max_bytes: Annotated[Size, Between("1B", "1048576GiB")] | None = Field(
        None, description="Polling pauses while the store keeps more than this; nothing is dropped."
    )
