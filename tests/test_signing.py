"""Standard Webhooks signatures: published vectors, what the libraries refuse, and what no changed byte gets past."""

import hashlib
import hmac
import time
from base64 import b64decode, b64encode
from datetime import UTC, datetime

import pytest
import standardwebhooks
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import example, given
from hypothesis import strategies as st

from poller.signing import (
    ID,
    SIGNATURE,
    TIMESTAMP,
    Failure,
    HmacKey,
    PrivateKey,
    PublicKey,
    SigningKey,
    ed25519_texts,
    hmac_text,
    read_key,
    read_signing_key,
    sign,
    verify,
)

WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WHSK = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
WHPK = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
MESSAGE, AT, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}'
V1 = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
V1A = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
VECTORS = {
    "v1": (WHSEC, WHSEC, MESSAGE, AT, BODY, V1),
    "v1 of the Rust library": (
        OTHER,
        OTHER,
        "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
        1_649_367_553,
        b'{"email":"test@example.com","username":"test_user"}',
        "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
    ),
    "v1a": (WHSK, WHPK, MESSAGE, AT, BODY, V1A),
}
"""Signing key, verifying key, id, timestamp, body, signature: as the reference libraries and the Svix server publish them."""

HMACS = st.builds(HmacKey, st.binary(min_size=24, max_size=64))
PRIVATES = st.builds(lambda seed: read_signing_key(ed25519_texts(seed)[0]), st.binary(min_size=32, max_size=32))
KEYS: st.SearchStrategy[SigningKey] = HMACS | PRIVATES
IDS = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="."), min_size=1, max_size=40)


# --- published vectors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VECTORS)
def test_vectors(name: str) -> None:
    signer, verifier, event_id, at, body, signature = VECTORS[name]
    headers = sign([read_signing_key(signer)], event_id, at, body)
    assert headers == {ID: event_id, TIMESTAMP: str(at), SIGNATURE: signature}
    assert verify([read_key(verifier)], headers, body, now=at)
    assert verify([read_key(signer)], headers, body, now=at)


def test_the_public_half_of_the_vector() -> None:
    key = read_signing_key(WHSK)
    assert isinstance(key, PrivateKey)
    assert key.public.raw == b64decode(WHPK.removeprefix("whpk_"))


def test_both_kinds_in_one_header() -> None:
    headers = sign([read_signing_key(WHSEC), read_signing_key(WHSK)], MESSAGE, AT, BODY)
    assert headers[SIGNATURE] == f"{V1} {V1A}"


# --- what is refused -------------------------------------------------------------------------------------------------


def judged(changes: dict[str, str | None], now: float = AT, keys: tuple[str, ...] = (WHSEC,)) -> Failure | None:
    """Which check fails when these headers replace or, with None, remove those of the vector."""
    headers = {ID: MESSAGE, TIMESTAMP: str(AT), SIGNATURE: V1, **changes}
    given_headers = {name: value for name, value in headers.items() if value is not None}
    verdict = verify([read_key(key) for key in keys], given_headers, BODY, now=now)
    assert bool(verdict) is (verdict.failed is None)
    return verdict.failed


WRONG = f"v1,{b64encode(bytes(32)).decode()}"


@pytest.mark.parametrize("name", [ID, TIMESTAMP, SIGNATURE])
def test_a_missing_header(name: str) -> None:
    assert judged({name: None}) == judged({name: ""}) == "header_missing"


@pytest.mark.parametrize(
    "text",
    ["hello", "1614265330.0", " 1614265330", "+1614265330", "1e9", "-1", "1614265330\n", "\uff11", "9" * 16, "nan"],
)
def test_a_timestamp_that_is_no_number(text: str) -> None:
    assert judged({TIMESTAMP: text}) == "timestamp_invalid"


@pytest.mark.parametrize("text", ["msg.p5jXN8", "msg p5jXN8", "msg\n", "żółw", "\x7f"])
def test_an_id_that_cannot_be_one(text: str) -> None:
    assert judged({ID: text}) == "id_invalid"


@pytest.mark.parametrize(
    ("now", "failed"),
    [
        (AT + 300, None),
        (AT - 300, None),
        (AT + 300.5, "too_old"),
        (AT - 300.5, "too_new"),
        (AT + 10**9, "too_old"),
        (0, "too_new"),
    ],
)
def test_five_minutes_either_way(now: float, failed: Failure | None) -> None:
    assert judged({}, now=now) == failed


