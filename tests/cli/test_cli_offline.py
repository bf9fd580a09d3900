"""The commands that ask nobody, run as a user runs them."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import yaml
from cli_command import run
from thulium_office import OFFICE

from poller.signing import hmac_text

Run = Callable[..., subprocess.CompletedProcess[str]]

WHOLE = (
    """\
store: {kind: sqlite, path: poller.db}
sinks:
  out: {kind: kafka, bootstrap_servers: ['127.0.0.1:1']}
"""
    + OFFICE
)


@pytest.fixture
def poller(tmp_path: Path) -> Run:
    """`poller …` in a folder of its own."""
    (tmp_path / "poller.yaml").write_text(WHOLE)

    def quiet(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
        done = run(tmp_path, *words, **{"PASSWORD": "geheim", **env})
        assert "geheim" not in done.stdout + done.stderr
        return done

    return quiet


def test_validate(poller: Run) -> None:
    done = poller("validate")
    assert (done.returncode, done.stdout) == (0, "poller.yaml: no faults; sources: 1, endpoints: 1, sinks: 1\n")
    told = json.loads(poller("validate", "--json").stdout)
    assert told == {"valid": True, "faults": [], "warnings": [], "sources": 1, "endpoints": 1, "sinks": 1}


def test_validate_warns_of_a_folder_that_is_not_here(poller: Run, tmp_path: Path) -> None:
    """It may be there where the daemon runs: no fault."""
    (tmp_path / "far.yaml").write_text(WHOLE.replace("poller.db", "nowhere/poller.db"))
    done = poller("validate", "-c", "far.yaml")
    first, second = done.stdout.splitlines()
    assert (done.returncode, first) == (0, "far.yaml: no faults; sources: 1, endpoints: 1, sinks: 1")
    assert second.startswith(f"warning: the folder {tmp_path / 'nowhere'} of the store")
    assert len(json.loads(poller("validate", "-c", "far.yaml", "--json").stdout)["warnings"]) == 1


def test_faults_are_one_block_and_exit_2(poller: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(WHOLE.replace("username", "usernam") + "retention: 7\n")
    done = poller("validate", "--config", "bad.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    first, *faults = done.stderr.splitlines()
    assert first == "poller: bad.yaml: 3 faults"
    assert faults[0] == "  sources.office.username (line 5): is required"
    assert faults[1] == "  sources.office.usernam (line 8): is no known key (did you mean `username`?)"
    assert faults[2].startswith("  retention (line 11): 7 is no duration")
    told = poller("validate", "-c", "bad.yaml", "--json")
    assert told.returncode == 2
    assert json.loads(told.stdout) == {"valid": False, "faults": [fault.strip() for fault in faults]}


def test_nothing_to_do_is_a_fault(poller: Run, tmp_path: Path) -> None:
    (tmp_path / "idle.yaml").write_text("store: {kind: memory}\n")
    done = poller("validate", POLLER_CONFIG="idle.yaml")
    assert done.returncode == 2
    assert "sources (line 1): is empty: at least one is needed to run" in done.stderr
    assert "sinks (line 1): is empty: at least one is needed to run" in done.stderr


@pytest.mark.parametrize("arguments", [["validate", "--no-such"], ["bogus"], ["config", "show", "x"], ["-c"]])
def test_bad_usage_exits_2(poller: Run, arguments: list[str]) -> None:
    assert poller(*arguments).returncode == 2


def test_no_file(poller: Run) -> None:
    done = poller("config", "show", "-c", "nowhere.yaml")
    assert (done.returncode, done.stderr) == (2, "poller: nowhere.yaml: cannot be read: No such file or directory\n")


def test_config_show_says_defaults_and_origins(poller: Run) -> None:
    shown = yaml.safe_load(poller("config", "show").stdout)
    assert shown["seen_ttl"] == "30d"
    assert shown["sources"]["office"]["password"] == {"env": "PASSWORD"}
    assert shown["sources"]["office"]["endpoints"]["connections"]["interval"] == "1m"
    assert json.loads(poller("config", "show", "--json").stdout) == shown


def test_schema_config(poller: Run) -> None:
    schema = json.loads(poller("schema", "config").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert jsonschema.Draft202012Validator(schema).is_valid(yaml.safe_load(WHOLE))


@pytest.mark.parametrize("kind", ["call", "recording"])
def test_schema_of_events(poller: Run, kind: str) -> None:
    """Of `data` unless the whole event is asked for."""
    data, event = (json.loads(poller("schema", kind, *more).stdout) for more in ((), ("--event",)))
    for schema in (data, event):
        jsonschema.Draft202012Validator.check_schema(schema)
    assert (data["$id"], event["$id"]) == (f"urn:telephony:schema:{kind}:1", f"urn:telephony:schema:{kind}-event:1")
    assert event["properties"]["dataschema"]["const"] == data["$id"]


def test_schema_asyncapi(poller: Run) -> None:
    told = json.loads(poller("schema", "asyncapi").stdout)
    assert told["asyncapi"] == "3.1.0"
    assert list(told["channels"])[:3] == ["calls", "recordings", "windows"]


def test_migrate_makes_the_store(poller: Run, tmp_path: Path) -> None:
    done = poller("migrate")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("The sqlite store is up to date: ")
    assert (tmp_path / "poller.db").exists()
    assert json.loads(poller("migrate", "--json").stdout)["facts"]["seen_ids"] == 0


def test_a_store_that_cannot_be_opened_exits_1(poller: Run, tmp_path: Path) -> None:
    (tmp_path / "poller.db").write_bytes(b"no database at all, certainly not" * 200)
    done = poller("migrate")
    assert done.returncode == 1
    assert done.stderr.startswith("poller: ")


def test_version(poller: Run) -> None:
    assert poller("--version").stdout.startswith("poller 0.")


HOOKS = """
  open: {kind: webhook, url: 'http://crm.example/h/T0KEN', secrets: [{env: KEY}], allow_http: true, allow: [0.0.0.0/0]}
  blind: {kind: webhook, url: 'https://crm.example/h', secrets: [{env: KEY}], tls: {verify: false}}
  well: {kind: webhook, url: 'https://crm.example/h', secrets: [{env: KEY}], allow: [10.0.0.0/8]}
"""


def test_what_is_hardly_ever_meant_is_said(poller: Run, tmp_path: Path) -> None:
    (tmp_path / "poller.yaml").write_text(WHOLE.replace("sinks:\n", f"sinks:{HOOKS}", 1))
    key = hmac_text(bytes(32))
    expected = [
        "sinks.open.url: is http: everybody on the way reads along",
        "sinks.open.allow: opens every network but metadata addresses: name those that are meant",
        "sinks.blind.tls.verify: is false: anybody may pose as this receiver",
    ]
    assert poller("validate", KEY=key).stdout.splitlines()[1:] == [f"warning: {sentence}" for sentence in expected]
    assert json.loads(poller("validate", "--json", KEY=key).stdout)["warnings"] == expected
