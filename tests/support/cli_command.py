"""The command line as processes."""

import os
import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess


def command(*words: str) -> list[str]:
    """`poller …`."""
    return [sys.executable, "-m", "poller.cli", *words]


def run(folder: Path, *words: str, **env: str) -> CompletedProcess[str]:
    """`poller …` in a folder, with more in its environment; it never answers with a traceback."""
    environment = {**os.environ, "TERM": "dumb", **env}
    done = subprocess.run(
        command(*words), cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert "Traceback" not in done.stderr
    return done
