"""What a call holds, read back with the libraries that receivers use."""

import base64
import json
from datetime import datetime
from typing import Any

import h11
import msgspec
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from delivery_events import call_event
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError
from webhook_case import HMAC, PRIVATE, PUBLIC, attempt, hook, settings
from webhook_receiver import receiver

from poller.each import Attempt
from poller.event import Encoder, instant
from poller.identity import Identity
from poller.model import CallData, Event, Keys, Normal, Party
from poller.signing import hmac_text, read_key, verify
from poller.sinks.webhook.formats import Call, Format

URL = "http://127.0.0.1:1/hook"
AT = 1_800_000_000.5
OTHER = hmac_text(b"another secret of these tests")


def call_of(event: Event, *secrets: str, number: int = 1, **options: Any) -> Call:
    config = settings(URL, *secrets, **options)
    return Format(config, config.keys()).call(event, Attempt(number=number, at=AT, first=AT - 60))


def headers_of(call: Call) -> dict[str, str]:
    found = {name.decode(): value.decode("ascii") for name, value in call.headers}
    assert len(found) == len(call.headers)
    return found


def event_of(call: str, *, agent: str | None = None, time: Any = None, source: str = "fono-1") -> Event:
    data = CallData(call_id=call, agent=agent, from_=Party("+48221234567"), to=Party("196"), started_at=time)
    normal = Normal(data=data, subject=call, time=time, partition_key=call)
    key = Identity(source, "call").seen_key(Keys(call, 20_000, ""))
    return Encoder(source, "call").event(normal, key, new=True, seq=7, recorded=instant(1.7e9))


def data_of(event: Event) -> dict[str, Any]:
    """`data` without the raw record, which webhooks leave out."""
    data: dict[str, Any] = json.loads(event.body)["data"]
    del data["vendor"]
    return data


# --- what each format holds --------------------------------------------------------------------------------------------


def test_structured_is_the_event_as_it_is() -> None:
    event = call_event("c1", 1)
    call = call_of(event, vendor="include")
    assert call.body == event.body
    assert headers_of(call)["content-type"] == "application/cloudevents+json; charset=utf-8"


def test_the_raw_record_is_left_out_unless_asked_for_and_numbers_are_masked_when_asked() -> None:
    event = call_event("c1", 1)
    assert "vendor" not in json.loads(call_of(event).body)["data"]
    for form in ("cloudevents", "cloudevents-binary", "standard"):
        body = call_of(event, format=form, mask_numbers=True).body
        assert b"22 123" not in body
        assert b"+** ** *** *5 67" in body


def test_standard_has_three_keys() -> None:
    event = event_of("c1")
    found = json.loads(call_of(event, format="standard").body)
    assert list(found) == ["type", "timestamp", "data"]
    assert (found["type"], found["timestamp"]) == (event.type, "2023-11-14T22:13:20.000Z")
    assert found["data"] == data_of(event)
    started = msgspec.json.decode(b'"2024-05-01T10:00:00Z"', type=datetime)
    timed = json.loads(call_of(event_of("c1", time=started), format="standard").body)
    assert timed["timestamp"] == "2024-05-01T10:00:00Z"


def test_binary_headers_are_encoded_as_the_binding_says() -> None:
    found = headers_of(call_of(event_of('Euro € 😀 "q" %\r\n'), format="cloudevents-binary"))
    assert found["ce-subject"] == "Euro%20%E2%82%AC%20%F0%9F%98%80%20%22q%22%20%25%0D%0A"
    assert found["content-type"] == "application/json"
    assert "ce-datacontenttype" not in found
    assert "ce-data" not in found


@pytest.mark.parametrize("form", ["cloudevents", "cloudevents-binary"])
@pytest.mark.anyio
async def test_the_sdk_reads_back_what_was_received(form: str) -> None:
    event = call_event("c1", 1)
    async with receiver() as peer:
        sink = hook(peer.url(), format=form)
        await attempt(sink, event)
        await sink.close()
    (got,) = peer.got
    read: Any = from_http_event(HTTPMessage(got.headers, got.body))
    whole = json.loads(event.body)
    del whole["data"]
    assert read.get_data() == data_of(event)
    attributes = dict(read.get_attributes())
    attributes.pop("time")  # the SDK makes one up where there is none
    assert attributes == whole


