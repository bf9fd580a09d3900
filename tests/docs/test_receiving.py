"""docs/receiving.md: its example is a call that the sink makes, and its tables say what the sink does."""

import re

import msgspec
import pytest
from docs_pages import ROOT, blocks, text_of
from golden_events import golden_events

from poller.contract.webhooks import headers
from poller.each import Attempt
from poller.model import Event
from poller.received import headers_of
from poller.redact import Redactor
from poller.signing import hmac_text, read_key, verify
from poller.sinks.webhook import Config
from poller.sinks.webhook.config import SCHEDULE
from poller.sinks.webhook.formats import Format
from poller.sinks.webhook.verdict import Reply, judge

PAGE = text_of(ROOT / "docs/receiving.md")
KEY = hmac_text(b"an example, so not a secret key!")
AT = 1_769_853_605.0
SHOWN = ("host", "content-type", "content-length", "webhook-", "poller-")


def example_event() -> Event:
    """Under a number of its own: its place among the others changes."""
    event = next(one.event for one in golden_events() if one.page.name == "cdrs--live_form.json")
    body = re.sub(rb'"sequence":"[0-9]+"', b'"sequence":"00000000000000006232"', event.body)
    return msgspec.structs.replace(event, body=body)


def example() -> str:
    """The call of one event, as it goes over the wire but for headers that every HTTP client sends."""
    values = {"kind": "webhook", "url": "https://crm.example/hooks/calls", "secrets": [{"env": "KEY"}]}
    config = Config.model_validate(values, context={"env": {"KEY": KEY}})
    call = Format(config, config.keys()).call(example_event(), Attempt(number=2, at=AT, first=AT - 5))
    lines = [f"{name.decode()}: {value.decode()}" for name, value in call.headers if name.decode().startswith(SHOWN)]
    return "\n".join(["POST /hooks/calls HTTP/1.1", *lines, "", call.body.decode()]) + "\n"


def test_the_example_is_what_the_sink_sends() -> None:
    (shown,) = [block.text for block in blocks("http") if block.page == "receiving.md"]
    assert shown == example(), f"the example is now:\n{example()}"


def test_the_example_verifies_with_the_key_of_the_page() -> None:
    (shown,) = [block.text for block in blocks("http") if block.page == "receiving.md"]
    head, _, body = shown.rstrip("\n").partition("\n\n")
    found = headers_of(head.encode())
    (key,) = set(re.findall(r"`(whsec_\S+)`", PAGE))
    assert verify([read_key(key)], found, body.encode(), now=AT + 1)
    assert not verify([read_key(key)], found, body.encode() + b" ", now=AT + 1)


def test_every_header_is_in_the_table() -> None:
    table = PAGE.partition("| header | content |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == set(
        headers("call", "cloudevents")["properties"]
    )


# --- answers ---------------------------------------------------------------------------------------------------------


def rows(head: str) -> list[list[str]]:
    table = PAGE.partition(head)[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def said_of(outcome: str, reason: str, *, disable: bool) -> str:
    """The table's words for what becomes of the event."""
    if outcome == "dead":
        return f"dead letter, `{reason}`"
    return {"delivered": "delivered", "later": "is kept" if disable else "is tried again"}[outcome]


STATUSES = [
    (status, " with `Retry-After`" in part, event, webhook)
    for answer, event, webhook in rows("| answer | the event | the webhook |")
    for part in answer.split(";")
    for status in ([200, 204] if "2xx" in part else map(int, re.findall(r"\b[3-5]\d\d\b", part)))
]


def test_the_table_has_rows() -> None:
    assert {200, 204, 302, 410, 413, 415, 429, 500, 502, 503, 504, 401, 404} <= {row[0] for row in STATUSES}


@pytest.mark.parametrize(("status", "waits", "event", "webhook"), STATUSES)
def test_each_answer_causes_what_the_table_says(status: int, waits: bool, event: str, webhook: str) -> None:
    fields = {"retry-after": "7"} if waits else {}
    found = judge(Reply(status, fields, b""), "https://crm.example", now=AT, longest=86_400, redact=Redactor())
    assert said_of(found.outcome, found.reason, disable=found.disable) == event
    assert found.slow_down == webhook.startswith("is slowed down")
    assert found.disable == webhook.startswith("is disabled")
    assert found.at_large == ("events so answered are kept" in webhook)
    assert found.retry_after == (7 if waits else None)


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize(("value", "good", "bad"), rows("| `webhook-delivery` |"))
def test_the_header_causes_what_the_table_says(status: int, value: str, good: str, bad: str) -> None:
    reply = Reply(status, {"webhook-delivery": value.strip("`")}, b"")
    found = judge(reply, "https://crm.example", now=AT, longest=86_400, redact=Redactor())
    said = good if status == 200 else bad
    assert found.disable == ("no more calls" in said)
    words = {"delivered": "delivered", "later": "the event is kept", "dead": f"dead letter, `{found.reason}`"}
    assert said.startswith(words[found.outcome])


def test_the_schedule_is_the_default() -> None:
    (text,) = re.findall(r"is tried at once, then after (.*?), each", PAGE.replace("\n", " "))
    units = {"s": 1, "m": 60, "h": 3600}
    assert tuple(int(number) * units[unit] for number, unit in re.findall(r"(\d+) ([smh])", text)) == SCHEDULE
    config = Config.model_fields
    assert (config["jitter"].default, config["timeout"].default, config["probe"].default) == (0.2, 15.0, 300.0)
    assert config["longest_retry_after"].default == 86_400
