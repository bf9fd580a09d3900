"""The configuration of a FonoUC system."""

from typing import Literal, Self

from pydantic import Field, model_validator

from poller.options import EndpointOptions, Options, PositiveDuration, Secret, SourceOptions


class ListOptions(EndpointOptions):
    """What both lists have."""

    path: str = Field(pattern="^/", description="Below base_url.")
    timeout: PositiveDuration = Field(120.0, description="Longest time to wait for one answer; large pages are slow.")
    page_size: int = Field(1000, ge=1, description="Records asked for at a time.")
    max_page_size: int = Field(
        16_000, ge=1, description="Largest page that is tried where one second holds more records than a page."
    )
    date_unit: Literal["s", "ms"] = Field("s", description="Unit of startDate and endDate.")
    start_key: str = Field("startKey", description="Name of the parameter that takes the key of the next page.")

    @model_validator(mode="after")
    def _pages_grow(self) -> Self:
        if self.max_page_size < self.page_size:
            raise ValueError("max_page_size must not be smaller than page_size")
        return self


class CdrsOptions(ListOptions):
    """`cdrs`."""

    path: str = Field("/reports/cdrs", pattern="^/", description="Below base_url; some systems have /reports/cdrs/all.")


class RecordingsOptions(ListOptions):
    """`recordings`."""

    path: str = Field("/reports/recordings", pattern="^/", description="Below base_url.")
    filter: Literal["pvt_created", "start"] = Field(
        "pvt_created", description="What startDate and endDate look at: when the recording was saved, or its start."
    )


class Endpoints(Options):
    """The lists that are read; one that is missing is not asked for."""

    cdrs: CdrsOptions | None = None
    recordings: RecordingsOptions | None = None


class Config(SourceOptions):
    """A FonoUC system: base_url such as https://pbx.example:9443/api/v2."""

    kind: Literal["fonouc"]
    account_id: str = Field(min_length=1, description="Sent as X-Account-ID.")
    username: str | None = Field(None, description="Of the login; together with password and domain.")
    password: Secret | None = Field(None, description="Of the login.")
    domain: str | None = Field(None, description="The tenant that is logged in to.")
    api_key: Secret | None = Field(None, description="Instead of a login: sent as X-API-Key.")
    login_path: str = Field("/login", pattern="^/", description="Below base_url; some systems have /config/login.")
    endpoints: Endpoints

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        login = (self.username, self.password, self.domain)
        if self.api_key is not None and any(part is not None for part in login):
            raise ValueError("give either api_key, or username, password and domain, not both")
        if self.api_key is None and any(part is None for part in login):
            raise ValueError("a login takes username, password and domain; or give api_key instead")
        return self
