"""The lease protocol as a machine: calls that wait, answers that come late or never, replicas that stand still, databases that go back.

The replicas' side is the program's own (`Tenures`, `plan`); the database is the table of tests/support. What must hold:

- as long as the database has not gone back, at most one replica believes that a shard is its own, a paused one included;
- always, at most one of them can write for a shard;
- a shard whose owner died is owned again within one lease.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)
from leases_table import LeaseTable

from poller.errors import Outdated
from poller.leases.fair import plan
from poller.leases.tenure import Tenures
from poller.model import Held

LEASE = 15.0
SHARDS = 2
NAMES = "abc"
Sent: TypeAlias = "MultipleResults[Call] | Call"
HOW = st.sampled_from(["answered", "answered", "done", "waits"])
"""How far a call gets at once."""


@dataclass
class Peer:
    """One replica. Its clock has an origin and a pace of its own, and goes on while it is paused."""

    name: str
    origin: float
    pace: float
    tenures: Tenures = field(default_factory=lambda: Tenures(LEASE))
    marks: dict[int, int] = field(default_factory=dict)
    held: dict[int, Held] = field(default_factory=dict)
    paused: bool = False
    staying: bool = True

    def elapsed(self, time: float) -> float:
        return self.origin + time * self.pace

    def believes(self, shard: int, time: float) -> bool:
        tenure = self.tenures.of(shard)
        return tenure is not None and tenure.ours(self.elapsed(time))


@dataclass
class Call:
    """One call on its way. `result`: what the database did, once it has."""

    peer: Peer
    kind: str
    asked: float
    shard: int = 0
    held: tuple[Held, ...] = ()
    done: bool = False
    result: Held | frozenset[int] | None = None
    mark: int = 0


class Protocol(RuleBasedStateMachine):
    """Any order of everything."""

    calls: Bundle[Call] = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0
        self.ahead = 0.0
        self.table = LeaseTable(lambda: self.time + self.ahead, LEASE)
        self.backup = self.table.backup()
        self.trusted = 0.0
        """From then on nobody believes anything of before the last failover."""

    @initialize(paces=st.tuples(*[st.floats(0.98, 1.02)] * 3), origins=st.tuples(*[st.floats(0, 1e6)] * 3))
    def begin(self, paces: tuple[float, ...], origins: tuple[float, ...]) -> None:
        self.peers = [Peer(*given) for given in zip(NAMES, origins, paces, strict=True)]

    def peer(self, name: str) -> Peer:
        return self.peers[NAMES.index(name)]

    # --- calls -------------------------------------------------------------------------------------------------------

    @rule(target=calls, name=st.sampled_from(NAMES), shard=st.integers(0, SHARDS - 1), how=HOW)
    def asks_for(self, name: str, shard: int, how: str) -> Sent:
        peer = self.peer(name)
        return self.send(Call(peer, "claim", peer.elapsed(self.time), shard=shard), how)

    @rule(target=calls, name=st.sampled_from(NAMES), how=HOW)
    def asks_to_renew(self, name: str, how: str) -> Sent:
        peer = self.peer(name)
        return self.send(Call(peer, "renew", peer.elapsed(self.time), held=peer.tenures.asking()), how)

    def send(self, call: Call, how: str) -> Sent:
        if call.peer.paused:
            return multiple()
        if how != "waits":
            self.execute(call)
        if how == "answered":
            self.answer(call)
            return multiple()
        return call

    @rule(call=calls)
    def is_done(self, call: Call) -> None:
        """By the database, whenever it gets to it."""
        if not call.done:
            self.execute(call)

    def execute(self, call: Call) -> None:
        call.done = True
        if call.kind == "claim":
            call.result = self.table.claimed(call.shard, call.peer.name, LEASE)
            call.mark = self.table.mark(call.shard) if call.result is not None else 0
        else:
            call.result = self.table.renewed(call.peer.name, call.held, LEASE, staying=call.peer.staying)

    @rule(call=consumes(calls))
    def is_answered(self, call: Call) -> None:
        """Or lost: a call that nobody answers is one that is never drawn here."""
        if call.done and not call.peer.paused:
            self.answer(call)

    def answer(self, call: Call) -> None:
        peer = call.peer
        self.drop(peer)
        if isinstance(call.result, Held):
            if peer.tenures.claimed(call.result, call.asked, peer.elapsed(self.time)) is not None:
                peer.held[call.shard], peer.marks[call.shard] = call.result, call.mark
        elif isinstance(call.result, frozenset):
            peer.tenures.renewed(call.asked, call.held, call.result)
        elif peer.tenures.of(call.shard) is not None:
            peer.tenures.lose(call.shard)  # it was to be taken anew, and is another's
        self.drop(peer)

    def drop(self, peer: Peer) -> None:
        peer.tenures.lapsed(peer.elapsed(self.time))
        for shard in list(peer.tenures):
            if (tenure := peer.tenures.of(shard)) is not None and tenure.over:
                peer.tenures.forget(shard)

    @rule(names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
    def go_about_it(self, names: list[str]) -> None:
        """A turn as the program takes it, with all answers."""
        for name in names:
            if not self.peer(name).paused:
                self.turn(self.peer(name))

    # --- what happens to them ------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1.0, LEASE / 3, LEASE * 0.79, LEASE, LEASE * 1.05, 3 * LEASE]))
    def time_passes(self, seconds: float) -> None:
        self.time += seconds

    @rule(name=st.sampled_from(NAMES))
    def stands_still_or_goes_on(self, name: str) -> None:
        """It notices nothing meanwhile, and whatever it does first when it goes on asks `ours`."""
        peer = self.peer(name)
        peer.paused = not peer.paused

    @rule(name=st.sampled_from(NAMES), shard=st.integers(0, SHARDS - 1))
    def gives_up(self, name: str, shard: int) -> None:
        peer = self.peer(name)
        if not peer.paused and shard in peer.tenures:
            self.table.released(name, [peer.held[shard]])
            peer.tenures.forget(shard)

    @rule()
    def the_standby_catches_up(self) -> None:
        self.backup = self.table.backup()

    @rule(ahead=st.floats(-5, 5))
    def the_database_goes_back(self, ahead: float) -> None:
        """Another primary, which had come as far as the standby; its clock is another one, too."""
        self.table.restore(self.backup)
        self.ahead = ahead
        self.trusted = self.time + 1.1 * LEASE

    # --- what must hold --------------------------------------------------------------------------------------------------

    @invariant()
    def one_believes(self) -> None:
        if not hasattr(self, "peers") or self.time < self.trusted:
            return
        for shard in range(SHARDS):
            assert sum(peer.believes(shard, self.time) for peer in self.peers) <= 1, shard

    @invariant()
    def one_can_write(self) -> None:
        """Whatever they believe: those that were lost long ago try, too."""
        if not hasattr(self, "peers"):
            return
        for shard in range(SHARDS):
            assert sum(self.can_write(peer, shard) for peer in self.peers) <= 1, shard

    def can_write(self, peer: Peer, shard: int) -> bool:
        if shard not in peer.held:
            return False
        try:
            self.table.write(peer.held[shard], peer.marks[shard])
        except Outdated:
            return False
        return True

    @precondition(lambda self: self.time > 4 * LEASE)
    @rule(name=st.sampled_from(NAMES))
    def one_dies_and_the_others_go_on(self, name: str) -> None:
        """As the program does: renewed every third, looked at every second. The one that died comes back as a new one."""
        dead = self.peer(name)
        living = [peer for peer in self.peers if peer is not dead]
        for peer in living:
            peer.paused = False
        self.go_on(living, int(LEASE) + 2 if self.time >= self.trusted else 3 * int(LEASE))
        for shard in range(SHARDS):
            assert any(peer.believes(shard, self.time) for peer in living), shard
        dead.tenures, dead.held, dead.marks, dead.paused = Tenures(LEASE), {}, {}, False

    def go_on(self, living: list[Peer], seconds: int) -> None:
        for _ in range(seconds):
            for peer in living:
                self.turn(peer)
            self.time += 1.0

    def turn(self, peer: Peer) -> None:
        self.drop(peer)
        renewal = Call(peer, "renew", peer.elapsed(self.time), held=peer.tenures.asking())
        self.execute(renewal)
        self.answer(renewal)
        self.look(peer)

    def look(self, peer: Peer) -> None:
        found = self.table.table()
        there = {one.owner for one in found.replicas if one.left > 0} | {peer.name}
        todo = plan(found.leases, there, SHARDS, peer.name, list(peer.tenures))
        for shard in todo.give_up:
            self.table.released(peer.name, [peer.held[shard]])
            peer.tenures.forget(shard)
        for shard in todo.claim:
            call = Call(peer, "claim", peer.elapsed(self.time), shard=shard)
            self.execute(call)
            self.answer(call)


TestProtocol = Protocol.TestCase
TestProtocol.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
