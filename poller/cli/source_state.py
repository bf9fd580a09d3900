"""`poller sources show`: one phone system with its ladders, its last polls and errors."""

from typing import Annotated

import typer

from poller.cli.print import DEFAULT_CONFIG, ConfigPath, Json, say, say_json, say_table, when
from poller.commands import ask
from poller.masking import quoted
from poller.quantities import show_duration
from poller.source_status import AskStatus, EndpointDetail, SourceStatus


def register(app: typer.Typer) -> None:
    """Adds this command to `poller sources`."""
    app.command("show")(show)


def show(
    name: Annotated[str, typer.Argument(help="As in the configuration.")],
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Show one phone system: how far each list is, its ladder, open gaps, the last polls and errors."""
    found = ask(config, lambda operations: operations.source(name), looking=True)
    if as_json:
        say_json(found)
        return
    _show_source(found)
    for each in found.endpoints:
        _show_endpoint(each)


def _show_source(found: SourceStatus) -> None:
    skew = "-" if found.skew is None else f"{found.skew:+.1f} s against ours"
    for title, value in {
        "source": f"{found.name} ({found.kind}, id {found.id})",
        "address": found.address,
        "credential": quoted(found.credential),
        "its clock": skew,
        "read by": "this process" if found.here else found.owner or "nobody now",
        "shard": found.shard,
        "dead letters": found.dead_letters,
    }.items():
        say(f"{title + ':':<14}{value}")


def _show_endpoint(found: EndpointDetail) -> None:
    it = found.it
    say(f"\n{it.endpoint}, every {show_duration(found.interval)}")
    late = f"{it.late_rows}, {round(it.late_most or 0)} s at most" if it.late_rows else "none"
    for title, value in {
        "complete until": when(it.complete_until),
        "read until": when(it.read_until),
        "next poll": when(it.next_poll) or ("now" if it.polling_since is not None else None),
        "last success": when(it.last_success),
        "behind": f"{round(it.behind)} s" if it.behind else "no",
        "late rows": late,
        "error": quoted(it.error) if it.error is not None else None,
    }.items():
        say(f"  {title + ':':<16}{'-' if value is None else value}")
    for each in found.asks:
        _show_ask(each)


def _show_ask(found: AskStatus) -> None:
    whose = f" of {found.ask}" if found.ask else ""
    say_table(f"Ladder{whose}", ["reads back", "every", "last pass ended", "next pass"], [
        (show_duration(each.back), show_duration(each.every), when(each.last), when(each.due)) for each in found.rungs
    ])  # fmt: skip
    for item in found.passes:
        say(f"Under way: a pass of {when(item.begin)} to {when(item.end)}, {item.share:.0%} read")
    if found.gaps:
        say_table(f"Open gaps{whose}", ["from", "until", "found", "reason"], [
            (when(each.begin), when(each.end), when(each.since), each.reason) for each in found.gaps
        ])  # fmt: skip
    if found.polls:
        heads = ["began", "took", "from", "to", "new", "updated", "known", "not understood", "too old", "ended"]
        say_table(f"Last polls{whose}", heads, [
            (when(each.at), f"{each.seconds:.1f} s", when(each.begin), when(each.end), each.new, each.updated, each.duplicate, each.invalid, each.filtered,
             each.reason or "well")
            for each in found.polls
        ])  # fmt: skip
    for each in found.failures:
        say(f"{when(each.at)}: {quoted(each.error or '')}")
