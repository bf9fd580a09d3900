"""An HTTP application asked without a network: whatever it raises comes out here, and not as a 500 that somebody else would see."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote

import anyio
from starlette.applications import Starlette


class Said(NamedTuple):
    """What came back."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


async def ask(
    app: Starlette, method: str, target: bytes, headers: Sequence[tuple[bytes, bytes]] = (), body: Sequence[bytes] = ()
) -> Said:
    """One request as the server hands it on (names of headers in lower case, the path decoded). The client leaves after the body."""
    raw, _, query = target.partition(b"?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http", "root_path": "",
        "path": unquote(raw.decode("ascii")), "raw_path": raw, "query_string": query, "headers": list(headers),
        "client": ("127.0.0.1", 9), "server": ("127.0.0.1", 9465), "state": {},
    }  # fmt: skip
    left, said, told = list(body), [], anyio.Event()

    async def receive() -> dict[str, Any]:
        if left:
            data = left.pop(0)
            return {"type": "http.request", "body": data, "more_body": bool(left)}
        if not body and not told.is_set():
            told.set()
            return {"type": "http.request", "body": b"", "more_body": False}
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        said.append(message)

    with anyio.fail_after(120):
        await app(scope, receive, send)
    start = next(each for each in said if each["type"] == "http.response.start")
    return Said(start["status"], dict(start["headers"]), b"".join(each.get("body", b"") for each in said))
