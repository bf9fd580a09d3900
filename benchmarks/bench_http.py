"""CPU microseconds for asking a vendor alone, without understanding the answer: `bench_http.py [PAGES]`.

A small answer shows what each request costs; a page of 1,000 FonoUC-shaped records (540 KB), what its bytes cost on top.
"""

import sys
import time

from feed import PAGE, SPAN, Vendor

from poller import http, uv
from poller.clock import SystemClock
from poller.metrics import Metrics
from poller.model import Request
from poller.options import SourceOptions

RECORDS = 100_000
BEGIN = 1_700_000_000


async def bench(port: int, pages: int) -> None:
    """Small answers, then pages."""
    options = SourceOptions(base_url=f"http://127.0.0.1:{port}")
    async with http.Vendor("v", options, None, clock=SystemClock(), metrics=Metrics()) as vendor:
        for label, span in (("a small answer", -1), (f"a page of {PAGE:,} records", SPAN)):
            times, pieces, size = [], 0, 0
            for n in range(pages):
                began = time.process_time()
                bounds = (("startDate", str(BEGIN)), ("endDate", str(BEGIN + span)), ("startKey", str(n % 90 * PAGE)))
                request = Request(method="GET", path="cdrs", query=bounds)
                async with vendor.fetch(request, timeout=60, max_body=1 << 26, endpoint="bench") as answer:
                    async for piece in answer.chunks():
                        pieces, size = pieces + 1, size + len(piece)
                times.append(time.process_time() - began)
            times.sort()
            print(
                f"{label:30} median {times[pages // 2] * 1e6:7,.0f} µs   best {times[0] * 1e6:7,.0f} µs   "
                f"{size // pages:,} bytes in {pieces / pages:.1f} pieces"
            )


if __name__ == "__main__":
    with Vendor(RECORDS, BEGIN) as world:
        uv.run(bench, world.port, int(sys.argv[1]) if len(sys.argv) > 1 else 500)
