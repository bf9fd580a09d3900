"""A folder is a registration: the kinds of sources, sinks and stores are the modules found in three packages."""

import importlib
import pkgutil
from types import ModuleType
from typing import Protocol, cast

from msgspec import Struct

from poller.each import EachSink
from poller.options import Options, SinkOptions, SourceOptions
from poller.protocols import Sink, Source, Store


class SourceKind(Protocol):
    """What a folder of `poller.sources` exports."""

    Config: type[SourceOptions]

    def build(self, name: str, config: SourceOptions) -> Source:
        """A source of this kind."""
        ...


class SinkKind(Protocol):
    """What a folder of `poller.sinks` exports."""

    Config: type[SinkOptions]

    def build(self, name: str, config: SinkOptions, *, shards: int) -> Sink | EachSink:
        """A sink of this kind."""
        ...


class StoreKind(Protocol):
    """What a module of `poller.stores` exports."""

    Config: type[Options]

    async def open_store(self, config: Options) -> Store:
        """Opens the store, applies migrations, takes its lock. Raises StoreRefused or StoreFault."""
        ...

    async def open_read(self, config: Options) -> Store:
        """Opens the store for looking only, beside a daemon or without one; no lock, nothing created. Raises StoreRefused or StoreFault."""
        ...

    def obstacles(self, config: Options) -> list[str]:
        """What would keep this process from opening the store, as far as it shows without opening it."""
        ...


class Kinds(Struct, frozen=True):
    """Where kinds are looked for. Nothing is imported before its kind is named."""

    sources: str = "poller.sources"
    sinks: str = "poller.sinks"
    stores: str = "poller.stores"

    def names(self, package: str) -> list[str]:
        """The kinds of one of the three packages, sorted. Imports all of them."""
        return [name for name in _modules(package) if hasattr(_load(package, name), "Config")]

    def model(self, package: str, kind: str) -> type[Options] | None:
        """The configuration model of a kind, None where there is no such kind. Only this kind is imported."""
        if kind not in _modules(package):
            return None
        model: type[Options] | None = getattr(_load(package, kind), "Config", None)
        return model


KINDS = Kinds()


def load_source_kind(kind: str) -> SourceKind:
    """The folder of a source kind that the configuration has accepted."""
    return cast(SourceKind, _load(KINDS.sources, kind))


def load_sink_kind(kind: str) -> SinkKind:
    """The folder of a sink kind that the configuration has accepted."""
    return cast(SinkKind, _load(KINDS.sinks, kind))


def load_store_kind(kind: str) -> StoreKind:
    """The module of a store kind that the configuration has accepted."""
    return cast(StoreKind, _load(KINDS.stores, kind))


def kind_of(options: Options) -> str:
    """The kind that a model of a folder belongs to."""
    return str(getattr(options, "kind"))  # noqa: B009 each folder's model declares it, their shared ancestor cannot


def _modules(package: str) -> list[str]:
    path = importlib.import_module(package).__path__
    return sorted(module.name for module in pkgutil.iter_modules(path) if not module.name.startswith("_"))


def _load(package: str, name: str) -> ModuleType:
    return importlib.import_module(f"{package}.{name}")
