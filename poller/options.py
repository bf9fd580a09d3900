"""The value types and the shared keys of the configuration. Folders of sources, sinks and stores build their models on these."""

import hashlib
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from poller.pem import issuers_fault
from poller.quantities import (
    Between,
    Duration,
    PositiveDuration,
    Size,
    Start,
    StartFrom,
    read_duration,
    read_start,
    show_duration,
    show_size,
)
from poller.rules import Fault, Rule, known, own_faults
from poller.web_url import url_fault

__all__ = [
    "LADDER",
    "NAME_PATTERN",
    "NAME_SENTENCE",
    "BaseUrl",
    "Between",
    "Duration",
    "EndpointOptions",
    "FilePath",
    "IssuersFile",
    "Name",
    "Options",
    "OwnFile",
    "PositiveDuration",
    "Rung",
    "Secret",
    "SinkOptions",
    "Size",
    "SourceOptions",
    "Start",
    "Tls",
    "find_secret",
    "read_duration",
    "read_start",
    "secret_at",
    "show_duration",
    "show_size",
]
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEYS = ("whsec_", "whsk_")
_LARGEST_SECRET = 64 << 10
_ROOM = ("1KiB", "65536GiB")


class Secret:
    """A secret from the environment or a file. Its value is in no repr, no error and no dump; only `reveal` gives it."""

    __slots__ = ("_value", "known", "origin")

    def __init__(self, value: str, origin: Mapping[str, str], *, known: bool = True) -> None:
        """`known`: whether this is the secret, and nothing that stands in for it."""
        self._value = value
        self.origin = dict(origin)
        self.known = known

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
    if isinstance(value, str) and (info.context or {}).get("literals"):
        return Secret(value, {"literal": "…"})
    return secret_at(value, info, "a secret is written {env: NAME} or {file: PATH}, never as plain text")


def secret_at(value: object, info: ValidationInfo, otherwise: str) -> Secret:
    """`{env: NAME}` or `{file: PATH}`. Raises ValueError: the sentence `otherwise` where it is written in another way.

    Where the context has `stand_ins`, something else stands in for what cannot be read here.
    """
    context: Mapping[str, Any] = info.context or {}
    if not isinstance(value, dict) or len(value) != 1 or next(iter(value)) not in {"env", "file"}:
        raise ValueError(otherwise)
    ((kind, place),) = value.items()
    if not isinstance(place, str) or not place:
        what = "the name of a variable" if kind == "env" else "a path"
        raise ValueError(f"{kind} takes {what}: put it into quotes")
    if kind == "env" and (not _VARIABLE.fullmatch(place) or place.startswith(_KEYS)):
        raise ValueError(
            "env takes the name of a variable; what is written here is none, and not repeated: it may be a secret"
        )
    try:
        return find_secret(kind, place, context.get("env", {}), Path(context.get("folder", ".")))
    except ValueError:
        if not context.get("stand_ins"):
            raise
        return Secret(f"stands-in-{hashlib.sha256(place.encode()).hexdigest()[:32]}", {kind: place}, known=False)


def find_secret(kind: str, place: str, env: Mapping[str, str], folder: Path) -> Secret:
    """`env` and the name of a variable, or `file` and a path. Raises ValueError with a sentence."""
    if kind == "env":
        found = env.get(place)
        if found is None:
            raise ValueError(f"the environment variable {place} is not set")
        if not found:
            raise ValueError(f"the environment variable {place} is set, but empty")
        return Secret(found, {kind: place})
    return Secret(_secret_file(folder / place), {kind: place})


