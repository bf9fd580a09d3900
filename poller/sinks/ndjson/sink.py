"""A file to which whole lines are appended, or standard output."""

import os
import stat
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Literal

import anyio
from pydantic import Field

from poller.errors import SinkFault, SinkRefused
from poller.model import Event, Position, Progress, Segment
from poller.options import FilePath, SinkOptions
from poller.outgoing import Outgoing, for_sink
from poller.private import group
from poller.protocols import Published, Sent
from poller.segment import end, unpack

_DEADLINE = 60.0
_TAIL = 1 << 16


class Config(SinkOptions):
    """An ndjson sink."""

    kind: Literal["ndjson"]
    path: Literal["-"] | FilePath = Field("-", description="The file to append to; `-` is standard output.")


class NdjsonSink:
    """Writes to one file. It is opened anew for each delivery, so that it may be moved away at any time."""

    keeps_progress = False
    pauses_polling = False

    def __init__(self, name: str, config: Config) -> None:
        self.name = name
        self.path = None if config.path == "-" else config.path
        self.outgoing = Outgoing(vendor=config.vendor == "include", mask_numbers=config.mask_numbers)
        self.lock = anyio.Lock()
        """All shards share the file."""

    def identity(self, shard: int) -> str:  # noqa: ARG002 there is no progress
        """Nothing."""
        return ""

    def place_of(self, event: Event) -> str:  # noqa: ARG002 all go to one place
        """The file."""
        return "standard output" if self.path is None else str(self.path)

    async def peek(self, shard: int, identity: str = "") -> Progress | None:  # noqa: ARG002 there is no progress
        """None."""
        return None

    async def lane(self, shard: int, identity: str = "") -> "NdjsonLane":  # noqa: ARG002 nobody to fence
        """Repairs a last line that a crash tore. Raises SinkRefused where the file cannot be written."""
        if self.path is not None:
            async with self.lock:
                await self.run(repair, refused=True)
        return NdjsonLane(self)

    async def run(self, work: Callable[[Path], None], *, refused: bool = False) -> None:
        """File work in a thread. Raises SinkFault, or SinkRefused where `refused` and the file cannot be used at all."""
        path = self.path
        if path is None:
            return
        try:
            with anyio.fail_after(_DEADLINE):
                await anyio.to_thread.run_sync(work, path, abandon_on_cancel=True)
        except TimeoutError:
            raise SinkFault(f"ndjson: {path}: the disk did not answer within {_DEADLINE:g} seconds") from None
        except (PermissionError, IsADirectoryError, NotADirectoryError, FileNotFoundError) as error:
            kind = SinkRefused if refused else SinkFault
            raise kind(f"ndjson: {path} cannot be written: {error.strerror}") from None
        except OSError as error:
            raise SinkFault(f"ndjson: {path}: {error.strerror or error}") from None

    async def close(self) -> None:
        """Nothing is kept open."""


class NdjsonLane:
    """One shard's way into the file."""

    progress: Progress | None = None

    def __init__(self, sink: NdjsonSink) -> None:
        self._sink = sink

    async def published(self, since: float | None) -> AsyncIterator[Published]:  # noqa: ARG002 nothing is read back
        """Nothing: this sink keeps no progress."""
        nothing: tuple[Published, ...] = ()
        for event in nothing:
            yield event

    async def send(self, segments: Sequence[Segment]) -> Sent:
        """Appends and syncs. Raises SinkFault; the file then ends as it did before, or its last line is torn."""
        data = b"".join(
            self._sink.outgoing.body(event.body) + b"\n"
            for segment in segments
            for event in unpack(segment)
            if for_sink(event, self._sink.name)
        )
        async with self._sink.lock:
            if self._sink.path is not None:
                await self._sink.run(lambda path: append(path, data))
            else:
                await _print(data)
        return Sent(end(segments[-1]), [])

    async def note(self, position: Position, *, moved: str | None = None) -> None:
        """Nothing: there is no progress."""

    async def close(self) -> None:
        """Nothing is kept open."""


def append(path: Path, data: bytes) -> None:
    """Whole or, where the disk lets us, not at all. Devices and pipes can neither be synced nor cut."""
    with open(path, "ab", buffering=0, opener=group) as file:
        regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        before = file.tell() if regular else 0
        left = memoryview(data)
        try:
            while left:
                left = left[file.write(left) :]
            if regular:
                os.fsync(file.fileno())
        except OSError:
            if regular:
                file.truncate(before)
            raise


def repair(path: Path) -> None:
    """Creates the file, and cuts off what follows its last line feed."""
    with open(path, "ab", opener=group) as touched:
        size = touched.tell()
    if not size or not path.is_file():
        return
    with path.open("r+b") as file:
        at = size
        while at > 0:
            begin = max(0, at - _TAIL)
            file.seek(begin)
            found = file.read(at - begin).rfind(b"\n")
            if found >= 0:
                at = begin + found + 1
                break
            at = begin
        if at < size:
            file.truncate(at)
            os.fsync(file.fileno())


async def _print(data: bytes) -> None:
    def write() -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    try:
        with anyio.fail_after(_DEADLINE):
            await anyio.to_thread.run_sync(write, abandon_on_cancel=True)
    except TimeoutError:
        raise SinkFault("ndjson: whoever reads our standard output does not") from None
    except (OSError, ValueError) as error:
        raise SinkFault(f"ndjson: standard output cannot be written: {error}") from None
