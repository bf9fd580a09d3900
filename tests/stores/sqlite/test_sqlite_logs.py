"""The log beside the file, looked at while others look into the database."""

import threading
from pathlib import Path

from poller.stores.sqlite.logs import Note, foreign, log_of, look


def test_a_log_that_is_gone_from_one_moment_to_the_next(tmp_path: Path) -> None:
    """As when a backup tool is the last to close the database after a crash."""
    path = tmp_path / "poller.db"
    path.touch()
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            log_of(path).touch()
            log_of(path).unlink()

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        for _ in range(1_000):
            assert not foreign(path, Note(1, file=1, log=1))
            assert look(path, 1).file == path.stat().st_ino
    finally:
        over.set()
        other.join()
