"""What the documentation says is so: links lead somewhere, configurations load, commands exist, sentences and metrics are real."""

import ast
import json
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import trustme
import typer
import yaml
from docs_pages import PAGES, ROOT, Block, anchor, anchors, blocks, commands, links, quotations, text_of
from msgspec.structs import fields

from poller.cli.program import app
from poller.config import load
from poller.event import CloudEvent, WindowData
from poller.metrics import EVENT_TYPES, Metrics
from poller.model import CallData, RecordingData
from poller.signing import hmac_text

PROGRAM: Any = typer.main.get_command(app)
"""The tree of commands. Untyped: the library may bring the parser's classes with it or take those that are installed."""


# --- links -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if link.startswith(("http://", "https://")):
            continue
        path, _, place = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not place or place in anchors(target), link


def test_every_page_is_reached_from_the_readme() -> None:
    listed = {(ROOT / link).resolve() for link in links(ROOT / "README.md") if "://" not in link}
    assert set(PAGES) - {ROOT / "README.md"} <= listed


def test_anchors_are_made_as_forges_make_them() -> None:
    assert anchor("Sink: kafka") == "sink-kafka"
    assert anchor("What can still come twice") == "what-can-still-come-twice"


# --- configurations --------------------------------------------------------------------------------------------------

KEY = hmac_text(bytes(32))
"""What every variable holds: a password may be anything, and a webhook's key is one of these."""
CONFIGS = [block for block in blocks("yaml") if {"sources", "sinks", "store"} & set(yaml.safe_load(block.text))]


def test_there_are_configurations() -> None:
    assert {"mor.md", "thulium.md", "fonouc.md", "kafka.md", "add-a-source.md"} <= {block.page for block in CONFIGS}


@pytest.mark.parametrize("block", CONFIGS, ids=lambda block: block.page)
def test_configurations_load(block: Block, tmp_path: Path) -> None:
    values = yaml.safe_load(block.text)
    if any(source["kind"] == "acme" for source in values.get("sources", {}).values()):
        return  # test_add_a_source.py runs it, with the folder that it needs
    env = dict.fromkeys(re.findall(r"\{env: (\w+)\}", block.text), KEY)
    path = tmp_path / "poller.yaml"
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    text = re.sub(r"ca_file: [^,}\s]+", "ca_file: ca.pem", block.text)
    path.write_text(text + ("" if "store" in values else "\nstore: {kind: memory}\n"), encoding="utf-8")
    settings = load(path, env)
    assert set(settings.sources) == set(values.get("sources", {}))
    assert set(settings.sinks) == set(values.get("sinks", {}))


# --- commands --------------------------------------------------------------------------------------------------------

COMMANDS = sorted({(page.name, command) for page in PAGES for command in commands(page)})
COMMANDS += [
    ("NOTES.txt", command)
    for command in re.findall(r"-- (poller .*)", text_of(ROOT / "helm/poller/templates/NOTES.txt"))
]


