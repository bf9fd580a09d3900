"""The commands that look at and mend what a daemon keeps: status, dead letters, sinks, sources, state."""

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from poller.cli_print import DEFAULT_CONFIG, ConfigPath, Json, say, say_json, say_table, when
from poller.commands import ask
from poller.errors import PollerError
from poller.operations import DeadLetter, Operations, SinkStatus, Status

dead_letters = typer.Typer(help="Records and events that were set aside.", no_args_is_help=True)
sinks = typer.Typer(help="Where events go.", no_args_is_help=True)
sources = typer.Typer(help="The phone systems that are asked.", no_args_is_help=True)
state = typer.Typer(help="What poller remembers.", no_args_is_help=True)

Source = Annotated[str | None, typer.Option(help="Only records of this source.")]
Sink = Annotated[str | None, typer.Option(help="Only events for this sink.")]


def register(app: typer.Typer) -> None:
    """Adds these commands to the program."""
    app.command()(status)
    app.add_typer(dead_letters, name="dead-letters")
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
    heads = ["source", "endpoint", "read until", "complete until", "last success", "gaps", "overdue", "error"]
    say_table("Endpoints", heads, [
        (each.source, _known(each.endpoint, each.configured), when(each.read_until), when(each.complete_until),
         when(each.last_success), each.open_gaps, each.overdue_rungs, each.error)
        for each in found.endpoints
    ])  # fmt: skip
    _show_sinks(found.sinks)


def _show_sinks(found: list[SinkStatus]) -> None:
    heads = ["sink", "kind", "state", "pending", "to be tried again", "oldest pending", "dead letters", "error"]
    say_table("Sinks", heads, [
        (_known(each.sink, each.configured), each.kind, each.state, each.pending, each.retrying,
         when(each.oldest_pending), each.dead_letters, each.error)
        for each in found
    ])  # fmt: skip


def _known(name: str, configured: bool) -> str:
    return name if configured else f"{name} (not configured)"


# --- dead letters ----------------------------------------------------------------------------------------------------


@dead_letters.command("list")
def dead_list(
    config: ConfigPath = DEFAULT_CONFIG, source: Source = None, sink: Sink = None, as_json: Json = False
) -> None:
    """List dead letters, oldest first."""
    found = ask(config, lambda operations: operations.dead_letters(source=source, sink=sink), looking=True)
    if as_json:
        say_json(found)
        return
    say_table(f"Dead letters: {len(found)}", ["id", "what", "of", "reason", "since", "bytes", "error"], [
        (each.id[:12], each.what, each.sink or f"{each.source} {each.endpoint}", each.reason, when(each.at), each.size,
         each.error)
        for each in found
    ])  # fmt: skip


@dead_letters.command("show")
def dead_show(
    letter: Annotated[str, typer.Argument(metavar="ID", help="The id or its beginning.")],
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Show one dead letter with its body."""
    found = ask(config, lambda operations: operations.dead_letter(letter), looking=True)
    if as_json:
        say_json(_plain(found))
        return
    for name, value in _plain(found).items():
        if value is not None and name not in {"body", "body_base64"}:
            say(f"{name}: {when(found.at) if name == 'at' else value}")
    say((found.body or b"").decode(errors="replace"))


@dead_letters.command("retry")
def dead_retry(
    letters: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids or their beginnings.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every dead letter there is.")] = False,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Try dead letters again; those that succeed are closed."""
    if bool(letters) == every:
        raise typer.BadParameter("name the dead letters to retry, or all of them with --all")

    async def retry(operations: Operations) -> list[str]:
        chosen = letters or [each.id for each in await operations.dead_letters()]
        done = await operations.retry(chosen)
        if as_json:
            say_json(done)
        else:
            say_table(
                "Retried", ["id", "done", "error"], [(one.id, "yes" if one.done else "no", one.error) for one in done]
            )
        return [one.id for one in done if not one.done]

    left = ask(config, retry)
    if left:
        raise typer.Exit(1)


@dead_letters.command("export")
def dead_export(
    config: ConfigPath = DEFAULT_CONFIG,
    source: Source = None,
    sink: Sink = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; standard output unless given.")] = None,
) -> None:
    """Write dead letters with their bodies, one JSON object per line."""

    async def read(operations: Operations) -> list[DeadLetter]:
        return [
            await operations.dead_letter(each.id) for each in await operations.dead_letters(source=source, sink=sink)
        ]

    lines = b"".join(msgspec.json.encode(_plain(each)) + b"\n" for each in ask(config, read, looking=True))
    try:
        if output is None:
            sys.stdout.buffer.write(lines)
        else:
            output.write_bytes(lines)
    except OSError as error:
        raise PollerError(f"{output or 'standard output'} cannot be written: {error.strerror}") from None


def _plain(letter: DeadLetter) -> dict[str, object]:
    """The body as text where it is text; else `body_base64`."""
    fields = msgspec.to_builtins(letter)
    encoded = fields.pop("body")
    try:
        return {**fields, "body": None if letter.body is None else letter.body.decode()}
    except UnicodeDecodeError:
        return {**fields, "body_base64": encoded}


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
