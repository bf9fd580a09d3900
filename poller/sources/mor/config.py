"""What a MOR source is told. Options that the configured version does not have are refused here, before anything is asked."""

from collections.abc import Iterator
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field

from poller.options import Between, Duration, EndpointOptions, Options, Secret, Size, SourceOptions
from poller.rules import Fault, known

VERSIONS = ("8", "9", "10", "11", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13")
Version = Annotated[
    Literal["8", "9", "10", "11", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13"],
    BeforeValidator(lambda value: str(value).lower() if isinstance(value, str | int) else value),
]


def at_least(version: str, first: str) -> bool:
    """Whether `version` is `first` or newer."""
    return VERSIONS.index(version) >= VERSIONS.index(first)


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone: write an IANA name such as Europe/Vilnius") from None
    return name


Zone = Annotated[str, AfterValidator(_known_zone)]
Number = Annotated[int, Field(ge=0)]
NumberOrAll = Number | Literal["all"]
Users = Annotated[tuple[Number, ...], Field(min_length=1)]

CALL_TYPES = {
    "all", "answered", "no answer", "busy", "failed",
    "no_answer", "missed", "missed_inc", "missed_inc_all", "missed_not_processed_inc",
}  # fmt: skip
_OLD_TYPES = CALL_TYPES - {"no answer"}
_NEW_TYPES = {"all", "answered", "no answer", "failed", "busy"}

FIRST_WITH = {
    "provider": "9",
    "hgc": "9",
    "did": "9",
    "destination": "9",
    "only_did": "11",
    "reseller_did": "11",
    "did_pattern": "11",
    "reseller": "x3",
}
"""The version that brought each filter; MOR 8 knows only users, the call type and the device."""


class MorEndpointOptions(EndpointOptions):
    """MOR sends a whole window in one document, made in memory: slow and large, but it is read as a stream."""

    timeout: Annotated[Duration, Between("10ms", "1h")] = Field(
        300.0, description="Longest time to wait for one answer; MOR makes it whole first."
    )
    max_body: Annotated[Size, Between("100B", "64GiB")] = Field(
        2 << 30, description="Largest answer, counted after decompression; it is never held whole."
    )


class UserCallsOptions(MorEndpointOptions):
    """Filters narrow what is asked; without any, everything that the login may see is asked."""

    users: Users | None = Field(
        None, description="MOR user ids, each asked by itself; all users unless given. MOR 8 needs it."
    )
    call_type: str | None = Field(None, description="Only calls of this outcome, in the words of the vendor's version.")
    device: NumberOrAll | None = Field(None, description="Only this device.")
    provider: NumberOrAll | None = Field(None, description="Only this provider (administrators).")
    hgc: NumberOrAll | None = Field(None, description="Only this hangup cause, by its id.")
    did: NumberOrAll | None = Field(None, description="Only this DID, by its id.")
    destination: str | None = Field(None, min_length=1, description="Only numbers with this prefix.")
    only_did: bool | None = Field(None, description="Only calls over DIDs.")
    reseller_did: str | None = Field(None, min_length=1, description="Only calls over this reseller's DIDs.")
    did_pattern: str | None = Field(None, min_length=1, description="Only calls over DIDs of this pattern.")
    reseller: Number | None = Field(None, description="Only calls of this reseller's users.")
    unhashed: tuple[str, ...] = Field(
        ("s_reseller", "s_reseller_did", "s_did_pattern"),
        description="Parameters that the vendor leaves out of the hash; versions may differ.",
    )
    day_first: bool = Field(True, description="How X3 writes dates whose year comes last: day or month first.")


class LocalCallsOptions(MorEndpointOptions):
    """Users are asked one by one: the vendor demands it."""

    users: Users = Field(description="MOR user ids, each asked by itself.")
    hash: Literal["from_till_user", "secret", "user"] = Field(
        "from_till_user", description="What the vendor's version hashes; `poller check` finds out which."
    )


class RecordingsOptions(MorEndpointOptions):
    """Recordings that the login owns directly; a reseller's users' recordings need the reseller's login."""


class Endpoints(Options):
    """What is polled; an absent one is not."""

    user_calls: UserCallsOptions | None = None
    local_calls: LocalCallsOptions | None = None
    recordings: RecordingsOptions | None = None


# --- what a version has ----------------------------------------------------------------------------------------------


def _lists(version: str, endpoints: Endpoints) -> Iterator[Fault]:
    for name, first in {"local_calls": "x13", "recordings": "x7"}.items():
        if known(endpoints).get(name) is not None and not at_least(version, first):
            yield ("endpoints", name), f"MOR has this list from {first} on, and version is {version}"


def _filters(version: str, endpoints: Endpoints) -> Iterator[Fault]:
    options = known(endpoints).get("user_calls")
    if options is None:
        return
    keys, place = known(options), ("endpoints", "user_calls")
    for name, first in FIRST_WITH.items():
        if keys.get(name) is not None and not at_least(version, first):
            yield (*place, name), f"MOR {version} does not have this filter ({first} and newer do)"
    if version == "8" and keys.get("users", ()) is None:
        yield (*place, "users"), "MOR 8 answers for one user at a time: list them"
    words = _OLD_TYPES if version == "8" else _NEW_TYPES
    said = keys.get("call_type")
    if said is not None and said not in words:
        yield (*place, "call_type"), f"MOR {version} knows {', '.join(sorted(words))}, not {said!r}"


class Config(SourceOptions):
    """One MOR system."""

    rules = (_lists, _filters)

    kind: Literal["mor"]
    username: str = Field(min_length=1, description="The `u` of every request: whose calls are seen.")
    password: Secret | None = Field(None, description="Only what MOR 8 to 11 ask for.")
    api_secret: Secret = Field(description="The API secret key that the hash is made with.")
    version: Version = Field(description="MOR's version; chooses names and parameters. Newer ones: x13.")
    method: Literal["POST", "GET"] = Field(
        "POST", description="GET only where the vendor allows it; it puts the hash into URLs."
    )
    timezone: Zone | None = Field(
        None, description="The server's zone, for dates that come without an offset; usually learnt from the answers."
    )
    media_hosts: tuple[str, ...] = Field(
        (), description="Hosts besides the configured one that recording files may be fetched from."
    )
    endpoints: Endpoints
