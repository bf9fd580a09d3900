"""What is kept to be tried again, by place alone: dues, turns, and no more memory than places."""

import random

from hypothesis import given
from hypothesis import strategies as st

from poller.kept import Place
from poller.one_by_one.waiting import Waiting


def place(seq: int, due: float | None, key: str = "k") -> Place:
    return Place(seq, key, due, 10)


@given(st.lists(st.tuples(st.integers(1, 30), st.floats(0, 100), st.sampled_from(["put", "due", "drop", "take"]))))
def test_the_soonest_is_always_that_of_a_plain_list(steps: list[tuple[int, float, str]]) -> None:
    waiting, dues, taken = Waiting(ordered=False), dict[int, float](), set[int]()
    for seq, due, what in steps:
        if what == "put":
            waiting.put(place(seq, due))
            dues[seq] = due
            taken.discard(seq)
        elif what == "due":
            waiting.set_due(seq, due)
            dues |= {seq: due} if seq in dues else {}
        elif what == "drop":
            waiting.drop(seq)
            dues.pop(seq, None)
            taken.discard(seq)
        elif seq in dues:
            waiting.take(seq)
            taken.add(seq)
        free = {seq: due for seq, due in dues.items() if seq not in taken}
        soonest = waiting.soonest(1e9)
        assert (soonest.due if soonest else None) == min(free.values(), default=None)
        assert sorted(one.seq for one in waiting.next(99)) == sorted(free)
        assert [one.seq for one in waiting.oldest(99)] == sorted(free)
        assert waiting.bytes == 10 * len(dues)


def test_what_is_due_again_and_again_takes_no_more_memory() -> None:
    waiting, rnd = Waiting(ordered=False), random.Random(1)
    for seq in range(100):
        waiting.put(place(seq, 1e6))
    for _ in range(100_000):
        waiting.set_due(rnd.randrange(100), rnd.uniform(1, 1e6))
    assert len(waiting._heap) <= 1_300


def test_a_due_that_another_clock_wrote_is_cut() -> None:
    waiting = Waiting(ordered=False)
    waiting.load([place(1, 5e9)], now=100.0, longest=50.0, position=9)
    assert waiting.next(1)[0].due == 150.0
    waiting.set_due(1, 5e9)
    soonest = waiting.soonest(200.0)
    assert soonest is not None
    assert soonest.due == 200.0


def test_turns_of_a_key_go_by_number_whatever_comes_first() -> None:
    waiting = Waiting(ordered=True)
    waiting.load([place(3, None), place(5, None)], now=1.0, longest=9.0, position=0)
    assert waiting.soonest(99.0) is None, "number 2 may still come from the log"
    waiting.join("k", 2)
    waiting.passed(3, 1.0)
    assert waiting.soonest(99.0) is None
    assert waiting.has_turn("k", 2)
    assert waiting.leave("k", 2) == 3
    waiting.set_due(3, 2.0)
    assert waiting.leave("k", 5) is None, "it leaves from behind"
    assert waiting.leave("k", 3) is None


def test_a_first_one_without_due_is_due_when_nothing_can_come_before_it() -> None:
    waiting = Waiting(ordered=True)
    waiting.load([place(3, None), place(9, None, "x")], now=1.0, longest=9.0, position=5)
    assert [one.seq for one in waiting.next(9)] == [3]
    waiting.passed(9, 2.0)
    assert [one.seq for one in waiting.next(9)] == [3, 9]


def test_one_that_is_over_before_the_log_is_read_so_far_has_no_turn() -> None:
    waiting = Waiting(ordered=True)
    waiting.load([place(3, None)], now=1.0, longest=9.0, position=0)
    waiting.take(3)
    assert waiting.leave("k", 3) is None
    waiting.passed(3, 1.0)
    assert waiting.soonest(99.0) is None


def test_one_that_was_due_before_there_was_an_order_waits_for_its_turn() -> None:
    waiting = Waiting(ordered=True)
    waiting.load([place(3, 7.0), place(5, 2.0)], now=1.0, longest=9.0, position=9)
    assert [(one.seq, one.due) for one in waiting.oldest(99)] == [(3, 7.0), (5, None)]
    assert [one.seq for one in waiting.next(9)] == [3]


def test_a_clock_that_is_set_back_delays_nothing() -> None:
    waiting = Waiting(ordered=False)
    for seq in range(9):
        waiting.put(place(seq, 1_000.0 + seq * 7 % 9))
    before = [(one.seq, (one.due or 0) - 600) for one in waiting.next(9)]
    waiting.put(place(9, None))
    waiting.set_back(600.0)
    assert [(one.seq, one.due) for one in waiting.next(9)] == before
    soonest = waiting.soonest(9e9)
    assert soonest is not None
    assert soonest.due == 400.0
