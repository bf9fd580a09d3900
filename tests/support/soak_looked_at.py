"""`python soak_looked_at.py FILE every poller-arguments…`: the program, and a thread that writes down how many tasks and blocks of memory it has,
and of which kinds its memory is.
"""

import asyncio
import ctypes
import gc
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from poller.cli import main


def _tasks() -> int:
    while True:
        try:
            found = list(asyncio.tasks._all_tasks)  # type: ignore[attr-defined]  # of any loop, from another thread
            return sum(not task.done() for task in found)
        except RuntimeError:  # one was made meanwhile
            continue


class _Malloc(ctypes.Structure):
    """What glibc's `mallinfo2` returns."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    ]  # fmt: skip


def _kinds() -> dict[str, float]:
    """KiB that C has in use and that it keeps for later (the interpreter's small blocks are not in it), SQLite's part of the former, and
    how many objects were made since the collector last looked: what of them is garbage waits for it. As far as the libraries say so.
    """
    found: dict[str, float] = {"uncollected": gc.get_count()[0]}
    with suppress(OSError, AttributeError):
        mallinfo = ctypes.CDLL(None).mallinfo2
        mallinfo.restype = _Malloc
        malloc = mallinfo()
        found |= {"malloc used": malloc.uordblks / 1024, "malloc kept": malloc.fordblks / 1024}
    with suppress(OSError, AttributeError):
        used = ctypes.CDLL("libsqlite3.so.0").sqlite3_memory_used
        used.restype = ctypes.c_int64
        found["sqlite"] = used() / 1024
    return found


def _look(path: Path, every: float) -> None:
    while True:
        figures = {"tasks": _tasks(), "blocks": sys.getallocatedblocks()} | _kinds()
        new = path.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(figures))
        new.rename(path)
        time.sleep(every)


if __name__ == "__main__":
    _, place, seconds, *words = sys.argv
    threading.Thread(target=_look, args=(Path(place), float(seconds)), daemon=True).start()
    sys.argv = ["poller", *words]
    main()
