"""The topics: created where they are missing, checked where they are not, and their limits read."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import anyio
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from poller.errors import SinkFault, SinkRefused
from poller.sinks.kafka.config import Config
from poller.sinks.kafka.faults import code, mapped
from poller.sinks.kafka.producer import started

_EXISTS = 36
_MISSING = 3
_LARGEST = 1_048_588
"""The brokers' own default of max.message.bytes."""
# Progress is read back at every start: closed segments are compacted, the active one never is, so it is kept small and short.
_PROGRESS = {
    "cleanup.policy": "compact",
    "segment.ms": "600000",
    "segment.bytes": "8388608",
    "max.compaction.lag.ms": "3600000",
    "min.cleanable.dirty.ratio": "0.1",
}


class Limits(NamedTuple):
    """What the brokers take."""

    partitions: Mapping[str, int]
    """Of each event topic."""
    largest: int
    """The smallest max.message.bytes of the event topics: a batch as it is sent may not be larger."""


async def prepare(config: Config, connection: Mapping[str, Any], shards: int, event_topics: Sequence[str]) -> Limits:
    """Creates what is missing, where that is wanted, and checks the rest. Raises SinkRefused or SinkFault."""
    exactly_once = config.delivery == "exactly_once"
    wanted = [*event_topics, config.progress_topic] if exactly_once else list(event_topics)
    admin = AIOKafkaAdminClient(**connection)
    try:
        await _start(admin, config, connection)
        partitions = await _existing(admin, config, wanted)
        if missing := [topic for topic in wanted if topic not in partitions]:
            await _create(admin, config, missing, shards)
            partitions = await _appeared(admin, config, wanted)
        settings = await _settings(admin, config, wanted)
        if exactly_once:
            _check_progress(config.progress_topic, partitions, settings.get(config.progress_topic, {}), shards)
    finally:
        with anyio.move_on_after(3, shield=True):
            await admin.close()
    largest = min(int(settings.get(topic, {}).get("max.message.bytes") or _LARGEST) for topic in event_topics)
    return Limits({topic: partitions[topic] for topic in event_topics}, largest)


async def widen(config: Config, connection: Mapping[str, Any], shards: int) -> None:
    """Gives a progress topic that was made for fewer shards as many partitions. Raises SinkRefused or SinkFault."""
    topic = config.progress_topic
    admin = AIOKafkaAdminClient(**connection)
    try:
        await _start(admin, config, connection)
        found = (await _existing(admin, config, [topic])).get(topic, shards)
        if found >= shards:
            return
        if not config.create_topics:
            raise SinkRefused(_few(topic, found, shards))
        with mapped("adding partitions", config.request_timeout):
            await admin.create_partitions({topic: NewPartitions(shards)})
        await _widened(admin, config, shards)
    finally:
        with anyio.move_on_after(3, shield=True):
            await admin.close()


async def is_there(config: Config, connection: Mapping[str, Any], topic: str) -> bool:
    """Whether there is such a topic. Raises SinkRefused or SinkFault."""
    admin = AIOKafkaAdminClient(**connection)
    try:
        await _start(admin, config, connection)
        return topic in await _existing(admin, config, [topic])
    finally:
        with anyio.move_on_after(3, shield=True):
            await admin.close()


async def _start(admin: AIOKafkaAdminClient, config: Config, connection: Mapping[str, Any]) -> None:
    """The client says only that it found no broker; a single connection says why (refused, certificate, password)."""
    try:
        with mapped("connecting", config.request_timeout):
            await started(admin)
    except SinkFault:
        options = {name: value for name, value in connection.items() if name != "bootstrap_servers"}
        host, port, _ = collect_hosts(connection["bootstrap_servers"], randomize=False)[0]
        doing = f"connecting to {host}:{port}"
        with mapped(doing, config.request_timeout):
            try:
                (await create_conn(host, port, **options)).close()
            except (KafkaConnectionError, ConnectionResetError):
                raise SinkFault(
                    f"Kafka: {doing}: the broker closes the connection. Is security.protocol ({config.security.protocol}) that of "
                    "this listener, and does the listener ask for a certificate (security.cert_file)?"
                ) from None
        raise