@pytest.mark.parametrize(
    ("header", "failed"),
    [
        (WRONG, "signature_wrong"),
        (V1[:-1], "signature_wrong"),
        (V1[:-9], "signature_wrong"),
        ("v1,", "signature_wrong"),
        ("v1,ż", "signature_wrong"),
        ("v1,,", "signature_wrong"),
        (V1.replace("g0hM", "g0hN"), "signature_wrong"),
        (V1.replace("OE=", "OF="), "signature_wrong"),  # the same bytes once decoded: only spare bits differ
        (V1.replace("v1,", "v2,"), "no_known_version"),
        (V1.replace("v1,", "v1a,"), "no_known_version"),
        (V1.replace("v1,", "V1,"), "no_known_version"),
        (V1.replace(",", ""), "no_known_version"),
        (",", "no_known_version"),
        ("v1", "no_known_version"),
        (" ", "no_known_version"),
        (f"{WRONG} v2,xyz {V1} v1,oldone", None),
        (f"noise  a,b,c {V1} ", None),
        (f"{V1A} {V1}", None),
    ],
)
def test_signatures_as_they_come(header: str, failed: Failure | None) -> None:
    assert judged({SIGNATURE: header}) == failed


@pytest.mark.parametrize(
    "header", ["v1a,", "v1a,AAAA", V1A[:-4], V1A.replace("hnO3", "hnO4"), V1.replace("v1,", "v1a,")]
)
def test_ed25519_signatures_as_they_come(header: str) -> None:
    assert judged({SIGNATURE: header}, keys=(WHPK,)) == "signature_wrong"


def test_a_key_of_the_other_kind_is_said() -> None:
    headers = {ID: MESSAGE, TIMESTAMP: str(AT), SIGNATURE: V1A}
    verdict = verify([read_key(WHSEC)], headers, BODY, now=AT)
    assert verdict.message == "webhook-signature has signatures of version v1a; the keys given are for v1"


def test_versions_that_nobody_knows_are_said() -> None:
    headers = {ID: MESSAGE, TIMESTAMP: str(AT), SIGNATURE: "v2,abc"}
    verdict = verify([read_key(WHSEC)], headers, BODY, now=AT)
    assert verdict.message == "webhook-signature has no signature of version v1 or v1a"


def test_a_signature_under_the_other_version_is_none() -> None:
    for header in (V1.replace("v1,", "v1a,"), V1A.replace("v1a,", "v1,")):
        assert judged({SIGNATURE: header}, keys=(WHSEC, WHPK)) == "signature_wrong"


def test_an_hmac_never_counts_as_an_ed25519_signature() -> None:
    """Nobody makes a v1 signature out of the public key, which everybody knows."""
    raw = b64decode(WHPK.removeprefix("whpk_"))
    forged = hmac.digest(raw, b"%b.%d.%b" % (MESSAGE.encode(), AT, BODY), hashlib.sha256)
    assert judged({SIGNATURE: f"v1,{b64encode(forged).decode()}"}, keys=(WHPK,)) == "no_known_version"
    assert judged({SIGNATURE: f"v1a,{b64encode(forged).decode()}"}, keys=(WHPK,)) == "signature_wrong"


def test_bytes_cannot_move_between_id_timestamp_and_body() -> None:
    """One signature, two readings: id `a` with body `2.rest`, or id `a.1` at second 2 with body `rest`."""
    key = read_signing_key(WHSEC)
    headers = sign([key], "a", AT, b"%d.rest" % AT)
    moved = headers | {ID: f"a.{AT}"}
    assert verify([key], headers, b"%d.rest" % AT, now=AT)
    assert verify([key], moved, b"rest", now=AT).failed == "id_invalid"


def test_names_of_headers_in_any_case() -> None:
    headers = {name.title(): value for name, value in sign([read_signing_key(WHSEC)], MESSAGE, AT, BODY).items()}
    assert verify([read_key(WHSEC)], headers, BODY, now=AT)


@pytest.mark.parametrize("event_id", ["", "a.b", "a b", "a\n", "ł"])
def test_an_id_that_is_not_signed(event_id: str) -> None:
    with pytest.raises(ValueError, match="cannot be a webhook-id"):
        sign([read_signing_key(WHSEC)], event_id, AT, BODY)


def test_a_timestamp_that_is_not_signed() -> None:
    with pytest.raises(ValueError, match="cannot be a webhook-timestamp"):
        sign([read_signing_key(WHSEC)], MESSAGE, -1, BODY)


