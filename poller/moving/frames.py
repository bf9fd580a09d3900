"""The file of an export: frames of msgpack in one zstd stream, a header first, counts and a checksum last. No frame is large."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Literal, TypeAlias

import anyio
import anyio.lowlevel
import msgspec
import zstandard
from msgspec import Struct, field

from poller.errors import StoreRefused
from poller.kept import Retry
from poller.marks import Mark
from poller.model import CheckpointKey, DeadEvent, DeadRecord, Event, Position, SeenKey
from poller.moving.course import Course
from poller.private import owner

VERSION = 1
_LONGEST = 256 << 20
"""Bytes of a frame: one event of the largest size has room."""


class SinkState(Struct, frozen=True):
    """A sink as it leaves. `identity`: what its progress hangs on; None where it keeps none. `health`: as the store keeps it."""

    name: str
    position: Position
    identity: str | None = None
    health: str | None = None


class Header(Struct, frozen=True, kw_only=True, tag="header"):
    """What the file is. `last`: the largest number in use; `at`: when everything was settled, epoch seconds."""

    format: Literal["poller state"] = "poller state"
    version: int = VERSION
    id: str
    store: str
    at: float
    last: int
    sinks: list[SinkState]


class Events(Struct, frozen=True, tag="events"):
    """Events of one commit, in order, each with the sinks that lack it. `at`: when they were committed."""

    at: float
    events: list[Event]


class Retries(Struct, frozen=True, tag="retries"):
    """What is to be tried again."""

    retries: list[Retry]


class Letters(Struct, frozen=True, tag="letters"):
    """Dead letters."""

    records: list[DeadRecord] = field(default_factory=list)
    events: list[DeadEvent] = field(default_factory=list)


class Checkpoints(Struct, frozen=True, tag="checkpoints"):
    """How far lists were read."""

    checkpoints: list[tuple[CheckpointKey, bytes]]


class Seen(Struct, frozen=True, tag="seen"):
    """Ids in their states, in the order of their keys."""

    keys: list[SeenKey]


class End(Struct, frozen=True, tag="end"):
    """The last frame. `counts`: of what the frames hold; `checksum`: over all frames before."""

    counts: dict[str, int]
    checksum: bytes


Part: TypeAlias = Events | Retries | Letters | Checkpoints | Seen
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Header | Events | Retries | Letters | Checkpoints | Seen | End).decode


def count(part: Part) -> Counter[str]:
    """How much is in it, by what it is."""
    match part:
        case Events():
            return Counter(events=len(part.events))
        case Retries():
            return Counter(retries=len(part.retries))
        case Letters():
            return Counter(dead_records=len(part.records), dead_events=len(part.events))
        case Checkpoints():
            return Counter(checkpoints=len(part.checkpoints))
        case Seen():
            return Counter(seen=len(part.keys))


# --- writing ---------------------------------------------------------------------------------------------------------


class Writer:
    """Frames into a file, one after the other."""

    def __init__(self, stream: zstandard.ZstdCompressionWriter) -> None:
        self._stream = stream
        self._hash = blake2b(digest_size=32)
        self.counts: Counter[str] = Counter()

    def header(self, header: Header) -> None:
        """First."""
        self._frame(_encode(header))

    def part(self, part: Part) -> None:
        """Any number of them."""
        self._frame(_encode(part))
        self.counts += count(part)

    def end(self) -> None:
        """Last."""
        self._frame(_encode(End(dict(self.counts), self._hash.digest())))

    def _frame(self, data: bytes) -> None:
        whole = len(data).to_bytes(4) + data
        self._hash.update(whole)
        self._stream.write(whole)


def half_of(path: Path) -> Path:
    """The file while it is written."""
    return path.with_name(f"{path.name}.part")


@contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """The file has its name only once it is whole and on the disk. Raises StoreRefused where it cannot be written."""
    half = half_of(path)
    try:
        half.unlink(missing_ok=True)  # of an export that was killed
        with open(half, "xb", opener=owner) as file:
            with zstandard.ZstdCompressor(level=3).stream_writer(file, closefd=False) as stream:
                writer = Writer(stream)
                yield writer
                writer.end()
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
        with suppress(OSError):  # whoever finds no file after a crash of the machine exports again
            _sync_folder(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with suppress(OSError):
            half.unlink(missing_ok=True)  # it was not finished: a full disk gets its room back


def _unwritable(path: Path, error: OSError) -> StoreRefused:
    return StoreRefused(
        f"the export {path} cannot be written: {error.strerror}: check its folder and the room on its disk"
    )


def check_name(path: Path, mark: Mark | None) -> None:
    """Raises StoreRefused where the file is there already and is no export of the store, which `mark` names."""
    try:
        if not path.exists():
            return
    except OSError as error:  # a name that is too long, a folder that is not ours
        raise _unwritable(path, error) from error
    try:
        header = next(read(path))
    except StoreRefused:
        header = None
    if mark is None or not isinstance(header, Header) or header.id != mark.id:
        raise StoreRefused(f"there is a file {path} already, and it is no export of this store: name another one")


def _sync_folder(folder: Path) -> None:
    there = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(there)
    finally:
        os.close(there)


# --- reading ---------------------------------------------------------------------------------------------------------


def read(path: Path) -> Iterator[Header | Part]:
    """The header, then everything. Raises StoreRefused where the file is none of ours, damaged or cut; what came before may be used."""
    try:
        with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
            yield from _parts(path, stream)
    except OSError as error:
        raise StoreRefused(f"the export {path} cannot be read: {error.strerror}") from error
    except (zstandard.ZstdError, msgspec.MsgspecError, ValueError, RecursionError, MemoryError) as error:
        raise _damaged(path, str(error)) from error


async def verified(path: Path, course: Course | None = None) -> tuple[Header, Counter[str]]:
    """Reads the whole file once. Raises StoreRefused."""
    course = course or Course()
    course.begin("checking the file")
    parts = read(path)
    header = next(parts)
    assert isinstance(header, Header)  # noqa: S101 `_parts` begins so
    counts: Counter[str] = Counter()
    for part in parts:
        if not isinstance(part, Header):
            counts += (found := count(part))
            course.more(found.total())
        await anyio.lowlevel.checkpoint()  # a signal is heard
    return header, counts


def _parts(path: Path, stream: zstandard.ZstdDecompressionReader) -> Iterator[Header | Part]:
    hasher, counts = blake2b(digest_size=32), Counter[str]()
    header = _decode(_frame(path, stream, hasher))
    if not isinstance(header, Header):
        raise _damaged(path, "it does not begin with a header")
    if header.version > VERSION:
        raise StoreRefused(
            f"the export {path} was made by a newer poller (version {header.version}): import it with that one"
        )
    yield header
    while True:
        before = hasher.digest()
        part = _decode(_frame(path, stream, hasher))
        if isinstance(part, End):
            break
        if isinstance(part, Header):
            raise _damaged(path, "it has two headers")
        counts += count(part)
        yield part
    if part.checksum != before or Counter(part.counts) != counts:
        raise _damaged(path, "its checksum is another one")


def _frame(path: Path, stream: zstandard.ZstdDecompressionReader, hasher: "blake2b") -> bytes:
    head = _exactly(path, stream, 4)
    size = int.from_bytes(head)
    if size > _LONGEST:
        raise _damaged(path, "a part is too long")
    data = _exactly(path, stream, size)
    hasher.update(head)
    hasher.update(data)
    return data


def _exactly(path: Path, stream: zstandard.ZstdDecompressionReader, size: int) -> bytes:
    out = bytearray()
    while len(out) < size:
        more = stream.read(size - len(out))
        if not more:
            raise _damaged(path, "it ends too early")
        out += more
    return bytes(out)


def _damaged(path: Path, why: str) -> StoreRefused:
    return StoreRefused(
        f"{path} is no whole export of a store ({why}): make it anew with `poller state export`, or copy it again"
    )
