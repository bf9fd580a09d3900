"""Files of recordings: the same bytes for the same name, by Range if asked, not there yet, empty, or gone."""

import hashlib
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from poller.simulate.faults import Faults
from poller.simulate.things import File


def content(name: str, size: int) -> bytes:
    """The bytes of a file, a function of its name."""
    block = hashlib.sha256(name.encode()).digest()
    return (block * (size // len(block) + 1))[:size]


@dataclass(frozen=True, slots=True)
class Found:
    """What the vendor has under a name at one moment."""

    data: bytes
    content_type: str


def find(file: File | None, now: float) -> Found | None:
    """None: not there (yet, or any more)."""
    if file is None or now < file.empty_from or now >= file.purged_at:
        return None
    return Found(content(file.name, file.size) if now >= file.whole_from else b"", file.content_type)


def answer(request: Request, found: Found, faults: Faults) -> Response:
    """200 or 206 with the bytes, 416 for a range behind the end."""
    if faults.fires("file_json"):
        return JSONResponse(
            {"recordings": [{"_id": "x"}], "errors": [{"message": "temporarily unavailable", "code": 500}]}
        )
    data = found.data[: len(found.data) // 2] if faults.fires("file_short") else found.data
    headers = {"accept-ranges": "bytes"}
    span = _range(request.headers.get("range"), len(data))
    if span is None:
        return Response(data, media_type=found.content_type, headers=headers)
    begin, end = span
    if begin >= len(data):
        return Response(status_code=416, headers={"content-range": f"bytes */{len(data)}"})
    headers["content-range"] = f"bytes {begin}-{end - 1}/{len(data)}"
    return Response(data[begin:end], 206, media_type=found.content_type, headers=headers)


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """`bytes=5-`, `bytes=5-9` and `bytes=-5`; anything else is as if it had not been sent."""
    unit, _, spec = (header or "").partition("=")
    first, dash, last = spec.partition("-")
    if unit != "bytes" or not dash or "," in spec or not (first + last).isdigit():
        return None
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size
