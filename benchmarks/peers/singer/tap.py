"""A tap of the Singer SDK for the feed, as its template makes one: pages by their key, incremental by the time of a record.

python tap.py --config '{"url": …, "begin": …, "end": …}' [--state FILE]
"""

import sys
from collections.abc import Mapping
from typing import Any

from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th
from singer_sdk.authenticators import APIKeyAuthenticator
from singer_sdk.pagination import JSONPathPaginator

GREGORIAN = 62_167_219_200
TEXTS = (
    "call_id", "datetime", "timestamp", "caller_id_name", "caller_id_number", "callee_id_name", "callee_id_number", "to",
    "from", "billing_seconds", "hangup_cause", "media_recording_id", "recording_filename", "direction", "interaction_id",
)  # fmt: skip


class Pages(JSONPathPaginator):
    """The last page's key is empty."""

    def has_more(self, response: Any) -> bool:
        """Whether another page is promised."""
        return bool(self.get_next(response))


class Calls(RESTStream[str]):
    """Newest first, so not sorted by its replication key: the state moves when all has been read."""

    name = "calls"
    path = "/v2/accounts/acme/cdrs"
    records_jsonpath = "$.data[*]"
    primary_keys = ("id",)
    replication_key = "timestamp"
    schema = th.PropertiesList(
        th.Property("id", th.StringType, required=True),
        *(th.Property(name, th.StringType) for name in TEXTS),
        th.Property("duration_seconds", th.IntegerType),
        th.Property("ringing_seconds", th.IntegerType),
    ).to_dict()

    @property
    def url_base(self) -> str:
        """The vendor's address."""
        return str(self.config["url"])

    @property
    def authenticator(self) -> APIKeyAuthenticator:
        """A key in a header."""
        return APIKeyAuthenticator(key="X-Auth-Token", value="key")

    def get_new_paginator(self) -> Pages:
        """The key of the next page is in the answer."""
        return Pages("$.next_start_key")

    def get_url_params(self, context: Mapping[str, Any] | None, next_page_token: str | None) -> dict[str, Any]:
        """From where the last run's state ends."""
        reached = self.get_starting_replication_key_value(context)
        begin = int(reached) - GREGORIAN if reached else self.config["begin"]
        asked = {"startDate": begin, "endDate": self.config["end"], "pageSize": 1000}
        return asked | ({"startKey": next_page_token} if next_page_token else {})


class TapFeed(Tap):
    """The tap."""

    name = "tap-feed"
    config_jsonschema = th.PropertiesList(
        th.Property("url", th.StringType, required=True),
        th.Property("begin", th.IntegerType, required=True),
        th.Property("end", th.IntegerType, required=True),
    ).to_dict()

    def discover_streams(self) -> list[Calls]:
        """The one stream."""
        return [Calls(self)]


if __name__ == "__main__":
    sys.exit(TapFeed.cli())
