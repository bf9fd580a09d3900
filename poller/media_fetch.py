"""Fetching the file of a recording: candidates in order, resumed where it broke off, waited for while it is not there yet."""

import random
import re
import socket
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import anyio
from msgspec import Struct
from msgspec.structs import replace

from poller.addresses import answer_refusal, refusal
from poller.answer import Answer
from poller.backoff import delay
from poller.clock import Clock
from poller.errors import (
    CertificateFault,
    Denied,
    Permanent,
    PollerError,
    Redirected,
    Refused,
    TooLarge,
    Transient,
)
from poller.http import Vendor
from poller.media_part import Origin, Part, place_of
from poller.protocols import Media, MediaFile
from poller.redact import printable

_TIMEOUT = 300.0
_LARGEST = 4 << 30
_FIRST_WAIT = 5.0
_LONGEST_WAIT = 120.0
_LOOK_UP = 10.0
_FINDING = 16 << 20
_FINAL = (Permanent, Denied, CertificateFault, Redirected, TooLarge)
_NOT_THERE = frozenset({404, 410, 416})


class Fetched(Struct, frozen=True):
    """A file that is there, whole. `size` in bytes."""

    path: Path
    size: int
    content_type: str


class NotYet(Transient):
    """What is there is not the file, or not the whole file; it may be stored later (BEHAVIOUR 3.4: up to 50 minutes)."""

    reason = "not_there"


async def fetch_file(
    vendor: Vendor,
    media: Media,
    recording_id: str,
    known: Mapping[str, object] | None,
    target: Path,
    *,
    clock: Clock,
    wait: float,
    progress: Callable[[int, int | None], None] = lambda _done, _total: None,
    waiting: Callable[[str, float], None] = lambda _why, _seconds: None,
    allowed: Collection[str] = (),
    rnd: random.Random | None = None,
    timeout: float = _TIMEOUT,  # noqa: ASYNC109 the vendor's time for one answer, see Vendor.fetch
) -> Fetched:
    """Fetches one file to `target`, or under a name derived from the id where that is a folder.

    `known`: the event's `data`, if any; `wait`: seconds to go on trying while the file is not there; `progress(done, total)`
    in bytes; `waiting(why, seconds)` before each pause; `allowed`: other hosts that may be asked although they are internal.
    What has come stays in `<target>.part`, and the next call goes on from there. Raises Refused when there is no file (in
    time), else what stood in the way: Denied, CertificateFault, Redirected, TooLarge, Permanent (the disk).
    """
    part = Part(target, recording_id)
    fetch = _Fetch(
        vendor, media, recording_id, known, part, progress, frozenset(host.lower() for host in allowed), timeout
    )
    until = clock.mono() + wait
    jitter = rnd or random.SystemRandom()
    attempt = 0
    while True:
        attempt += 1
        fault = await fetch.round()
        if isinstance(fault, Fetched):
            return fault
        left = until - clock.mono()
        if left <= 0:
            raise Refused(
                f"{vendor.name}: the file of recording {printable(recording_id.encode())} is not there ({attempt} tries): "
                f"{fault}. It may not be stored yet, or be deleted: try again later, or wait longer"
            )
        pause = max(delay(attempt, first=_FIRST_WAIT, limit=_LONGEST_WAIT, rnd=jitter), fault.retry_after or 0.0)
        pause = min(max(pause, 1.0), left)
        waiting(str(fault), pause)
        await clock.sleep(pause)


