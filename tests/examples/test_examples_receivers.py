"""The example receivers as real processes: what is signed is noted once, what is not is refused."""

import http.client
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from example_receiver import ExampleReceiver
from golden_events import golden_events

from poller.event import CONTENT_TYPE
from poller.signing import ID, SIGNATURE, TIMESTAMP, ed25519_texts, hmac_text, read_signing_key, sign

SECRET, OLD, STRANGER = (hmac_text(bytes(range(start, start + 32))) for start in (0, 40, 80))
PRIVATE, PUBLIC = ed25519_texts(bytes(range(32)))
FOREIGN, _ = ed25519_texts(bytes(range(1, 33)))
BODY = '{"type": "telephony.call.new", "data": {"to": {"name": "Żółw"}}}'.encode()
EVENTS = {one.event.id: one.event.body for one in golden_events()}


@pytest.fixture
def receiver(command: list[str], tmp_path: Path) -> Iterator[ExampleReceiver]:
    with ExampleReceiver(command, tmp_path / "inbox", [OLD, SECRET, PUBLIC]) as running:
        yield running


def signed(event_id: str, body: bytes, *keys: str, at: float = 0) -> dict[str, str]:
    """The headers of a call. `at`: seconds from now."""
    read = [read_signing_key(key) for key in keys or [SECRET]]
    return sign(read, event_id, int(time.time() + at), body) | {"content-type": CONTENT_TYPE}


def test_every_event_is_noted_once(receiver: ExampleReceiver) -> None:
    """The bytes as they were sent; by a `v1` signature and by `v1a`, and again by the other one."""
    assert len(EVENTS) > 20
    for keys in ([SECRET], [PRIVATE], [STRANGER, FOREIGN, PRIVATE, SECRET]):
        for event_id, body in EVENTS.items():
            assert receiver.post(signed(event_id, body, *keys), body) == 204
        assert receiver.noted() == EVENTS


@pytest.mark.parametrize("key", [OLD, SECRET, PRIVATE], ids=["old", "new", "ed25519"])
def test_any_of_its_keys_will_do(receiver: ExampleReceiver, key: str) -> None:
    assert receiver.post(signed("evt-1", BODY, STRANGER, key), BODY) == 204
    assert receiver.post(signed("evt-2", BODY, key, FOREIGN, at=-240), BODY) == 204
    assert receiver.post(signed("evt-3", BODY, key, at=240), BODY) == 204
    assert set(receiver.noted()) == {"evt-1", "evt-2", "evt-3"}


@pytest.mark.parametrize("key", [SECRET, PRIVATE], ids=["v1", "v1a"])
def test_what_is_not_signed_is_refused(receiver: ExampleReceiver, key: str) -> None:
    good = signed("evt-1", BODY, key)
    version, _, text = good[SIGNATURE].partition(",")
    wrong = [
        (good, BODY + b"\n"),
        (good, BODY.replace(b"new", b"neu")),
        (good | {ID: "evt-2"}, BODY),
        (good | {TIMESTAMP: str(int(good[TIMESTAMP]) + 1)}, BODY),
        (good | {TIMESTAMP: "soon"}, BODY),
        (good | {TIMESTAMP: "9" * 400}, BODY),
        (good | {SIGNATURE: text}, BODY),
        (good | {SIGNATURE: f"{version},"}, BODY),
        (good | {SIGNATURE: f"{version},{text[:-8]}"}, BODY),
        (good | {SIGNATURE: f"{'v1a' if version == 'v1' else 'v1'},{text}"}, BODY),
        (signed("evt-1", BODY, STRANGER, FOREIGN), BODY),
        (signed("evt-1", BODY, key, at=-600), BODY),
        (signed("evt-1", BODY, key, at=600), BODY),
        *(({name: value for name, value in good.items() if name != left}, BODY) for left in (ID, TIMESTAMP, SIGNATURE)),
        (good, b"\xff\xfe"),
        (good, b""),
    ]
    for headers, body in wrong:
        assert receiver.post(headers, body) == 401, (headers, body)
    assert receiver.noted() == {}
    assert receiver.post(good, BODY) == 204


def test_an_id_that_comes_many_times_at_once_is_noted_once(receiver: ExampleReceiver) -> None:
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(receiver.post, signed(f"evt-{number % 4}", BODY), BODY) for number in range(48)]
        assert {call.result() for call in calls} == {204}
    assert receiver.noted() == {f"evt-{number}": BODY for number in range(4)}
    assert [path.name for path in receiver.folder.iterdir() if path.suffix == ".part"] == []


def test_what_was_answered_is_on_disk(command: list[str], tmp_path: Path) -> None:
    """Killed right after each answer: the note is there, and the same id counts once in the next life too."""
    for number in range(3):
        with ExampleReceiver(command, tmp_path / "inbox", [SECRET]) as running:
            for known in range(number + 1):
                assert running.post(signed(f"evt-{known}", BODY), BODY) == 204
        assert running.noted() == {f"evt-{known}": BODY for known in range(number + 1)}


def test_what_cannot_be_noted_is_asked_for_again(receiver: ExampleReceiver) -> None:
    shutil.rmtree(receiver.folder)
    assert receiver.post(signed("evt-1", BODY), BODY) == 503
    receiver.folder.mkdir()
    assert receiver.post(signed("evt-1", BODY), BODY) == 204
    assert receiver.noted() == {"evt-1": BODY}


def test_a_body_that_is_too_large_is_not_read(receiver: ExampleReceiver) -> None:
    """Only the headers are sent: whoever waits for the body does not answer."""
    connection = http.client.HTTPConnection(urlsplit(receiver.url).netloc, timeout=60)
    try:
        connection.putrequest("POST", "/")
        connection.putheader("content-length", str(2 << 20))
        connection.endheaders()
        assert connection.getresponse().status == 413
    finally:
        connection.close()


@pytest.mark.parametrize("keys", [["whsec_"], ["whpk_AAAA"], [SECRET, PRIVATE]], ids=["empty", "short", "private"])
def test_a_wrong_key_ends_the_start(command: list[str], tmp_path: Path, keys: list[str]) -> None:
    with pytest.raises(RuntimeError, match="did not start"), ExampleReceiver(command, tmp_path / "inbox", keys):
        pass
