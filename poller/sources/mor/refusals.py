"""Pure: what MOR says in an `error` element, to errors with what to do. MOR's HTTP status is always 200 (BEHAVIOUR 1.1)."""

from poller.errors import Denied, PollerError, Refused, VendorFault
from poller.sources.mor.xml import show

NOTHING = "no recordings found"
"""The empty list of recordings_get."""

_SAYINGS: tuple[tuple[str, type[PollerError], str], ...] = (
    (
        "get requests are disabled",
        Denied,
        "use `method: POST`, or have the vendor allow GET; an X3 that redirects `user_calls` is asked directly with `version: x4`",
    ),
    ("api requests are disabled", Denied, "have the vendor allow API requests"),
    (
        "incorrect hash",
        Denied,
        "compare `api_secret` and `version` with the vendor's (local_calls: also `hash`); each wrong hash is logged there",
    ),
    ("must have secret key", Denied, "have the vendor set an API secret key"),
    ("access denied", Denied, "check `username` and that its rights include this list"),
    ("bad login", Denied, "check `username` and `password`"),
    ("not authorized", Denied, "have the vendor give this user the right to this list"),
    ("be so smart", Denied, "the vendor takes the request for an intrusion: check `username` and its rights"),
    ("user was not found", Refused, "check `users`, `username` and `password`"),
    ("incorrect format", Refused, "the vendor does not take these dates"),
    ("greater than date till", Refused, "the vendor does not take these dates"),
    ("elasticsearch", VendorFault, "the vendor's own database is away"),
)


def refusal(words: str, path: str) -> PollerError:
    """The error that an answer with these words amounts to."""
    folded = words.lower().replace("_", " ")
    for saying, error, advice in _SAYINGS:
        if saying in folded:
            return error(f"MOR answers {show(words)} to {path}: {advice}")
    return Refused(f"MOR answers {show(words)} to {path}")