def test_without_keys() -> None:
    with pytest.raises(ValueError, match="at least one key"):
        sign([], MESSAGE, AT, BODY)
    with pytest.raises(ValueError, match="at least one key"):
        verify([], {}, BODY, now=AT)


# --- properties ------------------------------------------------------------------------------------------------------


@given(st.lists(KEYS, min_size=1, max_size=4), IDS, st.integers(0, 10**12), st.binary(max_size=200))
def test_every_key_of_a_rotation_verifies(keys: list[SigningKey], event_id: str, at: int, body: bytes) -> None:
    headers = sign(keys, event_id, at, body)
    entries = headers[SIGNATURE].split(" ")
    assert [entry.partition(",")[0] for entry in entries] == [key.version for key in keys]
    assert all(entries)
    for key in keys:
        assert verify([key], headers, body, now=at).key == 0
        if isinstance(key, PrivateKey):
            assert verify([key.public], headers, body, now=at)


@given(HMACS | PRIVATES, KEYS, IDS, st.binary(max_size=50))
def test_a_stranger_does_not_verify(key: SigningKey, stranger: SigningKey, event_id: str, body: bytes) -> None:
    headers = sign([key], event_id, AT, body)
    if sign([stranger], event_id, AT, body) != headers:
        assert not verify([stranger], headers, body, now=AT)
        assert verify([stranger, key], headers, body, now=AT).key == 1


@given(KEYS, st.sampled_from([ID, TIMESTAMP, SIGNATURE, "body"]), st.integers(0), st.integers(1, 255))
@example(read_signing_key(WHSEC), SIGNATURE, len(V1) - 2, ord("E") ^ ord("F"))
def test_any_changed_byte_fails(key: SigningKey, where: str, place: int, flip: int) -> None:
    headers, body = sign([key], MESSAGE, AT, BODY), BODY
    assert verify([key], headers, body, now=AT, tolerance=float("inf"))
    if where == "body":
        body = flipped(body, place, flip)
    else:
        headers[where] = flipped(headers[where].encode(), place, flip).decode("latin-1")
    assert not verify([key], headers, body, now=AT, tolerance=float("inf"))


def flipped(data: bytes, place: int, flip: int) -> bytes:
    """With one byte changed."""
    place %= len(data)
    return data[:place] + bytes([data[place] ^ flip]) + data[place + 1 :]


@given(KEYS, st.integers(0), st.binary(min_size=1, max_size=3))
def test_any_byte_more_or_less_fails(key: SigningKey, place: int, more: bytes) -> None:
    headers = sign([key], MESSAGE, AT, BODY)
    place %= len(BODY)
    assert not verify([key], headers, BODY[:place] + BODY[place + 1 :], now=AT)
    assert not verify([key], headers, BODY[:place] + more + BODY[place:], now=AT)


@given(st.dictionaries(st.sampled_from([ID, TIMESTAMP, SIGNATURE]), st.text()), st.binary(max_size=20))
def test_no_header_crashes_it(headers: dict[str, str], body: bytes) -> None:
    assert not verify([read_key(WHSEC), read_key(WHPK)], headers, body, now=AT)
    assert not verify([read_key(WHSEC), read_key(WHPK)], {ID: "x", TIMESTAMP: str(AT)} | headers, body, now=AT)


# --- others verify what we sign --------------------------------------------------------------------------------------


@given(
    st.binary(min_size=24, max_size=64),
    st.lists(KEYS, max_size=2),
    IDS,
    st.text(st.characters(exclude_categories=["Cs"]), max_size=80),
)
def test_the_published_library_verifies_ours(secret: bytes, before: list[SigningKey], event_id: str, text: str) -> None:
    headers = sign([*before, HmacKey(secret)], event_id, int(time.time()), text.encode())
    webhook = standardwebhooks.Webhook(hmac_text(secret))
    webhook.verify(text.encode(), headers, json_parse=False)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        webhook.verify(text.encode() + b"!", headers, json_parse=False)


