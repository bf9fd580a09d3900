"""The FonoUC endpoints for the conformance suite, and the pages that its tests are made of."""

from pathlib import Path
from typing import Any

import msgspec
from source_case import SourceCase

from poller.model import Window
from poller.sources.fonouc import Config, build

ACCOUNT = "0c5e"
FROM = 1_709_164_800  # 2024-02-29 00:00 UTC
GREGORIAN = 62_167_219_200
WINDOW = Window(FROM, FROM + 2 * 86_400)
HERE = Path(__file__).parent


def config(**changes: Any) -> Config:
    """A system with both lists; `changes` replace keys."""
    keys = {
        "kind": "fonouc",
        "base_url": "https://pbx.example:9443/api/v2",
        "username": "api",
        "password": "pass-word",
        "domain": "acme",
        "account_id": ACCOUNT,
        "endpoints": {"cdrs": {}, "recordings": {}},
    }
    return Config.model_validate({**keys, **changes}, context={"literals": True})


def cdr(number: int = 0, **fields: Any) -> dict[str, Any]:
    """One leg in the documented form."""
    return {
        "id": f"202402-c{number}@198.51.100.9",
        "call_id": f"c{number}@198.51.100.9",
        "datetime": "2024-02-29 23:58:11 +0000 UTC",
        "timestamp": "63876470291",
        "caller_id_name": "Jim One",
        "caller_id_number": "16045550111",
        "callee_id_name": "Desk",
        "callee_id_number": "1204",
        "to": "1204@acme.example",
        "from": "16045550111@198.51.100.9",
        "billing_seconds": "412",
        "hangup_cause": "NORMAL_CLEARING",
        "media_recording_id": f"202402-r{number}",
        "recording_filename": "9a7c5e.mp3",
        **fields,
    }


def recording(number: int = 0, **fields: Any) -> dict[str, Any]:
    """One document of the recordings list."""
    return {
        "_id": f"202402-r{number}",
        "call_id": f"c{number}@198.51.100.9",
        "cdr_id": f"202403-c{number}@198.51.100.9",
        "caller_id_number": "16045550111",
        "callee_id_number": "1204",
        "duration": 410,
        "start": 63876470293,
        "pvt_created": 63876470703,
        "content_type": "audio/mpeg",
        "name": "9a7c5e.mp3",
        "interaction_id": "63876470291-1c2d3e4f",
        "url": "http://127.0.0.1:60891/recordings/v1",
        "_attachments": {"9a7c5e.mp3": {"content_type": "audio/mpeg", "length": 3281760, "stub": True}},
        **fields,
    }


def encode(value: object) -> bytes:
    """JSON as the vendor writes it."""
    return msgspec.json.encode(value)


SOURCE = build("fono-1", config())
CDRS = SOURCE.endpoints["cdrs"]
RECORDINGS = SOURCE.endpoints["recordings"]
CASES = [
    SourceCase(
        name="fonouc.cdrs",
        endpoint=CDRS,
        window=WINDOW,
        page=encode({"data": [cdr(1), cdr(2), {"next_start_key": "63876470703", "page_size": 2}]}),
        empty=encode({"data": [], "page_size": 1000}),
        empty_body=True,
        declared={
            "hangup_cause": "USER_BUSY",
            "caller_id_number": "1",
            "callee_id_number": "2",
            "billing_seconds": 411,
            "duration_seconds": 420,
            "ringing_seconds": 8,
            "agent": "Ewa",
            "media_recording_id": "202402-other",
        },
        undeclared={
            "cost": "1.5",
            "rate": 0.01,
            "agent_disposition": "Sale",
            "fonoUC": {"disposition": "Sale"},
            "caller_id_name": "Somebody else",
            "recording_filename": "",
            "billing_seconds": 412,
            "ringing_seconds": None,
            "to": "other@host",
        },
        required=frozenset({"timestamp", "call_id"}),
    ),
    SourceCase(
        name="fonouc.recordings",
        endpoint=RECORDINGS,
        window=WINDOW,
        page=encode({"recordings": [recording(1), recording(2)], "next_start_key": "63876470703"}),
        empty=encode({"recordings": []}),
        empty_body=True,
        declared={
            "duration": 411,
            "caller_id_number": "1",
            "callee_id_number": "2",
            "_attachments": {"9a7c5e.mp3": {"length": 3281761}},
        },
        undeclared={
            "url": "http://10.0.0.1/",
            "pvt_created": 63876470800,
            "duration": "410",
            "name": "b.mp3",
            "cost": 3,
        },
        required=frozenset({"_id"}),
    ),
]
