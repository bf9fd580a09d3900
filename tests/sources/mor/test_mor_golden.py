"""Recorded answers of every version and kind of login, and what they become."""

import json
from pathlib import Path

import pytest
from source_case import load_module

golden = load_module(Path(__file__).with_name("mor_golden.py"))


@pytest.mark.parametrize("name", golden.pages())
def test_page(name: str) -> None:
    """A change here is a change of what users see; `mor_golden.py write` writes it down once it was read."""
    assert golden.result(name) == json.loads((golden.FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def test_every_expectation_has_its_page() -> None:
    """No leftovers."""
    assert {path.stem for path in golden.FOLDER.glob("*.json")} == set(golden.pages())
    assert len(golden.pages()) >= 20