async def _existing(admin: AIOKafkaAdminClient, config: Config, wanted: Sequence[str]) -> dict[str, int]:
    """Partitions by topic, of those that are there."""
    # The client's own way lets brokers create what is asked for.
    request = MetadataRequest(list(wanted), allow_auto_topic_creation=False)
    with mapped("asking for topics", config.request_timeout):
        answer = await admin._send_request(request)  # noqa: SLF001 nothing public says that nothing shall be created
    found = answer.to_object()["topics"]
    for topic in found:
        if topic["error_code"] != _MISSING:
            code(topic["error_code"], f"access to topic {topic['topic']}")
    return {topic["topic"]: len(topic["partitions"]) for topic in found if topic["error_code"] != _MISSING}


async def _create(admin: AIOKafkaAdminClient, config: Config, missing: Sequence[str], shards: int) -> None:
    if not config.create_topics:
        raise SinkRefused(
            f"Kafka has no topic {', '.join(missing)}: create it (the progress topic compacted, with at least {shards} "
            "partitions), or set create_topics: true"
        )
    with mapped("creating topics", config.request_timeout):
        cluster = await admin.describe_cluster()
        if cluster["controller_id"] < 0:
            raise SinkFault("Kafka: creating topics: the brokers have no controller at the moment")
        copies = config.replication_factor or min(3, len(cluster["brokers"]))
        answer = await admin.create_topics(
            [
                NewTopic(topic, max(shards, 1), copies, topic_configs=_PROGRESS)
                if topic == config.progress_topic
                else NewTopic(topic, config.partitions, copies, topic_configs=config.topic_config)
                for topic in missing
            ]
        )
    for topic, number, *said in answer.topic_errors:
        if number != _EXISTS:
            code(number, f"creating topic {topic} ({said[0] if said and said[0] else 'without a reason'})")


async def _appeared(admin: AIOKafkaAdminClient, config: Config, wanted: Sequence[str]) -> dict[str, int]:
    """Brokers learn of a new topic one after the other."""
    with anyio.move_on_after(config.request_timeout):
        while True:
            partitions = await _existing(admin, config, wanted)
            if len(partitions) == len(wanted) and all(partitions.values()):
                return partitions
            await anyio.sleep(0.1)
    raise SinkFault("Kafka: new topics did not become known to the brokers in time")


async def _widened(admin: AIOKafkaAdminClient, config: Config, shards: int) -> None:
    """As above."""
    topic = config.progress_topic
    with anyio.move_on_after(config.request_timeout):
        while True:
            if (await _existing(admin, config, [topic])).get(topic, 0) >= shards:
                return
            await anyio.sleep(0.1)
    raise SinkFault(f"Kafka: the new partitions of topic {topic} did not become known to the brokers in time")


async def _settings(admin: AIOKafkaAdminClient, config: Config, topics: Sequence[str]) -> dict[str, dict[str, str]]:
    """By topic. Where reading the settings of a topic is forbidden, it is absent."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]
    with mapped("reading the settings of topics", config.request_timeout):
        answers = await admin.describe_configs(resources)
    return {
        name: {entry[0]: entry[1] for entry in entries}
        for answer in answers
        for number, _, _, name, entries in answer.resources
        if not number
    }


def _check_progress(topic: str, partitions: Mapping[str, int], settings: Mapping[str, str], shards: int) -> None:
    policy = settings.get("cleanup.policy")
    if policy is None:
        raise SinkRefused(
            f"Kafka does not let us read the settings of the progress topic {topic}: allow DescribeConfigs on it, "
            "because a topic that deletes old records would lose what was delivered"
        )
    if policy != "compact":
        raise SinkRefused(
            f"the progress topic {topic} has cleanup.policy={policy}: it must be exactly compact, because a topic that "
            "deletes old records would lose what was delivered; change it, or name another progress_topic"
        )
    if partitions[topic] < shards:
        raise SinkRefused(
            f"{_few(topic, partitions[topic], shards)}. Where another store used it before, move that one here instead of beginning "
            "anew: `poller state export` and `import`"
        )


def _few(topic: str, found: int, shards: int) -> str:
    return f"the progress topic {topic} has {found} partitions for {shards} shards: add partitions"
