"""YAML and environment to frozen settings: every fault at once, with its path and line."""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SerializeAsAny, ValidationError

from poller import yaml_file
from poller.crosscheck import cross_faults
from poller.errors import ConfigError
from poller.faults import faults_of
from poller.kinds import KINDS, Kinds
from poller.near import meant
from poller.options import Between, Duration, FilePath, Options, Secret, SinkOptions, SourceOptions
from poller.partly import partly
from poller.rules import Fault, Place, all_faults, known
from poller.yaml_file import Document

_SHOWN = 200
"""Faults of one file that are printed; programs get all."""
_LONGEST_LINE = 1_000
_SHORTEST_TOKEN = 16
_LONGEST_SOCKET = 107 if sys.platform == "linux" else 103
"""Bytes of a unix socket's path, as the system has it."""


def split_address(listen: str) -> tuple[str, int]:
    """`127.0.0.1:9464` or `[::1]:9464` → host and port. Raises ValueError."""
    host, colon, port = listen.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not colon or not bare or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{listen!r} is no address: write host:port, such as 127.0.0.1:9464")
    if ":" in bare and bare == host:
        raise ValueError(f"{listen!r} is no address: an IPv6 address stands in brackets, such as [::1]:9464")
    return bare, int(port)


def _listen(value: str) -> str:
    split_address(value)
    return value


class Server(Options):
    """Where `/metrics`, `/livez` and `/readyz` are served."""

    listen: Annotated[str, AfterValidator(_listen)] = Field(
        "127.0.0.1:9464", description="`host:port`; port 0 takes any free one."
    )

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return split_address(self.listen)


def _token_is_there(listen: str | None, token: Secret | None) -> Iterator[Fault]:
    if listen is not None and token is None:
        yield ("token",), "is needed with `listen`: {env: NAME} of at least 16 characters"
    if token is not None and token.known and len(token.reveal()) < _SHORTEST_TOKEN:
        yield ("token",), f"is too short to be safe: at least {_SHORTEST_TOKEN} characters"


def _short(socket: Path) -> Iterator[Fault]:
    size = len(os.fsencode(socket))
    if size > _LONGEST_SOCKET:
        yield (
            ("socket",),
            f"is a path of {size} bytes, and a unix socket's has at most {_LONGEST_SOCKET}: choose a shorter one",
        )


class Admin(Options):
    """How the command line reaches a running daemon, and people its status page."""

    rules = (_short, _token_is_there)
    socket: FilePath = Field(
        Path("/run/poller.sock"), description="Unix socket that only the daemon's user may open; the folder must exist."
    )
    listen: Annotated[str, AfterValidator(_listen)] | None = Field(
        None, description="`host:port` of the status page, which asks for the `token`. Without it there is none."
    )
    token: Secret | None = Field(None, description="What the status page asks for; at least 16 characters.")


class Log(Options):
    """What is written to standard error."""

    format: Literal["json", "console"] = Field(
        "json", description="`json`: one object per line; `console`: for people."
    )
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least level that is written.")


class Settings(Options):
    """The whole configuration."""

    store: SerializeAsAny[Options] = Field(description="Where seen ids, events and checkpoints are kept.")
    retention: Annotated[Duration, Between("1m", "3650d")] = Field(
        604_800.0, description="How long delivered events are kept."
    )
    seen_ttl: Annotated[Duration, Between("1d", "3660d")] = Field(
        2_592_000.0,
        description="How long ids are remembered; at least 2 days more than the longest rung reaches.",
    )
    dead_letter_retention: Annotated[Duration, Between("1d", "3660d")] = Field(
        2_592_000.0,
        description="How long dead letters are kept; at least 2 days more than the longest rung reaches.",
    )
    shutdown_grace: Annotated[Duration, Between("0s", "1h")] = Field(
        30.0, description="Longest time from SIGTERM to the end; 5 seconds more where closing itself hangs."
    )
    server: Server = Server()
    admin: Admin = Admin()
    log: Log = Log()
    sinks: dict[str, SerializeAsAny[SinkOptions]] = Field(
        default={}, description="Where events go, by a name of yours."
    )
    sources: dict[str, SerializeAsAny[SourceOptions]] = Field(
        default={}, description="The phone systems that are asked, by a name of yours."
    )


def load(
    path: Path,
    env: Mapping[str, str],
    *,
    literals: bool = False,
    stand_ins: bool = False,
    to_run: bool = False,
    kinds: Kinds = KINDS,
) -> Settings:
    """Reads and checks a configuration file. Raises ConfigError.

    `literals`: secrets may be plain text (the demo's are). `stand_ins`: something stands in for secrets and certificates that
    cannot be read here, which is enough for whoever asks a daemon or looks into a store, and calls nobody. `to_run`: without a source or
    a sink there would be nothing to do.
    """
    document = yaml_file.read(path)
    context = {"env": env, "folder": path.parent, "literals": literals, "stand_ins": stand_ins, "now": time.time(),
               "shared": {}}  # fmt: skip
    reader = _Reader(document, context, kinds)
    settings = reader.settings()
    if to_run:
        reader.needs_work()
    if reader.faults or settings is None:
        raise _refusal(path, document, reader.faults)
    return settings


