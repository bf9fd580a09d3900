"""Microseconds a record of each step over a FonoUC page of 1,000 records. `python benchmarks/bench_fonouc.py`."""

import json
import time
from collections.abc import Callable

import msgspec

from poller.model import Ask, Window
from poller.sources.fonouc.cdrs import Cdrs
from poller.sources.fonouc.config import CdrsOptions

ASK, WINDOW = Ask(), Window(1_709_164_800, 1_709_251_200)


def page(numbers_as_text: bool) -> bytes:
    """1,000 records of about 530 bytes in the documented form or, with numbers, in the live one."""
    records = [
        {
            "id": f"202402-{n:08x}@198.51.100.9",
            "call_id": f"{n:08x}@198.51.100.9",
            "datetime": "2024-02-29 23:58:11 +0000 UTC",
            "timestamp": str(63_876_470_291 + n) if numbers_as_text else 1_709_251_091 + n,
            "caller_id_name": "Jim One",
            "caller_id_number": f"1604555{n:04}",
            "callee_id_name": "Desk",
            "callee_id_number": "1204",
            "to": "1204@acme.example:5060",
            "from": f"1604555{n:04}@198.51.100.9",
            "billing_seconds": "412" if numbers_as_text else 412,
            "duration_seconds": "420" if numbers_as_text else 420,
            "hangup_cause": "NORMAL_CLEARING",
            "media_recording_id": f"202402-{n:032x}",
            "recording_filename": f"{n:032x}.mp3",
            "interaction_id": f"63876470291-{n:08x}",
        }
        for n in range(1000)
    ]
    return json.dumps({"data": records, "next_start_key": "63876470703", "page_size": 1000}).encode()


def best(step: Callable[[], object]) -> float:
    """The fastest of many runs over 1,000 records, in microseconds a record of CPU."""
    times = []
    for _ in range(60):
        begun = time.process_time_ns()
        step()
        times.append(time.process_time_ns() - begun)
    return min(times) / 1e6


def main() -> None:
    """Prints one line per form and step."""
    endpoint = Cdrs(CdrsOptions(), ())
    encode = msgspec.json.Encoder().encode
    for form in ("documented", "live"):
        body = page(form == "documented")

        def read(body: bytes = body) -> list[bytes]:
            reading = endpoint.reading(ASK, WINDOW, None)
            return reading.feed(body) + reading.close().records

        records = read()
        normals = [endpoint.normalise(record, None).data for record in records]
        print(
            f"{form:>10}: {len(body) / 1000:.0f} bytes a record; µs a record: read {best(read):.2f}"
            f"  keys {best(lambda: [endpoint.keys(record, None) for record in records]):.2f}"  # noqa: B023 used at once
            f"  normalise {best(lambda: [endpoint.normalise(record, None) for record in records]):.2f}"  # noqa: B023 used at once
            f"  encode {best(lambda: [encode(data) for data in normals]):.2f}"  # noqa: B023 used at once
        )


if __name__ == "__main__":
    main()
