"""One producer from its start to its end. It is never mended: after any unknown outcome it is thrown away."""

import asyncio
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import anyio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from poller.sinks.kafka.batch import RecordBatch
from poller.sinks.kafka.config import Config
from poller.sinks.kafka.faults import mapped

CLOSE = 3.0
"""Seconds that closing may take, whatever the brokers do."""

Batch = tuple[str, int, RecordBatch]
"""Topic, partition, records."""


class Producer:
    """A started producer of the library, transactional where it has a transactional id."""

    def __init__(
        self, config: Config, connection: dict[str, Any], transactional_id: str | None, batch_bytes: int
    ) -> None:
        self._config = config
        self._inner = AIOKafkaProducer(
            **connection,
            enable_idempotence=True,
            acks="all",
            transactional_id=transactional_id,
            transaction_timeout_ms=int(config.transaction_timeout * 1000),
            linger_ms=0,
        )
        self._futures: list[asyncio.Future[Any]] = []
        self._batch_bytes = batch_bytes
        self.transactional = transactional_id is not None

    async def start(self) -> None:
        """Connects; with a transactional id this fences every older producer and aborts its open transaction."""
        try:
            with mapped("starting the producer", self._config.commit_timeout):
                await started(self._inner)
        except BaseException:
            await self.discard()
            raise

    def batch(self, at: int) -> RecordBatch:
        """An empty batch of records of that time, milliseconds since 1970."""
        return RecordBatch(self._batch_bytes, self._config.compression, transactional=self.transactional, at=at)

    async def send(self, batches: Sequence[Batch]) -> None:
        """Sends and waits for every answer. Raises SinkFault; nothing is known about what was sent then."""
        with mapped("sending", self._config.commit_timeout):
            for topic, partition, batch in batches:
                self._futures.append(await self._inner.send_batch(batch, topic, partition=partition))
            # Each one, always: a transaction commits although a send of it failed, when nobody asked for its outcome.
            for future in self._futures:
                await future
        self._futures.clear()

    async def begin(self) -> None:
        """Begins a transaction."""
        with mapped("beginning a transaction", self._config.commit_timeout):
            await self._inner.begin_transaction()

    async def commit(self) -> None:
        """Commits. After a fault the transaction may or may not have been committed."""
        with mapped("committing a transaction", self._config.commit_timeout):
            await self._inner.commit_transaction()

    async def abort(self) -> None:
        """Aborts; shielded, because an abort that is cancelled leaves the producer in between for ever."""
        with mapped("aborting a transaction", self._config.commit_timeout), anyio.CancelScope(shield=True):
            await self._inner.abort_transaction()

    async def discard(self) -> None:
        """Closes by force and takes care of all that the library leaves behind. Bounded; never raises.

        The library's own `stop` is never used: it waits for brokers that may be gone. Every transaction was awaited
        before, so nothing that matters is in flight.
        """
        inner = self._inner
        inner._closed = True  # noqa: SLF001 what `stop` sets, without its waiting
        await _end(inner, (inner._sender, inner._message_accumulator, inner.client))  # noqa: SLF001 as above
        for future in (*self._futures, *_unread(inner)):
            if future.done() and not future.cancelled():
                future.exception()  # retrieved: otherwise the loop reports it as lost
        self._futures.clear()


def _unread(inner: AIOKafkaProducer) -> list[asyncio.Future[Any]]:
    """The futures that nobody waits for, on which the library may have left an exception."""
    found: list[asyncio.Future[Any]] = []
    accumulator, transactions = inner._message_accumulator, inner._txn_manager  # noqa: SLF001 nothing public leads there
    queued = [batch for batches in accumulator._batches.values() for batch in batches]  # noqa: SLF001
    for batch in (*queued, *accumulator._pending_batches):  # noqa: SLF001
        found += [batch.future, batch._drain_waiter]  # noqa: SLF001
    if transactions is not None and transactions._transaction_waiter is not None:  # noqa: SLF001
        found.append(transactions._transaction_waiter)  # noqa: SLF001
    return found


async def started(client: AIOKafkaProducer | AIOKafkaConsumer | AIOKafkaAdminClient) -> None:
    """Starts a client of the library. Raises what the library raises.

    Its first connection, over which it asks for the brokers, is known to nobody but the frame that opened it: where that wait
    is cancelled (by a deadline, since a broker that starts or is overloaded is slow), nobody else can close it.
    """
    try:
        await client.start()
    except BaseException as error:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if (connection := frame.f_locals.get("bootstrap_conn")) is not None:
                connection.close()
        raise


async def discard_consumer(consumer: AIOKafkaConsumer) -> None:
    """The same for a consumer."""
    with anyio.CancelScope(shield=True):
        consumer._closed = True  # noqa: SLF001 what `stop` sets
        owners = (consumer._fetcher, consumer._coordinator, consumer._client, consumer)  # noqa: SLF001
        await _end(consumer, owners)


async def _end(inner: AIOKafkaProducer | AIOKafkaConsumer, owners: tuple[object, ...]) -> None:
    """Cancels the library's tasks that belong to `owners`, waits for them, then closes the connections."""
    client = inner.client if isinstance(inner, AIOKafkaProducer) else inner._client  # noqa: SLF001
    with anyio.move_on_after(CLOSE, shield=True):
        # Of a client that never started some are None, which a task of a plain function would seem to belong to.
        ids = {id(owner) for owner in owners if owner is not None}
        tasks = [task for task in asyncio.all_tasks() if _owner(task) in ids]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.exception()
        with suppress(Exception):  # closing connections that may be broken anyway
            await client.close()


def _owner(task: asyncio.Task[Any]) -> int:
    """The id of the object whose method a task runs."""
    frame = getattr(task.get_coro(), "cr_frame", None)
    return id(frame.f_locals.get("self")) if frame is not None else 0