def _secret_file(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise ValueError(f"the secret file {path} is no file")
        with path.open("rb") as file:
            text = file.read(_LARGEST_SECRET + 1).decode("utf-8-sig").strip("\r\n")
    except UnicodeDecodeError:
        raise ValueError(f"the secret file {path} is not UTF-8: save it in that encoding") from None
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


def _issuers(path: Path | None, info: ValidationInfo) -> Path | None:
    fault = issuers_fault(path) if path is not None else None
    if fault is None or (info.context or {}).get("stand_ins"):
        return path if fault is None else None
    raise ValueError(fault)


def _own(path: Path | None, info: ValidationInfo) -> Path | None:
    return None if (info.context or {}).get("stand_ins") else path


IssuersFile = Annotated[FilePath | None, AfterValidator(_issuers)]
"""A PEM file with the issuers to trust. Nothing stands in for one that cannot be read where that is asked for."""
OwnFile = Annotated[FilePath | None, AfterValidator(_own)]
"""A PEM file with our certificate or its key; not even looked at where something stands in for secrets."""

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
NAME_SENTENCE = "a name has letters (a to z, also large), digits, `.`, `_`, `-`, at most 64 of them, and begins with a letter or a digit"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""Goes into event sources, metric labels and transactional ids, so it is plain."""


def _base_url(value: str) -> str:
    fault = url_fault(value)
    if fault is not None:
        raise ValueError(f"must be a URL such as https://pbx.example:8443/api: this one {fault}")
    if "?" in value:
        raise ValueError("must end with its path: no `?` and no `#`")
    return value.rstrip("/")


BaseUrl = Annotated[str, AfterValidator(_base_url)]
"""Where a vendor's API lives; without a trailing slash once it is read."""


class Options(BaseModel):
    """Every model of the configuration: unknown keys are faults, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, hide_input_in_errors=True)
    rules: ClassVar[tuple[Rule, ...]] = ()
    """What holds between its keys; see poller.rules."""

    @model_validator(mode="after")
    def _keep_rules(self, info: ValidationInfo) -> Self:
        broken = [
            InitErrorDetails(type=PydanticCustomError("rule", "{said}", {"said": said}), loc=place, input=None)
            for place, said in own_faults(self)
        ]
        if broken:
            raise ValidationError.from_exception_data(type(self).__name__, broken, hide_input=True)
        return self._shared((info.context or {}).get("shared"))

    def _shared(self, models: dict[Hashable, Self] | None) -> Self:
        """One object for all that are equal, among the `models` of a file: most of ten thousand sources are set up alike."""
        if models is None:
            return self
        try:
            return models.setdefault((type(self), frozenset(self.model_fields_set), *vars(self).values()), self)
        except TypeError:  # a list or a map is among its keys
            return self


class Rung(Options):
    """One rung of the ladder: how far a pass reads back, and how often it is due."""

    back: Annotated[Duration, Between("1s", "3650d")] = Field(
        description="How far before the end of its last pass a pass begins."
    )
    every: Literal["poll"] | Annotated[Duration, Between("1s", "365d")] = Field(
        "poll", description="Time between passes; `poll`: at every poll."
    )

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


def _climbs(ladder: Sequence[Rung | None]) -> Iterator[Fault]:
    """As far as the rungs are well."""
    rungs = [known(rung) for rung in ladder if rung is not None]
    backs = [keys["back"] for keys in rungs if "back" in keys]
    everies = [keys["every"] for keys in rungs if "every" in keys]
    periods = [0.0 if every == "poll" else every for every in everies]
    if backs != sorted(set(backs)) or periods != sorted(periods):
        yield ("ladder",), "each rung must reach further back than the one before and be due no more often"
    if ladder and ladder[0] is not None and known(ladder[0]).get("every", "poll") != "poll":
        yield ("ladder",), "the first rung is due at every poll (`every: poll`)"


class EndpointOptions(Options):
    """The keys that every endpoint has."""

    rules: ClassVar[tuple[Rule, ...]] = (_climbs,)

    interval: Annotated[Duration, Between("100ms", "7d")] = Field(
        60.0, description="Time between the starts of two polls."
    )
    start: Start = Field(
        -86_400.0, description="Where the first pass begins: a duration back, `now`, or a date. Kept from then on."
    )
    settle: Annotated[Duration, Between("0s", "1d")] = Field(
        10.0, description="How long before the vendor's present a pass ends."
    )
    ladder: tuple[Rung, ...] = Field(
        LADDER, min_length=1, max_length=20, description="How far back passes read and how often, shortest first."
    )
    dedupe_by: Literal["id", "row"] = Field(
        "id",
        description="`id`: the thing's id; another state of it is an update. `row`: every distinct state is a new event.",
    )
    on_change: Literal["publish", "ignore"] = Field(
        "publish", description="What happens with another state of a known id."
    )
    timeout: Annotated[Duration, Between("10ms", "1h")] = Field(
        60.0, description="Longest time to wait for one answer."
    )
    max_body: Annotated[Size, Between("100B", "64GiB")] = Field(
        64 << 20, description="Largest answer, counted after decompression."
    )


class Tls(Options):
    """How a server's certificate is checked."""

    ca_file: IssuersFile = Field(None, description="PEM file with the issuers to trust instead of the system's.")
    verify: bool = Field(True, description="`false` accepts any certificate; said loudly at every start.")


class SourceOptions(Options):
    """The keys that every source has; a folder adds `kind`, its credentials and `endpoints`."""

    id: Name | None = Field(
        None,
        description="What identities and checkpoints hang on; the name unless given. Keep the old one when renaming.",
    )
    base_url: BaseUrl = Field(description="Where the vendor's API lives, such as `https://pbx.example:8443/api`.")
    tls: Tls = Tls()
    max_requests_per_second: Annotated[float, Between(0.001, 10_000)] | None = Field(
        None, description="Limit for this source's host."
    )
    concurrency: Annotated[int, Between(1, 64)] = Field(1, description="Requests at a time to this source's host.")
    recordings_from_calls: bool = Field(
        True, description="Whether a recording that a call mentions is published before the recordings list shows it."
    )


class SinkOptions(Options):
    """The keys that every sink has."""

    start_from: StartFrom = Field(
        0.0,
        description="Where a new sink begins: `now`, `earliest` (the oldest event kept), a duration back or a time.",
    )
    renamed_from: Name | None = Field(None, description="The sink's earlier name, whose position it takes over.")
    max_pending: Annotated[Size, Between(*_ROOM)] | None = Field(
        None, description="Largest backlog before the sink's own decision applies."
    )
    max_dead_letters: Annotated[Size, Between(*_ROOM)] | None = Field(
        256 << 20,
        description="Largest sum of the sink's dead letters, before compression. Beyond it the oldest are deleted.",
    )
    vendor: Literal["include", "omit"] = Field(
        "include", description="Whether events carry the vendor's raw record and prices."
    )
    windows: bool = Field(
        False, description="Whether it is told each whole hour of each list: `telephony.window.complete`."
    )
    mask_numbers: bool = Field(
        False, description="Whether all but the last three digits of phone numbers are masked, in file names too."
    )

    @property
    def asks_windows(self) -> bool:
        """Whether `telephony.window.complete` is for it."""
        return self.windows