def problem(command: str, *, whole: bool = False) -> str | None:
    """What is wrong with a command line: no such command, no such option; `whole`: an argument is missing or too many, a value wrong."""
    words = shlex.split(re.sub(r" <\s*\S+$", "", command))[1:]
    here = PROGRAM
    while hasattr(here, "commands") and words and not words[0].startswith("-"):
        if (found := here.commands.get(words[0])) is None:
            return f"no command {words[0]}"
        here, words = found, words[1:]
    known = {name for parameter in here.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    unknown = next((f"no option {word}" for word in words if word.startswith("-") and word not in known), None)
    return unknown or (incomplete(here, words) if whole or words else None)


def incomplete(command: Any, words: list[str]) -> str | None:
    """What the command itself says to its words. It is not run."""
    if hasattr(command, "commands") or {"--help", "--version"} & set(words):
        return None
    try:
        command.make_context(command.name, list(words))
    except Exception as refused:  # noqa: BLE001 the parser's own class is not public
        return str(refused)
    return None


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_commands_exist(page: str, command: str) -> None:
    assert problem(command, whole=page == "runbook.md") is None, page


def test_whoever_follows_the_runbook_can_type_what_it_says() -> None:
    said = [command for page, command in COMMANDS if page == "runbook.md"]
    assert len(said) >= 8
    assert problem("poller sinks forget", whole=True)
    assert problem("poller sinks forget") is None  # in a sentence about it


def test_every_command_is_documented() -> None:
    said = {" ".join(word for word in command.split()[1:3]) for _, command in COMMANDS}
    for name in leaves(PROGRAM):
        assert any(command == name or command.startswith(f"{name} ") for command in said), name


def leaves(group: Any, before: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, f"{before}{name} ")
        else:
            yield f"{before}{name}"


@pytest.mark.parametrize(
    "command",
    [
        "poller fly",
        "poller sinks paint",
        "poller run --twice",
        "poller -x",
        "poller sinks forget a b",
        "poller run --once yes",
        "poller dead-letters list --limit many",
    ],
)
def test_a_wrong_command_is_seen(command: str) -> None:
    assert problem(command)


def test_the_backup_without_sqlite3_is_one(tmp_path: Path) -> None:
    (program,) = re.findall(r'^python3 -c "(import sqlite3; [^"]*)"', text_of(ROOT / "docs/operating.md"), re.MULTILINE)
    for folder in ("/var/lib/poller", "/backup"):
        (tmp_path / folder[1:]).mkdir(parents=True)
        program = program.replace(folder, str(tmp_path / folder[1:]))
    with closing(sqlite3.connect(tmp_path / "var/lib/poller/poller.db")) as store:
        store.execute("PRAGMA journal_mode = WAL")
        store.execute("CREATE TABLE t AS SELECT 5 AS five")
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    with closing(sqlite3.connect(tmp_path / "backup/poller.db")) as backup:
        assert backup.execute("SELECT five FROM t").fetchall() == [(5,)]


# --- metrics ---------------------------------------------------------------------------------------------------------


def declared() -> set[str]:
    """The rows of the table, from the code."""
    metrics = Metrics()
    rows = {row(table.name, *heads(next(table.write())), table._labels) for table in metrics.tables}
    collectors: list[Any] = list(metrics.registry._collector_to_names)
    return rows | {
        row(one._name, one._type, one._documentation, one._labelnames)
        for one in collectors
        if hasattr(one, "_labelnames")
    }


def heads(head: str) -> tuple[str, str]:
    """Type and help of a metric."""
    text, kind = head.splitlines()
    return kind.rsplit(" ", 1)[1], text.split(" ", 3)[3]


def row(name: str, kind: str, text: str, labels: tuple[str, ...]) -> str:
    return f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {text} |"


def test_the_table_of_metrics_is_the_code() -> None:
    shown = {line for line in text_of(ROOT / "docs/operating.md").splitlines() if line.startswith("| `poller_")}
    assert len(shown) > 30
    assert shown == declared()


def test_metrics_that_are_mentioned_exist() -> None:
    names = {line.split("`")[1] for line in declared()}
    for page in PAGES:
        mentioned = set(re.findall(r"\bpoller_[a-z_]+[a-z]\b", text_of(page)))
        assert mentioned <= names, page.name


# --- sentences -------------------------------------------------------------------------------------------------------

QUOTED = [(page.name, sentence) for page in PAGES for sentence in quotations(page)]


@cache
def literals() -> list[str]:
    """Every text of the program; a zero byte stands where a value is put in."""
    found = []
    for path in sorted((ROOT / "poller").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(re.sub(r"\{\w*\}", "\0", node.value))
            elif isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
                )
    return found


def said(sentence: str) -> bool:
    """Whether one text of the program has the fragments between the `…`, in order."""
    pattern = re.compile(".*?".join(map(re.escape, sentence.split("…"))), re.DOTALL)
    return any(pattern.search(text) for text in literals())


def test_sentences_are_quoted() -> None:
    assert len(QUOTED) > 40


@pytest.mark.parametrize(("page", "sentence"), QUOTED)
def test_quoted_sentences_are_the_programs_own(page: str, sentence: str) -> None:
    assert len(sentence.replace("…", "").strip()) >= 10
    assert said(sentence), page


def test_an_invented_sentence_is_seen() -> None:
    assert not said("the store … is tired: let it rest")


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_targets_of_make_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", text_of(page), re.MULTILINE)) <= targets


def test_files_that_are_mentioned_exist() -> None:
    built = {"poller/sources/acme/__init__.py", "poller/sources/acme/calls.py", "tests/sources/acme/acme_cases.py"}
    for page in PAGES:
        for name in (
            set(
                re.findall(
                    r"(?<![\w/])(?:poller|tests|benchmarks|docs|config)/[\w/]+\.(?:py|md|yaml|sql)", text_of(page)
                )
            )
            - built
        ):
            assert (ROOT / name).exists() or (page.name, name) == ("add-a-source.md", "docs/acme.md"), (page.name, name)
    table = text_of(ROOT / "docs/architecture.md")
    for name in re.findall(r"`([a-z_/]+\.py)`", table):
        assert (ROOT / "poller" / name).exists() or (ROOT / name).exists() or list((ROOT / "poller").rglob(name)), name


# --- examples --------------------------------------------------------------------------------------------------------


def test_there_is_an_example_of_each_type_of_event() -> None:
    events = [json.loads(block.text) for block in blocks("json") if block.page == "consuming.md"]
    assert sorted(event["type"] for event in events) == sorted(EVENT_TYPES)
    for event in events:
        shape = {"call": CallData, "recording": RecordingData, "window": WindowData}[event["type"].split(".")[1]]
        assert set(event["data"]) == set(shape.__struct_encode_fields__), event["type"]
        required = {field.encode_name for field in fields(CloudEvent) if field.required}
        assert required <= set(event) <= set(CloudEvent.__struct_encode_fields__)
        assert event["data"].get("revision", 1) == 1 + event["type"].endswith("updated")


def test_every_list_is_in_the_table_of_identities() -> None:
    table = text_of(ROOT / "docs/consuming.md").partition("| list | id |")[2].partition("\n\n")[0]
    listed = set(re.findall(r"^\| `(\w+\.\w+)` \|", table, re.MULTILINE))
    names = re.compile(r'^    name = "(\w+\.\w+)"$', re.MULTILINE)
    sources = (ROOT / "poller/sources").rglob("*.py")
    assert listed == {name for path in sources for name in names.findall(path.read_text(encoding="utf-8"))}
