"""Known leaks, each put into the program for a run. Only here: nothing of them is in the program."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import crash_net
from crash_time import replace

from poller import schedule
from poller.housekeeping import Housekeeping
from poller.track import Track

_kept: list[Any] = []


def _each_poll(leak: Callable[[Track], Awaitable[None]]) -> None:
    poll_once = schedule.poll_once

    async def leaking(track: Track, **how: Any) -> Any:
        await leak(track)
        return await poll_once(track, **how)

    replace(schedule, "poll_once", leaking)


def a_list() -> None:
    """Some records of each poll are remembered."""

    async def leak(track: Track) -> None:
        _kept.append([{"source": track.setup.name, "raw": bytearray(100)} for _ in range(5)])

    _each_poll(leak)


def a_task() -> None:
    """A task of each poll never ends."""

    async def leak(_: Track) -> None:
        _kept.append(asyncio.get_running_loop().create_task(anyio.sleep_forever()))

    _each_poll(leak)


def a_file() -> None:
    """A file of each poll is never closed."""

    async def leak(_: Track) -> None:
        _kept.append(Path("/dev/null").open("rb"))  # noqa: ASYNC230, SIM115 the leak

    _each_poll(leak)


def a_connection() -> None:
    """A connection of each poll is never closed."""

    async def leak(_: Track) -> None:
        _kept.append(await crash_net.Lines().connect_tcp("127.0.0.1", 80))

    _each_poll(leak)


def a_label() -> None:
    """A metric gets a series with each poll."""

    async def leak(track: Track) -> None:
        _kept.append(None)
        track.setup.metrics.last_success[f"call {len(_kept)}", track.endpoint.name].set(1.0)

    _each_poll(leak)


def rows() -> None:
    """Nothing expires."""

    async def nothing(_: Housekeeping) -> None:
        """In place of deleting what is old."""

    replace(Housekeeping, "expire", nothing)


PLANTS: dict[str, tuple[Callable[[], None], tuple[str, ...]]] = {
    "a-list": (a_list, ("blocks",)),
    "a-task": (a_task, ("tasks",)),
    "a-file": (a_file, ("open files",)),
    "a-connection": (a_connection, ("connections",)),
    "a-label": (a_label, ("series",)),
    "rows": (rows, ("seen ids", "kept events", "store used")),
}
"""Name → what it does, and the figures that must grow by it."""
