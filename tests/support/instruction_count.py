"""Instructions per record of each stage of `instruction_work.py`, counted by valgrind: the same however busy the machine is."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from msgspec import Struct

WORK = Path("tests/support/instruction_work.py")
LIMIT = 600
"""Seconds; a quiet machine takes 20."""


class Failed(Exception):
    """There is no figure, and why."""


class Counted(Struct):
    """Instructions: of the whole yardstick, and per record by stage."""

    yardstick: int
    stages: dict[str, int]
    planted: int
    """Of the stage that is slow on purpose."""


class Counting:
    """A run of the hot path of the program in a folder. Instructions are counted from when it is ready: imports take no part."""

    def __init__(self, tree: Path) -> None:
        """Begins. Raises Failed."""
        # Reading what is compiled already is much cheaper under valgrind than compiling.
        subprocess.run([sys.executable, "-m", "compileall", "-q", "poller", "tests/support"], cwd=tree, check=False)
        self._folder = tempfile.TemporaryDirectory()
        self._out = Path(self._folder.name)
        self._said = (self._out / "said").open("wb")
        command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--dump-before=getsid", f"--vgdb-prefix={self._out}/vgdb",
                   f"--callgrind-out-file={self._out}/out", sys.executable, str(tree / WORK)]  # fmt: skip
        environment = {"PATH": os.environ["PATH"], "PYTHONHASHSEED": "0", "PYTHONPATH": f"{tree}:{tree / WORK.parent}"}
        try:
            self._process = subprocess.Popen(
                command, cwd=tree, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said
            )
        except FileNotFoundError:
            self._end()
            raise Failed("valgrind is needed: on Debian, apt-get install valgrind") from None

    def result(self) -> Counted:
        """Waits for the end. Raises Failed."""
        try:
            return self._counted()
        except (OSError, subprocess.SubprocessError) as error:
            raise Failed(f"the hot path could not be counted: {error}{self._words()}") from None
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.communicate()
            self._end()

    def _counted(self) -> Counted:
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            self._process.wait(LIMIT)
            raise Failed(f"the hot path did not begin{self._words()}")
        switch = ["vgdb", f"--vgdb-prefix={self._out}/vgdb", f"--pid={self._process.pid}", "instrumentation", "on"]
        subprocess.run(switch, check=True, capture_output=True, timeout=LIMIT)
        said, _ = self._process.communicate(b"\n", timeout=LIMIT)
        if self._process.returncode:
            raise Failed(f"the hot path ended with {self._process.returncode}{self._words()}")
        stages = json.loads(said)
        # The counters begin anew at each mark: first what was before a stage, then the stage itself.
        totals = [_total(self._out / f"out.{2 * place}") for place in range(1, len(stages) + 1)]
        found = {name: total // records for (name, records), total in zip(stages, totals, strict=True)}
        return Counted(found.pop("yardstick"), found, found.pop("planted"))

    def _words(self) -> str:
        self._said.flush()
        return "\n" + (self._out / "said").read_text(errors="replace")[-3000:]

    def _end(self) -> None:
        self._said.close()
        self._folder.cleanup()


def _total(dump: Path) -> int:
    found = re.search(r"^totals: (\d+)$", dump.read_text(errors="replace"), re.MULTILINE) if dump.exists() else None
    if found is None:
        raise Failed(f"valgrind wrote no counters for {dump.name}")
    return int(found[1])
