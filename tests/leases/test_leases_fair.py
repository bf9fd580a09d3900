"""The fair share: balanced, few moves, and no shard is left to nobody, whatever comes and goes in whatever order."""

import random
from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import given
from leases_table import LeaseTable

from poller.leases.fair import Plan, plan
from poller.leasing import Lease
from poller.model import Held

LEASE = 15.0


class World:
    """Replicas that look and act at moments of their own, over one table. `mine` is in the order of taking."""

    def __init__(self, shards: int, seed: int) -> None:
        self.shards = shards
        self.time = 0.0
        self.table = LeaseTable(lambda: self.time, LEASE)
        self.mine: dict[str, dict[int, Held]] = {}
        self.moves = 0
        self.rnd = random.Random(seed)

    def arrive(self, name: str) -> None:
        self.mine[name] = {}
        self.table.renewed(name, (), LEASE, staying=True)

    def leave(self, name: str) -> None:
        """In order: everything is released."""
        self.table.renewed(name, (), LEASE, staying=False)
        self.table.released(name, self.mine.pop(name).values())

    def die(self, name: str) -> None:
        del self.mine[name]

    def planned(self, name: str) -> Plan:
        found = self.table.table()
        there = {one.owner for one in found.replicas if one.left > 0} | {name}
        return plan(found.leases, there, self.shards, name, list(self.mine[name]))

    def act(self, name: str, todo: Plan) -> None:
        for shard in todo.give_up:
            if shard in self.mine[name]:
                self.table.released(name, [self.mine[name].pop(shard)])
                self.moves += 1
        for shard in todo.claim:
            held = self.table.claimed(shard, name, LEASE)
            if held is not None:
                self.mine[name][shard] = held

    def turn(self) -> None:
        """Everybody looks once, in any order; some act on what they saw only after others have acted."""
        names = self.rnd.sample(sorted(self.mine), len(self.mine))
        late: list[tuple[str, Plan]] = []
        for name in names:
            self.table.renewed(name, self.mine[name].values(), LEASE, staying=True)
            todo = self.planned(name)
            if self.rnd.random() < 0.3:
                late.append((name, todo))
            else:
                self.act(name, todo)
        for name, todo in late:
            self.act(name, todo)
        self.time += 1.0

    def settle(self, turns: int = 12) -> None:
        for _ in range(turns):
            self.turn()

    def counts(self) -> list[int]:
        return [len(mine) for mine in self.mine.values()]

    def check_fair(self) -> None:
        assert sum(self.counts()) == self.shards
        assert len({shard for mine in self.mine.values() for shard in mine}) == self.shards
        assert max(self.counts()) - min(self.counts()) <= 1


def table(**owned: list[int]) -> list[Lease]:
    return [Lease(shard, owner, 1, 9.0) for owner, shards in owned.items() for shard in shards]


def test_the_first_takes_everything() -> None:
    assert plan([], {"a"}, 4, "a", []) == Plan((0, 1, 2, 3))


def test_free_shards_are_shared_without_asking_each_other() -> None:
    taken = [plan([], {"a", "b", "c"}, 16, name, []).claim for name in "abc"]
    assert sorted(sum(taken, ())) == list(range(16))
    assert sorted(map(len, taken)) == [5, 5, 6]


def test_a_newcomer_takes_from_the_richest_and_no_more_than_its_share() -> None:
    leases = table(a=list(range(8)), b=list(range(8, 16)))
    gone = [
        plan(leases, {"a", "b", "c"}, 16, name, mine).give_up for name, mine in (("a", range(8)), ("b", range(8, 16)))
    ]
    assert gone == [(6, 7), (13, 14, 15)]
    assert plan(leases, {"a", "b", "c"}, 16, "c", []) == Plan()


def test_nobody_moves_for_a_difference_of_one() -> None:
    leases = table(a=[0, 1, 2], b=[3, 4], c=[5, 6])
    assert [plan(leases, {"a", "b", "c"}, 7, name, mine) for name, mine in (("a", [0, 1, 2]), ("b", [3, 4]))] == [
        Plan()
    ] * 2