# --- signatures --------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_public_library_verifies_what_was_received() -> None:
    async with receiver() as peer:
        sink = hook(peer.url(), HMAC, PRIVATE, OTHER)
        await attempt(sink)
        await sink.close()
    (got,) = peer.got
    for key in (HMAC, OTHER):
        assert Webhook(key).verify(got.body, got.headers)["id"] == got.headers["webhook-id"]
    with pytest.raises(WebhookVerificationError):
        Webhook(hmac_text(b"of nobody, of nobody, of nobody")).verify(got.body, got.headers)
    first, second, third = got.headers["webhook-signature"].split(" ")
    assert [each.partition(",")[0] for each in (first, second, third)] == ["v1", "v1a", "v1"]
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(PUBLIC.removeprefix("whpk_")))
    content = f"{got.headers['webhook-id']}.{got.headers['webhook-timestamp']}.".encode() + got.body
    public.verify(base64.b64decode(second.removeprefix("v1a,")), content)
    with pytest.raises(InvalidSignature):
        public.verify(base64.b64decode(second.removeprefix("v1a,")), content + b" ")


def test_signatures_are_one_space_apart_and_the_id_stays() -> None:
    event = call_event("c1", 1)
    one, two = (call_of(event, HMAC, PRIVATE, number=number) for number in (1, 2))
    assert len(headers_of(one)["webhook-signature"].split(" ")) == 2
    assert headers_of(one)["webhook-id"] == headers_of(two)["webhook-id"] == event.id
    assert [headers_of(each)["poller-attempt"] for each in (one, two)] == ["1", "2"]
    assert headers_of(two)["poller-first-attempt"] == "2027-01-15T07:59:00.500Z"
    assert "v1" not in repr(one)


# --- whatever a vendor's ids hold --------------------------------------------------------------------------------------

texts = st.text(st.characters(codec="utf-8"), max_size=60)
forms = st.sampled_from(["cloudevents", "cloudevents-binary", "standard"])


@given(texts.filter(bool), texts, st.text(st.characters(codec="utf-8"), min_size=1, max_size=30), forms, st.booleans())
def test_headers_are_valid_whatever_a_vendor_sends(call: str, agent: str, source: str, form: str, replay: bool) -> None:
    event = msgspec.structs.replace(event_of(call, agent=agent, source=source), replay=replay)
    made = call_of(event, HMAC, PRIVATE, format=form)
    for _, value in made.headers:
        assert all(0x20 <= byte < 0x7F for byte in value)
    sent = h11.Connection(h11.CLIENT).send(h11.Request(method="POST", target="/", headers=made.headers))
    assert sent is not None
    assert sent.count(b"\r\n") == len(made.headers) + 2
    assert verify([read_key(HMAC)], headers_of(made), made.body, now=AT)
    if form != "standard":
        read: Any = from_http_event(HTTPMessage(headers_of(made), made.body))
        assert read.get_data() == data_of(event)
        assert (read.get_subject(), read.get_id()) == (json.loads(event.body).get("subject", call), event.id)


@given(st.data(), forms)
def test_any_changed_byte_fails(data: st.DataObject, form: str) -> None:
    made = call_of(call_event("c1", 1), HMAC, PRIVATE, format=form)
    at = data.draw(st.integers(0, len(made.body) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != made.body[at]))
    changed = made.body[:at] + bytes([byte]) + made.body[at + 1 :]
    for key in (HMAC, PUBLIC):
        assert verify([read_key(key)], headers_of(made), made.body, now=AT)
        assert not verify([read_key(key)], headers_of(made), changed, now=AT)
        moved = headers_of(made) | {"webhook-timestamp": str(int(AT) + 1)}
        assert not verify([read_key(key)], moved, made.body, now=AT)
