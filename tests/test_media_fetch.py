"""Files of recordings: resumed, checked, waited for, never from inside, never to a place that a vendor chose."""

import hashlib
import os
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from anyio.abc import ByteStream
from fake_clock import HurriedClock
from http_peer import Asked, Peer, answer, get, open_vendor, peer
from hypothesis import given
from hypothesis import strategies as st

from poller.errors import Denied, Permanent, Refused
from poller.media_fetch import Fetched, fetch_file
from poller.media_part import safe_name
from poller.model import Request
from poller.protocols import MediaFile

pytestmark = pytest.mark.anyio
SOUND = b"ID3" + random.Random(1).randbytes(60_000)


@dataclass
class Places:
    """A source's media: the paths to try, in order."""

    paths: tuple[str, ...] = ("/a",)
    size: int | None = None
    asks: bool = False
    found: list[bytes | None] = field(default_factory=list)

    def find(self, recording_id: str, known: Mapping[str, object] | None) -> Request | None:  # noqa: ARG002 the protocol's
        return Request(method="GET", path="/find") if self.asks else None

    def files(self, recording_id: str, known: Mapping[str, object] | None, found: bytes | None) -> list[MediaFile]:  # noqa: ARG002 the protocol's
        self.found.append(found)
        return [MediaFile(Request(method="GET", path=path, basic=("u", "p")), self.size) for path in self.paths]


@dataclass
class Vault:
    """A vendor that gives the file, with Range, after the answers in `first`."""

    first: list[bytes | Callable[[ByteStream], Any]] = field(default_factory=list)
    body: bytes = SOUND
    tag: str | None = '"v1"'
    ranges: bool = True

    async def respond(self, asked: Asked, stream: ByteStream) -> bool | None:
        if self.first:
            said = self.first.pop(0)
            if isinstance(said, bytes):
                await stream.send(said)
                return None
            await said(stream)
            return False
        headers = {"content_type": "audio/mpeg"} | ({"etag": self.tag} if self.tag else {})
        wanted = asked.headers.get("range")
        if wanted is None or not self.ranges or asked.headers.get("if-range", self.tag) != self.tag:
            await stream.send(answer(200, self.body, **headers))
            return None
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(self.body):
            await stream.send(answer(416, content_range=f"bytes */{len(self.body)}"))
        else:
            span = f"bytes {start}-{len(self.body) - 1}/{len(self.body)}"
            await stream.send(answer(206, self.body[start:], content_range=span, **headers))
        return None


def breaks_off(at: int, **headers: str) -> Callable[[ByteStream], Any]:
    """The beginning of the file, and then nothing more."""

    async def respond(stream: ByteStream) -> None:
        said = {"content_type": "audio/mpeg", "content_length": str(len(SOUND)), "etag": '"v1"'} | headers
        await stream.send(answer(200, SOUND[:at], **said))

    return respond


@dataclass
class Tried:
    """What happened in one `fetch`."""

    result: Fetched | BaseException
    asked: list[Asked]
    waits: list[tuple[str, float]]
    progress: list[tuple[int, int | None]]
    clock: HurriedClock

    @property
    def ranges(self) -> list[str | None]:
        return [one.headers.get("range") for one in self.asked]


async def fetch(vault: Vault, target: Path, places: Places | None = None, **more: Any) -> Tried:
    clock = HurriedClock()
    waits: list[tuple[str, float]] = []
    progress: list[tuple[int, int | None]] = []
    async with peer(vault.respond) as server, open_vendor(server.url, clock=clock) as vendor:
        result: Fetched | BaseException
        try:
            result = await fetch_file(
                vendor,
                places or Places(),
                more.pop("recording_id", "r1"),
                None,
                target,
                clock=clock,
                wait=more.pop("wait", 3_600),
                waiting=lambda why, seconds: waits.append((why, seconds)),
                progress=lambda done, total: progress.append((done, total)),
                rnd=random.Random(3),
                timeout=60,
                **more,
            )
        except Exception as error:  # noqa: BLE001 each test looks at it
            result = error
        return Tried(result, server.asked, waits, progress, clock)


def whole(tried: Tried, target: Path, body: bytes = SOUND) -> None:
    assert isinstance(tried.result, Fetched), tried.result
    assert tried.result.path == target
    assert tried.result.size == len(body)
    assert hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(body).digest()
    assert [path for path in target.parent.iterdir() if ".part" in path.name] == []


