"""`mask_numbers`: no telephone number leaves in full, and what identifies stays."""

import json
import re
from typing import Any

import pytest
from golden_events import golden_events
from hypothesis import assume, given
from hypothesis import strategies as st

from poller.masking import Numbers, masked
from poller.outgoing import Outgoing

GOLDEN = golden_events()
BY_ENDPOINT: dict[str, list[dict[str, Any]]] = {one.endpoint: [] for one in GOLDEN}
for _one in GOLDEN:
    BY_ENDPOINT[_one.endpoint].append(json.loads(_one.event.body))
IDS = ("uniqueid", "connection_id", "call_id", "cdr_id", "interaction_id")
NAMES = ("recording_id", "filename", "media_url", "agent", "queue")
SEND = Outgoing(vendor=False, mask_numbers=True)


def sent(event: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(SEND.body(json.dumps(event).encode()))
    return found


def texts(value: Any) -> list[str]:
    """All texts of an event that could show a number."""
    if isinstance(value, dict):
        left = {
            "id",
            "source",
            "type",
            "time",
            "recordedtime",
            "sequence",
            "started_at",
            "created_at",
            "ended_at",
            "cost",
        }
        return [text for name, inner in value.items() if name not in left for text in texts(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in texts(inner)]
    return [value] if isinstance(value, str) else []


def shows(number: str, text: str) -> bool:
    """Whether it stands in a text, in any spelling."""
    apart = r"(?:%[0-9A-F]{2}|[^\w%]|_){0,3}"
    return re.search(rf"(?<![\d%]){apart.join(number)}(?!\d)", text) is not None  # behind %: an escape, %20 00


@st.composite
def spelled(draw: st.DrawFn, digits: str) -> str:
    """A number as phone systems write it: with a prefix, in groups, as an address."""
    sizes = draw(st.lists(st.integers(2, 4), max_size=5))
    apart = draw(st.sampled_from(["", " ", "-", ".", "%20"]))
    groups, rest = [], digits
    for size in sizes:
        if len(rest) > size:
            groups.append(rest[:size])
            rest = rest[size:]
    number = apart.join([*groups, rest])
    return draw(st.sampled_from(["{}", "+{}", "00{}", "sip:{}@pbx.example", "sip:+{};user=phone", "Jan <{}>"])).format(
        number
    )


@st.composite
def cases(draw: st.DrawFn, endpoint: str) -> tuple[str, dict[str, Any]]:
    """An event of a vendor into whose parties and names a number was written, each time in another spelling."""
    digits = draw(st.text("0123456789", min_size=4, max_size=15))
    event = json.loads(json.dumps(draw(st.sampled_from(BY_ENDPOINT[endpoint]))))
    assume(
        not any(
            digits in re.sub(r"\D", "", text) for text in texts({**event, "data": {**event["data"], "vendor": None}})
        )
    )
    data = event["data"]
    side = data[draw(st.sampled_from(["from", "to"]))]
    was = side["number"]
    side["number"] = draw(spelled(digits))
    written = draw(spelled(digits)) if len(digits) >= 7 else digits

    def into(text: str) -> str:
        """In the place of the number that was there, else before the file's ending."""
        return (
            text.replace(was, written) if was and was in text else re.sub(r"([^/|]*)$", rf"{written}-\1", text, count=1)
        )

    for name in NAMES:
        if isinstance(data.get(name), str) and not data[name].isdigit():
            data[name] = into(data[name])
    data["recordings"] = [
        {name: text and into(text) for name, text in one.items()} for one in data.get("recordings", [])
    ]
    for name in ("subject", "partitionkey", "dataref"):
        text = event.get(name)
        if text and text not in [data.get(each) for each in IDS] and not text.isdigit():
            event[name] = into(text)
    return digits, event


@pytest.mark.parametrize("endpoint", sorted(BY_ENDPOINT))
@given(st.data())
def test_no_number_of_the_call_leaves(endpoint: str, data: st.DataObject) -> None:
    digits, event = data.draw(cases(endpoint))
    found = sent(event)
    assert [text for text in texts(found) if shows(digits, text)] == []
    assert any("*" in text for text in texts(found))
    for name in IDS:
        assert found["data"].get(name) == event["data"].get(name)
    assert {name: found[name] for name in ("id", "source", "type", "sequence")} == {
        name: event[name] for name in ("id", "source", "type", "sequence")
    }


@given(st.text("123456789", min_size=7, max_size=15), st.sampled_from(["", "+", "00"]))
def test_nor_does_a_stranger_s(digits: str, prefix: str) -> None:
    """Numbers that no party shows, in a name or an address. Two that look like dates are not tried."""
    assume(not digits.startswith(("19", "20")))
    for form in ("q/2026-01-31_10.00.00-{}-1769850000.7.ogg", "https://h/?f=a%20{}.ogg", "sip:{}@h", "{}.wav", "tel{}"):
        text = Numbers([]).text(form.format(prefix + digits))
        assert digits not in text
        assert digits[-3:] in text


@pytest.mark.parametrize(
    "text",
    [
        "1795344280.401010",
        "infolinia/2024-10-27/2024-10-27_02.31.07-abc-1729989067.88.ogg",
        "sprzedaz/20140707/20140707093545.wav",
        "20140707-093545.wav",
        "202402-0f9d7c33aa11bb22cc33dd44ee55ff66",
        "b16902aaa6225a26a0bb80735c879757.mp3",
        "12345678-1234-4123-8123-123456789012",
        "2024-03-31T09:14:02|Local/104@mor_local-00000008|104 Store",
        "https://pbx.example:9443/api/v2/reports/recordings/202205-04f57a0d0267ab6904d17984847c743d",
        "https://10.100.200.100:80801/x",
    ],
)
def test_what_is_no_number_stays(text: str) -> None:
    assert Numbers(["+48 501 000 111", "1018"]).text(text) == text


def test_numbers_stay_what_they_are_where_the_vendor_counts() -> None:
    (event,) = [one for one in BY_ENDPOINT["mor.recordings"] if one["subject"] == "9109"][:1]
    event = json.loads(json.dumps(event))
    event["subject"] = event["data"]["recording_id"] = "12345678"
    event["partitionkey"] = event["data"]["uniqueid"] = "1795344280.401010"
    found = sent(event)
    assert (found["subject"], found["data"]["recording_id"]) == ("12345678", "12345678")
    assert (found["partitionkey"], found["data"]["uniqueid"]) == ("1795344280.401010", "1795344280.401010")


def test_a_call_and_its_recordings_fit_together() -> None:
    call = next(one for one in BY_ENDPOINT["thulium.connections"] if one["data"].get("recordings"))
    (mention,) = [
        one
        for one in BY_ENDPOINT["thulium.connections"]
        if one["subject"] == call["data"]["recordings"][0]["recording_id"]
    ][:1]
    shown, recording = sent(call), sent(mention)
    ref = shown["data"]["recordings"][0]
    assert ref["recording_id"] == ref["filename"] == recording["subject"] == recording["data"]["recording_id"]
    assert ref["recording_id"] != call["data"]["recordings"][0]["recording_id"]
    assert shown["partitionkey"] == recording["partitionkey"] == call["partitionkey"]
    assert (shown["id"], recording["id"]) == (call["id"], mention["id"])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("+48 (22) 123-45-67", "+** (**) ***-*5-67"),
        ("0048501000111", "**********111"),
        ("sip:+48501000111@pbx", "sip:+********111@pbx"),
        ("1018", "*018"),
        ("196", "196"),
        ("", ""),
        ("+48 22 123", "+** ** 123"),
        ("Jan 600-100-200 x", "Jan ***-***-200 x"),
        ("Jan 600100200", "Jan ******200"),
    ],
)
def test_the_fields_of_a_party(text: str, shown: str) -> None:
    assert masked(text) == shown


