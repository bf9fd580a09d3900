"""CPU microseconds per event of the way out, by stage, against a real broker: `python benchmarks/bench_kafka.py [EVENTS]`.

Events as the way in writes them, about 1,200 bytes with the raw record inside, in segments of 1,000.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import uvloop

from poller.event import Encoder, instant
from poller.identity import Identity
from poller.model import CallData, Keys, Normal, Party, Position, Segment
from poller.outgoing import recorded_time
from poller.segment import end, pack, unpack
from poller.simulate.broker import Broker
from poller.sinks.kafka import Config, build
from poller.sinks.kafka.lane import KafkaLane
from poller.sinks.kafka.partition import hashes_of
from poller.sinks.kafka.records import Constants, encoded

PAGE = 1_000


def log(count: int) -> list[Segment]:
    """Segments with that many events in all."""
    identity, encoder, out, position = Identity("fono-1", "call"), Encoder("fono-1", "call"), [], Position()
    for first in range(1, count + 1, PAGE):
        events = []
        for seq in range(first, first + PAGE):
            call = f"{seq:08x}-9b1e-4c58-a1f3-{seq * 7919 % 10**12:012d}"
            raw = {
                "call_id": call,
                "from": f"+4822{seq % 10**7:07d}",
                "cost": "0.10",
                "filler": "".join(f"{n}," for n in range(100)),
            }
            data = CallData(
                call_id=call, from_=Party(raw["from"]), to=Party("196"), vendor=msgspec.Raw(msgspec.json.encode(raw))
            )
            normal = Normal(data=data, subject=call, time=None, partition_key=call)
            key = identity.seen_key(Keys(call, 20_000, "x"))
            events.append(encoder.event(normal, key, new=True, seq=seq, recorded=instant(1.7e9)))
        out.append(pack(events, position, 1.7e9))
        position = end(out[-1])
    return out


def stage(name: str, work: Callable[[], object], count: int) -> None:
    """Prints the CPU time of one pure stage."""
    began = time.process_time()
    work()
    print(f"{name:42}{(time.process_time() - began) / count * 1e6:8.2f} µs")


async def main(count: int, bootstrap: str) -> None:
    """Pure stages one by one, then all of it."""
    segments = log(count)
    events = [event for one in segments for event in unpack(one)]
    print(f"{count} events, {sum(len(event.body) for event in events) / count:.0f} bytes each")
    keys = [event.key.encode() for event in events]
    constants = Constants(lambda _: "calls")
    stage("unpack segments", lambda: [unpack(one) for one in segments], count)
    stage("partition", lambda: [hashes_of(keys[at : at + PAGE]) for at in range(0, count, PAGE)], count)
    stage("recorded time", lambda: [recorded_time(event.body) for event in events], count)
    stage(
        "records",
        lambda: [encoded(constants.of(e.type, e.source)[1], 1, e, k) for e, k in zip(events, keys, strict=True)],
        count,
    )
    sink = build("bench", Config.model_validate({"kind": "kafka", "bootstrap_servers": [bootstrap]}), shards=1)
    lane: KafkaLane = await sink.lane(0)
    wall, cpu = time.perf_counter(), time.process_time()
    for first in range(0, len(segments), 6):
        await lane.send(segments[first : first + 6])
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    await lane.close()
    print(
        f"{'all of the sink (transactions of 6,000)':42}{cpu / count * 1e6:8.2f} µs   {count / wall:,.0f} events/s of wall time"
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(Path(folder) / "kafka")
        broker.start()
        try:
            uvloop.install()
            asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 120_000, broker.bootstrap))
        finally:
            broker.stop()
