"""One daemon per file."""

import os
from contextlib import suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

import msgspec

from poller.errors import StoreRefused
from poller.stores.sqlite.logs import Note


class Lock:
    """An OS lock on a file beside the database: it ends with the process, however that ends.

    The file also keeps a note of who holds it and what is open (logs.py says why).
    """

    def __init__(self, path: Path) -> None:
        self._file = _open(path)
        try:
            flock(self._file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            last = self.last()
            os.close(self._file)
            raise StoreRefused(
                f"the store {path} is in use by another poller (pid {last.pid if last else 'unknown'}): stop that one, or give store.path another file"
            ) from None
        except OSError as error:
            os.close(self._file)
            raise StoreRefused(
                f"the store {path} cannot be locked: {error.strerror}: put it on a local disk that knows locks"
            ) from error

    def last(self) -> Note | None:
        """What the last holder had open; None when it is not known."""
        try:
            return msgspec.json.decode(os.pread(self._file, 200, 0), type=Note)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None

    def note(self, note: Note) -> None:
        """For the next one who asks."""
        with suppress(OSError):  # a sentence and a precaution hang on it, no data; and the disk may be full
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, msgspec.json.encode(note), 0)

    def release(self) -> None:
        """The file stays: if it were removed, two openers could lock different files."""
        os.close(self._file)


def _open(path: Path) -> int:
    beside = path.with_name(f"{path.name}.lock")
    try:
        return os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreRefused(
            f"the store {path} cannot be locked: {error.strerror} ({beside}): "
            "check the rights of the daemon's user in this folder, and the room on its disk"
        ) from error
