"""docs/add-a-source.md is built and run as it stands."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/add-a-source.md"
BLOCK = re.compile(r"^`([^`\n]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

COPIED = ("poller", "tests/support", "tests/conformance", "tests/sources")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package and its conformance suite, with the files of the page added."""
    folder = tmp_path_factory.mktemp("walkthrough")
    for part in COPIED:
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("pyproject.toml", "tests/conftest.py"):
        shutil.copy(ROOT / part, folder / part)
    files = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert {name for name, _ in files} == {
        "poller/sources/acme/__init__.py",
        "poller/sources/acme/calls.py",
        "tests/sources/acme/acme_cases.py",
        "poller.yaml",
    }
    for name, text in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def run(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python on the copy."""
    env = os.environ | {"PYTHONPATH": str(copy), "ACME_KEY": "k-17"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, timeout=300, check=False)


def test_the_conformance_suite_takes_it(copy: Path) -> None:
    done = run(
        copy,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/conformance/test_sources_conformance.py",
        "-k",
        "acme",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) > 15


def test_lint_has_no_complaint(copy: Path) -> None:
    ours = ["poller/sources/acme", "tests/sources/acme/acme_cases.py"]
    done = run(copy, "-m", "ruff", "check", "--no-cache", *ours)
    assert done.returncode == 0, done.stdout
    done = run(copy, "-m", "ruff", "format", "--check", "--no-cache", *ours)
    assert done.returncode == 0, done.stdout


@contextmanager
def acme(rows: list[dict[str, Any]]) -> Iterator[tuple[str, list[str | None]]]:
    """The vendor: its address, and the keys that it was shown."""
    keys: list[str | None] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            keys.append(self.headers["X-Key"])
            asked = {name: int(value[0]) for name, value in parse_qs(urlsplit(self.path).query).items()}
            body = json.dumps({"calls": [row for row in rows if asked["from"] <= row["began"] <= asked["to"]]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the library's own signature
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", keys
        finally:
            server.shutdown()
            thread.join()


def test_one_run_publishes_what_the_vendor_has(copy: Path) -> None:
    now = int(time.time())
    call = {"caller": "501000111", "callee": "221000222", "seconds": 42, "result": "answered"}
    rows = [{"id": f"c-{number}", "began": now - 600 * number - 60, **call} for number in range(20)]
    config = copy / "poller.yaml"
    with acme(rows) as (url, keys):
        config.write_text(config.read_text(encoding="utf-8").replace("http://127.0.0.1:8080", url), encoding="utf-8")
        validated = run(copy, "-m", "poller.cli", "validate")
        assert validated.returncode == 0, validated.stdout + validated.stderr
        checked = run(copy, "-m", "poller.cli", "check", "acme-1")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert "filter     honoured" in checked.stdout, checked.stdout
        done = run(copy, "-m", "poller.cli", "run", "--once")
    assert done.returncode == 0, done.stdout + done.stderr
    events = [json.loads(line) for line in (copy / "events.ndjson").read_text(encoding="utf-8").splitlines()]
    assert sorted(event["subject"] for event in events) == sorted(str(row["id"]) for row in rows)
    assert {event["type"] for event in events} == {"telephony.call.new"}
    assert {event["data"]["disposition"] for event in events} == {"answered"}
    assert set(keys) == {"k-17"}
