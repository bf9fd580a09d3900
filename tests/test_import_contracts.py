"""Who may import whom: the contracts hold, and each of them catches what it is there for."""

import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PURE = {"errors", "jsontext", "model", "options", "protocols", "rules"}
LIBRARIES = {"lxml", "msgspec", "pydantic"}
STANDARD = {
    "base64", "binascii", "bisect", "calendar", "codecs", "collections", "dataclasses", "datetime", "decimal", "enum", "functools",
    "hashlib", "itertools", "json", "math", "operator", "pathlib", "re", "string", "types", "typing", "unicodedata",
    "urllib", "zoneinfo",
}  # fmt: skip


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    command = [str(program), "--no-logo", "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def test_the_contracts_hold() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


PLANTED = {
    "Imports point downwards": ("poller/errors.py", "import poller.config"),
    "Commands are blind to each other": ("poller/cli/daemon.py", "import poller.cli.check"),
    "Sources are blind to each other": ("poller/sources/mor/__init__.py", "import poller.sources.thulium"),
    "Sinks are blind to each other": ("poller/sinks/planted.py", "import poller.sinks.kafka"),
    "Stores are blind to each other": ("poller/stores/memory/__init__.py", "import poller.stores.sqlite"),
    "Sources are pure: no store, metric, log, clock or network of ours": (
        "poller/sources/fonouc/__init__.py",
        "import poller.clock",
    ),
    "Simulators share nothing with what they test": ("poller/simulate/planted.py", "import poller.sources.mor"),
    "The Kafka client is the Kafka sink's own": ("poller/server.py", "import aiokafka"),
    "The database driver is the embedded store's own": ("poller/stores/memory/__init__.py", "import sqlite3"),
    "The database client is the shared store's own": ("poller/stores/memory/__init__.py", "import psycopg"),
    "One way to the vendors, one to the daemon": ("poller/sources/mor/planted.py", "import httpx"),
    "What HTTP is, the library says in one place": ("poller/sources/thulium/planted.py", "import h11"),
    "One way to the webhooks": ("poller/stores/also.py", "import httpcore"),
    "Keys are used in one place": ("poller/stores/planted.py", "import cryptography"),
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What is said about a copy in which every contract is broken."""
    copy = tmp_path_factory.mktemp("planted")
    shutil.copytree(ROOT / "poller", copy / "poller", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    for place, line in PLANTED.values():
        with (copy / place).open("a") as file:
            file.write(f"\n{line}\n")
    return lint(copy).stdout


@pytest.mark.parametrize("contract", PLANTED)
def test_a_planted_violation_is_caught(planted: str, contract: str) -> None:
    assert f"{contract} BROKEN" in planted


def test_sources_import_nothing_but_pure_things() -> None:
    graph = grimp.build_graph("poller", include_external_packages=True, cache_dir=None)
    folders = graph.find_descendants("poller.sources")
    assert folders
    foreign = {
        f"{module} imports {found}"
        for module in folders
        for found in graph.find_modules_directly_imported_by(module)
        if not allowed(module, found)
    }
    assert not foreign


def allowed(module: str, found: str) -> bool:
    first, *rest = found.split(".")
    if first != "poller":
        return first in LIBRARIES | STANDARD
    return rest[:1] == ["sources"] and found.split(".")[2] == module.split(".")[2] if len(rest) > 1 else rest[0] in PURE


def test_the_allowed_list_refuses_the_rest() -> None:
    assert not allowed("poller.sources.mor.xml", "time")
    assert not allowed("poller.sources.mor.xml", "poller.clock")
    assert not allowed("poller.sources.mor.xml", "poller.sources.thulium.pages")
    assert not allowed("poller.sources.mor.xml", "httpx")
    assert allowed("poller.sources.mor.xml", "poller.sources.mor.params")
