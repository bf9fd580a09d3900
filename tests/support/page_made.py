"""A status page over figures of the test's own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from admin_ledger import LETTER, Ledger
from msgspec import structs

from poller.clock import SystemClock
from poller.errors import Unknown
from poller.operations import DeadLetter, ShardStatus, SinkStatus, Status, Switched, WebhookStatus
from poller.page import serve_page
from poller.source_status import EndpointStatus, GapStatus

TOKEN = "of-the-tests-0123456789"
EVIL = '<script>alert("1")</script>'
FAILED = f"503 from pbx.example: {EVIL}"


class Figures(Ledger):
    """So many phone systems, of which one in a hundred is behind. `down`: all are. `failed`: what those say that are."""

    def __init__(self, sources: int = 7, *, down: bool = False, failed: str = FAILED) -> None:
        super().__init__()
        self.sources = sources
        self.down = down
        self.failed = failed
        self.body = LETTER.body

    async def status(self) -> Status:
        """By the clock, so that the page shows how long ago things were."""
        now = SystemClock().now()
        found = [
            EndpointStatus(
                source=f"pbx-{number:04}", endpoint="mor.user_calls", read_until=now - 40, complete_until=now - 7_200,
                last_success=now - 40, overdue_rungs=int(bad), error=self.failed if bad else None, next_poll=now + 12,
                reason="vendor_fault" if bad else None, behind=2_400.0 if bad else 0.0, late_rows=number % 50,
                late_most=4_000.0, late_last=now - 90, open_gaps=int(number % 50 == 5),
                gaps=[GapStatus(begin=now - 9_000, end=now - 8_990, since=now - 60, reason="malformed")] if number % 50 == 5 else [],
            )
            for number in range(self.sources)
            for bad in [self.down or number % 100 == 3]
        ]  # fmt: skip
        sinks = [
            SinkStatus(sink="kafka", kind="kafka", pending=2, oldest_pending=now - 3),
            SinkStatus(sink="crm", kind="webhook", pending=7, state="down", since=now - 60, dead_letters=1),
        ]
        shards = [ShardStatus(shard=number, owner="pod-a", sources=["pbx-0001"]) for number in range(2)]
        was = await super().status()
        return structs.replace(was, started_at=now - 90_000, paused=[], endpoints=found, sinks=sinks, shards=shards)

    async def dead_letter(self, letter: str) -> DeadLetter:
        """The one letter, with the test's own bytes."""
        return structs.replace(await super().dead_letter(letter), body=self.body)

    async def enable_webhook(self, name: str) -> Switched:
        """Knows two."""
        if name not in {"crm", "disabled"}:
            raise Unknown(f"there is no webhook {name} in the configuration")
        return await super().enable_webhook(name)

    async def disable_webhook(self, name: str, why: str) -> Switched:
        """Puts all phone systems behind, where the test asks for that."""
        self.down = name == "everything"
        return await super().disable_webhook(name, why)

    async def webhooks(self, name: str | None = None) -> list[WebhookStatus]:
        """The one, which is down."""
        return [one for one in await super().webhooks(name) if one.sink == "crm"]


@asynccontextmanager
async def served(figures: Figures) -> AsyncIterator[str]:
    """Its address."""
    async with anyio.create_task_group() as tasks:
        port = await tasks.start(serve_page, figures, "127.0.0.1:0", TOKEN, SystemClock())
        yield f"http://127.0.0.1:{port}"
        tasks.cancel_scope.cancel()
