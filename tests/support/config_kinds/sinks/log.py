"""A sink with a transactional id."""

from typing import Literal

from pydantic import Field

from poller.options import Options, Secret, SinkOptions


class Security(Options):
    """The login."""

    username: str = Field(description="Who.")
    password: Secret = Field(description="With what.")


class Config(SinkOptions):
    """A log."""

    kind: Literal["log"]
    transactional_id_prefix: str = Field("poller", description="The installation.")
    security: Security | None = Field(None, description="How the log is opened.")
