"""MOR sources as tests build them, and answers as they read them."""

from collections.abc import Iterable
from datetime import UTC, datetime

from poller.model import Page, Window
from poller.protocols import Endpoint
from poller.sources.mor import Config, build

SECRET = "Very Secret Key"


def epoch(text: str) -> int:
    """`2024-03-31 01:05:09`, UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


WINDOW = Window(epoch("2024-03-30 23:30:00"), epoch("2024-03-31 02:30:00"))
"""What the golden pages were asked for, by a server three hours east of UTC."""


def mor_config(endpoints: dict[str, dict[str, object]], **keys: object) -> Config:
    """A configuration as the YAML would give it."""
    raw = {
        "kind": "mor",
        "base_url": "https://mor.example/billing/api",
        "username": "admin",
        "api_secret": SECRET,
        "version": "x13",
        "endpoints": endpoints,
        **keys,
    }
    return Config.model_validate(raw, context={"literals": True})


def mor_endpoint(which: str, options: dict[str, object] | None = None, **keys: object) -> Endpoint:
    """One endpoint of a source that has only this one."""
    if which == "local_calls" and options is None:
        options = {"users": [5]}
    return build("mor-main", mor_config({which: options or {}}, **keys)).endpoints[which]


def read_answer(
    endpoint: Endpoint, pieces: Iterable[bytes], window: Window = WINDOW
) -> tuple[list[bytes], Page, int | None]:
    """All records, how the answer ended, and the offset that it showed."""
    reading = endpoint.reading(endpoint.asks[0], window, None)
    records: list[bytes] = []
    for piece in pieces:
        records += reading.feed(piece)
    page = reading.close()
    return records + page.records, page, reading.offset


def calls_page(
    calls: str, *, total: int | None = None, begin: str = "2024-03-31 02:30:00", end: str = "2024-03-31 05:30:00"
) -> bytes:
    """A user_calls answer around these calls, for WINDOW and a server at +03:00."""
    count = calls.count("<call>") if total is None else total
    listed = f"<calls>{calls}</calls>" if calls else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><page><pagename>Calls</pagename><error_msg></error_msg>'
        f"<total_calls>{count}</total_calls><calls_stat><period><period_start>{begin}</period_start>"
        f"<period_end>{end}</period_end></period>{listed}</calls_stat></page>"
    ).encode()


def call_xml(**fields: str) -> str:
    """One call; the fields given replace or add to the usual ones, None leaves one out."""
    usual = {
        "calldate2": "2024-03-31 04:05:09",
        "timezone": "GMT +03:00",
        "clid": "37060000011",
        "dispod": "ANSWERED(16)",
        "dst": "37120000022",
        "nice_billsec": "63",
        "provider_name": "carrier-b",
        "server_id": "1",
        "src": "37060000011",
        "user_price": "0.084",
        "uniqueid": "1711847109.4411",
    }
    return "<call>" + "".join(f"<{name}>{value}</{name}>" for name, value in {**usual, **fields}.items()) + "</call>"
