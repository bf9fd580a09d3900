"""Encryption, logins and certificates, checked by a real broker."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from delivery_events import call_id, segments
from kafka_secured import SECRETS, TLS, Doors, secured, secured_config

from poller.errors import PollerError, SinkFault, SinkRefused
from poller.segment import end
from poller.simulate.broker import Broker
from poller.sinks.kafka import build
from poller.sinks.kafka.sink import KafkaSink

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.anyio, pytest.mark.timeout(300)]

CA = {"ca_file": str(TLS / "ca.pem")}
CERTIFICATE = {
    "protocol": "SSL",
    "cert_file": str(TLS / "client.pem"),
    "key_file": str(TLS / "client_key.pem"),
    "key_password": {"env": "KEY_PASSWORD"},
    **CA,
}


def login(mechanism: str, **more: Any) -> dict[str, Any]:
    """A login over TLS."""
    known = {
        "protocol": "SASL_SSL",
        "mechanism": mechanism,
        "username": "poller",
        "password": {"env": "PASSWORD"},
        **CA,
    }
    return known | more


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> Iterator[Doors]:
    """One broker for this module."""
    assert broker.pid, "the fixture says where there is no Java"
    with secured(tmp_path_factory.mktemp("secured") / "kafka") as doors:
        yield doors


@pytest.fixture(autouse=True)
async def _all_closed() -> AsyncIterator[None]:
    """The end of a TLS connection is a talk of its own, for which a loop that ends with the test would have no time."""
    yield
    transports = asyncio.get_running_loop()._transports  # type: ignore[attr-defined]
    with anyio.fail_after(120):
        while any(transport._sock is not None for transport in list(transports.values())):  # noqa: ASYNC110 nobody tells
            await anyio.sleep(0.02)


@pytest.mark.parametrize(
    ("door", "security"),
    [
        ("login", login("SCRAM-SHA-256")),
        ("login", login("SCRAM-SHA-512")),
        ("login", login("PLAIN")),
        ("mutual", CERTIFICATE),
    ],
    ids=["scram-256", "scram-512", "plain", "certificate"],
)
async def test_sends_and_reads_back(doors: Doors, prefix: str, door: str, security: dict[str, Any]) -> None:
    sink = build("kafka", secured_config(getattr(doors, door), prefix, security), shards=1)
    (segment,) = segments(1, 20)
    lane = await sink.lane(0)
    await lane.send([segment])
    found = [event.id async for event in lane.published(None)]
    await lane.close()
    assert sorted(found) == sorted(call_id(f"c{number}") for number in range(1, 21))
    progress = await sink.peek(0)
    assert progress is not None
    assert progress.position == end(segment)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"])
@pytest.mark.parametrize("wrong", [{"password": {"env": "WRONG"}}, {"username": "nobody"}], ids=["password", "user"])
async def test_wrong_logins_are_refused(doors: Doors, prefix: str, mechanism: str, wrong: dict[str, Any]) -> None:
    said = await _refusal(doors.login, prefix, login(mechanism, **wrong), SinkRefused)
    assert "Authentication failed" in said


async def test_an_unknown_issuer(doors: Doors, prefix: str) -> None:
    said = await _refusal(doors.login, prefix, login("SCRAM-SHA-512", ca_file=str(TLS / "other_ca.pem")), SinkFault)
    assert (
        "the broker's certificate is not accepted (unable to get local issuer certificate). Set security.ca_file"
        in said
    )


async def test_another_host_name(doors: Doors, prefix: str) -> None:
    door = doors.login.replace("127.0.0.1", "localhost")
    said = await _refusal(door, prefix, login("SCRAM-SHA-512"), SinkFault)
    assert "not valid for 'localhost'" in said
    assert "name the broker as its certificate does" in said


async def test_certificates_are_not_checked_where_that_is_wanted(doors: Doors, prefix: str) -> None:
    door = doors.login.replace("127.0.0.1", "localhost")
    sink = build("kafka", secured_config(door, prefix, login("SCRAM-SHA-512", ca_file=None, verify=False)), shards=1)
    await (await sink.lane(0)).close()


async def test_no_certificate_where_one_is_asked_for(doors: Doors, prefix: str) -> None:
    said = await _refusal(doors.mutual, prefix, {"protocol": "SSL", **CA}, SinkFault)
    assert doors.mutual in said


async def test_a_login_without_encryption_at_an_encrypted_listener(doors: Doors, prefix: str) -> None:
    security = login("SCRAM-SHA-512", protocol="SASL_PLAINTEXT", ca_file=None)
    said = await _refusal(doors.login, prefix, security, SinkFault)
    assert "Is security.protocol (SASL_PLAINTEXT) that of this listener" in said


@pytest.mark.parametrize("locked", [True, False])
async def test_a_key_that_is_exchanged_for_one_with_another_password(
    doors: Doors, prefix: str, locked: bool, tmp_path: Path
) -> None:
    """The configuration is refused with a wrong one; here the file changes later. Nobody is asked for a password."""
    key_file = tmp_path / "client.key"
    given = (TLS / "client_key.pem").read_bytes()
    security: dict[str, Any] = CERTIFICATE | {"key_file": str(key_file)}
    if not locked:
        key = load_pem_private_key(given, SECRETS["KEY_PASSWORD"].encode())
        given = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        security["key_password"] = None
    key_file.write_bytes(given)
    config = secured_config(doors.mutual, prefix, security)
    other = ec.generate_private_key(ec.SECP256R1())
    key_file.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"another")))
    assert "is key_password right?" in await _refused(build("kafka", config, shards=1), SinkRefused)


async def _refusal(door: str, prefix: str, security: dict[str, Any], error: type[PollerError]) -> str:
    return await _refused(build("kafka", secured_config(door, prefix, security), shards=1), error)


async def _refused(sink: KafkaSink, error: type[PollerError]) -> str:
    with pytest.raises(error) as caught:
        await sink.lane(0)
    said = str(caught.value)
    assert not [secret for secret in SECRETS.values() if secret in f"{said} {caught.value!r} {sink!r}"]
    return said
