"""The value types and the shared keys of the configuration. Folders of sources, sinks and stores build their models on these."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SIZES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_LONGEST = 100 * 365 * 86_400
_LARGEST = 1 << 60
_OLDEST = 946_684_800
_LARGEST_SECRET = 64 << 10
_DURATION = r"^([0-9]+(\.[0-9]+)?)(ms|s|m|h|d|w)$"
_SIZE = r"^([0-9]+(\.[0-9]+)?)(B|KiB|MiB|GiB|KB|MB|GB)$"


def read_duration(value: object) -> float:
    """`5m` → 300.0. Raises ValueError with a sentence."""
    match = re.fullmatch(_DURATION, value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(
            f"{value!r} is no duration: write a number with its unit (ms, s, m, h, d, w), such as 60s or 5m"
        )
    seconds = float(match[1]) * _UNITS[match[3]]
    if seconds > _LONGEST:
        raise ValueError("is longer than 100 years")
    return seconds


def _size(value: object) -> int:
    match = re.fullmatch(_SIZE, value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is no size: write a number with its unit (B, KiB, MiB, GiB), such as 64MiB")
    size = float(match[1]) * _SIZES[match[3]]
    if size > _LARGEST:
        raise ValueError("is more than 1024 PiB")
    return int(size)


def show_duration(seconds: float) -> str:
    """Seconds as the configuration writes them: 300.0 → `5m`."""
    for unit, factor in sorted(_UNITS.items(), key=lambda item: -item[1]):
        if seconds >= factor and seconds % factor == 0:
            return f"{seconds / factor:.0f}{unit}"
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


def show_size(size: int) -> str:
    """Bytes as the configuration writes them: 67108864 → `64MiB`."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor and size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}B"


