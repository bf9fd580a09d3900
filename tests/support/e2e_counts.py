"""How often each boundary was met, in memory that the test, the runner and the running daemon share."""

import mmap
from collections import Counter
from pathlib import Path

from e2e_edges import edges


class Counts:
    """One life's counts. Also whether the life may go on where it was held."""

    def __init__(self, path: Path) -> None:
        self.names = [edge.name for edge in edges()]
        self._cell = {name: number for number, name in enumerate(self.names, 1)}
        size = 4 * (len(self.names) + 1)
        if not path.exists():
            path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            self._memory = memoryview(mmap.mmap(file.fileno(), size)).cast("I")

    def clear(self) -> None:
        """Before a life."""
        for cell in range(len(self._memory)):
            self._memory[cell] = 0

    def add(self, name: str) -> int:
        """Once more; the count."""
        cell = self._cell[name]
        self._memory[cell] += 1
        return self._memory[cell]

    def of(self, name: str) -> int:
        """How often until now."""
        return self._memory[self._cell[name]]

    def all(self) -> Counter[str]:
        """Every boundary that was met."""
        return Counter({name: count for name in self.names if (count := self.of(name))})

    @property
    def released(self) -> bool:
        """Whether a held life may go on."""
        return bool(self._memory[0])

    def release(self) -> None:
        """Lets it go on."""
        self._memory[0] = 1
