"""The commands that look at and mend what a daemon keeps: status, sinks, sources, state."""

from typing import Annotated

import typer

from poller.cli.print import DEFAULT_CONFIG, ConfigPath, Json, say, say_json, say_table, when
from poller.commands import ask
from poller.operations import SinkStatus, Status

sinks = typer.Typer(help="Where events go.", no_args_is_help=True)
sources = typer.Typer(help="The phone systems that are asked.", no_args_is_help=True)
state = typer.Typer(help="What poller remembers.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds these commands to the program."""
    app.command()(status)
    app.add_typer(sinks, name="sinks")
    app.add_typer(sources, name="sources")
    app.add_typer(state, name="state")


# --- status ----------------------------------------------------------------------------------------------------------


def status(config: ConfigPath = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """How far every source has been read and every sink been served."""
    found = ask(config, lambda operations: operations.status(), looking=True)
    if as_json:
        say_json(found)
    else:
        _show_status(found)


def _show_status(found: Status) -> None:
    running = f"running since {when(found.started_at)}" if found.running else "not running"
    say(f"poller {found.version}, {running}; {found.store} store, {found.store_bytes} bytes, {found.seen_ids} ids seen")
    for reason in found.paused:
        say(f"Polling pauses: {reason}")
    heads = [
        "source", "endpoint", "read until", "complete until", "next poll", "last success", "late", "gaps", "overdue", "error",
    ]  # fmt: skip
    say_table("Endpoints", heads, [
        (each.source, _known(each.endpoint, each.configured), when(each.read_until), when(each.complete_until),
         when(each.next_poll), when(each.last_success), each.late_rows, each.open_gaps, each.overdue_rungs, each.error)
        for each in found.endpoints
    ])  # fmt: skip
    _show_sinks(found.sinks)
    if found.shards:
        heads = ["shard", "replica", "epoch", "lease ends in", "sources", "pending"]
        say_table("Shards", heads, [
            (each.shard, each.owner, each.epoch, None if each.lease_left is None else f"{each.lease_left:.1f} s",
             ", ".join(each.sources), ", ".join(f"{sink} {count}" for sink, count in each.pending.items()))
            for each in found.shards
        ])  # fmt: skip
        say(f"Replicas: {', '.join(found.replicas) or 'none'}")


def _show_sinks(found: list[SinkStatus]) -> None:
    heads = ["sink", "kind", "state", "pending", "to be tried again", "oldest pending", "dead letters", "error"]
    say_table("Sinks", heads, [
        (_known(each.sink, each.configured), each.kind, each.state, each.pending, each.retrying,
         when(each.oldest_pending), each.dead_letters, each.error)
        for each in found
    ])  # fmt: skip


def _known(name: str, configured: bool) -> str:
    return name if configured else f"{name} (not configured)"


# --- sinks, sources, state -------------------------------------------------------------------------------------------


@sinks.command("list")
def sinks_list(config: ConfigPath = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """List sinks, removed ones that the store still remembers included."""
    found = ask(config, lambda operations: operations.status(), looking=True).sinks
    if as_json:
        say_json(found)
    else:
        _show_sinks(found)


@sinks.command("forget")
def sinks_forget(name: Annotated[str, typer.Argument()], config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Drop the position and the dead letters of a sink that was removed from the configuration."""
    ask(config, lambda operations: operations.forget_sink(name))
    say(f"Forgotten: {name}")


@sources.command("forget")
def sources_forget(source: Annotated[str, typer.Argument()], config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Drop the checkpoints of a source that was removed, so that its ids may expire."""
    ask(config, lambda operations: operations.forget_source(source))
    say(f"Forgotten: {source}")


@state.command("rebuild")
def state_rebuild(
    accept_duplicates: Annotated[
        bool,
        typer.Option("--accept-duplicates", help="Go on although what was published cannot be read back."),
    ] = False,
    sink: Annotated[str | None, typer.Option(help="Only for this sink.")] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Go on with a store that was restored or emptied, where what was published cannot be read back."""
    done = ask(config, lambda operations: operations.rebuild(sink=sink, accept_duplicates=accept_duplicates))
    if as_json:
        say_json(done)
    else:
        say("\n".join(done))
