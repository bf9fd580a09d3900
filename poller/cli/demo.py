"""`poller demo`: its options. What it does is loaded when it is asked for: a daemon carries no simulators."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class SinkKind(StrEnum):
    """Where the demo's events go."""

    AUTO = "auto"
    KAFKA = "kafka"
    NDJSON = "ndjson"


def demo_command(
    duration: Annotated[
        float | None, typer.Option(min=1, help="Seconds, an hour unless given; Ctrl-C ends it earlier.")
    ] = None,
    sink: Annotated[SinkKind, typer.Option(help="auto: Kafka where Java and Maven are there.")] = SinkKind.AUTO,
    seed: Annotated[int, typer.Option(help="Of the simulated world.")] = 1,
    keep: Annotated[Path | None, typer.Option(help="A new folder for configuration, store, log and truth.")] = None,
    faults: Annotated[bool, typer.Option("--faults", help="The phone systems misbehave.")] = False,
) -> None:
    """Watch simulated phone systems, the daemon and Kafka, and compare with the truth. Exit code 1 when they differ."""
    from poller.cli.demo_watched import watch  # noqa: PLC0415 see the top

    raise typer.Exit(watch(sink, duration, seed, keep, faults))
