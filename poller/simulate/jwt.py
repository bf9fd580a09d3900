"""Tokens as FonoUC gives them: JWTs signed with HS256, with `exp` and `type: access`."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

_HEAD = {"alg": "HS256", "typ": "JWT"}


def issue(claims: Mapping[str, Any], key: bytes) -> str:
    """A signed token."""
    signed = f"{_pack(json.dumps(_HEAD).encode())}.{_pack(json.dumps(dict(claims)).encode())}"
    return f"{signed}.{_pack(_sign(signed, key))}"


def claims_of(token: str, key: bytes) -> dict[str, Any] | None:
    """The claims of a token of ours; None for anything else."""
    signed, _, signature = token.rpartition(".")
    if not signed or not hmac.compare_digest(_pack(_sign(signed, key)).encode(), signature.encode()):
        return None
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(signed.split(".")[1] + "=="))
    return claims


def _sign(text: str, key: bytes) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _pack(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