def test_what_was_taken_last_goes_first() -> None:
    leases = table(a=[0, 1, 2, 3])
    assert plan(leases, {"a", "b"}, 4, "a", [3, 0, 2, 1]).give_up == (2, 1)


def test_who_is_leaving_has_no_share_and_keeps_what_it_still_works_on() -> None:
    leases = table(a=[0, 1], gone=[2, 3])
    assert plan(leases, {"a"}, 6, "a", [0, 1]) == Plan((4, 5))


def test_a_claim_whose_answer_was_lost_is_made_again_and_nothing_else_before() -> None:
    leases = table(a=[0, 1, 2, 3])
    assert plan(leases, {"a", "b"}, 4, "a", [0, 3]) == Plan((1, 2))


def test_a_lapsed_lease_is_free() -> None:
    assert plan([Lease(0, "b", 3, 0.0), Lease(1, "b", 3, 0.1)], {"a", "b"}, 2, "a", []) == Plan((0,))


@given(shards=st.integers(1, 24), names=st.integers(1, 7), seed=st.integers(0, 1 << 20))
def test_replicas_that_start_together_become_even(shards: int, names: int, seed: int) -> None:
    world = World(shards, seed)
    for number in range(names):
        world.arrive(f"r{number}")
    world.settle()
    world.check_fair()
    moves = world.moves
    world.settle()
    assert world.moves == moves  # no ping-pong


@given(
    shards=st.integers(1, 24),
    events=st.lists(st.sampled_from(["arrive", "leave", "die"]), max_size=12),
    seed=st.integers(0, 1 << 20),
)
def test_whoever_comes_and_goes_it_becomes_even_and_nothing_is_left(shards: int, events: list[str], seed: int) -> None:
    world = World(shards, seed)
    world.arrive("first")
    for number, event in enumerate(events):
        if event == "arrive":
            world.arrive(f"r{number}")
        elif len(world.mine) > 1:
            getattr(world, event)(world.rnd.choice(sorted(world.mine)))
        for _ in range(world.rnd.randrange(4)):
            world.turn()
    for _ in range(int(LEASE) + 1):
        world.turn()
    world.settle()
    world.check_fair()


@given(shards=st.integers(1, 24), names=st.integers(1, 6), seed=st.integers(0, 1 << 20), comes=st.booleans())
def test_no_more_shards_move_than_must(shards: int, names: int, seed: int, *, comes: bool) -> None:
    world = World(shards, seed)
    for number in range(names):
        world.arrive(f"r{number}")
    world.settle()
    world.moves = 0
    if comes:
        world.arrive("newcomer")
        world.settle()
        assert world.moves == len(world.mine["newcomer"])  # each went from its owner to the newcomer, none further
        assert world.moves <= shards // (names + 1)
    elif names > 1:
        world.leave("r0")
        world.settle()
        assert world.moves == 0
    world.check_fair()


@given(shards=st.integers(1, 24), names=st.integers(2, 6), seed=st.integers(0, 1 << 20))
def test_what_a_dead_one_had_is_taken_as_soon_as_its_leases_end(shards: int, names: int, seed: int) -> None:
    world = World(shards, seed)
    for number in range(names):
        world.arrive(f"r{number}")
    world.settle()
    world.die("r0")
    for _ in range(int(LEASE) + 2):
        world.turn()
    assert sum(world.counts()) == shards


@pytest.mark.parametrize("shards", [1, 16, 17])
def test_rolling_restart(shards: int) -> None:
    """Each is replaced once: what moves is what the leaving one had, and what its successor gets back."""
    world = World(shards, 7)
    for name in "abc":
        world.arrive(name)
    world.settle()
    before = Counter(world.counts())
    for old, new in zip("abc", "xyz", strict=True):
        world.moves = 0
        world.leave(old)
        world.turn()
        world.arrive(new)
        world.settle()
        assert world.moves <= -(-shards // 3)
    assert Counter(world.counts()) == before
