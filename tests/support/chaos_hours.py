"""Hours that pass in a moment, for programs whose clock is ours and for the phone systems that they ask."""

import time

from chaos_clock import WrongClock

from poller.simulate.run import Simulators

LONG = 6 * 3600.0
"""Seconds of a long outage."""
BEHIND = 5 * 86_400.0
"""So far all clocks of daemons and phone systems are behind at the beginning: brokers take no times of the future, and long outages use
it up."""
_SELDOM = 0.5
"""Calls a minute meanwhile."""


def six_hours_pass(clock: WrongClock, sims: Simulators) -> int:
    """As far as they are left; how many things happened meanwhile."""
    world = sims.world
    before = len(sims.things())
    rate, world.rate = world.rate, _SELDOM
    gone = min(LONG, time.time() - world.clock.now())
    assert gone > LONG / 2, "the days that the clocks were behind are used up: ask for fewer minutes"
    clock.let_pass(gone)
    world.clock.move(gone)
    things = len(sims.things())
    world.rate = rate
    return things - before
