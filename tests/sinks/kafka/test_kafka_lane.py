"""The Kafka sink against a real broker."""

import json

import pytest
from delivery_events import call_event, call_id, hour_event, segment_of, segments
from kafka_broker import ids, kafka_config, read_all

from poller.errors import Fenced
from poller.event import WINDOW
from poller.model import Position
from poller.segment import end, pack
from poller.simulate.broker import Broker
from poller.sinks.kafka import build
from poller.sinks.kafka.records import unpack_seen

pytestmark = [pytest.mark.kafka, pytest.mark.anyio]


async def test_sends_and_reads_back(broker: Broker, prefix: str) -> None:
    config = kafka_config(broker.bootstrap, prefix)
    sink = build("kafka", config, shards=1)
    log = segments(3, 50)
    lane = await sink.lane(0)
    assert lane.progress is None
    for segment in log:
        assert (await lane.send([segment])).position == end(segment)
    found = [event async for event in lane.published(None)]
    await lane.close()

    assert {event.id for event in found} == {call_id(f"c{number}") for number in range(1, 151)}
    assert len(found) == 150
    records = await read_all(broker.bootstrap, [config.topics.call])
    headers = dict(records[0].headers)
    body = json.loads(records[0].value)
    assert headers["content-type"] == b"application/cloudevents+json; charset=UTF-8"
    for name in ("specversion", "id", "source", "type", "subject", "sequence", "recordedtime", "partitionkey"):
        assert headers[f"ce_{name}"].decode() == body[name], name
    assert records[0].key == body["partitionkey"].encode()
    assert unpack_seen(headers["poller-seen"]) is not None

    again = await sink.lane(0)
    assert again.progress is not None
    assert again.progress.position == end(log[-1])
    await again.close()
    assert await sink.peek(0) == again.progress


async def test_numbers_are_masked_in_headers_and_keys_too(broker: Broker, prefix: str) -> None:
    config = kafka_config(broker.bootstrap, prefix, mask_numbers=True)
    lane = await build("kafka", config, shards=1).lane(0)
    await lane.send([segment_of(["q/2026-01-31/48221234567.ogg"], Position())])
    await lane.close()
    (record,) = await read_all(broker.bootstrap, [config.topics.call])
    headers, body = dict(record.headers), json.loads(record.value)
    assert body["subject"] == "q/2026-01-31/********567.ogg"
    assert headers["ce_subject"] == headers["ce_partitionkey"] == record.key == body["subject"].encode()
    assert b"221234567" not in b"".join([record.key, record.value, *headers.values()])


async def test_whole_hours_have_a_topic_where_they_are_asked_for(broker: Broker, prefix: str) -> None:
    """Who does not ask any more passes what the log still holds."""
    config = kafka_config(broker.bootstrap, prefix, windows=True)
    sink = build("kafka", config, shards=1)
    log = [pack([call_event("a", 1), hour_event(2, "kafka")], Position(), 1.7e9)]
    log.append(pack([hour_event(3, "kafka", begin=1_700_053_200), call_event("b", 4)], end(log[0]), 1.7e9))
    lane = await sink.lane(0)
    await lane.send(log[:1])
    assert {event.type async for event in lane.published(None)} == {"telephony.call.new", WINDOW}
    await lane.close()
    (record,) = await read_all(broker.bootstrap, [config.topics.window])
    assert json.loads(record.value)["data"]["endpoint"] == "fonouc.cdrs"

    without = build("kafka", kafka_config(broker.bootstrap, prefix), shards=1)
    lane = await without.lane(0)
    assert (await lane.send(log[1:])).position == end(log[1])
    assert [event.type async for event in lane.published(None)] == ["telephony.call.new"] * 2
    await lane.close()
    assert len(await read_all(broker.bootstrap, [config.topics.window])) == 1


async def test_newer_lane_fences_older(broker: Broker, prefix: str) -> None:
    sink = build("kafka", kafka_config(broker.bootstrap, prefix), shards=1)
    log = segments(2, 5)
    older = await sink.lane(0)
    await older.send(log[:1])
    newer = await sink.lane(0)
    with pytest.raises(Fenced):
        await older.send(log[1:])
    await newer.send(log[1:])
    await newer.close()
    await older.close()
    assert ids(await read_all(broker.bootstrap, [f"{prefix}.calls"])).most_common(1)[0][1] == 1


async def test_too_large_event_is_named_then_passed(broker: Broker, prefix: str) -> None:
    config = kafka_config(broker.bootstrap, prefix, topic_config={"max.message.bytes": "20000"})
    sink = build("kafka", config, shards=1)
    first = segment_of(["a", "b", "c"], Position())
    big = segment_of(["big"], end(first), size=60_000)
    last = segment_of(["d", "e"], end(big))
    lane = await sink.lane(0)
    sent = await lane.send([first, big, last])
    assert [(dead.reason, dead.event.subject, dead.seq) for dead in sent.dead] == [("too_large", "big", 4)]
    assert await read_all(broker.bootstrap, [config.topics.call]) == [], (
        "nothing may be sent before its dead letter is kept"
    )
    sent = await lane.send([first, big, last])
    assert sent.dead == []
    assert sent.position == end(last)
    await lane.close()
    assert set(ids(await read_all(broker.bootstrap, [config.topics.call]))) == {call_id(name) for name in "abcde"}
