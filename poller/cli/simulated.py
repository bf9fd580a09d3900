"""Simulated phone systems that run until a signal, and what to write into a configuration for them."""

import shlex

import yaml

from poller.cli.print import say
from poller.errors import ConfigError
from poller.simulate.run import VENDORS, Simulation, Simulators, build, simulate
from poller.simulate.world import WorldOptions

__all__ = ["VENDORS", "Simulation", "WorldOptions", "simulate_until_told"]


def simulate_until_told(config: Simulation) -> None:
    """Raises ConfigError where it cannot be built, or a port is taken."""
    try:
        build(config).truth.close()
        simulate(config, _show)
    except (ValueError, OSError) as error:
        raise ConfigError(f"simulate: {error}") from None
    except BaseExceptionGroup as group:
        taken = group.subgroup(OSError)
        if taken is None:
            raise
        raise ConfigError(f"simulate: {_first(taken)}") from None


def _show(running: Simulators) -> None:
    sources = {vendor: running.source(vendor) for vendor in running.config.vendors}
    for name, secret in running.environment().items():
        say(f"# export {name}={shlex.quote(secret)}")
    say(yaml.safe_dump({"sources": sources}, sort_keys=False).rstrip())
    say("# add `endpoints` to each; Ctrl-C ends the simulation")


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
