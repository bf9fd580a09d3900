"""The API's hash as the server computes it: over its own fixed order, of what was sent and is valid (BEHAVIOUR 1.2)."""

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Final


def _whole(value: str) -> str:
    """Digits only, then taken as an integer: leading zeros vanish, anything else is as if it had not been sent."""
    return str(int(value)) if re.fullmatch(r"[0-9]+", value) else ""


def _digits(value: str) -> str:
    return value if re.fullmatch(r"[0-9]+", value) else ""


def _digits_or_all(value: str) -> str:
    return value if re.fullmatch(r"[0-9]+|all", value) else ""


ORDER: Final[Mapping[str, Callable[[str], str]]] = {
    "user_id": str, "period_start": _whole, "period_end": _whole, "direction": str, "calltype": str, "device": str,
    # Any other name of the global list takes part as well, wherever a client sends it by mistake.
    **dict.fromkeys(("date", "source", "destination", "id", "name", "status", "type", "state", "username", "url", "message",
                     "date_from", "date_till"), str),
    "s_user": _digits, "s_call_type": str, "s_device": _digits_or_all, "s_provider": _digits_or_all, "s_hgc": _digits_or_all,
    "s_did": _digits_or_all, "s_destination": str, "order_by": str, "order_desc": str, "only_did": _digits,
    "s_uniqueid": str, "s_callback_uniqueid": str, "originator_codec_name": str, "terminator_codec_name": str,
}  # fmt: skip
"""Name → validator, in the order in which the values are joined."""


def calls_hash(parameters: Mapping[str, str], secret: str) -> str:
    """Of user_calls."""
    return sha1("".join(check(parameters[name]) for name, check in ORDER.items() if name in parameters) + secret)


def local_hash(parameters: Mapping[str, str], secret: str, variant: str) -> str:
    """Of local_calls_get, of which three variants are in the world: `from_till_user`, `secret`, `user`."""
    names = {"from_till_user": ("from", "till", "s_user"), "user": ("s_user",), "secret": ()}[variant]
    return sha1("".join(parameters.get(name, "") for name in names) + secret)


def sha1(text: str) -> str:
    """40 lower-case hex digits."""
    return hashlib.sha1(text.encode()).hexdigest()
