"""No statement is put together from text: what vendors and people wrote travels beside it, or is quoted by the library."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from stores_content import dead_record, dead_records

from poller.model import PageCommit
from poller.stores.sqlite import Config, open_store

STORES = Path(__file__).resolve().parents[2] / "poller" / "stores"
OURS = {"PRAGMA user_version = {found}", "{script}"}
"""The two that are: a number that was read from the file as one, and a file of ours."""
WORDS = [
    "'); DROP TABLE dead; --",
    '"; DELETE FROM seen; --',
    "%s {x} ? :name $1",
    "\\'",
    "a\nb\x1b",
    "żółć \U0001f600",
]


def statements() -> Iterator[tuple[str, ast.expr]]:
    """The first argument of everything that executes."""
    for path in sorted(STORES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
                continue
            if node.func.attr in {"execute", "executemany", "executescript"}:
                yield f"{path.relative_to(STORES)}:{node.lineno}", node.args[0]


def put_together(node: ast.expr) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        return not isinstance(node.func.value, ast.Call)  # `SQL("…").format(…)` is the library's, which quotes
    return isinstance(node, (ast.JoinedStr, ast.BinOp, ast.Call)) and not (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    )


def test_no_statement_is_put_together_from_text() -> None:
    found = list(statements())
    assert len(found) > 50
    bad = [(place, ast.unparse(node)) for place, node in found if put_together(node)]
    assert [place for place, text in bad if not any(ours in text for ours in OURS)] == []
    assert len(bad) == len(OURS)


def test_the_look_finds_what_is_put_together() -> None:
    for text in ("f'SELECT {x}'", "'SELECT ' + x", "'SELECT %s' % x", "'SELECT {}'.format(x)", "str(x)"):
        assert put_together(ast.parse(text, mode="eval").body), text
    for text in ("SQL[f'empty_{table}']", "SQL('SELECT {}').format(Identifier(x))", "'SELECT ?'"):
        assert not put_together(ast.parse(text, mode="eval").body), text


@pytest.mark.anyio
@pytest.mark.parametrize("words", WORDS)
async def test_any_words_are_kept_as_they_are_in_a_file(tmp_path: Path, words: str) -> None:
    store = await open_store(Config(path=tmp_path / "poller.db"))
    held = await store.hold(0)
    dead = dead_record(1)
    dead = type(dead)(
        **{name: getattr(dead, name) for name in dead.__struct_fields__} | {"error": words, "source": words}
    )
    held = await store.commit_page(held, PageCommit(dead=[dead]))
    await store.put_meta(words, words)
    assert await dead_records(store) == [dead]
    assert await store.get_meta(words) == words
    await store.close()
