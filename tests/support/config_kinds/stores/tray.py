"""A store."""

from typing import Literal

from pydantic import Field

from poller.options import FilePath, Options, Size


class Config(Options):
    """A tray."""

    kind: Literal["tray"]
    path: FilePath | None = Field(None, description="Where.")
    max_bytes: Size | None = Field(None, description="How much.")
