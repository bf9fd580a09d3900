"""The receivers in the documentation take what we sign and nothing else; its table names every check."""

import re
import time
import typing
from collections.abc import Callable
from typing import Any

import pytest
from docs_pages import ROOT, blocks, text_of

from poller.signing import ID, SIGNATURE, TIMESTAMP, Failure, ed25519_texts, hmac_text, read_signing_key, sign

BODY = '{"type": "telephony.call.new", "data": {"to": {"name": "Żółw"}}}'.encode()
PRIVATE, PUBLIC = ed25519_texts(bytes(range(32)))
SECRET = hmac_text(bytes(range(32)))
PYTHON = [block.text for block in blocks("python") if block.page == "verifying.md"]
V1, V1A = "standardwebhooks", "cryptography"


def receiver(library: str) -> Callable[[str, dict[str, str], bytes], bool]:
    """The function of the block that imports this library."""
    (text,) = [text for text in PYTHON if f"from {library}" in text]
    names: dict[str, Any] = {}
    exec(compile(text, "docs/verifying.md", "exec"), names)
    found: Callable[[str, dict[str, str], bytes], bool] = names["verified"]
    return found


@pytest.mark.parametrize(("library", "key"), [(V1, SECRET), (V1A, PUBLIC)])
def test_the_receivers_of_the_page(library: str, key: str) -> None:
    """A rotation with all kinds of keys, on which the first entry is a stranger's."""
    verified = receiver(library)
    keys = [read_signing_key(text) for text in (hmac_text(bytes(32)), ed25519_texts(bytes(32))[0], SECRET, PRIVATE)]
    headers = sign(keys, "evt1", int(time.time()), BODY)
    assert verified(key, headers, BODY)
    assert not verified(key, headers, BODY + b"\n")
    assert not verified(key, headers | {ID: "evt2"}, BODY)
    assert not verified(key, headers | {TIMESTAMP: "soon"}, BODY)
    assert not verified(key, headers | {SIGNATURE: f"v1,x v1a,x {headers[SIGNATURE][:60]}"}, BODY)
    assert not any(verified(key, {**headers, name: ""}, BODY) for name in headers)
    assert not any(verified(key, {one: headers[one] for one in headers if one != name}, BODY) for name in headers)
    assert not verified(key, sign(keys, "evt1", int(time.time()) - 900, BODY), BODY)
    assert not verified(key, sign(keys[:2], "evt1", int(time.time()), BODY), BODY)


def test_every_check_is_in_the_table() -> None:
    table = text_of(ROOT / "docs/verifying.md").partition("| check |")[2]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(typing.get_args(Failure))
