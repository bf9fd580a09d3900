"""Pure: MOR's parameters and its hash (BEHAVIOUR 1.2).

`hash` is the SHA-1 of the values of the hashed parameters, in an order that the server has, and of the API's secret.
"""

import hashlib
import re
from collections.abc import Mapping

from poller.model import Request

ORDER = (
    "user_id", "period_start", "period_end", "direction", "calltype", "device",
    "s_user", "s_call_type", "s_device", "s_provider", "s_hgc", "s_did", "s_destination",
    "order_by", "order_desc", "only_did", "s_reseller_did", "s_did_pattern", "s_reseller",
)  # fmt: skip
"""The server's order, whatever the request's is: the period comes before `s_user`, although MOR 9's page says otherwise."""

_DIGITS = re.compile(r"[0-9]+\Z")
_DIGITS_OR_ALL = re.compile(r"(?:[0-9]+|all)\Z")
_VALID = {
    **dict.fromkeys(("user_id", "period_start", "period_end", "s_user", "only_did", "s_reseller"), _DIGITS),
    **dict.fromkeys(("s_device", "s_provider", "s_hgc", "s_did", "device"), _DIGITS_OR_ALL),
}
_CONVERTED = {"period_start", "period_end"}


def hashed_values(params: Mapping[str, str], *, leave_out: frozenset[str] = frozenset()) -> list[str]:
    """The values that take part: sent, valid, and in the server's order. Times are numbers to the server: leading zeros vanish."""
    values = []
    for name in ORDER:
        value = params.get(name, "")
        if name in leave_out or not (_VALID[name].match(value) if name in _VALID else value):
            continue
        values.append(str(int(value)) if name in _CONVERTED else value)
    return values


def sign(values: list[str], secret: str) -> str:
    """40 lower-case hex digits."""
    return hashlib.sha1("".join([*values, secret]).encode(), usedforsecurity=False).hexdigest()


def compose(method: str, path: str, params: Mapping[str, str]) -> Request:
    """A request with the parameters in the body (POST, which MOR prefers) or in the query (GET, where it is allowed)."""
    pairs = tuple((name, value) for name, value in params.items() if value)
    if method == "GET":
        return Request(method="GET", path=path, query=pairs)
    return Request(method="POST", path=path, form=pairs)