async def test_a_file_that_is_there(tmp_path: Path) -> None:
    target = tmp_path / "call.mp3"
    tried = await fetch(Vault(), target)
    whole(tried, target)
    assert tried.waits == []
    assert tried.progress[0] == (0, len(SOUND))
    assert tried.progress[-1] == (len(SOUND), len(SOUND))
    assert tried.asked[0].headers["accept-encoding"] == "identity"
    assert tried.asked[0].headers["authorization"].startswith("Basic")


async def test_an_older_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "call.mp3"
    target.write_bytes(b"old")
    tried = await fetch(Vault([breaks_off(50)]), target, wait=0)
    assert isinstance(tried.result, Refused)
    assert target.read_bytes() == b"old"
    tried = await fetch(Vault(), target)
    whole(tried, target)


async def test_it_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    target = tmp_path / "call.mp3"
    tried = await fetch(Vault([breaks_off(20_000)]), target)
    whole(tried, target)
    assert tried.ranges == [None, "bytes=20000-"]
    assert tried.asked[1].headers["if-range"] == '"v1"'
    assert "broke off after 20000 bytes" in tried.waits[0][0]


async def test_the_next_run_goes_on_too(tmp_path: Path) -> None:
    target = tmp_path / "call.mp3"
    first = await fetch(Vault([breaks_off(20_000)]), target, wait=0)
    assert isinstance(first.result, Refused)
    assert (tmp_path / "call.mp3.part").stat().st_size == 20_000
    # Another server, so another port, but the same place under the same base URL.
    tried = await fetch(Vault(), target)
    whole(tried, target)
    assert tried.ranges == ["bytes=20000-"]


async def test_a_file_that_changed_meanwhile_is_fetched_anew(tmp_path: Path) -> None:
    target = tmp_path / "call.mp3"
    tried = await fetch(Vault([breaks_off(20_000)], body=SOUND[::-1], tag='"v2"'), target)
    whole(tried, target, SOUND[::-1])


async def test_a_part_without_a_tag_whose_file_has_another_length_now(tmp_path: Path) -> None:
    target = tmp_path / "call.mp3"
    vault = Vault([breaks_off(20_000, etag='W/"weak"')], body=SOUND[::-1] + b"x", tag=None)
    tried = await fetch(vault, target)
    whole(tried, target, SOUND[::-1] + b"x")
    assert "if-range" not in tried.asked[1].headers
    assert "changed while" in tried.waits[1][0]


async def test_a_server_without_ranges_starts_over(tmp_path: Path) -> None:
    target = tmp_path / "call.mp3"
    tried = await fetch(Vault([breaks_off(20_000)], ranges=False), target)
    whole(tried, target)


@pytest.mark.parametrize(
    "span", ["bytes 10000-50002/60003", "bytes 20001-60002/60003", "pages 1-2/3", "", "bytes */60003"]
)
async def test_a_range_that_was_not_asked_for_is_not_written(tmp_path: Path, span: str) -> None:
    target = tmp_path / "call.mp3"
    wrong = answer(206, SOUND[10_000:50_003], content_range=span, content_type="audio/mpeg")
    tried = await fetch(Vault([breaks_off(20_000), wrong]), target)
    whole(tried, target)
    assert tried.ranges == [None, "bytes=20000-", None]


async def test_a_part_that_is_whole_already(tmp_path: Path) -> None:
    target = tmp_path / "call.mp3"
    said = answer(200, SOUND, content_type="audio/mpeg", etag='"v1"', content_length=str(len(SOUND) + 1))
    one_more = Vault([lambda stream: stream.send(said)])
    tried = await fetch(one_more, target)
    whole(tried, target)
    assert tried.ranges == [None, f"bytes={len(SOUND)}-"]


async def test_a_part_that_is_longer_than_the_file_is_dropped(tmp_path: Path) -> None:
    target = tmp_path / "call.mp3"
    tried = await fetch(Vault([breaks_off(20_000)], body=SOUND[:500]), target)
    whole(tried, target, SOUND[:500])


