"""Every line of the threat model is shown by a test that exists."""

import ast
import re
from functools import cache

import pytest
from docs_pages import ROOT, text_of

PAGE = text_of(ROOT / "docs" / "threat-model.md")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| harm ")]
NAMED = re.compile(r"`tests/([\w/]+\.py)::(test_\w+)`")
SUBJECTS = (
    "SSRF", "XML", "decompression", "header injection", "log injection", "path traversal", "CSRF", "XSS", "SQL", "YAML", "0600", "certificate",
    "secrets", "lock", "pod",
)  # fmt: skip


@cache
def defined_in(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:60])
def test_a_line_is_shown_by_tests_that_exist(row: str) -> None:
    shown = row.strip("| ").split(" | ")[-1]
    found = NAMED.findall(shown)
    assert found
    assert NAMED.sub("", shown).strip(" ,") == ""
    for file, name in found:
        assert (ROOT / "tests" / file).is_file(), file
        assert name in defined_in(file), f"{file}::{name}"


def test_no_subject_is_left_out() -> None:
    assert len(ROWS) > 40
    assert [subject for subject in SUBJECTS if subject not in PAGE] == []
    assert PAGE.count("\nNot done: ") == PAGE.count("\n## ")  # what it does not do is said for each way in
