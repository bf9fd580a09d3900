"""The command line as processes."""

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType

from poller.cli import main

_forks = multiprocessing.get_context("forkserver")
_KINDS = (
    "sources.fonouc",
    "sources.mor",
    "sources.thulium",
    "sinks.kafka",
    "sinks.ndjson",
    "sinks.webhook",
    "stores.sqlite",
)
_forks.set_forkserver_preload(["__main__", "poller.cli.program", *(f"poller.{kind}" for kind in _KINDS)])


def command(*words: str) -> list[str]:
    """`poller …`, for those who start a process of its own."""
    return [sys.executable, "-m", "poller.cli", *words]


def run_bytes(folder: Path, *words: str, **env: str) -> CompletedProcess[bytes]:
    """`poller …` in a folder, with more in its environment; it never answers with a traceback.

    A fork of a process that has everything imported: to import it all takes a second, a hundred times over.
    """
    with tempfile.TemporaryDirectory() as place:
        out, told = Path(place, "out"), Path(place, "told")
        whole = {**os.environ, "TERM": "dumb", **env}
        process = _forks.Process(target=_poller, args=(folder, words, whole, (out, told)))
        process.start()
        try:
            process.join(300)
            assert process.exitcode is not None, f"poller {words} has not ended"
        finally:
            process.kill()
            process.join()
        done = CompletedProcess(words, process.exitcode, out.read_bytes(), told.read_bytes())
    assert b"Traceback" not in done.stderr, done.stderr
    return done


def run(folder: Path, *words: str, **env: str) -> CompletedProcess[str]:
    """The same as text."""
    done = run_bytes(folder, *words, **env)
    return CompletedProcess(words, done.returncode, done.stdout.decode(), done.stderr.decode())


def _poller(folder: Path, words: tuple[str, ...], env: Mapping[str, str], written: tuple[Path, Path]) -> None:
    for number, path in enumerate(written, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["poller", *words]
    sys.modules["__main__"] = ModuleType("__main__")  # the command line takes its name in `Usage:` from here
    main()