@given(st.binary(min_size=24, max_size=64), st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
def test_we_verify_the_published_librarys(secret: bytes, text: str) -> None:
    signature = standardwebhooks.Webhook(secret).sign("msg_1", datetime.fromtimestamp(AT, UTC), text)
    headers = {ID: "msg_1", TIMESTAMP: str(AT), SIGNATURE: signature}
    assert verify([HmacKey(secret)], headers, text.encode(), now=AT)


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=80))
def test_a_bare_ed25519_verifies_ours(seed: bytes, body: bytes) -> None:
    private, public = ed25519_texts(seed)
    headers = sign([read_signing_key(private)], MESSAGE, AT, body)
    signature = b64decode(headers[SIGNATURE].removeprefix("v1a,"))
    key = Ed25519PublicKey.from_public_bytes(b64decode(public.removeprefix("whpk_")))
    key.verify(signature, b"%b.%d.%b" % (MESSAGE.encode(), AT, body))


# --- keys as text ----------------------------------------------------------------------------------------------------


@given(st.binary(min_size=24, max_size=64), st.binary(min_size=32, max_size=32))
def test_made_keys_are_read(secret: bytes, seed: bytes) -> None:
    private, public = ed25519_texts(seed)
    kinds = [type(read_key(text)) for text in (hmac_text(secret), private, public)]
    assert kinds == [HmacKey, PrivateKey, PublicKey]
    assert len(b64decode(private.removeprefix("whsk_"))) == 64


def test_padding_and_white_space_may_differ() -> None:
    padded = hmac_text(bytes(32))
    assert padded.endswith("=")
    body = sign([read_signing_key(padded)], "a", AT, b"")
    assert sign([read_signing_key(f" {padded.rstrip('=')}\n")], "a", AT, b"") == body


def encoded(raw: bytes) -> str:
    return b64encode(raw).decode()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "begins with whsec_"),
        (f"{WHSK}\n{WHPK}", "more than one line"),
        ("whsec", "this one 0"),
        ("whsec_", "this one 0"),
        (WHSEC.removeprefix("whsec_"), "begins with whsec_"),
        (WHSEC.upper(), "begins with whsec_"),
        (f"whsec_{encoded(bytes(23))}", "24 to 64 bytes, this one 23"),
        (f"whsec_{encoded(bytes(65))}", "24 to 64 bytes, this one 65"),
        ("whsec_-_KQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "standard alphabet"),
        ("whsec_MfKQ9r8GKYqrTwjU PD8ILPZIo2LaLaSw", "standard alphabet"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwA", "cut off"),
        ("whsec_żółw", "standard alphabet"),
        (WHSK[:-2] + "AA", "this one 6"),
        (f"whsk_{encoded(bytes(32))}", "64 bytes (seed and public key), this one 32"),
        (f"whsk_{encoded(bytes(64))}", "do not belong together"),
        (f"whpk_{encoded(bytes(31))}", "32 bytes, this one 31"),
    ],
)
def test_keys_that_are_none(text: str, sentence: str) -> None:
    with pytest.raises(ValueError) as failed:
        read_key(text)
    assert sentence in str(failed.value)
    assert failed.value.__cause__ is None
    _, _, secret = text.partition("_")
    assert not secret or secret not in str(failed.value)


def test_a_public_key_does_not_sign() -> None:
    with pytest.raises(ValueError, match="only verifies"):
        read_signing_key(WHPK)


def test_the_wrong_number_of_random_bytes() -> None:
    with pytest.raises(ValueError, match="this one 16"):
        hmac_text(bytes(16))
    with pytest.raises(ValueError, match="32 bytes"):
        ed25519_texts(bytes(16))


@given(st.binary(min_size=32, max_size=32))
@example(b64decode(WHSK.removeprefix("whsk_"))[:32])
def test_no_key_shows_its_secret(seed: bytes) -> None:
    private, public = ed25519_texts(seed)
    keys = [read_key(hmac_text(seed)), read_key(private)]
    shown = f"{keys!r} {keys!s} {[vars(type(key)) for key in keys]!r}"
    for spelling in (encoded(seed), private[5:40], seed.hex(), repr(seed), hmac_text(seed)):
        assert spelling not in shown
    assert public in repr(keys[1])


@pytest.mark.parametrize("text", [WHSEC, WHSK])
def test_a_key_has_no_attributes_that_a_dump_would_walk(text: str) -> None:
    assert not hasattr(read_key(text), "__dict__")


def test_a_verdict_is_true_only_where_it_is_valid() -> None:
    headers = sign([read_signing_key(WHSEC)], MESSAGE, AT, BODY)
    valid = verify([read_key(OTHER), read_key(WHSEC)], headers, BODY, now=AT)
    assert (bool(valid), valid.key, valid.message) == (True, 1, "valid: a v1 signature by key 2 of 2")
    assert not verify([read_key(OTHER)], headers, BODY, now=AT)
