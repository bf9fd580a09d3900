"""Runs the daemon again and again, each time in a fork of this process, and ends it (SIGKILL) at one step boundary.

Reads commands as JSON lines `{"edge": NAME | null, "nth": N}` from standard input; for each it forks a daemon with the
configuration that is named on the command line and answers `{"pid": …}`. When the daemon has ended it answers `{"status": …,
"hits": [edge, …]}`. A line with `{"end": SIGNAL}` sends a signal to the running daemon.

A fork has everything imported, so a life takes a fraction of a second to begin.
"""

import json
import os
import select
import signal
import sys
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import e2e_edges

_edge: str | None = None
_nth = 1
_hits: Counter[str] = Counter()
_out = -1


def hit(name: str) -> None:
    """Counts; at the chosen edge the process ends as if its power had been cut."""
    _hits[name] += 1
    if _hits[name] <= 2:
        os.write(_out, f"{name}\n".encode())
    if name == _edge and _hits[name] >= _nth:
        os.kill(os.getpid(), signal.SIGKILL)


def life(config: Path) -> int:
    """The daemon, as the command line runs it."""
    from poller import app, commands, uv  # noqa: PLC0415 only after the edges are installed

    return int(uv.run(app.run, commands.settings_of(config)))


def answer(**what: Any) -> None:
    """One JSON line."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def begin(config: Path, edge: str | None, nth: int) -> tuple[int, int]:
    """Forks; the child's pid and the pipe on which it names every edge that it meets for the first and second time."""
    global _edge, _nth, _out
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    os.close(reading)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # standard output is for answers
    _edge, _nth, _out = edge, nth, writing
    code = 70
    try:
        code = life(config)
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:  # noqa: BLE001 a fork must never return
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """One life after the other."""
    e2e_edges.install(hit)
    from poller import app, commands, uv  # noqa: F401, PLC0415 imported once, for all lives; after the edges
    from poller.kinds import load_sink_kind, load_source_kind, load_store_kind  # noqa: PLC0415 the same

    for vendor in ("mor", "thulium", "fonouc"):
        load_source_kind(vendor)
    load_sink_kind("kafka")
    load_store_kind("sqlite")
    config = Path(sys.argv[1])
    answer(ready=True)
    commands_in = sys.stdin.fileno()
    buffer = b""
    pid, pipe, names = 0, -1, b""
    while True:
        ready, _, _ = select.select([commands_in, *([pipe] if pipe >= 0 else [])], [], [])
        if pipe in ready:
            found = os.read(pipe, 65536)
            names += found
            if not found:
                _, status = os.waitpid(pid, 0)
                os.close(pipe)
                answer(status=status, hits=names.decode().split("\n")[:-1])
                pid, pipe, names = 0, -1, b""
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
                    pid, pipe = begin(config, wanted["edge"], wanted["nth"])
                    answer(pid=pid)
    if pid:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
