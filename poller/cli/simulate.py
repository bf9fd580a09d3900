"""`poller simulate`: phone systems to try things out with."""

import shlex
from pathlib import Path
from typing import Annotated, TypeVar

import typer
import yaml

from poller.cli.print import say
from poller.errors import ConfigError
from poller.simulate.run import VENDORS, Simulation, Simulators, build, simulate
from poller.simulate.world import WorldOptions

N = TypeVar("N", int, float)


def simulate_command(
    vendors: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(VENDORS)}; all unless given.")] = None,
    port: Annotated[list[str] | None, typer.Option(help="VENDOR=PORT; any free one unless given.")] = None,
    fault: Annotated[list[str] | None, typer.Option(help="NAME=RATE, the share of answers that it spoils.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same world.")] = 1,
    speed: Annotated[float, typer.Option(min=0.001, help="How fast the world's time runs.")] = 1.0,
    calls_per_minute: Annotated[float, typer.Option(min=0.0, help="Of each vendor.")] = 30.0,
    history: Annotated[float, typer.Option(min=0.0, help="Seconds that have happened before the start.")] = 0.0,
    truth: Annotated[
        Path | None, typer.Option(help="A file for what must be published, one JSON object per line.")
    ] = None,
) -> None:
    """Run simulated phone systems until a signal; prints what to write into a configuration."""
    config = Simulation(
        vendors=tuple(vendors or VENDORS),
        ports=_pairs(port, int, "--port VENDOR=PORT"),
        faults=_pairs(fault, float, "--fault NAME=RATE"),
        world=WorldOptions(seed=seed, calls_per_minute=calls_per_minute, history=history),
        speed=speed,
        truth=truth,
    )
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


def _pairs(words: list[str] | None, kind: type[N], form: str) -> dict[str, N]:
    try:
        return {name: kind(value) for name, _, value in (word.partition("=") for word in words or ())}
    except ValueError:
        raise typer.BadParameter(f"write {form}") from None


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
