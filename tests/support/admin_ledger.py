"""Operations over one dead letter and one sink, for tests of the admin API and of the commands that use it."""

from typing import TypeVar

import anyio
from msgspec import structs

from poller.errors import PollerError, Unknown
from poller.journeys import Journey, Leg, Stop
from poller.kept import LetterPlace
from poller.operations import (
    Again,
    Cursor,
    DeadLetter,
    Difference,
    Listed,
    Listing,
    Mark,
    Reconcile,
    Reconciled,
    Replay,
    Replayed,
    Retried,
    SinkStatus,
    Status,
    Switched,
    Tried,
    WebhookStatus,
)
from poller.recent import Note, Polled
from poller.source_status import (
    AskStatus,
    EndpointDetail,
    EndpointStatus,
    GapStatus,
    PassStatus,
    RungStatus,
    SourceStatus,
)

LETTER = DeadLetter(
    id="a/b", what="record", source="s", endpoint="mor.user_calls", reason="bad_record", error="no \x1b[31mid [bold]",
    at=1.5, size=2, body=b"\xff{",
)  # fmt: skip

DOWN = WebhookStatus(
    sink="crm", url="https://crm.example", state="down", since=60.0, why="503 \x1b[31m[bold]", next_try=120.0, heard_at=90.0,
    heard="503 again", failures=7, waiting=5, retrying=2, next_retry=3600.0, oldest_pending=30.0, dead_letters=1,
)  # fmt: skip
UP = WebhookStatus(sink="erp", url="https://erp.example:8443", state="up", failures=0)


_Place = TypeVar("_Place")


