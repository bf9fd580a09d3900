"""What a client can feel of how a MOR system is set up."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from poller.simulate.bulk import Bulk

VERSIONS = ("8", "9", "10", "11", "x3", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13")


@dataclass(frozen=True, slots=True)
class Login:
    """A user of the MOR system. `kind`: admin, reseller or user."""

    id: int
    kind: str
    password: str = "secret password"  # noqa: S105 - of a simulator
    owns: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MorOptions:
    """The settings of the MOR system that a client can feel."""

    version: str = "x13"
    secret: str = "mor secret"  # noqa: S105 - of a simulator
    logins: Mapping[str, Login] = field(
        default_factory=lambda: {
            "admin": Login(0, "admin"),
            "reseller": Login(3, "reseller", owns=(14,)),
            "shop": Login(2, "user"),
        }
    )
    users: tuple[int, ...] = (0, 2, 3, 5, 9, 14)
    api_enabled: bool = True
    allow_get: bool = False
    check_hash: bool = True
    xml_extension: bool = False
    local_hash: str = "from_till_user"
    refuse_all_users: bool = False
    """Later versions require s_user (BEHAVIOUR 1.3)."""
    bulk: Bulk | None = None

    def __post_init__(self) -> None:
        """Refuses what cannot be simulated."""
        if self.version not in VERSIONS:
            raise ValueError(f"MOR version {self.version!r} is not simulated: {', '.join(VERSIONS)}")

    def since(self, version: str) -> bool:
        """Whether the simulated version is this one or a later one."""
        return VERSIONS.index(self.version) >= VERSIONS.index(version)
