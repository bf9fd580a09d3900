"""Receives signed calls from poller. `pip install standardwebhooks cryptography`

WEBHOOK_KEYS='whsec_… whpk_…' python receiver.py      several keys: the old and the new one, while one is being replaced

A call is answered with 2xx only once its event is on disk. Do the work from there, later: the sender waits 15 seconds.
"""

import base64
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook, WebhookVerificationError

DATABASE = os.environ.get("DATABASE", "events.db")
TABLE = "CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, content_type TEXT, body BLOB)"
LARGEST = 1 << 20
TOLERANCE = 300  # seconds between the sender's clock and this one


def by_library(key: Webhook, headers: dict[str, str], body: bytes) -> bool:
    """`whsec_`, signature v1."""
    try:
        key.verify(body, headers, json_parse=False)
    except (WebhookVerificationError, ValueError):
        return False
    return True


def by_hand(key: Ed25519PublicKey, headers: dict[str, str], body: bytes) -> bool:
    """`whpk_`, signature v1a, which the library does not know."""
    call, at, signatures = (headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
    if not call or "." in call or not at.isdecimal() or len(at) > 15 or abs(time.time() - int(at)) > TOLERANCE:
        return False
    for version, _, signature in (entry.partition(",") for entry in signatures.split(" ")):
        try:
            if version == "v1a":
                key.verify(base64.b64decode(signature), f"{call}.{at}.".encode() + body)
                return True
        except (InvalidSignature, ValueError):
            continue
    return False


def check(text: str) -> Callable[[dict[str, str], bytes], bool]:
    """What verifies calls with this key. A wrong key ends the start here, instead of refusing every call."""
    if text.startswith("whsec_"):
        return partial(by_library, Webhook(text))
    return partial(by_hand, Ed25519PublicKey.from_public_bytes(base64.b64decode(text.removeprefix("whpk_"))))


CHECKS = [check(text) for text in os.environ["WEBHOOK_KEYS"].split()]


def note(call: str, content_type: str, body: bytes) -> None:
    """Durable when this returns: SQLite waits for the disk. The id comes again with every repetition, and counts once."""
    with closing(sqlite3.connect(DATABASE, timeout=5)) as database, database:
        database.execute(TABLE)
        database.execute("INSERT OR IGNORE INTO events VALUES (?, ?, ?)", (call, content_type, body))


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept
    timeout = 60

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > LARGEST:
            self.close_connection = True  # with a body that nobody has read
            return self.answer(413 if length else 411)
        body = self.rfile.read(int(length))  # the bytes as they came: parse them only after they were verified
        headers = {name.lower(): value for name, value in self.headers.items()}
        if not any(genuine(headers, body) for genuine in CHECKS):
            return self.answer(401)
        try:
            note(headers["webhook-id"], headers.get("content-type", ""), body)
        except sqlite3.Error as error:
            self.log_error("not noted: %s", error)
            return self.answer(503)  # it comes again
        return self.answer(204)

    def answer(self, status: int) -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("content-length", "0")
        self.end_headers()


if __name__ == "__main__":
    address = (os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8080")))
    with ThreadingHTTPServer(address, Receiver) as server:
        print(f"listening on {server.server_port}", flush=True)
        server.serve_forever()
