"""`poller check`: what each endpoint really answers."""

from typing import Annotated

import anyio
import typer

from poller import check as checking
from poller import commands
from poller.check import Finding
from poller.cli_print import DEFAULT_CONFIG, ConfigPath, Json, say, say_json, when

Sources = Annotated[list[str] | None, typer.Argument(help="Only these sources; all of them otherwise.")]
Since = Annotated[str, typer.Option(help="How far back the one request of each endpoint asks, such as 3h.")]


def check(
    sources: Sources = None, since: Since = "1h", config: ConfigPath = DEFAULT_CONFIG, as_json: Json = False
) -> None:
    """Ask every endpoint once and say what came back. Exit code 1 when one failed."""
    settings = commands.settings_of(config)
    seconds = commands.duration(since, "--since")
    found = anyio.run(lambda: checking.check(settings, sources or [], since=seconds))
    if as_json:
        say_json(found)
    else:
        for finding in found:
            _show(finding)
    raise typer.Exit(1 if any(finding.verdict == "failed" for finding in found) else 0)


def _show(finding: Finding) -> None:
    ask = f" ({finding.ask})" if finding.ask else ""
    say(f"{finding.source}: {finding.endpoint}{ask}: {finding.verdict}")
    say(f"  asked for      {when(finding.begin)} to {when(finding.end)}, answered in {finding.seconds:.1f} s")
    if finding.error is not None:
        say(f"  failed         {finding.error}")
    else:
        _show_answer(finding)
    for sentence in finding.advice:
        say(f"  note           {sentence}")


def _show_answer(finding: Finding) -> None:
    more = ", and more on further pages" if finding.more_pages else ""
    say(f"  came back      {finding.records} records{more}, {finding.invalid} of them not understood")
    if finding.newest is not None:
        say(f"  oldest, newest {when(finding.oldest)}, {when(finding.newest)}")
    if finding.never_filled:
        say(f"  never filled   {', '.join(finding.never_filled)}")
    if finding.skew is not None:
        say(f"  its clock      {finding.skew:+.0f} s from ours")
    if finding.offset is not None:
        say(f"  its zone       UTC{finding.offset / 3600:+g} h at the time asked for")
    if finding.filter_honoured is not None:
        say(f"  its filter     {'honoured' if finding.filter_honoured else 'NOT honoured'}")
    elif finding.records:
        say("  its filter     cannot be judged: the records do not show the time that the vendor filters by")
    if finding.works_with:
        say(f"  works with     {finding.works_with}")