class Ledger:
    """Remembers what it was asked to forget."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []
        self.asked = anyio.Event()
        self.asked_again: list[Replay] = []
        self.compared: list[Reconcile] = []
        self.differ = True
        self.listings: list[Listing] = []
        self.retries: list[Again] = []
        self.asked_thrice = anyio.Event()
        self.never_ends = False
        self.waits = 8
        """So many steps wait for the sink, when the second one is asked for."""

    def _waits(self, here: _Place, there: _Place) -> _Place:
        self.waits -= 1
        return there if not self.waits else here

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
            sinks=[
                SinkStatus(sink="out", pending=2),
                SinkStatus(sink="gone", configured=False),
                SinkStatus(sink="crm", pending=7, retrying=2, state="down", since=60.0),
            ],
        )

    async def source(self, name: str) -> SourceStatus:
        """Any but `nobody`."""
        if name == "nobody":
            raise Unknown(f"there is no source {name} in the configuration")
        it = EndpointStatus(
            source=name, endpoint="mor.user_calls", read_until=60.0, open_gaps=1, overdue_rungs=1, behind=2400.0, late_rows=3,
            late_most=7_000.0, late_last=50.0, error="403 \x1b[31m<b>+48 601 234 567</b>", reason="denied", failing_since=30.0,
            next_poll=200.0,
        )  # fmt: skip
        failed = Polled(at=100.0, seconds=0.2, reason="denied", error=it.error)
        ask = AskStatus(
            ask="user 5", start=0, window=3_600,
            rungs=[RungStatus(back=300, every=60, last=60.0, due=130.0), RungStatus(back=10_800, every=1_800)],
            passes=[PassStatus(begin=0, end=60, back=10_800, share=0.5)],
            gaps=[GapStatus(begin=10.0, end=20.0, since=40.0, reason="malformed")],
            polls=[failed, Polled(at=40.0, seconds=1.5, new=2, duplicate=20, begin=5, end=40)], failures=[failed],
        )  # fmt: skip
        return SourceStatus(
            name=name, id=name, kind="mor", address="https://pbx.example:8443", shard=0, credential="refused: it is not taken",
            skew=-3.5, endpoints=[EndpointDetail(it=it, interval=60.0, settle=10.0, asks=[ask])], dead_letters=2,
        )  # fmt: skip

    async def journey(self, wanted: str) -> Journey:
        """Any id but `nothing` is that of one call, which is delivered to one sink and refused by the other."""
        if wanted == "nothing":
            return Journey(wanted=wanted, looked=["By key: none knows it."])
        if not wanted:
            raise PollerError("an id has 1 to 512 characters")
        tried = [
            Note(shard=0, first=7, last=7, begin=70.0, end=70.5, outcome="later", number=1, reason="timeout", error="<b>no answer</b>"),
            Note(shard=0, first=7, last=7, begin=90.0, end=90.5, outcome="dead", number=2, reason="gone", error="410"),
        ]  # fmt: skip
        stops = [
            Stop(sink="kafka", kind="kafka", standing="delivered", where="topic telephony.calls, partition 3"),
            Stop(
                sink="crm", kind="webhook", standing="dead letter", where="https://crm.example", reason="gone",
                error="410: no <b>+48 601 234 567</b>", letter=LETTER.id, notes=tried,
            ),
        ]  # fmt: skip
        leg = Leg(
            event="ab" * 16, type="telephony.call.new", kind="call", source="s", subject=wanted, time="1970-01-01T00:00:30Z",
            first_seen=60.0, committed=60.1, late=False, revision=1, lists=["mor.user_calls"], shard=0, seq=7, together=3,
            day="1970-01-01", stops=stops, body=b'{"data": {"from": {"number": "+48 601 234 567"}}}',
            poll=Polled(at=59.0, seconds=2.0, new=3, duplicate=40, begin=20, end=59),
        )  # fmt: skip
        gone = Leg(
            kind="call", source="s", shard=0, seq=3, day="1970-01-01", stops=[Stop(sink="kafka", standing="delivered")]
        )
        return Journey(
            wanted=wanted, legs=[gone, leg], letters=[LETTER.id], remembered=1, looked=["The whole log: 9 events."]
        )

    async def dead_letters(self, asked: Listing) -> Listed:
        """The one letter belongs to the source `s`; of the sink `many` there are 2,500, of which it gives 1,000 at a time."""
        self.listings.append(asked)
        if asked.which.sink == "many":
            first = int(asked.after.at)
            some = range(first + 1, min(first + min(asked.limit, 1_000), 2_500) + 1)
            after = LetterPlace(some[-1], str(some[-1])) if some[-1] < 2_500 else None
            letters = [structs.replace(LETTER, id=str(number), at=number) for number in some]
            return Listed(letters=letters, after=after, total=2_500)
        found = [LETTER] if asked.which.fits(None, "s", "bad_record") else []
        return Listed(letters=found, after=None, total=len(found))

    async def dead_letter(self, letter: str) -> DeadLetter:
        """The one letter."""
        if letter != LETTER.id:
            raise Unknown(f"there is no dead letter {letter!r}")
        return LETTER

    async def retry(self, asked: Again) -> Tried:
        """Of ids only the one letter's succeeds. Else two steps of three letters, one of which fails; between them `out` has too much to do.

        The source `down` fails after the first one.
        """
        self.retries.append(asked)
        if len(self.retries) == 3:
            self.asked_thrice.set()
        cursor = asked.cursor or Cursor(LetterPlace(), 9.0)
        if asked.ids is not None:
            results = [Retried(id=letter, done=letter == LETTER.id) for letter in asked.ids[:2]]
            return Tried(results=results, cursor=cursor, total=len(asked.ids))
        step = int(cursor.after.at)
        if self.never_ends:
            await anyio.sleep(0.05)
            step = 0
        if asked.which.source == "down" and step:
            raise PollerError("the store is full")
        after = Cursor(LetterPlace(step + 1, "x"), 9.0)
        if step == 1:
            return Tried(cursor=self._waits(cursor, after), total=4, waiting=70_000, sink="out")
        failure = Retried(id="bad", done=False, error="still no \x1b[31mJSON")
        results = [Retried(id=f"{step}-{number}", done=True) for number in range(2)] + [failure]
        return Tried(results=results if step < 3 else [], cursor=after, ended=step > 2, total=6 - step)

    async def webhooks(self, name: str | None = None) -> list[WebhookStatus]:
        """One is down, one is up."""
        if name not in {None, "crm", "erp"}:
            raise Unknown(f"there is no webhook {name}")
        return [one for one in (DOWN, UP) if name in {None, one.sink}]

    async def enable_webhook(self, name: str) -> Switched:
        """`before` is the name."""
        after = {"disabled": "down"}.get(name, name)
        return Switched(sink=name, before=name, state=after, since=60.0)  # type: ignore[arg-type]  # the tests' own names

    async def disable_webhook(self, name: str, why: str) -> Switched:
        """The same."""
        return Switched(sink=name, before=name, state="disabled", since=60.0, why=why)  # type: ignore[arg-type]  # as above

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

    async def reconcile(self, asked: Reconcile) -> Reconciled:
        """Two rows differ in the first hour of each list; `down` cannot be asked."""
        self.compared.append(asked)
        if asked.endpoint == "down":
            raise PollerError("down phones.calls: no answer within 30 s")
        if not self.differ:
            return Reconciled(begin=asked.begin, end=asked.end, records=3, complete_until=asked.end)
        two = [
            Difference(what="missing", id="c[1]", own=60.0, event="e1"),
            Difference(what="unknown", id="c2", event="e2"),
        ]
        return Reconciled(
            begin=asked.begin, end=asked.end, records=3, differences=two, counts={"missing": 1, "unknown": 1, "changed": 0},
            known_from=asked.begin + 60, published_from=7.0,
        )  # fmt: skip

    async def replay(self, asked: Replay) -> Replayed:
        """Two steps of three calls each, between which the sink has too much to do; `down` fails after the first one."""
        self.asked_again.append(asked)
        if len(self.asked_again) == 3:
            self.asked_thrice.set()
        seq = asked.cursor[0].seq if asked.cursor else 0
        if self.never_ends:
            await anyio.sleep(0.05)
            seq = 0
        if asked.sink == "nobody":
            raise Unknown("there is no sink nobody in the configuration; there are: out")
        if asked.sink == "down" and seq:
            raise PollerError("the store is full")
        if seq == 1:
            return Replayed(
                cursor=(self._waits(Mark(1, 9), Mark(2, 9)),), ended=False, reached=asked.since + 60, waiting=70_000
            )
        return Replayed(
            cursor=(Mark(seq + 1, 9),),
            ended=seq > 1,
            reached=asked.until if seq > 1 else asked.since + 60.5,
            types={"telephony.call.new": 3},
            kept_from=None if seq else asked.since + 5,
        )
