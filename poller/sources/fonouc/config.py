"""The configuration of a FonoUC system."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from poller.options import Between, Duration, EndpointOptions, Options, Secret, SourceOptions
from poller.rules import Fault


def _pages_grow(page_size: int, max_page_size: int) -> Iterator[Fault]:
    if max_page_size < page_size:
        yield ("max_page_size",), f"max_page_size must not be smaller than page_size, which is {page_size}"


class ListOptions(EndpointOptions):
    """What both lists have."""

    rules = (_pages_grow,)

    path: str = Field(pattern="^/", description="Below base_url.")
    timeout: Annotated[Duration, Between("10ms", "1h")] = Field(
        120.0, description="Longest time to wait for one answer; large pages are slow."
    )
    page_size: Annotated[int, Between(1, 1_000_000)] = Field(1000, description="Records asked for at a time.")
    max_page_size: Annotated[int, Between(1, 1_000_000)] = Field(
        16_000, description="Largest page that is tried where one second holds more records than a page."
    )
    date_unit: Literal["s", "ms"] = Field("s", description="Unit of startDate and endDate.")
    start_key: str = Field("startKey", description="Name of the parameter that takes the key of the next page.")


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


def _one_way_in(
    username: str | None, password: Secret | None, domain: str | None, api_key: Secret | None
) -> Iterator[Fault]:
    login = {"username": username, "password": password, "domain": domain}
    missing = [name for name, part in login.items() if part is None]
    if api_key is not None and len(missing) < len(login):
        yield ("api_key",), "give either api_key, or username, password and domain, not both"
    elif api_key is None and missing:
        for name in missing:
            yield (name,), "is missing: a login takes username, password and domain; or give api_key instead"


class Config(SourceOptions):
    """A FonoUC system: base_url such as https://pbx.example:9443/api/v2."""

    rules = (_one_way_in,)

    kind: Literal["fonouc"]
    account_id: str = Field(min_length=1, description="Sent as X-Account-ID.")
    username: str | None = Field(None, description="Of the login; together with password and domain.")
    password: Secret | None = Field(None, description="Of the login.")
    domain: str | None = Field(None, description="The tenant that is logged in to.")
    api_key: Secret | None = Field(None, description="Instead of a login: sent as X-API-Key.")
    login_path: str = Field("/login", pattern="^/", description="Below base_url; some systems have /config/login.")
    endpoints: Endpoints
