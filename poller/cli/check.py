"""`poller check`: what each endpoint really answers."""

from typing import Annotated

import anyio
import typer

from poller import check as checking
from poller import check_sinks, commands
from poller.check import Finding
from poller.check_sinks import Reach
from poller.cli.print import DEFAULT_CONFIG, ConfigPath, Json, say, say_json, when
from poller.config import Settings

Sources = Annotated[list[str] | None, typer.Argument(help="Only these sources and webhooks; all of them otherwise.")]
Since = Annotated[str, typer.Option(help="How far back the one request of each endpoint asks, such as 3h.")]


def check(
    sources: Sources = None, since: Since = "1h", config: ConfigPath = DEFAULT_CONFIG, as_json: Json = False
) -> None:
    """Ask every endpoint once and say what came back; webhooks are looked up and not called. Exit code 1 when one failed."""
    settings = commands.settings_of(config)
    seconds = commands.duration(since, "--since")
    found, reached = anyio.run(_check, settings, sources or [], seconds)
    if as_json:
        say_json([*found, *reached])
    else:
        for finding in found:
            _show(finding)
        for reach in reached:
            _show_reach(reach)
    verdicts = [one.verdict for one in found] + [one.verdict for one in reached]
    raise typer.Exit(1 if "failed" in verdicts else 0)


async def _check(settings: Settings, names: list[str], since: float) -> tuple[list[Finding], list[Reach]]:
    hooks = [name for name in names if name in settings.sinks]
    sources = [name for name in names if name in settings.sources or name not in settings.sinks]
    reached = await check_sinks.check(settings, hooks) if hooks or not names else []
    return await checking.check(settings, sources, since=since) if sources or not names else [], reached


def _show_reach(reach: Reach) -> None:
    said = f" → {', '.join(reach.addresses)}, may be reached" if reach.error is None else f": failed: {reach.error}"
    say(f"{reach.sink}: {reach.url}{said}")


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
