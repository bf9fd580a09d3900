"""The configuration of the embedded store."""

from typing import Annotated, Literal

from pydantic import Field

from poller.options import Between, FilePath, Options, Size


class Config(Options):
    """`store: {kind: sqlite, path: …}`."""

    kind: Literal["sqlite"] = "sqlite"
    path: FilePath = Field(description="The database file, on a local disk; its folder must exist.")
    max_bytes: Annotated[Size, Between("1B", "1048576GiB")] | None = Field(
        None, description="Polling pauses while the database uses more than this; nothing is dropped."
    )
    min_free: Size = Field(
        64 << 20, description="Polling pauses while the disk has less room than this, so that deliveries can go on."
    )
