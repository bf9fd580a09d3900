"""Runs the daemon again and again, each time in a fork of this process, and ends it (SIGKILL) at one step boundary.

Reads commands as JSON lines `{"edge": NAME | null, "nth": N, "hold": NAME | null}` from standard input; for each it forks a daemon
with the configuration that is named first on the command line and answers `{"pid": …}`. When the daemon has ended it answers
`{"status": …}`. A line with `{"end": SIGNAL}` sends a signal to the running daemon. What is met is counted in the file that is
named second. At `hold` that one task waits, and nothing else, until the test releases it: so two things that may happen in any
order happen in the one that the test wants.

A fork has everything imported and its configuration read, so a life takes a fraction of a second to begin.
"""

import asyncio
import gc
import json
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Awaitable
from importlib import import_module
from pathlib import Path
from typing import Any

import e2e_edges
from e2e_counts import Counts
from e2e_hurried import Hurried

_edge: str | None = None
_nth = 1
_hold: str | None = None
_counts: Counts


def hit(name: str) -> Awaitable[None] | None:
    """Counts; at the chosen edge the process ends as if its power had been cut."""
    times = _counts.add(name)
    if name == _edge and times >= _nth:
        signal.pthread_kill(threading.get_ident(), signal.SIGKILL)  # this very thread does not take another step
    return _released() if name == _hold and not _counts.released else None


async def _released() -> None:
    while not _counts.released:  # noqa: ASYNC110 another process says so
        await asyncio.sleep(0.02)


def life(settings: Any) -> int:
    """The daemon, as the command line runs it, but for its clock."""
    from poller import app, uv  # noqa: PLC0415 only after the edges are installed

    return int(uv.run(app.run, settings, clock=Hurried()))


def answer(**what: Any) -> None:
    """One JSON line."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def begin(settings: Any, edge: str | None, nth: int, hold: str | None) -> tuple[int, int]:
    """Forks; the child's pid and a pipe that ends with it."""
    global _edge, _nth, _hold
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    os.close(reading)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # standard output is for answers
    _edge, _nth, _hold = edge, nth, hold
    code = 70
    try:
        code = life(settings)
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:  # noqa: BLE001 a fork must never return
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


class Read:
    """The configuration, read anew when it has changed: what a life is about begins behind it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = b""
        self._settings: Any = None

    def settings(self) -> Any:
        """As the command line reads it."""
        from poller import commands  # noqa: PLC0415 only after the edges are installed

        if (text := self._path.read_bytes()) != self._text:
            self._settings, self._text = commands.settings_of(self._path), text
        return self._settings


def import_all() -> None:
    """Once, for all lives; after the edges. What a life would import by itself is named, too."""
    from poller.kinds import load_sink_kind, load_source_kind, load_store_kind  # noqa: PLC0415 after the edges

    for vendor in ("mor", "thulium", "fonouc"):
        load_source_kind(vendor)
    load_sink_kind("kafka")
    load_sink_kind("webhook")
    load_store_kind("sqlite")
    loop = ("uvloop", "anyio._backends._asyncio", "concurrent.futures.thread", "encodings.utf_8_sig")
    server = ("uvicorn.lifespan.off", "uvicorn.protocols.http.h11_impl")
    for name in ("poller.app", "poller.commands", "poller.uv", *loop, *server):
        import_module(name)


def main() -> None:
    """One life after the other."""
    global _counts
    e2e_edges.install(hit)
    config, _counts = Read(Path(sys.argv[1])), Counts(Path(sys.argv[2]))
    import_all()
    gc.collect()
    gc.freeze()  # what all lives share is neither looked through nor copied by each
    answer(ready=True)
    commands_in = sys.stdin.fileno()
    buffer = b""
    pid, pipe = 0, -1
    while True:
        ready, _, _ = select.select([commands_in, *([pipe] if pipe >= 0 else [])], [], [])
        if pipe in ready:
            _, status = os.waitpid(pid, 0)
            os.close(pipe)
            pid, pipe = 0, -1
            answer(status=status)
        if commands_in in ready:
            more = os.read(commands_in, 65536)
            if not more:
                break
            buffer += more
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                wanted = json.loads(line)
                if "end" in wanted:
                    if pid:
                        os.kill(pid, wanted["end"])
                else:
                    pid, pipe = begin(config.settings(), wanted["edge"], wanted["nth"], wanted["hold"])
                    answer(pid=pid)
    if pid:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
