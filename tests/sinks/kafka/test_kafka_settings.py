"""Settings, their faults, and that no secret is shown."""

from pathlib import Path
from typing import Any

import pytest
import trustme
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from hypothesis import given
from hypothesis import strategies as st
from kafka_broker import kafka_config
from pydantic import ValidationError

from poller.errors import SinkRefused
from poller.model import Event, Position, Progress, SeenKey
from poller.outgoing import as_update, recorded_time, renumbered
from poller.simulate.broker import Broker
from poller.sinks.kafka import build
from poller.sinks.kafka.config import Config
from poller.sinks.kafka.records import pack_progress, pack_seen, unpack_progress, unpack_seen


def config(**more: Any) -> Config:
    return Config.model_validate(
        {"kind": "kafka", "bootstrap_servers": ["127.0.0.1:1"], **more}, context={"env": {"SECRET": "hunter2"}}
    )


SASL = {"protocol": "SASL_SSL", "mechanism": "SCRAM-SHA-512", "username": "u", "password": {"env": "SECRET"}}


def test_credentials_reach_the_client_and_nothing_else() -> None:
    found = config(security=SASL)
    arguments = found.connection()
    assert arguments["sasl_plain_password"] == "hunter2"
    assert arguments["sasl_mechanism"] == "SCRAM-SHA-512"
    assert arguments["ssl_context"] is not None
    sink = build("kafka", found, shards=1)
    assert "hunter2" not in f"{found!r} {sink!r} {found.model_dump_json()} {vars(sink)!r}"


@pytest.mark.parametrize(
    ("security", "said"),
    [
        ({"protocol": "SASL_SSL"}, "needs username and password"),
        ({"username": "u", "password": {"env": "SECRET"}}, "of no use with PLAINTEXT"),
        ({"verify": False}, "of no use with PLAINTEXT, which has no certificates"),
        ({"protocol": "SSL", "key_file": "/x"}, "key_file needs cert_file"),
    ],
)
def test_contradictions_are_refused(security: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        config(security=security)


def test_transaction_outlives_our_own_deadline() -> None:
    with pytest.raises(ValidationError, match="longer than commit_timeout"):
        config(commit_timeout="60s", transaction_timeout="60s")


def test_dead_letters_of_kafka_have_no_limit() -> None:
    """Kafka would lack what is deleted; `config show` writes the default out, which stays valid."""
    assert config().max_dead_letters is None
    assert config(max_dead_letters=None).max_dead_letters is None
    with pytest.raises(ValidationError, match="cannot be limited for Kafka"):
        config(max_dead_letters="1GiB")


def test_certificate_files_that_are_gone_by_the_time_they_are_needed(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    found = config(security={"protocol": "SSL", "ca_file": str(tmp_path / "ca.pem")})
    (tmp_path / "ca.pem").unlink()
    with pytest.raises(SinkRefused, match="certificate files"):
        found.connection()


@given(st.integers(-(2**31), 2**31 - 1), st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8))
def test_seen_header_comes_back(day: int, identifier: bytes, state: bytes) -> None:
    key = SeenKey(day, identifier, state)
    assert unpack_seen(pack_seen(key)) == key


@given(st.binary(max_size=60))
def test_foreign_headers_and_progress_are_no_crash(raw: bytes) -> None:
    assert unpack_seen(raw) is None or len(raw) == 40
    assert unpack_progress(raw) is None


@pytest.mark.parametrize("moved", [None, "other.kafka.0 poller.progress"])
def test_progress_comes_back(moved: str | None) -> None:
    progress = Progress(Position(7, b"\x00\xff"), 12.5, moved)
    assert unpack_progress(pack_progress(progress)) == progress


def test_a_body_is_changed_in_one_place_only() -> None:
    body = b'{"id":"a","type":"telephony.call.new","recordedtime":"T","sequence":"1","data":{"revision":1,"vendor":{"x": 1.10}}}'
    assert renumbered(body, 12) == body.replace(b'"sequence":"1"', b'"sequence":"00000000000000000012"')
    assert recorded_time(body) == b"T"
    event = as_update(Event("a", "telephony.call.new", "s", "x", None, "k", None, body), "b", 3)
    assert event.type == "telephony.call.updated"
    assert b'"revision":3' in event.body
    assert b'{"x": 1.10}' in event.body


@pytest.mark.kafka
@pytest.mark.anyio
@pytest.mark.parametrize(
    ("partitions", "settings", "said"),
    [
        (1, {"cleanup.policy": "delete"}, "must be exactly compact"),
        (1, {"cleanup.policy": "compact,delete"}, "must be exactly compact"),
        (1, {"cleanup.policy": "compact"}, "1 partitions for 3 shards"),
    ],
)
async def test_progress_topic_is_checked(
    broker: Broker, prefix: str, partitions: int, settings: dict[str, str], said: str
) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(f"{prefix}.progress", partitions, 1, topic_configs=settings)])
    await admin.close()
    with pytest.raises(SinkRefused, match=said):
        await build("kafka", kafka_config(broker.bootstrap, prefix), shards=3).lane(0)


@pytest.mark.kafka
@pytest.mark.anyio
async def test_missing_topics_are_named_where_we_may_not_create_them(broker: Broker, prefix: str) -> None:
    with pytest.raises(SinkRefused, match=rf"no topic {prefix}.calls.*create_topics: true"):
        await build("kafka", kafka_config(broker.bootstrap, prefix, create_topics=False), shards=1).lane(0)


@pytest.mark.kafka
@pytest.mark.anyio
async def test_password_is_checked_by_a_real_broker(tmp_path: Any, broker: Broker) -> None:
    assert broker.pid, "the fixture says where there is no Java"
    login = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_poller="right";'
    secured = Broker(
        tmp_path / "kafka",
        {
            "listener.security.protocol.map": "PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            "listener.name.plaintext.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.plaintext.plain.sasl.jaas.config": login,
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "auto.create.topics.enable": "true",
        },
    )
    secured.start()
    try:
        for password, works in (("right", True), ("wr0ng", False)):
            security = {"protocol": "SASL_PLAINTEXT", "username": "poller", "password": {"env": "P"}}
            made = Config.model_validate(
                {"kind": "kafka", "bootstrap_servers": [secured.bootstrap], "security": security},
                context={"env": {"P": password}},
            )
            sink = build("kafka", made, shards=1)
            if works:
                strict = made.model_copy(update={"create_topics": False})
                for _ in range(2):  # a broker that creates what it is asked about is not asked in that way
                    with pytest.raises(SinkRefused, match=r"no topic telephony\.calls"):
                        await build("kafka", strict, shards=1).lane(0)
                await (await sink.lane(0)).close()
            else:
                with pytest.raises(SinkRefused, match=r"(?i)authentication") as refused:
                    await sink.lane(0)
                assert "wr0ng" not in str(refused.value)
    finally:
        secured.stop()
