"""Writes the documents into the package: `python -m poller.contract`."""

from pathlib import Path
from typing import Any

import msgspec

from poller.contract import DOCUMENTS
from poller.contract.asyncapi import asyncapi
from poller.contract.schemas import data_schema, event_schema


def made() -> dict[str, str]:
    """Every document as it should be, by name."""
    documents: dict[str, Any] = {
        "call": data_schema("call"),
        "call-event": event_schema("call"),
        "recording": data_schema("recording"),
        "recording-event": event_schema("recording"),
        "window": data_schema("window"),
        "window-event": event_schema("window"),
        "asyncapi": asyncapi(),
    }
    return {
        name: msgspec.json.format(msgspec.json.encode(documents[name]), indent=2).decode() + "\n" for name in DOCUMENTS
    }


if __name__ == "__main__":
    for name, text in made().items():
        Path(__file__).with_name(f"{name}.json").write_text(text, encoding="utf-8")
