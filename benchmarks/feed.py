"""The feed that several benchmarks read: FonoUC-shaped records, answered from memory by a process of its own. Not a benchmark itself."""

import asyncio
import bisect
import contextlib
import functools
import math
import time
from dataclasses import dataclass
from multiprocessing import Event, Process, Queue
from multiprocessing.synchronize import Event as Flag
from types import TracebackType
from typing import Self

PAGE = 1_000
SPAN = 36_000
"""Seconds over which the records are spread."""
GREGORIAN = 62_167_219_200
"""Seconds from the year 0 to 1970: the vendor counts from there."""


def record(n: int, records: int, begin: int) -> bytes:
    """FonoUC's shape, about 530 bytes, saved at `begin` + its share of SPAN."""
    return record_at(n, begin + n * SPAN // records)


def record_at(n: int, at: int) -> bytes:
    """The same, saved at `at` (Unix seconds)."""
    return (
        b'{"id":"202405-%012x@198.51.100.9","call_id":"%012x@198.51.100.9","datetime":"2024-05-06 17:18:39 +0000 UTC","timestamp":"%d",'
        b'"caller_id_name":"Jane Example","caller_id_number":"1604555%04d","callee_id_name":"Front Desk","callee_id_number":"12%02d",'
        b'"to":"12%02d@acme.example:5060","from":"1604555%04d@198.51.100.9","billing_seconds":"%d","duration_seconds":%d,'
        b'"ringing_seconds":4,"hangup_cause":"NORMAL_CLEARING","media_recording_id":"","recording_filename":"","direction":"Inbound",'
        b'"interaction_id":"%d-%08x"}'
    ) % (
        n,
        n,
        at + GREGORIAN,
        n % 10_000,
        n % 100,
        n % 100,
        n % 10_000,
        n % 600,
        n % 600 + 4,
        at + GREGORIAN,
        n,
    )


def record_id(n: int) -> str:
    """What its call is called."""
    return f"{n:012x}@198.51.100.9"


@dataclass(frozen=True)
class _World:
    """What the vendor has. Every `late`-th record is there only `again`; none is late where that is 0."""

    records: int
    begin: int
    late: int

    def rows(self) -> tuple[list[tuple[int, bytes]], list[tuple[int, bytes]]]:
        """Numbered records, by time: those of the first reading, and all."""
        every = [(n, record(n, self.records, self.begin)) for n in range(self.records)]
        return [row for row in every if not self.is_late(row[0])] if self.late else every, every

    def is_late(self, n: int) -> bool:
        return bool(self.late) and n % self.late == self.late // 2

    def within(self, rows: list[tuple[int, bytes]], first: int, last: int) -> list[bytes]:
        """The records of a time span, both ends in Unix seconds and included, oldest first."""
        low, high = (math.ceil((at - self.begin) * self.records / SPAN) for at in (first, last + 1))
        return [row for _, row in rows[bisect.bisect_left(rows, (low,)) : bisect.bisect_left(rows, (high,))]]


def _serve(world: _World, ports: "Queue[int]", again: Flag, stop: Flag) -> None:
    """Answers from memory. `again`: pages are shifted and in another order, and what was late is there."""
    first_rows, all_rows = world.rows()

    @functools.lru_cache(
        maxsize=4
    )  # a walk asks for one window again and again: the vendor's own work shall not disturb
    def window(first: int, last: int, second: bool) -> list[bytes]:
        """Newest first; the second time rotated, so that pages begin elsewhere, and oldest first."""
        found = world.within(all_rows if second else first_rows, first, last)
        if second:
            return found[337:] + found[:337]
        found.reverse()
        return found

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split(b" ", 2)[1].decode()
                query = dict(part.split("=") for part in path.partition("?")[2].split("&") if "=" in part)
                first = int(query.get("startKey") or 0)
                use = window(int(query["startDate"]), int(query["endDate"]), again.is_set())
                page = use[first : first + PAGE]
                more = b'"%d"' % (first + PAGE) if first + PAGE < len(use) else b'""'
                body = b'{"data":[' + b",".join(page) + b'],"page_size":1000,"next_start_key":' + more + b"}"
                date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()).encode()
                head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: %s\r\nContent-Length: %d\r\n\r\n"
                writer.write(head % (date, len(body)) + body)
                await writer.drain()
        writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        ports.put(server.sockets[0].getsockname()[1])
        await asyncio.to_thread(stop.wait)

    asyncio.run(serve())


class Vendor:
    """The vendor's process, while the context is entered. `port`: of 127.0.0.1.

    Its records are numbered and spread over SPAN seconds from `begin` (Unix seconds). Every `late`-th is not there before `again`
    is set; then pages are shifted and in another order too.
    """

    def __init__(self, records: int, begin: int, late: int = 0) -> None:
        self.world = _World(records, begin, late)
        self.again, self._stop = Event(), Event()
        self._ports: Queue[int] = Queue()
        arguments = (self.world, self._ports, self.again, self._stop)
        self._process = Process(target=_serve, args=arguments, daemon=True)
        self.port = 0

    def __enter__(self) -> Self:
        self._process.start()
        self.port = self._ports.get(timeout=120)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._process.join(10)