NOT_YET = [
    answer(404, b"none"),
    answer(404, b'{"message":"bad identifier"}', content_type="application/json"),
    answer(410),
    answer(200, b"", content_type="audio/mpeg"),
    answer(204),
    answer(200, b'{"data": {"id": "r1"}}', content_type="application/json"),
    answer(200, b'  {"data": {"id": "r1"}}', content_type="application/octet-stream"),
    answer(200, b"<!DOCTYPE html><p>Sorry", content_type="audio/mpeg"),
    answer(200, b"Sorry", content_type="text/html; charset=utf-8"),
    answer(200, b"<error/>", content_type="application/xml"),
    answer(500, b"broken"),
    answer(503, b"busy", retry_after="9"),
    answer(429, retry_after="900"),
    answer(200, SOUND[:100], content_type="audio/mpeg"),  # shorter than listed
    answer(200, SOUND + b"x", content_type="audio/mpeg"),  # longer than listed
]


@pytest.mark.parametrize("said", NOT_YET, ids=range(len(NOT_YET)))
async def test_what_is_not_the_file_is_waited_for(tmp_path: Path, said: bytes) -> None:
    target = tmp_path / "call.mp3"
    tried = await fetch(Vault([said]), target, Places(size=len(SOUND)))
    whole(tried, target)
    assert len(tried.waits) == 1
    if b"retry-after: 900" in said:
        assert tried.waits[0][1] == 900


@pytest.mark.parametrize("said", NOT_YET[:-2], ids=range(len(NOT_YET) - 2))
async def test_what_is_not_the_file_is_told_without_a_listed_size(tmp_path: Path, said: bytes) -> None:
    target = tmp_path / "call.mp3"
    tried = await fetch(Vault([said]), target)
    whole(tried, target)
    assert len(tried.waits) == 1


@pytest.mark.parametrize("said", [*NOT_YET, breaks_off(7)], ids=range(len(NOT_YET) + 1))
async def test_in_the_end_it_says_what_was_there_instead(tmp_path: Path, said: Any) -> None:
    target = tmp_path / "call.mp3"
    tried = await fetch(Vault([said] * 10_000), target, Places(size=len(SOUND)), wait=600)
    assert isinstance(tried.result, Refused)
    assert re.search(
        r"mor-main: the file of recording r1 is not there \(\d+ tries\): .*try again later", str(tried.result)
    )
    left_alone = isinstance(said, bytes) and b"retry-after: 900" in said  # longer than we wait: not asked again before
    assert (1 if left_alone else 2) <= len(tried.asked) < 100
    assert 600 <= tried.clock.mono() - 1_000 < 601
    assert not target.exists()


async def test_without_waiting_there_is_one_try(tmp_path: Path) -> None:
    tried = await fetch(Vault([answer(404)] * 9), tmp_path / "x", wait=0)
    assert isinstance(tried.result, Refused)
    assert len(tried.asked) == 1


async def test_the_next_place_is_tried(tmp_path: Path) -> None:
    target = tmp_path / "x"
    tried = await fetch(Vault([answer(404)]), target, Places(("/recordings/r1", "/recording/r1")))
    whole(tried, target)
    assert [one.target for one in tried.asked] == ["/api/recordings/r1", "/api/recording/r1"]
    assert tried.waits == []


@pytest.mark.parametrize(
    ("said", "kind"), [(answer(401, b"no"), Denied), (answer(403, b"no"), Denied), (answer(400, b"no"), Refused)]
)
async def test_what_no_waiting_mends_is_said_at_once(tmp_path: Path, said: bytes, kind: type[Exception]) -> None:
    tried = await fetch(Vault([said] * 9), tmp_path / "x", Places(("/a", "/b")))
    assert type(tried.result) is kind
    assert len(tried.asked) == 2


