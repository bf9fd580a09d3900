"""Files that come from a disk: an export, what is kept of a recording on its way, lines that were torn, how far a list was read."""

import time
from pathlib import Path

import pytest
import zstandard
from delivery_events import call_event
from fuzz_mutations import JSON, Change, changed, changes, corpus, looked_for
from hypothesis import given
from hypothesis import strategies as st
from stores_content import dead_record

from poller import checkpoint
from poller.checkpoint import Checkpoint, Gap, Pass, RungState, Step
from poller.errors import Damaged, StoreRefused
from poller.media_part import Origin, Part
from poller.model import CheckpointKey, Position, SeenKey, Window
from poller.moving.frames import Checkpoints, End, Events, Header, Letters, Seen, SinkState, Writer, read, writing
from poller.sinks.ndjson.sink import append, repair

LONGEST = 10.0
"""Seconds of the processor for a small file."""
TOKENS = (
    b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xc1", b"\xc0", b"\xff" * 4, b"\x91" * 2_000,
    b"\x81\xa1a" * 2_000, b"\x00\x00\x00\x00", b"\x0f\xff\xff\xff", b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", b"\xa4type", b"\xa3end", b"\xa6header",
)  # fmt: skip
HEADER = Header(id="i", store="sqlite", at=1.0, last=7, sinks=[SinkState("out", Position(3, b"c"))])
PARTS = (
    Events(at=1.0, events=[call_event("c1", 1), call_event("c2", 2)]),
    Letters(records=[dead_record(1)]),
    Checkpoints([(CheckpointKey("pbx", "mor.user_calls"), b"{}")]),
    Seen([SeenKey(20_000, bytes(16), bytes(8))]),
)


# --- an export -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "calls.state"


def good(path: Path) -> bytes:
    with writing(path) as writer:
        writer.header(HEADER)
        for part in PARTS:
            writer.part(part)
    return path.read_bytes()


def refused(path: Path, data: bytes) -> bool:
    """Whether the file is, in a sentence that can be written; what is not refused says what it said."""
    path.write_bytes(data)
    begun = time.process_time()
    try:
        found = list(read(path))
    except StoreRefused as error:
        assert len(str(error).encode()) < 1_000 + len(str(path))  # noqa: PT017 the other way out is as good
        return True
    finally:
        assert time.process_time() - begun < LONGEST
    assert found == [HEADER, *PARTS]
    return False


def test_the_file_that_is_changed_is_good(path: Path) -> None:
    assert not refused(path, good(path))


@pytest.mark.parametrize("found", corpus("state"), ids=lambda path: path.name)
def test_exports_that_were_found(path: Path, found: Path) -> None:
    assert refused(path, found.read_bytes())


@looked_for(150)
@given(todo=changes(TOKENS))
def test_a_changed_export_is_whole_or_refused(path: Path, todo: list[Change]) -> None:
    refused(path, changed(good(path), todo))


@looked_for(200)
@given(todo=changes(TOKENS, 3), which=st.integers(0, len(PARTS)))
def test_a_frame_of_other_bytes_is_refused(path: Path, todo: list[Change], which: int) -> None:
    """Well packed, and with a checksum that fits: somebody meant it."""

    class Forging(Writer):
        def _frame(self, data: bytes) -> None:
            self.written = getattr(self, "written", -1) + 1
            super()._frame(changed(data, todo) if self.written == which else data)

    with path.open("wb") as file, zstandard.ZstdCompressor().stream_writer(file) as stream:
        writer = Forging(stream)
        writer.header(HEADER)
        for part in PARTS:
            writer.part(part)
        writer.end()
    begun = time.process_time()
    try:
        for found in read(path):
            assert not isinstance(found, End)
    except StoreRefused as error:
        assert len(str(error).encode()) < 1_000 + len(str(path))  # noqa: PT017 the other way out is as good
    assert time.process_time() - begun < LONGEST


# --- a recording on its way ------------------------------------------------------------------------------------------


@looked_for(100)
@given(todo=changes(JSON))
def test_notes_of_an_unfinished_file(path: Path, todo: list[Change]) -> None:
    part = Part(path.with_name("r"), "r")
    part.begin(Origin("p", 7, '"tag"'))
    notes = path.with_name("r.part.json")
    notes.write_bytes(changed(notes.read_bytes(), todo))
    found = part.origin()
    assert found is None or isinstance(found.place, str)


# --- lines -----------------------------------------------------------------------------------------------------------


@looked_for(100)
@given(
    whole=st.lists(st.binary(max_size=8).map(lambda line: line.replace(b"\n", b"")), max_size=5),
    torn=st.binary(max_size=9),
)
def test_a_torn_file_keeps_its_whole_lines_and_nothing_else(path: Path, whole: list[bytes], torn: bytes) -> None:
    lines = path.with_name("lines")
    kept = b"".join(line + b"\n" for line in whole)
    kept, rest = (kept + torn).rpartition(b"\n")[0], torn.rpartition(b"\n")[2]
    lines.write_bytes(kept + b"\n" * bool(kept or whole or b"\n" in torn) + rest)
    before = lines.read_bytes()
    repair(lines)
    append(lines, b"next\n")
    assert lines.read_bytes() == before[: before.rfind(b"\n") + 1] + b"next\n"


# --- how far a list was read -----------------------------------------------------------------------------------------

LADDER = [Step(600, 0), Step(86_400, 3_600)]
KNOWN = Checkpoint(
    1_000, 0.0, [RungState(600, 5_000, 6_000, 2), RungState(7_200, 4_000)], 300, 4,
    [Pass(3, 600, 5_000, 6_000, [600], [Window(5_000, 5_300)], [Gap(5_300, 5_301, 9_000, "truncated")])],
    [Gap(2_000, 2_060, 3_000, "too_large")], 10_800, [7], [(0, "id", 1)],
)  # fmt: skip


@pytest.mark.parametrize("data", [checkpoint.dump(Checkpoint(1_000, 0.0, [], 300)), b'{"no": ' + b"[" * 200_000])
def test_a_checkpoint_without_rungs_or_without_an_end_is_damaged(data: bytes) -> None:
    with pytest.raises(Damaged, match=r"how far pbx mor\.user_calls was read is damaged"):
        checkpoint.read(data, CheckpointKey("pbx", "mor.user_calls", ""))


@looked_for(200)
@given(todo=changes(JSON))
def test_a_changed_checkpoint_claims_no_more_than_its_rungs(todo: list[Change]) -> None:
    try:
        found = checkpoint.read(changed(checkpoint.dump(KNOWN), todo), CheckpointKey("pbx", "mor.user_calls", ""))
    except Damaged:
        return
    checkpoint.fit(found, LADDER)
    assert [rung.back for rung in found.rungs] == [600, 86_400]
    claimed, last = checkpoint.complete_until(found), found.rungs[-1].last
    assert claimed is None or (last is not None and claimed <= last - 86_400)
    assert checkpoint.horizon(found, 86_400) >= found.start
    assert checkpoint.load(checkpoint.dump(found), LADDER) == found
