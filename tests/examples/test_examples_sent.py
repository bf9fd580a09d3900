"""The webhook sink itself calls the example receivers, in every format and with every kind of key."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from example_receiver import ExampleReceiver
from golden_events import golden_events

from poller.each import Answered, Attempt, EachSink
from poller.model import Event
from poller.signing import ed25519_texts, hmac_text
from poller.sinks.webhook import Config, build

pytestmark = pytest.mark.anyio

SECRET, NEXT, STRANGER = (hmac_text(bytes(range(start, start + 32))) for start in (0, 40, 80))
PRIVATE, PUBLIC = ed25519_texts(bytes(range(32)))
EVENTS = list({one.event.id: one.event for one in golden_events()}.values())


@asynccontextmanager
async def hook(receiver: ExampleReceiver, *keys: str, **options: Any) -> AsyncIterator[EachSink]:
    env = {f"KEY_{number}": key for number, key in enumerate(keys)}
    values = {
        "kind": "webhook",
        "url": receiver.url,
        "secrets": [{"env": name} for name in env],
        "allow": ["127.0.0.0/8"],
        "allow_http": True,
        "vendor": "include",
        "timeout": "60s",
        **options,
    }
    sink = build("crm", Config.model_validate(values, context={"env": env}), shards=1)
    try:
        yield sink
    finally:
        await sink.close()


async def attempts(sink: EachSink, events: Sequence[Event], number: int = 1) -> list[Answered]:
    now = time.time()
    return [await sink.attempt(event, Attempt(number=number, at=now, first=now - 60)) for event in events]


@pytest.mark.parametrize("form", ["cloudevents", "cloudevents-binary", "standard"])
async def test_every_format_is_verified_and_noted_once(command: list[str], tmp_path: Path, form: str) -> None:
    """First signed for one kind of key, then for the other; the second time as a replay."""
    with ExampleReceiver(command, tmp_path / "inbox", [SECRET, PUBLIC]) as receiver:
        async with hook(receiver, SECRET, format=form) as sink:
            said = await attempts(sink, EVENTS)
        again = [msgspec.structs.replace(event, replay=True) for event in EVENTS]
        async with hook(receiver, PRIVATE, format=form) as sink:
            said += await attempts(sink, again, 2)
        assert {answered.outcome for answered in said} == {"delivered"}, said
        noted = receiver.noted()
    assert set(noted) == {event.id for event in EVENTS}
    for event in EVENTS:
        whole, found = msgspec.json.decode(event.body), msgspec.json.decode(noted[event.id])
        if form == "standard":
            assert (found["type"], found["data"]) == (event.type, whole["data"])
        else:
            assert found == (whole if form == "cloudevents" else whole["data"])


async def test_a_key_is_replaced_without_a_call_lost(command: list[str], tmp_path: Path) -> None:
    """The steps of docs/receiving.md: at each of them both what is sent before and what is sent after it is taken."""
    one, two, three, four = (EVENTS[number : number + 1] for number in range(4))
    inbox = tmp_path / "inbox"
    with ExampleReceiver(command, inbox, [SECRET]) as receiver:
        async with hook(receiver, SECRET) as sink:
            assert (await attempts(sink, one))[0].outcome == "delivered"
        async with hook(receiver, SECRET, NEXT) as sink:
            assert (await attempts(sink, two))[0].outcome == "delivered"
    with ExampleReceiver(command, inbox, [NEXT]) as receiver:
        async with hook(receiver, SECRET, NEXT) as sink:
            assert (await attempts(sink, three))[0].outcome == "delivered"
        async with hook(receiver, NEXT) as sink:
            assert (await attempts(sink, four))[0].outcome == "delivered"
        async with hook(receiver, SECRET) as sink:
            (late,) = await attempts(sink, one)
        assert (late.outcome, late.reason) == ("dead", "refused")
        assert "401" in late.error
        assert set(receiver.noted()) == {event.id for event in EVENTS[:4]}


async def test_a_stranger_is_refused(command: list[str], tmp_path: Path) -> None:
    with ExampleReceiver(command, tmp_path / "inbox", [SECRET, PUBLIC]) as receiver:
        async with hook(receiver, STRANGER) as sink:
            said = await attempts(sink, EVENTS[:3])
        assert {(answered.outcome, answered.reason) for answered in said} == {("dead", "refused")}
        assert receiver.noted() == {}


async def test_what_cannot_be_noted_comes_later(command: list[str], tmp_path: Path) -> None:
    with ExampleReceiver(command, tmp_path / "inbox", [SECRET]) as receiver:
        receiver.folder.rmdir()
        async with hook(receiver, SECRET) as sink:
            (said,) = await attempts(sink, EVENTS[:1])
            assert (said.outcome, said.reason) == ("later", "server_error")
            receiver.folder.mkdir()
            (said,) = await attempts(sink, EVENTS[:1], 2)
        assert said.outcome == "delivered"
        assert set(receiver.noted()) == {EVENTS[0].id}
