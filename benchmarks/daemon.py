"""The program on the feed and the real broker, run once. Not a benchmark itself."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from feed import PAGE

_RUNNER = """
import os, sys, anyio, pathlib
from poller import app, config, uv
settings = config.load(pathlib.Path(sys.argv[1]), os.environ)
sys.exit(uv.run(app.run, settings, once=len(sys.argv) < 3))
"""


def configuration(folder: Path, port: int, bootstrap: str, begin: int, **changes: Any) -> Path:
    """Its file as JSON, which is YAML too. `changes` of the endpoint; the topic is named as the folder is."""
    path = folder / "poller.yaml"
    sqlite = {"kind": "sqlite", "path": str(folder / "poller.db")}
    postgres = {"kind": "postgres", "dsn": {"env": "BENCH_DSN"}, "shards": 1, "schema": f"bench_{folder.name}"}
    start = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(begin))
    kafka = {
        "kind": "kafka",
        "bootstrap_servers": [bootstrap],
        "topics": {"call": f"{folder.name}.calls", "recording": f"{folder.name}.recordings"},
        "progress_topic": "bench.progress",
        "transactional_id_prefix": folder.name,
        "create_topics": True,
    }
    source = {
        "kind": "fonouc",
        "base_url": f"http://127.0.0.1:{port}",
        "api_key": {"env": "BENCH_KEY"},
        "account_id": "acme",
        "endpoints": {"cdrs": {"page_size": PAGE, "start": start, "ladder": [{"back": "12h"}], **changes}},
    }
    whole = {
        "store": postgres if "BENCH_DSN" in os.environ else sqlite,
        "server": {"listen": "127.0.0.1:0"},
        "admin": {"socket": str(folder / "poller.sock")},
        "log": {"format": "json", "level": "warning"},
        "sinks": {"kafka": kafka},
        "sources": {"fono": source},
    }
    path.write_text(json.dumps(whole))
    return path


def command(config: Path, *, profile: str | None = None, for_ever: bool = False) -> list[str]:
    """The program over a configuration: `run --once`, or until it is ended."""
    runner = config.with_name("runner.py")
    runner.write_text(_RUNNER)
    measured = ["-m", "cProfile", "-o", profile] if profile else []
    return [sys.executable, *measured, str(runner), str(config), *(["on"] if for_ever else [])]


def environment() -> dict[str, str]:
    """As the program is installed: its bytecode is kept."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | {
        "BENCH_KEY": "key"
    }


def identity(message: Any) -> str:
    """The id of an event of the program."""
    return next(value for name, value in message.headers if name == "ce_id").decode()


def call(message: Any) -> str:
    """The call that an event of the program is about."""
    return next(value for name, value in message.headers if name == "ce_subject").decode()
