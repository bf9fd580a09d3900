"""What subscribers build on: JSON Schemas of the events and an AsyncAPI document of the topics, as files of the package.

`python -m poller.contract` writes them anew from the structs (poller.model, poller.event) and their meanings (meanings.py).
"""

from importlib import resources

DOCUMENTS = ("call", "call-event", "recording", "recording-event", "window", "window-event", "asyncapi")
"""`call`, `recording`, `window`: schemas of an event's `data`; `…-event`: of the whole event; `asyncapi`: topics, keys, headers."""


def document(name: str) -> str:
    """One of the documents, as JSON text that ends with a line break."""
    return resources.files(__name__).joinpath(f"{name}.json").read_text(encoding="utf-8")