async def test_what_helps_to_locate_is_asked_and_its_failure_is_no_end(tmp_path: Path) -> None:
    places = Places(asks=True)
    tried = await fetch(Vault([answer(200, b"list"), answer(404), answer(500)]), tmp_path / "x", places)
    whole(tried, tmp_path / "x")
    assert places.found == [b"list", None]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.2/x",
        "http://localhost./x",
        "http://[::1]/x",
        "http://[::ffff:10.0.0.1]/x",
        "http://10.9.8.7/recordings/1.mp3",
        "http://169.254.169.254/latest/meta-data",
        "http://192.168.1.1/x",
        "http://100.64.0.1/x",
        "http://0.0.0.0/x",
        "http://[fe80::1]/x",
        "http://224.0.0.1/x",
        "http://2130706433/x",
        "http://[64:ff9b::a9fe:a9fe]/x",
        "http://[2002:7f00:1::]/x",
    ],
)
async def test_an_internal_address_is_never_asked(tmp_path: Path, url: str) -> None:
    tried = await fetch(Vault(), tmp_path / "x", Places((url,)), wait=0)
    assert isinstance(tried.result, Refused)
    assert "internal address" in str(tried.result) or "cannot be resolved" in str(tried.result)
    assert tried.asked == []


async def test_the_configured_host_and_allowed_ones_may_be_internal(tmp_path: Path) -> None:
    other = Vault()
    async with peer(other.respond) as there:
        tried = await fetch(Vault(), tmp_path / "x", Places((f"{there.url}/own-host-other-port",)))
        whole(tried, tmp_path / "x")
        named = there.url.replace("127.0.0.1", "localhost") + "/y"
        tried = await fetch(Vault(), tmp_path / "y", Places((named,)), allowed=["LOCALHOST"])
        whole(tried, tmp_path / "y")
    assert all("authorization" not in one.headers for one in asked_of(there))


def asked_of(server: Peer) -> list[Asked]:
    assert server.asked
    return server.asked


async def test_an_address_is_judged_before_anything_is_sent_to_it() -> None:
    """Where a name leads when the connection is made counts, not where it led when it was looked up before."""
    judged: list[str] = []

    def refuse(address: str) -> None:
        judged.append(address)
        raise Refused("an internal address")

    async with peer(Vault().respond) as there, open_vendor(there.url) as vendor:
        for _ in range(2):  # a refused connection is not kept for the next request
            with pytest.raises(Refused, match="an internal address"):
                await get(vendor, judge=refuse)
        assert judged == ["127.0.0.1"] * 2
        assert there.asked == []
        assert await get(vendor, judge=judged.append) == SOUND
        assert judged == ["127.0.0.1"] * 3


async def test_what_came_and_what_it_is_a_part_of_are_the_owners_alone(tmp_path: Path) -> None:
    """Sound of a conversation, whatever the umask."""
    before = os.umask(0)
    try:
        await fetch(Vault([breaks_off(20_000)]), tmp_path / "half", wait=0)
        tried = await fetch(Vault(), tmp_path / "whole")
    finally:
        os.umask(before)
    assert set(names_in(tmp_path)) == {"half.part", "half.part.json", "whole"}
    assert modes_in(tmp_path) == {0o600}
    assert isinstance(tried.result, Fetched)


@pytest.mark.parametrize("redirect", ["http://169.254.169.254/x", "/elsewhere"])
async def test_a_redirect_is_not_followed(tmp_path: Path, redirect: str) -> None:
    tried = await fetch(Vault([answer(302, location=redirect)] * 5), tmp_path / "x")
    assert "redirect" in str(tried.result)
    assert len(tried.asked) == 1


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "..", "", "a/b\\c:d\0", "queue/2024/rec 1.ogg", "x" * 500]
)
async def test_into_a_folder_under_a_name_of_our_own(tmp_path: Path, name: str) -> None:
    tried = await fetch(Vault(), tmp_path, recording_id=name)
    assert isinstance(tried.result, Fetched)
    assert tried.result.path.parent == tmp_path
    assert tried.result.path.name.endswith(".mp3")
    assert names_in(tmp_path) == [tried.result.path.name]


def modes_in(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in folder.iterdir()}


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@given(st.text(), st.text())
def test_names_are_safe_and_told_apart(one: str, two: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", safe_name(one))
    assert len(safe_name(one)) < 120
    assert (safe_name(one) == safe_name(two)) == (one == two)


async def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    tried = await fetch(Vault(), tmp_path / "missing" / "x.mp3")
    assert isinstance(tried.result, Permanent)
    assert "is no folder" in str(tried.result)
    assert tried.asked == []


async def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "x.part").mkdir()
    tried = await fetch(Vault(), tmp_path / "x")
    assert isinstance(tried.result, Permanent)
    assert "x.part cannot be written" in str(tried.result)