Duration = Annotated[
    float,
    BeforeValidator(read_duration),
    PlainSerializer(show_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": _DURATION, "examples": ["60s", "5m", "24h"]}),
]
"""Seconds; written with a unit."""

Size = Annotated[
    int,
    BeforeValidator(_size),
    PlainSerializer(show_size, return_type=str),
    WithJsonSchema({"type": "string", "pattern": _SIZE, "examples": ["64MiB", "2GiB"]}),
]
"""Bytes; written with a unit."""


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError("must be longer than nothing")
    return seconds


PositiveDuration = Annotated[Duration, AfterValidator(_positive)]


class Secret:
    """A secret from the environment or a file. Its value is in no repr, no error and no dump; only `reveal` gives it."""

    __slots__ = ("_value", "origin")

    def __init__(self, value: str, origin: Mapping[str, str]) -> None:
        self._value = value
        self.origin = dict(origin)

    def reveal(self) -> str:
        """The secret itself."""
        return self._value

    def __repr__(self) -> str:
        """Where it comes from, never what it is."""
        return f"<Secret {self.origin}>"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, inner: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401 the library's own signature
        """Validation by `_read_secret`; serialised as its origin."""
        return core_schema.with_info_plain_validator_function(
            _read_secret, serialization=core_schema.plain_serializer_function_ser_schema(lambda secret: secret.origin)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, inner: GetJsonSchemaHandler) -> JsonSchemaValue:
        """`{env: NAME}` or `{file: PATH}`."""
        return {
            "type": "object",
            "oneOf": [
                {"properties": {"env": {"type": "string"}}, "required": ["env"], "additionalProperties": False},
                {"properties": {"file": {"type": "string"}}, "required": ["file"], "additionalProperties": False},
            ],
        }


def _read_secret(value: object, info: ValidationInfo) -> Secret:
    """Reads through the validation context: `env` (a mapping), `folder` (relative files), `literals` (allowed in the demo only)."""
    context: Mapping[str, Any] = info.context or {}
    if isinstance(value, str) and context.get("literals"):
        return Secret(value, {"literal": "…"})
    if not isinstance(value, dict) or len(value) != 1 or next(iter(value)) not in {"env", "file"}:
        raise ValueError("a secret is written {env: NAME} or {file: PATH}, never as plain text")
    ((kind, place),) = value.items()
    if not isinstance(place, str):
        raise ValueError(f"{kind} takes a name")  # noqa: TRY004 the model library collects ValueErrors
    return find_secret(kind, place, context.get("env", {}), Path(context.get("folder", ".")))


def find_secret(kind: str, place: str, env: Mapping[str, str], folder: Path) -> Secret:
    """`env` and the name of a variable, or `file` and a path. Raises ValueError with a sentence."""
    if kind == "env":
        found = env.get(place)
        if not found:
            raise ValueError(f"the environment variable {place} is not set")
        return Secret(found, {kind: place})
    return Secret(_secret_file(folder / place), {kind: place})


def _secret_file(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise ValueError(f"the secret file {path} is no file")
        with path.open("rb") as file:
            text = file.read(_LARGEST_SECRET + 1).decode("utf-8").strip("\r\n")
    except UnicodeDecodeError:
        raise ValueError(f"the secret file {path} is not UTF-8") from None
    except OSError as error:
        raise ValueError(f"the secret file {path} cannot be read: {error.strerror or type(error).__name__}") from None
    if not text:
        raise ValueError(f"the secret file {path} is empty")
    if len(text) > _LARGEST_SECRET:
        raise ValueError(f"the secret file {path} is longer than {_LARGEST_SECRET >> 10} KiB: it is no secret")
    return text


def _from_folder(path: Path, info: ValidationInfo) -> Path:
    return Path((info.context or {}).get("folder", ".")) / path


FilePath = Annotated[Path, AfterValidator(_from_folder)]
"""A path; a relative one counts from the folder of the configuration file."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""Goes into event sources, metric labels and transactional ids, so it is plain."""


def _base_url(value: str) -> str:
    try:
        url = urlsplit(value)
        plain = url.scheme in {"http", "https"} and url.hostname and url.port != 0
    except ValueError:
        plain = None
    if not plain or any(character.isspace() for character in value):
        raise ValueError("must be a URL such as https://pbx.example:8443/api")
    if "@" in url.netloc:
        raise ValueError("must not hold a user or password: they have keys of their own")
    if url.query or url.fragment:
        raise ValueError("must end with its path: no `?` and no `#`")
    return value.rstrip("/")


BaseUrl = Annotated[str, AfterValidator(_base_url)]
"""Where a vendor's API lives; without a trailing slash once it is read."""


class Options(BaseModel):
    """Every model of the configuration: unknown keys are faults, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, hide_input_in_errors=True)


class Rung(Options):
    """One rung of the ladder: how far a pass reads back, and how often it is due."""

    back: PositiveDuration = Field(description="How far before the end of its last pass a pass begins.")
    every: Literal["poll"] | PositiveDuration = Field("poll", description="Time between passes; `poll`: at every poll.")

    @property
    def period(self) -> float:
        """Seconds between passes; 0 for every poll."""
        return 0.0 if self.every == "poll" else self.every


LADDER = (
    Rung.model_validate({"back": "5m", "every": "poll"}),
    Rung.model_validate({"back": "30m", "every": "5m"}),
    Rung.model_validate({"back": "3h", "every": "30m"}),
    Rung.model_validate({"back": "48h", "every": "6h"}),
)


def read_start(value: object) -> float:
    """`24h` → -86400.0, `now` → 0.0, a date → its epoch (UTC where it names no zone). Raises ValueError with a sentence."""
    if isinstance(value, datetime):
        at = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
        if at < _OLDEST:  # earlier instants would be read as `now` (0) or as a duration (negative)
            raise ValueError("is before the year 2000: write a date from then on")
        return at
    if value == "now":
        return 0.0
    if isinstance(value, str) and re.fullmatch(_DURATION, value):
        return -read_duration(value)
    try:
        date = datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError(
            f"{str(value)!r} is no start: write now, a duration such as 24h, or a date such as 2026-01-31"
        ) from None
    return read_start(date)


Start = Annotated[
    float,
    BeforeValidator(read_start),
    PlainSerializer(
        lambda at: show_duration(-at) if at < 0 else "now" if at == 0 else datetime.fromtimestamp(at, UTC).isoformat(),
        return_type=str,
    ),
    WithJsonSchema({"type": "string", "examples": ["24h", "now", "2026-01-31"]}),
]
"""Epoch seconds when positive; seconds before the first pass when not."""


def _climbs(ladder: tuple[Rung, ...]) -> tuple[Rung, ...]:
    backs = [rung.back for rung in ladder]
    periods = [rung.period for rung in ladder]
    if backs != sorted(set(backs)) or periods != sorted(periods):
        raise ValueError("each rung must reach further back than the one before and be due no more often")
    if periods[0]:
        raise ValueError("the first rung is due at every poll (`every: poll`)")
    return ladder


class EndpointOptions(Options):
    """The keys that every endpoint has."""

    interval: PositiveDuration = Field(60.0, description="Time between the starts of two polls.")
    start: Start = Field(
        -86_400.0, description="Where the first pass begins: a duration back, `now`, or a date. Kept from then on."
    )
    settle: Duration = Field(10.0, description="How long before the vendor's present a pass ends.")
    ladder: Annotated[tuple[Rung, ...], AfterValidator(_climbs)] = Field(
        LADDER, min_length=1, description="How far back passes read and how often, shortest first."
    )
    dedupe_by: str = Field(
        "id",
        description="`id`: the thing's id; another state of it is an update. `row`: every distinct state is a new event.",
    )
    on_change: Literal["publish", "ignore"] = Field(
        "publish", description="What happens with another state of a known id."
    )
    timeout: PositiveDuration = Field(60.0, description="Longest time to wait for one answer.")
    max_body: Size = Field(64 << 20, description="Largest answer, counted after decompression.")


class Tls(Options):
    """How a server's certificate is checked."""

    ca_file: FilePath | None = Field(None, description="PEM file with the issuers to trust instead of the system's.")
    verify: bool = Field(True, description="`false` accepts any certificate; said loudly at every start.")


class SourceOptions(Options):
    """The keys that every source has; a folder adds `kind`, its credentials and `endpoints`."""

    id: Name | None = Field(
        None,
        description="What identities and checkpoints hang on; the name unless given. Keep the old one when renaming.",
    )
    base_url: BaseUrl = Field(description="Where the vendor's API lives, such as `https://pbx.example:8443/api`.")
    tls: Tls = Tls()
    max_requests_per_second: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Limit for this source's host."
    )
    concurrency: int = Field(1, ge=1, le=64, description="Requests at a time to this source's host.")
    recordings_from_calls: bool = Field(
        True, description="Whether a recording that a call mentions is published before the recordings list shows it."
    )


class SinkOptions(Options):
    """The keys that every sink has."""

    start_from: Start | Literal["earliest"] = Field(
        0.0,
        description="Where a new sink begins: `now`, `earliest` (the oldest event kept), a duration back or a time.",
    )
    renamed_from: Name | None = Field(None, description="The sink's earlier name, whose position it takes over.")
    max_pending: Size | None = Field(None, description="Largest backlog before the sink's own decision applies.")
    max_dead_letters: Size | None = Field(
        256 << 20,
        description="Largest sum of the sink's dead letters, before compression. Beyond it the oldest are deleted.",
    )
    vendor: Literal["include", "omit"] = Field("include", description="Whether events carry the vendor's raw record.")
    mask_numbers: bool = Field(False, description="Whether all but the last three digits of phone numbers are masked.")
