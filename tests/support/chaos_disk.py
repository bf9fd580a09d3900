"""A small disk that can be filled: a filesystem in memory where it may be mounted, else a limit on the size of files."""

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PIECE = bytes(1 << 16)


class SmallDisk:
    """`real`: whether the folder is a filesystem of its own. Otherwise nothing that a process writes may grow."""

    def __init__(self, folder: Path, *, real: bool) -> None:
        self.folder = folder
        self.real = real
        self._filler = folder / "filler"
        self._limited: list[tuple[int, tuple[int, int]]] = []

    @property
    def full(self) -> bool:
        """Whether it was filled, and not emptied since."""
        return self._filler.exists() or bool(self._limited)

    def fill(self, *pids: int) -> None:
        """Not a byte is left. `pids`: who must feel it where there is no filesystem of our own."""
        if self.real:
            with suppress(OSError), self._filler.open("ab", buffering=0) as file:
                while True:
                    file.write(_PIECE)
            return
        largest = max((path.stat().st_size for path in self.folder.iterdir() if path.is_file()), default=0)
        for pid in pids:
            before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            self._limited.append((pid, before))
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (largest, before[1]))

    def empty(self) -> None:
        """There is room again."""
        self._filler.unlink(missing_ok=True)
        for pid, before in self._limited:
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        self._limited.clear()


@contextmanager
def small_disk(folder: Path, size: str = "64m") -> Iterator[SmallDisk]:
    """A new folder. Only who may mount gets a filesystem: root, unless a container took the right away."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "small-disk", str(folder)],
        capture_output=True,
        check=False,
    )
    disk = SmallDisk(folder, real=mounted.returncode == 0)
    try:
        yield disk
    finally:
        disk.empty()
        if disk.real:
            subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=True)
