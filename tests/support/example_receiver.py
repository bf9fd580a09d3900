"""One of the example receivers as a process of its own, on a port that it finds itself."""

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Self

import go_programs
import httpx
from node_programs import placed

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
LANGUAGES = ("python", "node", "go")


def command_of(language: str, folder: Path) -> list[str]:
    """How the receiver of a language is started; what must be built is put into the folder. Skips where it cannot run."""
    if language == "python":
        return [sys.executable, str(EXAMPLES / "receiver.py")]
    if language == "node":
        return ["node", str(placed(EXAMPLES / "receiver.mjs"))]
    return [str(go_programs.build(EXAMPLES / "go", folder / "receiver"))]


class ExampleReceiver:
    """It runs while the `with` lasts. What it noted stays in the folder."""

    def __init__(self, command: Sequence[str], folder: Path, keys: Sequence[str]) -> None:
        self.folder = folder
        self._command = list(command)
        self._environment = {
            **os.environ,
            "WEBHOOK_KEYS": " ".join(keys),
            "HOST": "127.0.0.1",
            "PORT": "0",
            "INBOX": str(folder),
            "DATABASE": str(folder / "events.db"),
        }

    def __enter__(self) -> Self:
        """Returns once it listens."""
        self.folder.mkdir(exist_ok=True)
        self._process = subprocess.Popen(self._command, env=self._environment, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._client = httpx.Client(timeout=60, trust_env=False)
        late = threading.Timer(120, self._process.kill)
        late.start()
        line = self._process.stdout.readline()
        late.cancel()
        if not line.startswith("listening on "):
            self.__exit__()
            raise RuntimeError(f"the receiver did not start: it said {line!r}")
        self.url = f"http://127.0.0.1:{int(line.rpartition(' ')[2])}/hooks/calls"
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it with SIGKILL, as a crash does."""
        self._client.close()
        self._process.kill()
        self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def post(self, headers: Mapping[str, str], body: bytes) -> int:
        """The status that a call is answered with."""
        return self._client.post(self.url, headers=dict(headers), content=body).status_code

    def noted(self) -> dict[str, bytes]:
        """What is on disk: the bodies by id."""
        database = self.folder / "events.db"
        if not database.exists():
            return {path.stem: path.read_bytes() for path in self.folder.glob("*.json")}
        with closing(sqlite3.connect(database)) as opened:
            rows: list[tuple[str, bytes]] = opened.execute("SELECT id, body FROM events").fetchall()
        assert len(dict(rows)) == len(rows)
        return dict(rows)
