"""The machine's clock, and the clock that tests hold."""

import anyio
import pytest
from fake_clock import FakeClock, settle

from poller.clock import SystemClock


@pytest.mark.parametrize("moved", [-3600.0, -0.6, 0.6, 86_400.0])
def test_a_clock_that_moves_is_unsteady_until_it_was_calm_for_a_while(moved: float) -> None:
    clock = SystemClock(jump=0.5, calm=60)
    assert clock.steady()
    low, high = clock._apart
    clock._compare((low + moved, high + moved))
    assert not clock.steady()
    clock._moved_at -= 59
    assert not clock.steady()
    clock._moved_at -= 2
    assert clock.steady()


def test_slewing_is_no_move() -> None:
    clock = SystemClock(jump=0.5, calm=60)
    before = clock._moved_at
    low, high = clock._apart
    for _ in range(10_000):  # an hour's worth, looked at every few seconds, half a millisecond per second
        low, high = low + 0.002, high + 0.002
        clock._compare((low, high))
    assert clock._moved_at == before


def test_a_process_that_is_put_aside_between_two_looks_saw_no_move() -> None:
    clock = SystemClock(jump=0.5, calm=60)
    before = clock._moved_at
    low, high = clock._apart
    clock._compare((low - 30, high))
    clock._compare((low, high))
    clock._compare((low, high + 30))
    assert clock._moved_at == before
    clock._compare((low - 30.7, high - 0.7))
    assert clock._moved_at > before


@pytest.mark.anyio
async def test_sleepers_wake_in_order_and_at_their_time() -> None:
    clock = FakeClock()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, *seconds: float) -> None:
        for one in seconds:
            await clock.sleep(one)
            woken.append((name, clock.mono() - 1000))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sleeper, "a", 3, 3)
        tasks.start_soon(sleeper, "b", 5)
        tasks.start_soon(sleeper, "c", 1, 1, 100)
        await settle()
        await clock.advance(5.5)
        assert woken == [("c", 1.0), ("c", 2.0), ("a", 3.0), ("b", 5.0)]
        assert clock.now() == 1_700_000_005.5
        assert await clock.advance_to_next() == 0.5
        assert woken[-1] == ("a", 6.0)
        left = clock.sleeping
        assert left == 1
        tasks.cancel_scope.cancel()
    assert clock.sleeping == 0


@pytest.mark.anyio
async def test_the_machines_clock_sleeps() -> None:
    clock = SystemClock()
    before = clock.mono()
    await clock.sleep(0.02)
    await clock.sleep(-5)
    assert clock.mono() - before >= 0.019
