"""A machine whose clock is wrong: what its programs take for the time stands apart from it, by what a file says.

As a program it is `poller …` on such a machine: `chaos_clock.py FILE …`. The clock that nobody can set stays right, unless hours are made
to pass; what waits in the event loop waits by the real one even then.
"""

import mmap
import struct
import sys
import time
from pathlib import Path

_FORM = struct.Struct("dd")


class WrongClock:
    """The file. What is written there counts at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            path.write_bytes(_FORM.pack(0.0, 0.0))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _FORM.size)

    @property
    def apart(self) -> float:
        """Seconds that it is ahead."""
        return sum(self._read())

    @property
    def passed(self) -> float:
        """Seconds that were made to pass."""
        return self._read()[1]

    def jump(self, seconds: float) -> None:
        """Ahead, or back where negative: it is wrong now."""
        wrong, passed = self._read()
        _FORM.pack_into(self._memory, 0, wrong + seconds, passed)

    def let_pass(self, seconds: float) -> None:
        """They are over, by every clock."""
        wrong, passed = self._read()
        _FORM.pack_into(self._memory, 0, wrong, passed + seconds)

    def _read(self) -> tuple[float, float]:
        wrong, passed = _FORM.unpack_from(self._memory)
        return wrong, passed

    def command(self) -> list[str]:
        """`poller run -c …` on such a machine."""
        return [sys.executable, __file__, str(self.path), "run", "-c"]

    def install(self) -> None:
        """For this process, before it imports who asks for the time by another name."""
        now, exact, steady, lasting = time.time, time.time_ns, time.monotonic, time.clock_gettime
        vars(time).update(
            time=lambda: now() + self.apart,
            time_ns=lambda: exact() + int(self.apart * 1e9),
            monotonic=lambda: steady() + self.passed,
            clock_gettime=lambda which: lasting(which) + self.passed,
        )


def main() -> None:
    """The command line of `poller`."""
    WrongClock(Path(sys.argv.pop(1))).install()
    from poller.cli import main as cli  # noqa: PLC0415 only after the clock is wrong

    cli()


if __name__ == "__main__":
    main()
