"""Files that only their owner may read: what is in them are other people's calls. One that is there already keeps its mode."""

import os
from contextlib import suppress
from pathlib import Path


def owner(path: str, flags: int) -> int:
    """An `opener` for `open`: a file that it makes is its owner's alone, whatever the umask says."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def group(path: str, flags: int) -> int:
    """The same for a file that another program is meant to read: the owner's group may, too."""
    return os.open(path, flags | os.O_CLOEXEC, 0o640)


def touch(path: Path) -> None:
    """Makes the file empty where there is none, for a library that would make it with the umask's mode. What fails, it will say."""
    with suppress(OSError):
        os.close(owner(str(path), os.O_RDWR | os.O_CREAT | os.O_EXCL))
