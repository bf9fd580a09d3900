"""Who holds a transaction open on a partition (DescribeProducers, which the client library does not have)."""

import time
from collections.abc import Mapping
from typing import Any

import anyio
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields

from poller.errors import SinkFault, SinkRefused
from poller.sinks.kafka.config import Config
from poller.sinks.kafka.faults import mapped
from poller.sinks.kafka.producer import started


class _Response(Response):  # type: ignore[misc]  # the library has no types
    API_KEY = 61
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("error_message", CompactString("utf-8")),
                        (
                            "producers",
                            CompactArray(
                                ("producer_id", Int64),
                                ("producer_epoch", Int32),
                                ("last_sequence", Int32),
                                ("last_timestamp", Int64),
                                ("coordinator_epoch", Int32),
                                ("transaction_start", Int64),
                                ("tags", TaggedFields),
                            ),
                        ),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _Struct(RequestStruct):  # type: ignore[misc]  # the library has no types
    FLEXIBLE_VERSION = True
    API_KEY = 61
    API_VERSION = 0
    RESPONSE_TYPE = _Response
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(("name", CompactString("utf-8")), ("partitions", CompactArray(Int32)), ("tags", TaggedFields)),
        ),
        ("tags", TaggedFields),
    )


class _DescribeProducers(Request[_Struct]):  # type: ignore[misc]  # the library has no types
    API_KEY = 61

    def __init__(self, topic: str, partition: int) -> None:
        self._asked: list[tuple[str, list[int], dict[int, bytes]]] = [(topic, [partition], {})]

    def build(self, request_struct_class: type[_Struct]) -> _Struct:
        return request_struct_class(self._asked, {})


async def open_transactions(config: Config, connection: Mapping[str, Any], topic: str, partition: int) -> str:
    """A sentence that names the producers with an open transaction on the partition, or says that they cannot be told."""
    admin = AIOKafkaAdminClient(**connection)
    try:
        with mapped("asking who holds a transaction open", config.request_timeout):
            await started(admin)
            await admin._client.fetch_all_metadata()  # noqa: SLF001 the admin client does not learn leaders by itself
            leader = admin._client.cluster.leader_for_partition(TopicPartition(topic, partition))  # noqa: SLF001
            answer = await admin._send_request(_DescribeProducers(topic, partition), leader)  # noqa: SLF001
    except (SinkFault, SinkRefused, NotImplementedError):
        return "Its producer cannot be told from here (`kafka-transactions.sh find-hanging` can)."
    finally:
        with anyio.move_on_after(3, shield=True):
            await admin.close()
    return _sentence(answer.to_object())


def _sentence(answer: dict[str, Any]) -> str:
    producers = [
        producer
        for topic in answer["topics"]
        for partition in topic["partitions"]
        for producer in partition["producers"]
        if producer["transaction_start"] >= 0
    ]
    if not producers:
        return "It has just ended."
    one = min(producers, key=lambda producer: int(producer["transaction_start"]))
    age = max(0.0, time.time() - one["last_timestamp"] / 1000)
    return (
        f"Its producer has producer id {one['producer_id']}, epoch {one['producer_epoch']}; its transaction began at "
        f"offset {one['transaction_start']} and last wrote {age:.0f} seconds ago."
    )
