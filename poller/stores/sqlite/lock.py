"""One daemon per file, and a note of which file it had open."""

import os
from contextlib import suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

from poller.errors import StoreRefused

Inodes = tuple[int, int]
"""Of the database file and of its write-ahead log."""


class Lock:
    """An OS lock on a file beside the database: it ends with the process, however that ends.

    The file also keeps who holds it, for the other one's sentence, and which files were open, for the next start.
    """

    def __init__(self, path: Path) -> None:
        self._file = _open(path)
        try:
            flock(self._file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            owner = self._words()[:1] or ["unknown"]
            os.close(self._file)
            raise StoreRefused(
                f"the store {path} is in use by another poller (pid {owner[0]}): stop that one, or give store.path another file"
            ) from None
        except OSError as error:
            os.close(self._file)
            raise StoreRefused(
                f"the store {path} cannot be locked: {error.strerror}: put it on a local disk that knows locks"
            ) from error

    def opened(self) -> Inodes | None:
        """What the last holder had open; None when it is not known."""
        words = self._words()[1:]
        return (int(words[0]), int(words[1])) if len(words) == 2 and all(word.isdecimal() for word in words) else None

    def note(self, inodes: Inodes) -> None:
        """Says who holds the lock and what is open."""
        with suppress(OSError):  # nothing hangs on it but two better sentences, and the disk may be full
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()} {inodes[0]} {inodes[1]}\n".encode(), 0)

    def release(self) -> None:
        """The file stays: if it were removed, two openers could lock different files."""
        os.close(self._file)

    def _words(self) -> list[str]:
        return os.pread(self._file, 100, 0).decode("ascii", "replace").split()


def _open(path: Path) -> int:
    beside = path.with_name(f"{path.name}.lock")
    try:
        return os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreRefused(
            f"the store {path} cannot be locked: {error.strerror} ({beside}): "
            "check the rights of the daemon's user in this folder, and the room on its disk"
        ) from error
