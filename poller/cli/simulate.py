"""`poller simulate`: its options. What it does is loaded when it is asked for: a daemon carries no simulators."""

from pathlib import Path
from typing import Annotated, TypeVar

import typer

N = TypeVar("N", int, float)


def simulate_command(
    vendors: Annotated[list[str] | None, typer.Argument(help="Of mor, thulium, fonouc; all unless given.")] = None,
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
    from poller.cli.simulated import VENDORS, Simulation, WorldOptions, simulate_until_told  # noqa: PLC0415 see the top

    simulate_until_told(
        Simulation(
            vendors=tuple(vendors or VENDORS),
            ports=_pairs(port, int, "--port VENDOR=PORT"),
            faults=_pairs(fault, float, "--fault NAME=RATE"),
            world=WorldOptions(seed=seed, calls_per_minute=calls_per_minute, history=history),
            speed=speed,
            truth=truth,
        )
    )


def _pairs(words: list[str] | None, kind: type[N], form: str) -> dict[str, N]:
    try:
        return {name: kind(value) for name, _, value in (word.partition("=") for word in words or ())}
    except ValueError:
        raise typer.BadParameter(f"write {form}") from None
