"""Operations over one dead letter and one sink, for tests of the admin API and of the commands that use it."""

from collections.abc import Sequence

import anyio

from poller.errors import PollerError, Unknown
from poller.operations import DeadLetter, EndpointStatus, Retried, SinkStatus, Status

LETTER = DeadLetter(
    id="a/b", what="record", source="s", endpoint="mor.user_calls", reason="bad_record", error="no \x1b[31mid [bold]",
    at=1.5, size=2, body=b"\xff{",
)  # fmt: skip


class Ledger:
    """Remembers what it was asked to forget."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []
        self.asked = anyio.Event()

    async def status(self) -> Status:
        """One endpoint, one sink."""
        return Status(
            version="1",
            running=True,
            started_at=0.0,
            store="memory",
            store_bytes=3,
            seen_ids=4,
            paused=["the sink `out` is full"],
            endpoints=[EndpointStatus(source="s", endpoint="mor.user_calls", read_until=60.0, open_gaps=7)],
            sinks=[SinkStatus(sink="out", pending=2), SinkStatus(sink="gone", configured=False)],
        )

    async def dead_letters(self, *, source: str | None = None, sink: str | None = None) -> list[DeadLetter]:
        """The one letter belongs to the source `s`."""
        return [LETTER] if source in {None, "s"} and sink is None else []

    async def dead_letter(self, letter: str) -> DeadLetter:
        """The one letter."""
        if letter != LETTER.id:
            raise Unknown(f"there is no dead letter {letter!r}")
        return LETTER

    async def retry(self, letters: Sequence[str]) -> list[Retried]:
        """Only the one letter succeeds."""
        return [Retried(id=letter, done=letter == LETTER.id) for letter in letters]

    async def forget_sink(self, name: str) -> None:
        """Refuses `out`, which is configured."""
        if name == "out":
            raise PollerError("the sink `out` is configured: remove it from the configuration first")
        self.forgotten.append(f"sink {name}")

    async def forget_source(self, source: str) -> None:
        """Takes any."""
        self.forgotten.append(f"source {source}")

    async def rebuild(self, *, sink: str | None, accept_duplicates: bool) -> list[str]:
        """`slow` takes a moment, `broken` is a defect."""
        self.asked.set()
        if sink == "slow":
            await anyio.sleep(0.2)
        elif sink == "broken":
            raise ZeroDivisionError
        return [f"{sink} {accept_duplicates}"]
