"""The words of the project and the sizes of its parts."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "poller").rglob("*.py"))
FORBIDDEN = {
    "manager", "handler", "service", "processor", "helper", "util", "utils", "common", "base", "core", "adapter",
    "engine",
}  # fmt: skip
ALLOWED = re.compile("base_?url|base64|basemodel", re.IGNORECASE)
"""A key of the configuration, an encoding, and a library's class."""
LINES = 400
STATEMENTS = 60
"""Lines of a function."""


def words(identifier: str) -> set[str]:
    """`PageHandlers` and `page_handler` → {page, handler}; plurals count as their singular."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", identifier)
    return {part.lower() for part in parts} | {part.lower().removesuffix("s") for part in parts}


def forbidden(identifier: str) -> bool:
    if identifier.startswith("__"):
        return False  # what a library asks for
    return bool(words(ALLOWED.sub("", identifier)) & FORBIDDEN)


def names(tree: ast.AST) -> set[str]:
    """Every name that a module gives to something of its own."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.id if isinstance(node, ast.Name) else node.attr)
        elif isinstance(node, ast.alias) and node.asname:
            found.add(node.asname)
    return found


def long_functions(tree: ast.AST) -> list[str]:
    return [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= STATEMENTS
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_words_and_sizes(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    module = path.relative_to(ROOT).with_suffix("").parts
    assert not sorted(name for name in {*names(tree), *module} if forbidden(name))
    assert text.count("\n") <= LINES
    assert not long_functions(tree)


@pytest.mark.parametrize(
    "name", ["PageHandler", "handlers", "core", "DB_ENGINE", "run_service", "baseClass", "utils", "http_base"]
)
def test_what_is_forbidden(name: str) -> None:
    assert forbidden(name)


@pytest.mark.parametrize(
    "name", ["base_url", "BaseUrl", "_base_url", "database", "score", "encore", "baseline", "to_base64"]
)
def test_what_is_not(name: str) -> None:
    assert not forbidden(name)


def test_a_long_function_is_found() -> None:
    body = "\n    pass" * 60
    assert long_functions(ast.parse(f"def long():{body}")) == ["long: 61 lines"]
    assert not long_functions(ast.parse(f"def short():{body[: -len('    pass') - 1]}"))