def _refusal(path: Path, document: Document, faults: list[Fault]) -> ConfigError:
    found = sorted((document.line(place), show_place(place), sentence) for place, sentence in faults)
    told = dict.fromkeys(f"{place} (line {line}): {sentence}" for line, place, sentence in found)
    lines = [line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}…" for line in told]
    count = "1 fault" if len(lines) == 1 else f"{len(lines)} faults"
    shown = [f"  {line}" for line in lines[:_SHOWN]] + [f"  and {len(lines) - _SHOWN} more"] * (len(lines) > _SHOWN)
    return ConfigError("\n".join([f"{path}: {count}", *shown]), lines)


def show_place(place: Place) -> str:
    """`sources.mor.endpoints.user_calls.ladder[0].back`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return text.removeprefix(".") or "the file"


class _Reader:
    """Checks one document part by part, so that one wrong part does not hide the faults of the others."""

    def __init__(self, document: Document, context: dict[str, Any], kinds: Kinds) -> None:
        self.faults = list(document.faults)
        self._value = document.value
        self._unread = document.unread
        self._context = context
        self._kinds = kinds

    def settings(self) -> Settings | None:
        """The settings, or None where there are faults."""
        values = dict(self._value)
        sources = self._section("sources", self._kinds.sources, SourceOptions)
        sinks = self._section("sinks", self._kinds.sinks, SinkOptions)
        store = self._store()
        for section in ("sources", "sinks"):
            values.pop(section, None)
        values["store"] = store or Options()
        top = self._check(Settings, values, ())
        horizons = {name: known(top)[name] for name in ("seen_ttl", "dead_letter_retention") if name in known(top)}
        self.faults += cross_faults(sources, sinks, horizons)
        if self.faults or not isinstance(top, Settings):
            return None
        return top.model_copy(update={"sources": sources, "sinks": sinks})

    def needs_work(self) -> None:
        """There is something to read and somewhere to publish."""
        for section in ("sources", "sinks"):
            if self._value.get(section) in (None, {}):
                self.faults.append(((section,), "is empty: at least one is needed to run"))

    def _store(self) -> Options | None:
        if "store" not in self._value:
            self.faults.append((("store",), "is required, such as {kind: sqlite, path: /var/lib/poller/poller.db}"))
            return None
        return self._part(("store",), self._value["store"], self._kinds.stores, Options)

    def _section(self, section: str, package: str, shared: type[Options]) -> dict[str, Any]:
        """The parts of `sources` or `sinks`, each as far as it is well."""
        parts = self._value.get(section)
        if parts is None:
            return {}
        if not isinstance(parts, dict):
            self.faults.append(((section,), "must be a map by name: write `name:` with the keys below it, not a list"))
            return {}
        return {name: self._part((section, name), value, package, shared) for name, value in parts.items()}

    def _part(self, place: Place, value: object, package: str, shared: type[Options]) -> Options:
        """One source, sink or store, checked by the model of its kind; by the `shared` keys where that is unknown."""
        if not isinstance(value, dict):
            self.faults.append((place, "must be a map of keys, `kind` among them"))
            return partly(shared, {}, self._context)
        kind = value.get("kind")
        model = self._kinds.model(package, kind) if isinstance(kind, str) else None
        if model is not None:
            return self._check(model, self._spelt_out(place, value), place)
        names = self._kinds.names(package)
        wrong = "is required" if kind is None else f"{kind!r} is unknown{meant(str(kind), names)}"
        self.faults.append(((*place, "kind"), f"{wrong}: the kinds are {', '.join(names)}"))
        return self._check(shared, {name: each for name, each in value.items() if name in shared.model_fields}, place)

    def _spelt_out(self, place: Place, value: dict[str, Any]) -> dict[str, Any]:
        """An endpoint without a value could mean its defaults or that it is off: asked back, not guessed."""
        endpoints = value.get("endpoints")
        if not isinstance(endpoints, dict):
            return value
        empty: dict[str, Any] = {name: {} for name, options in endpoints.items() if options is None}
        for name in empty:
            where = (*place, "endpoints", name)
            if where not in self._unread:
                self.faults.append((where, "is empty: write {} for the defaults, or remove it to leave it unread"))
        return {**value, "endpoints": endpoints | empty}

    def _check(self, model: type[Options], value: dict[str, Any], place: Place) -> Options:
        """The part, as far as it is well."""
        try:
            return model.model_validate(value, context=self._context)
        except ValidationError as error:
            part = partly(model, value, self._context)
            said = [*faults_of(error, model, value, place)]
            said += [((*place, *where), sentence) for where, sentence in all_faults(part)]
            self.faults += [fault for fault in said if fault[0] not in self._unread]
            return part
