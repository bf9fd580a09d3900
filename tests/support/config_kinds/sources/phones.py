"""A vendor with two lists."""

from typing import Literal

from pydantic import Field

from poller.options import EndpointOptions, Options, Secret, SourceOptions


class CallsOptions(EndpointOptions):
    """The calls."""

    page_size: int = Field(100, ge=1, le=500, description="Rows on a page.")
    users: tuple[int, ...] = Field((), description="Whose calls.")


class Endpoints(Options):
    """The lists."""

    calls: CallsOptions | None = Field(None, description="All calls.")
    recordings: EndpointOptions | None = Field(None, description="All recordings.")


class Config(SourceOptions):
    """A phone system."""

    kind: Literal["phones"]
    password: Secret = Field(description="For the login.")
    version: Literal["8", "x3"] = Field("x3", description="Of the vendor's software.")
    endpoints: Endpoints = Field(Endpoints(), description="What is read.")
