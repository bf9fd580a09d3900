"""Random histories: the store in memory and each other one give the same answers, backups and emptied stores included."""

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, ClassVar

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from stores_content import DAY0, dead_event, dead_record, key, retry, segment
from stores_harness import harness_of

from poller.errors import Outdated
from poller.kept import Attempted, LetterPlace, Which
from poller.model import CheckpointKey, Healing, Held, PageCommit, Position, SeenKey
from poller.segment import end

NUMBERS = st.integers(0, 7)
KEYS = st.builds(key, NUMBERS, state=st.integers(1, 3), day=st.integers(DAY0 - 3, DAY0 + 3))
SEEN = st.lists(st.tuples(KEYS, st.integers(0, 12)), max_size=8)
SEQS = st.integers(1, 8)
SINKS = st.sampled_from(["kafka", "hook"])


class Agreement(RuleBasedStateMachine):
    """Every rule does the same to both stores and compares what they said."""

    kinds: ClassVar = ("memory", "sqlite")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.harnesses = [harness_of(kind, Path(self.folder.name)) for kind in self.kinds]
        self.held = Held(0, 0, Position())
        self.earlier: list[Held] = []
        self.ends: list[Position] = [Position()]
        self.backups: list[str] = []
        self.at = 0.0

    def teardown(self) -> None:
        self.both("close")
        for harness in self.harnesses:
            harness.remove()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        self.folder.cleanup()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        async def answer() -> Any:
            try:
                return await work
            except (Outdated, ValueError) as error:
                return type(error)

        return self.loop.run_until_complete(answer())

    def both(self, step: str) -> None:
        for harness in self.harnesses:
            self.run(getattr(harness, step)())

    def ask(self, name: str, *given: Any, **named: Any) -> Any:
        first, second = [self.run(getattr(harness.store, name)(*given, **named)) for harness in self.harnesses]
        assert first == second, f"{name}{given}{named}"
        return first

    @initialize()
    def opened(self) -> None:
        self.both("open")
        self.taken_over()

    @rule()
    def taken_over(self) -> None:
        self.earlier.append(self.held)
        self.held = self.ask("hold", 0)

    @rule(
        numbers=st.lists(NUMBERS, max_size=4),
        seen=SEEN,
        dead=st.lists(st.integers(1, 4).map(dead_record), max_size=2),
        closes=st.lists(st.integers(1, 4).map(lambda n: f"record-{n}"), max_size=1).map(tuple),
        checkpoint=st.dictionaries(
            st.builds(CheckpointKey, st.sampled_from("ab"), st.just("calls"), st.sampled_from(["", "u=1"])),
            st.binary(max_size=3),
            max_size=2,
        ),
    )
    def committed(self, numbers: list[int], checkpoint: Any, **more: Any) -> None:
        self.at += 1
        new = segment(numbers, self.held.last, at=self.at) if numbers else None
        self.believe(self.ask("commit_page", self.held, PageCommit(segment=new, checkpoints=checkpoint, **more)))

    @rule(sink=SINKS, data=st.data(), dead=st.lists(st.integers(1, 4), max_size=2))
    def delivered(self, sink: str, data: st.DataObject, dead: list[int]) -> None:
        position = data.draw(st.sampled_from(self.ends))
        self.ask("delivered", self.held, sink, position, [dead_event(number, sink=sink) for number in dead])

    @rule(
        sink=SINKS,
        data=st.data(),
        done=st.lists(st.integers(0, 30), max_size=6).map(tuple),
        later=st.dictionaries(SEQS, st.none() | st.floats(0, 9), max_size=3),
        due=st.dictionaries(SEQS, st.floats(0, 9), max_size=2),
        over=st.lists(SEQS, max_size=3),
        dead=st.lists(st.integers(1, 4), max_size=2),
    )
    def attempted(self, sink: str, data: st.DataObject, later: dict[int, Any], dead: list[int], **more: Any) -> None:
        came = Attempted(
            position=data.draw(st.sampled_from(self.ends)),
            later=[retry(seq, sink=sink, due=at) for seq, at in later.items()],
            dead=[dead_event(number, sink=sink) for number in dead],
            **more,
        )
        self.ask("attempted", self.held, sink, came)

    @rule(sink=SINKS, jump=st.integers(-1, 3), numbers=st.lists(NUMBERS, max_size=3), seen=SEEN)
    def healed(self, sink: str, jump: int, numbers: list[int], seen: Any) -> None:
        self.at += 1
        position = Position(self.held.last.seq + jump, self.held.last.chain)
        segments = [segment(numbers, position, at=self.at)] if numbers else []
        last = end(segments[-1]) if segments else position
        healing = Healing(sink=sink, position=position, last=last, segments=segments, seen=seen)
        self.believe(self.ask("heal", self.held, healing))

    def believe(self, held: Any) -> None:
        if isinstance(held, Held):
            self.earlier.append(self.held)
            self.held = held
            self.ends.append(held.last)

    @rule(day=st.integers(DAY0 - 3, DAY0 + 3), age=st.integers(0, 5), limit=st.integers(1, 6), only=st.booleans())
    def expired(self, day: int, age: int, limit: int, *, only: bool) -> None:
        sinks = {"kafka"} if only else None
        self.ask("expire", log_before=self.at - age, seen_before_day=day, limit=limit, sinks=sinks)

    @rule(before=st.integers(0, 9), limit=st.integers(1, 3))
    def letters_expired(self, before: int, limit: int) -> None:
        self.ask("expire_letters", before=before, limit=limit)

    @rule(sink=SINKS, keep=st.integers(0, 60), limit=st.integers(1, 3))
    def letters_discarded(self, sink: str, keep: int, limit: int) -> None:
        self.ask("discard_letters", sink, keep=keep, limit=limit)

    @rule(
        which=st.builds(
            Which,
            sink=st.none() | SINKS,
            source=st.sampled_from([None, "mor", "other"]),
            reason=st.sampled_from([None, "bad_record", "too_large"]),
        ),
        after=st.builds(LetterPlace, st.integers(0, 5), st.sampled_from(["", "event-3", "record-9"])),
        until=st.integers(0, 5),
        limit=st.integers(1, 5),
    )
    def letters_listed(self, which: Which, **more: Any) -> None:
        self.ask("letter_heads", which, **more)

    @rule(start=st.sampled_from(["", "event-", "event-2", "record-4x", "z"]), limit=st.integers(1, 5))
    def letters_found(self, start: str, limit: int) -> None:
        self.ask("letters", [head.id for head in self.ask("letters_like", start, limit)])

    @rule(sink=SINKS)
    def sink_forgotten(self, sink: str) -> None:
        self.ask("forget_sink", sink)

    @rule(source=st.sampled_from("ab"))
    def source_forgotten(self, source: str) -> None:
        self.ask("forget_source", source)

    @rule(name=st.sampled_from("xy"), value=st.none() | st.text(st.characters(codec="utf-8"), max_size=3))
    def noted(self, name: str, value: str | None) -> None:
        self.ask("put_meta", name, value)
        assert self.ask("get_meta", name) == value

    @rule(data=st.data())
    def an_old_belief_is_refused(self, data: st.DataObject) -> None:
        old = data.draw(st.sampled_from(self.earlier))
        if old != self.held:
            assert self.ask("commit_page", old, PageCommit(seen=[(key(1), 0)])) is Outdated

    @rule()
    def reopened(self) -> None:
        self.both("reopen")

    @rule()
    def copied(self) -> None:
        self.backups.append(f"backup-{len(self.backups)}")
        for harness in self.harnesses:
            harness.copy(self.backups[-1])

    @precondition(lambda self: self.backups)
    @rule(data=st.data())
    def restored(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.backups))
        for harness in self.harnesses:
            harness.restore(name)
        self.taken_over()

    @rule()
    def emptied(self) -> None:
        for harness in self.harnesses:
            harness.empty()
        self.taken_over()

    @rule(keys=st.lists(KEYS, max_size=30))
    def looked_up(self, keys: list[SeenKey]) -> None:
        self.ask("look_up", None, keys)
        for wanted in keys[:3]:
            self.ask("find_event", 0, wanted)

    @rule(seq=st.integers(0, 30), size=st.integers(0, 200))
    def read(self, seq: int, size: int) -> None:
        self.ask("segments_after", 0, seq, size)
        self.ask("backlog", 0, seq, "hook")

    @invariant()
    def both_tell_the_same(self) -> None:
        if self.held.epoch == 0:
            return
        for sink in ("kafka", "hook"):
            self.ask("done", sink, 0)
            self.ask("places", sink, 0)
            self.ask("retries", sink, 0, range(9))
        for listing in ("checkpoints", "positions", "retrying", "letter_totals"):
            self.ask(listing)
        self.ask("dead_record_ids", "mor")
        heads = self.ask("letter_heads", Which(), after=LetterPlace(), until=9.0, limit=99)
        self.ask("letters", [head.id for head in heads])
        for position in self.ends[-4:]:
            self.ask("holds", 0, position)
        facts = [self.run(harness.store.facts()) for harness in self.harnesses]
        assert len({(f.seen_ids, f.dead_records, f.dead_events) for f in facts}) == 1


class SharedAgreement(Agreement):
    """The same with a database."""

    kinds = ("memory", "postgres")


patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
TestAgreement = Agreement.TestCase
TestAgreement.settings = settings(patient, max_examples=25, stateful_step_count=25)
TestSharedAgreement = pytest.mark.postgres(pytest.mark.usefixtures("postgres_server")(SharedAgreement.TestCase))
TestSharedAgreement.settings = settings(patient, max_examples=5, stateful_step_count=20)