class _Fetch:
    """One file's fetching; `round` tries every place once."""

    def __init__(
        self,
        vendor: Vendor,
        media: Media,
        recording_id: str,
        known: Mapping[str, object] | None,
        part: Part,
        progress: Callable[[int, int | None], None],
        allowed: frozenset[str],
        timeout: float,
    ) -> None:
        self._vendor = vendor
        self._media = media
        self._id = recording_id
        self._known = known
        self._part = part
        self._progress = progress
        self._allowed = allowed
        self._timeout = timeout
        self._where = f"{vendor.name} recording"

    async def round(self) -> Fetched | Transient:
        """The file, or why it may be worth trying again. Raises what no waiting mends."""
        faults: list[PollerError] = []
        try:
            found = await self._find()
        except PollerError as error:  # the places that need no answer may still have it
            faults.append(error)
            found = None
        try:
            files = self._media.files(self._id, self._known, found)
        except PollerError as error:
            faults.append(error)
            files = []
        for file in files:
            try:
                return await self._one(file)
            except OSError as error:
                raise Permanent(f"{self._part.path} cannot be written: {error.strerror}") from None
            except PollerError as error:
                faults.append(error)
        for fault in faults:
            if isinstance(fault, Transient) and not isinstance(fault, _FINAL):
                return fault
        raise (
            faults[-1] if faults else Refused(f"{self._vendor.name}: no place is known for the file of this recording")
        )

    async def _find(self) -> bytes | None:
        request = self._media.find(self._id, self._known)
        if request is None:
            return None
        async with self._vendor.fetch(
            request, timeout=self._timeout, max_body=_FINDING, endpoint="recording"
        ) as answer:
            return await answer.read()

    async def _one(self, file: MediaFile) -> Fetched:
        await self._check_place(file)
        place = place_of(self._id, file.request)
        have, origin = self._part.size(), self._part.origin()
        if origin is None or origin.place != place:
            have, origin = 0, Origin(place)
        headers = (*file.request.headers, ("Accept-Encoding", "identity"), *_range(have, origin))
        async with self._vendor.fetch(
            replace(file.request, headers=headers),
            timeout=self._timeout,
            max_body=_LARGEST,
            endpoint="recording",
            accept=_NOT_THERE,
            elsewhere=True,
            judge=None if self._own(file) else lambda address: self._judge(file, address),
        ) as answer:
            return await self._take(file, answer, have, origin)

    async def _take(self, file: MediaFile, answer: Answer, have: int, origin: Origin) -> Fetched:
        start, total = _span(answer)
        if answer.status == 416 and have and total == have:
            return self._whole(file, answer.content_type, have, total)
        if answer.status in _NOT_THERE or (answer.status == 206 and start != have):
            if have:
                self._part.drop()  # what has come is not the beginning of what is there now
            raise NotYet(f"{self._where}: {answer.status}, the file is not there")
        if answer.status == 206 and origin.total not in {None, total}:
            self._part.drop()
            raise NotYet(f"{self._where}: the file changed while it was being fetched")
        _check_type(answer, self._where)
        if answer.status != 206:
            have = 0
        if not have:
            self._part.begin(Origin(origin.place, total, _tag(answer)))
        done = await self._write(answer, have, total)
        return self._whole(file, answer.content_type, done, total)

    async def _write(self, answer: Answer, have: int, total: int | None) -> int:
        done = have
        self._progress(done, total)
        async with await anyio.open_file(self._part.path, "r+b") as out:
            await out.seek(have)
            async for chunk in answer.chunks():
                if not done and chunk.lstrip()[:1] in {b"<", b"{"}:
                    raise NotYet(f"{self._where}: text instead of a file: {printable(chunk)}")
                await out.write(chunk)
                done += len(chunk)
                self._progress(done, total)
        return done

    def _whole(self, file: MediaFile, content_type: str, done: int, total: int | None) -> Fetched:
        expected = total if file.size is None else file.size
        if not done or done != (total if total is not None else done) or done != (expected or done):
            self._part.drop()
            raise NotYet(f"{self._where}: the file has {done} bytes, where {expected or 'some'} should be")
        return Fetched(self._part.finish(content_type), done, content_type)

    # --- where may be asked ----------------------------------------------------------------------------------------

    def _own(self, file: MediaFile) -> bool:
        """Whether the configuration names the host: the source's own, or one that is allowed."""
        path = file.request.path
        if not path.startswith(("http://", "https://")):
            return True
        host = (urlsplit(path).hostname or "").lower()
        return host in self._allowed or host == urlsplit(self._vendor.base_url).hostname

    async def _check_place(self, file: MediaFile) -> None:
        """An address that a vendor gives never leads into our own network."""
        if self._own(file):
            return
        host = urlsplit(file.request.path).hostname or ""
        found: list[str] = []
        try:
            with anyio.move_on_after(_LOOK_UP):
                found = [str(info[4][0]) for info in await anyio.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
        except (OSError, UnicodeError):
            pass
        if not found:
            raise NotYet(f"{self._where}: the name {printable(host.encode())} cannot be resolved")
        if answer_refusal(found, host=host) is not None:
            raise self._internal(host)

    def _judge(self, file: MediaFile, address: str) -> None:
        """The same for the address that was really connected to: a name may resolve differently the second time."""
        if refusal(address) is not None:
            raise self._internal(urlsplit(file.request.path).hostname or "")

    def _internal(self, host: str) -> Refused:
        return Refused(
            f"{self._where}: the vendor names {printable(host.encode())}, an internal address, which is not "
            "fetched. If that host is yours, allow it in the source's configuration"
        )


def _range(have: int, origin: Origin) -> tuple[tuple[str, str], ...]:
    if not have:
        return ()
    asked = (("Range", f"bytes={have}-"),)
    return (*asked, ("If-Range", origin.tag)) if origin.tag else asked


def _tag(answer: Answer) -> str | None:
    tag: str = answer.headers.get("etag", "")
    changed: str | None = answer.headers.get("last-modified")
    return tag if tag.startswith('"') else changed


def _span(answer: Answer) -> tuple[int, int | None]:
    """Where the body begins in the file, and how long the file is, where the answer says so."""
    if answer.status in {206, 416}:
        match = re.fullmatch(
            r"bytes (?:(\d{1,18})-\d{1,18}|\*)/(?:(\d{1,18})|\*)", answer.headers.get("content-range", "")
        )
        if match is None:
            return -1, None
        return int(match[1]) if match[1] else -1, int(match[2]) if match[2] else None
    length = answer.headers.get("content-length", "")
    plain = answer.headers.get("content-encoding", "identity") == "identity"
    return 0, int(length) if plain and re.fullmatch(r"\d{1,18}", length) else None


def _check_type(answer: Answer, where: str) -> None:
    kind = answer.content_type
    if kind.startswith("text/") or kind.endswith(("json", "xml", "html")):
        raise NotYet(f"{where}: {kind} instead of a file")
