"""Until when a shard may be believed to be ours."""

from poller.leases.tenure import Tenures
from poller.model import Held, Position

LEASE = 15.0


def held(shard: int, epoch: int = 1) -> Held:
    return Held(shard, epoch, Position())


def test_a_lease_is_over_here_before_it_ends_in_the_store() -> None:
    tenures = Tenures(LEASE)
    tenure = tenures.claimed(held(0), asked=100.0, now=101.0)
    assert tenure is not None
    assert tenure.ours(101.0)
    assert not tenure.ours(100.0 + 0.9 * LEASE)
    assert tenures.lapsed(100.0 + 0.9 * LEASE) == [0]
    assert not tenure.ours(101.0)  # whatever the clock says later


def test_a_claim_whose_answer_comes_too_late_gives_nothing() -> None:
    tenures = Tenures(LEASE)
    assert tenures.claimed(held(0), asked=100.0, now=100.0 + LEASE) is None
    assert tenures.asking() == ()


def test_seconds_count_from_before_the_call_and_never_back() -> None:
    tenures = Tenures(LEASE)
    tenure = tenures.claimed(held(0), asked=100.0, now=100.0)
    assert tenure is not None
    tenures.renewed(110.0, [held(0)], {0})
    tenures.renewed(105.0, [held(0)], {0})  # its answer was overtaken
    assert tenure.ours(110.0 + 0.7 * LEASE)
    assert not tenure.ours(110.0 + 0.9 * LEASE)


def test_what_is_not_renewed_is_lost_unless_it_was_claimed_anew_meanwhile() -> None:
    tenures = Tenures(LEASE)
    for shard in (0, 1):
        tenures.claimed(held(shard), asked=100.0, now=100.0)
    asked = tenures.asking()
    tenures.claimed(held(1, epoch=2), asked=101.0, now=101.0)
    assert tenures.renewed(100.5, asked, frozenset()) == [0]
    assert [one.epoch for one in tenures.asking()] == [2]


def test_a_lease_without_an_end_is_never_over() -> None:
    tenures = Tenures(float("inf"))
    tenure = tenures.claimed(held(0), asked=0.0, now=0.0)
    assert tenure is not None
    assert tenure.ours(1e12)
    assert tenures.lapsed(1e12) == []
