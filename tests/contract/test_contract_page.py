"""docs/events.md is what the structs, their meanings and the vendors' records say."""

import json

import pytest
from contract_checks import faults
from docs_pages import ROOT, Block, blocks
from events_page import page
from golden_events import golden_events, golden_windows

from poller.contract.schemas import event_schema

EXAMPLES = [block for block in blocks("json") if block.page == "events.md"]


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / "docs/events.md").read_text(encoding="utf-8") == page(), "run `make docs`"


def test_there_is_an_example_of_every_list() -> None:
    text = page()
    assert all(f"### `{one.endpoint}`" in text for one in golden_events())
    bodies = {json.dumps(json.loads(one.event.body)) for one in [*golden_events(), *golden_windows()]}
    assert {json.dumps(json.loads(block.text)) for block in EXAMPLES} <= bodies


@pytest.mark.parametrize("block", EXAMPLES, ids=lambda block: json.loads(block.text)["id"][:6])
def test_examples_are_valid(block: Block) -> None:
    event = json.loads(block.text)
    assert faults(event_schema(event["type"].split(".")[1]), event) == []
