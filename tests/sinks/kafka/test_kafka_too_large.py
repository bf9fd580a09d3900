"""Events that the brokers refuse for their size, among others that look as if they might be."""

import pytest
from delivery_events import call_event, call_id
from kafka_broker import ids, kafka_config, read_all
from msgspec import structs

from poller.model import Event, Position
from poller.segment import end, pack
from poller.simulate.broker import Broker
from poller.sinks.kafka import build

pytestmark = [pytest.mark.kafka, pytest.mark.anyio]

LARGEST = 20_000


async def sent_without_the_dead(broker: Broker, prefix: str, events: list[Event]) -> tuple[list[str], set[str]]:
    """Sends, and sends again what was not too large: the subjects of the dead, the ids in the topic."""
    config = kafka_config(
        broker.bootstrap, prefix, compression="none", topic_config={"max.message.bytes": str(LARGEST)}
    )
    lane = await build("kafka", config, shards=1).lane(0)
    segment = pack(events, Position(), 1.7e9)
    dead = [letter.event.subject for letter in (await lane.send([segment])).dead]
    again = await lane.send([segment])
    assert (again.dead, again.position) == ([], end(segment))
    await lane.close()
    return dead, set(ids(await read_all(broker.bootstrap, [config.topics.call])))


async def test_only_those_that_are_refused_alone_are_named(broker: Broker, prefix: str) -> None:
    sizes = {"small": 0, "big": 60_000, "half": 12_800, "bigger": 90_000, "other": 12_800}
    events = [call_event(name, seq, size=size) for seq, (name, size) in enumerate(sizes.items(), 1)]
    dead, there = await sent_without_the_dead(broker, prefix, events)
    assert dead == ["big", "bigger"]
    assert there == {call_id(name) for name in ("small", "half", "other")}


async def test_one_that_is_too_large_by_its_key_alone(broker: Broker, prefix: str) -> None:
    """Its body is small. Another one's is more than half of what the topic takes, and is taken."""
    events = [structs.replace(call_event("long", 1), key="k" * LARGEST), call_event("half", 2, size=12_800)]
    dead, there = await sent_without_the_dead(broker, prefix, events)
    assert dead == ["long"]
    assert there == {call_id("half")}
