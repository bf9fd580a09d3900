"""The loop that one writes in an afternoon: pages by httpx, json, a few fields of each call, one idempotent producer, a flush a page.

    python loop.py URL BEGIN END BOOTSTRAP TOPIC

What it does not do: know what it published before, remember where it was, or survive being killed without publishing again.
"""

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

GREGORIAN = 62_167_219_200
Call = dict[str, object]


def event(record: dict[str, str]) -> Call:
    """What consumers are to have of a call."""
    return {
        "id": record["id"],
        "call": record["call_id"],
        "at": datetime.fromtimestamp(int(record["timestamp"]) - GREGORIAN, UTC).isoformat(),
        "direction": record["direction"],
        "from": {"number": record["caller_id_number"], "name": record["caller_id_name"]},
        "to": {"number": record["callee_id_number"], "name": record["callee_id_name"]},
        "seconds": int(record["duration_seconds"]),
        "billed": int(record["billing_seconds"]),
        "ringing": int(record["ringing_seconds"]),
        "cause": record["hangup_cause"],
        "recording": record["media_recording_id"] or None,
    }


def messages(body: bytes) -> tuple[list[tuple[str, str]], str]:
    """Key (the call) and value of each record of a page, and where the next page begins."""
    page = json.loads(body)
    events = (event(record) for record in page["data"])
    return [(str(one["call"]), json.dumps(one, separators=(",", ":"))) for one in events], page["next_start_key"]


def pages(url: str, begin: str, end: str) -> Iterator[list[tuple[str, str]]]:
    """The window's pages over one kept connection."""
    import httpx  # noqa: PLC0415 the test of what a page becomes needs neither client

    query = {"startDate": begin, "endDate": end, "pageSize": "1000"}
    with httpx.Client(base_url=url, headers={"X-Auth-Token": "key"}, timeout=30) as client:
        while True:
            answer = client.get("/v2/accounts/acme/cdrs", params=query).raise_for_status()
            calls, query["startKey"] = messages(answer.content)
            yield calls
            if not query["startKey"]:
                return


def publish(found: Iterator[list[tuple[str, str]]], bootstrap: str, topic: str) -> None:
    """All of a page is with the broker before the next one is asked for."""
    from confluent_kafka import Producer  # noqa: PLC0415 as above

    failed: list[object] = []
    settings = {"bootstrap.servers": bootstrap, "enable.idempotence": True, "compression.type": "zstd", "linger.ms": 20}
    producer = Producer(settings)

    def delivered(error: object, _: object) -> None:
        if error is not None:
            failed.append(error)

    for page in found:
        for key, value in page:
            producer.produce(topic, value, key, on_delivery=delivered)
        producer.flush()
        if failed:
            raise SystemExit(f"not delivered: {failed[0]}")


if __name__ == "__main__":
    url, begin, end, bootstrap, topic = sys.argv[1:]
    publish(pages(url, begin, end), bootstrap, topic)
