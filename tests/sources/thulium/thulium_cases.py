"""The Thulium endpoints for the conformance suite, and the pages that its tests are made of."""

from typing import Any

import msgspec
from source_case import SourceCase

from poller.model import Window
from poller.sources.thulium import Config, build

SUMMER = 1_729_989_060  # 2024-10-27 00:31 UTC, 02:31 in Warsaw (CEST)
WINTER = SUMMER + 3600  # 02:31 again (CET)
WINDOW = Window(SUMMER - 3660, SUMMER + 2 * 3600 + 540)


def config(**changes: Any) -> Config:
    """A system with both lists; `changes` replace keys."""
    keys = {
        "kind": "thulium",
        "base_url": "https://acme.thulium.com/api",
        "username": "api",
        "password": "pass-word",
        "endpoints": {"connections": {}, "recordings": {}},
    }
    return Config.model_validate({**keys, **changes}, context={"literals": True})


def connection(number: int = 0, **fields: Any) -> dict[str, Any]:
    """One row of the connections list."""
    return {
        "date": "2024-10-27 02:31",
        "src": "501000111",
        "dst": "221000222",
        "disposition": "ANSWERED",
        "ticket_id": None,
        "outbound_result": "",
        "duration": 95,
        "billsec": 81,
        "operator": "trunk1",
        "filename": f"infolinia/2024-10-27/{number}.ogg",
        "user": "Ewa Testowa",
        "connection_id": f"{SUMMER + 7}.{number}",
        "type": "INBOUND",
        "queue_id": 4,
        "customer_id": 77,
        **fields,
    }


def recording(number: int = 0, **fields: Any) -> dict[str, Any]:
    """One row of the recordings list."""
    return {
        "date": "2024-10-27 02:31",
        "created_at": "2024-10-27 02:40",
        "src": "501000111",
        "dst": "",
        "disposition": "ANSWERED",
        "duration": 95,
        "billsec": 81,
        "filename": f"infolinia/2024-10-27/{number}.ogg",
        "user": "Ewa Testowa",
        "connection_id": f"{SUMMER + 7}.88",
        "type": "INBOUND",
        **fields,
    }


def answer(rows: list[dict[str, Any]], count: int | None = None) -> bytes:
    """The vendor's list answer."""
    return msgspec.json.encode({"count": len(rows) if count is None else count, "result": rows})


SOURCE = build("thulium-pl", config())
CONNECTIONS = SOURCE.endpoints["connections"]
RECORDINGS = SOURCE.endpoints["recordings"]
CASES = [
    SourceCase(
        name="thulium.connections",
        endpoint=CONNECTIONS,
        window=WINDOW,
        page=answer([connection(1), connection(2)]),
        empty=answer([]),
        declared={
            "disposition": "NO ANSWER",
            "src": "1",
            "dst": "2",
            "duration": 96,
            "billsec": 80,
            "user": "Jan",
            "queue_id": 5,
            "filename": "other.ogg",
        },
        undeclared={
            "cost": "1.5",
            "customer_id": 78,
            "duration": "95",
            "tags": ["vip"],
            "transferred_to": "103",
            "operator": "",
        },
        required=frozenset({"connection_id"}),
    ),
    SourceCase(
        name="thulium.recordings",
        endpoint=RECORDINGS,
        window=WINDOW,
        page=answer([recording(1), recording(2)]),
        empty=answer([]),
        declared={"duration": 96, "billsec": 80, "src": "1", "dst": "2", "user": "Jan"},
        undeclared={
            "cost": "1.5",
            "created_at": "2024-10-27 02:41",
            "billsec": "81",
            "operator": "x",
            "disposition": "",
        },
        required=frozenset({"filename"}),
    ),
]
