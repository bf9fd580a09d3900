"""What the commands do. Nothing here prints; `poller.cli` does nothing but print."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

import anyio

from poller.admin_client import alive, connect
from poller.app import opened
from poller.clock import SystemClock
from poller.config import Settings, load
from poller.errors import ConfigError, Refused, StoreRefused
from poller.hosts import Hosts
from poller.http import Vendor
from poller.kinds import kind_of, load_source_kind, load_store_kind
from poller.log import set_up
from poller.media_fetch import Fetched, fetch_file
from poller.metrics import Metrics
from poller.operate import Work
from poller.operations import Operations
from poller.options import read_duration
from poller.protocols import Facts
from poller.redact import Redactor, secrets_of

T = TypeVar("T")


def settings_of(path: Path, *, stand_ins: bool = False, to_run: bool = False) -> Settings:
    """The configuration file with this process's environment. Raises ConfigError.

    `stand_ins`: for a command that asks the daemon or opens the store and calls nobody, so that an operator needs no secrets for it.
    `to_run`: there must be something to read, and somewhere to publish.
    """
    return load(path, os.environ, stand_ins=stand_ins, to_run=to_run)


def answers(settings: Settings) -> bool:
    """Whether a daemon of this configuration runs. Raises PollerError where that cannot be found out."""
    return alive(settings.admin.socket)


def obstacles(settings: Settings) -> list[str]:
    """What would keep a daemon from opening its store if it ran here, as this user."""
    return load_store_kind(kind_of(settings.store)).obstacles(settings.store)


def doubts(settings: Settings) -> list[str]:
    """What the configuration of a sink allows and hardly ever means."""
    return [
        f"sinks.{name}.{doubt}"
        for name, options in settings.sinks.items()
        for doubt in getattr(options, "doubts", list)()
    ]


async def migrate(settings: Settings) -> Facts:
    """Opens the store, which brings its schema up to date, and closes it. Raises StoreRefused or StoreFault."""
    store = await load_store_kind(kind_of(settings.store)).open_store(settings.store)
    try:
        return await store.facts()
    finally:
        await store.close()


def duration(text: str, option: str) -> float:
    """Seconds of an option such as `5m`. Raises ConfigError."""
    try:
        return read_duration(text)
    except ValueError as error:
        raise ConfigError(f"{option}: {error}") from None


async def fetch(
    settings: Settings,
    name: str,
    recording_id: str,
    target: Path,
    *,
    wait: float,
    progress: Callable[[int, int | None], None],
    waiting: Callable[[str, float], None],
) -> Fetched:
    """Fetches the file of one recording; see media_fetch. What its event says of it helps, where one is kept. Raises ConfigError, PollerError."""
    options = settings.sources.get(name)
    if options is None:
        raise ConfigError(f"there is no source {name!r}; there are: {', '.join(settings.sources) or 'none'}")
    set_up(form="console", level="warning", redact=Redactor(*secrets_of(settings)))
    source = load_source_kind(kind_of(options)).build(name, options)
    if source.media is None:
        raise Refused(f"{name}: this kind of source has no recording files")
    known = None
    with suppress(StoreRefused):  # there is no store yet, say
        async with operations(settings, looking=True) as work:
            known = await work.recording(name, recording_id)
    clock = SystemClock()
    async with Vendor(name, options, source.login, clock=clock, metrics=Metrics(), hosts=Hosts(clock)) as vendor:
        return await fetch_file(
            vendor, source.media, recording_id, known, target, clock=clock, wait=wait, progress=progress,
            waiting=waiting, allowed=getattr(options, "media_hosts", ()),
        )  # fmt: skip


def ask(config: Path, question: Callable[[Operations], Awaitable[T]], *, looking: bool = False) -> T:
    """Puts one question to the daemon of a configuration. `looking`: it changes nothing."""

    async def put() -> T:
        async with operations(settings_of(config, stand_ins=True), looking=looking) as there:
            return await question(there)

    return anyio.run(put)


@asynccontextmanager
async def operations(settings: Settings, *, looking: bool = False) -> AsyncIterator[Operations]:
    """Those of the running daemon; without one the store is opened here, and the same code answers.

    `looking`: nothing will be changed, so the store is not kept from a daemon that starts meanwhile.
    """
    async with connect(settings.admin.socket) as remote:
        if remote is not None:
            yield remote
            return
    set_up(form="console", level="warning", redact=Redactor(*secrets_of(settings)))
    async with opened(settings, looking=looking) as parts:
        yield Work(parts, running=False)
