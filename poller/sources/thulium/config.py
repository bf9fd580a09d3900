"""The configuration of a Thulium system."""

from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator

from poller.options import EndpointOptions, Options, Secret, SourceOptions


class ConnectionsOptions(EndpointOptions):
    """`connections`: every call, unanswered ones included."""

    path: str = Field("/connections", pattern="^/", description="Below base_url.")


class RecordingsOptions(EndpointOptions):
    """`recordings`."""

    path: str = Field("/recordings", pattern="^/", description="Below base_url.")
    filter: Literal["created_at", "call_date"] = Field(
        "created_at",
        description="What date_from and date_to look at: the recording's creation, or (before 2018) the call.",
    )


class Endpoints(Options):
    """The lists that are read; one that is missing is not asked for. Rights are per list at the vendor."""

    connections: ConnectionsOptions | None = None
    recordings: RecordingsOptions | None = None


class Config(SourceOptions):
    """A Thulium system: base_url such as https://acme.thulium.com/api."""

    kind: Literal["thulium"]
    username: str = Field(min_length=1, description="An API user of the system.")
    password: Secret = Field(description="Of that user.")
    timezone: str = Field("Europe/Warsaw", description="IANA zone of the system's local times.")
    endpoints: Endpoints

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{zone!r} is no IANA time zone such as Europe/Warsaw") from None
        return zone