def test_the_number_in_an_id_that_holds_more() -> None:
    numbers = Numbers(["501000111", "1018"])
    assert numbers.identity("48501000111-7f@203.0.113.5") == "48******111-7f@203.0.113.5"
    assert numbers.identity("1018a@203.0.113.5") == "1018a@203.0.113.5"


def test_subject_and_key_beside_the_body() -> None:
    one = next(one for one in GOLDEN if one.endpoint == "thulium.recordings")
    event = SEND.event(one.event)
    body = json.loads(event.body)
    assert (event.subject, event.key) == (body["subject"], body["partitionkey"])
    assert event.subject != one.event.subject
    assert event.id == one.event.id


@pytest.mark.parametrize("mask_numbers", [False, True])
def test_prices_go_with_the_raw_record(mask_numbers: bool) -> None:
    one = next(one for one in GOLDEN if json.loads(one.event.body)["data"].get("cost"))
    amount = json.loads(one.event.body)["data"]["cost"]["amount"]
    omitted = json.loads(Outgoing(vendor=False, mask_numbers=mask_numbers).body(one.event.body))["data"]
    included = json.loads(Outgoing(vendor=True, mask_numbers=mask_numbers).body(one.event.body))["data"]
    assert "vendor" not in omitted
    assert omitted["cost"] is None
    assert included["cost"]["amount"] == amount


def test_a_long_text_of_groups_that_are_no_number_takes_no_time() -> None:
    text = "1234 " * 200_000 + "1"  # took hours when each group was looked at anew
    assert Numbers(["48601234567"]).text(text) == text
