"""What can be seen of the demo."""

import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import anyio
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from poller.cli.print import clean, console, say
from poller.demo import LONGEST, Picture, Wanted, demo
from poller.errors import ConfigError, PollerError
from poller.simulate.broker import BrokerFault, fetch, fetched, missing
from poller.simulate.judge import Verdict

_FRAME = 0.25
_LINE_EVERY = 3.0
_HEADS = ("endpoint", "new", "updated", "dropped", "late", "read until")
_OTHER_LINES = 8
"""Lines of the picture beside endpoints, errors and events."""


def watch(wanted_sink: str, duration: float | None, seed: int, keep: Path | None, faults: bool) -> int:
    """Runs it, shows it, compares. 0: everything was there, once. `wanted_sink`: auto, kafka or ndjson; `duration`: seconds."""
    with _interruptible(), ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="poller-demo-")))
        kept = _empty(keep) if keep else folder / "poller"
        kept.mkdir(parents=True, exist_ok=True)
        broker = folder / "kafka" if _kafka(wanted_sink) else None
        wanted = Wanted(folder=kept.absolute(), broker=broker, duration=duration or LONGEST, seed=seed, faults=faults)
        picture = Picture()
        verdict = anyio.run(demo, wanted, picture, _live if sys.stdout.isatty() else _lines)
    if verdict is None:
        raise PollerError("the demo ended before there was anything to compare")
    _tell(verdict, picture, "Kafka, read_committed" if broker else "events.ndjson")
    if keep is not None:
        say(f"Kept in {keep}: poller.yaml, the store, daemon.log, truth.ndjson.")
    say("Next: copy config/poller.yaml, a complete example, and fill in your phone systems;")
    say("`poller check -c FILE` asks each of them once, `poller run -c FILE` goes on for ever.")
    return 0 if verdict.ok and verdict.expected else 1


@contextmanager
def _interruptible() -> Iterator[None]:
    """Every polite signal is a Ctrl-C: what has been begun is tidied up."""
    before = {each: signal.signal(each, signal.default_int_handler) for each in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    except KeyboardInterrupt:
        raise PollerError("the demo was interrupted before there was anything to compare") from None
    finally:
        for each, previous in before.items():
            signal.signal(each, previous)


def _empty(folder: Path) -> Path:
    try:
        if folder.exists() and any(folder.iterdir()):
            raise ConfigError(f"--keep {folder}: the folder is not empty: name a new one")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--keep {folder}: {error.strerror or error}") from None
    return folder


def _kafka(sink: str) -> bool:
    """Whether there is a broker to start; its jars are there then. Raises PollerError where Kafka was asked for in vain."""
    if sink == "ndjson":
        return False
    lacking = missing()
    if lacking is None:
        try:
            if not fetched():
                say("Fetching Kafka's jars with Maven; this happens once and takes a minute or two.")
            fetch()
        except BrokerFault as error:
            lacking = str(error)
        else:
            return True
    if sink == "kafka":
        raise PollerError(lacking)
    say(f"Without Kafka, events go to a file (the ndjson sink): {lacking}")
    return False


# --- a terminal ------------------------------------------------------------------------------------------------------


async def _live(picture: Picture) -> None:
    screen = console()
    with Live(console=screen, auto_refresh=False, transient=False) as live:
        try:
            while True:
                live.update(_drawn(picture, screen), refresh=True)
                await anyio.sleep(_FRAME)
        finally:
            live.update(_drawn(picture, screen), refresh=True)


def _drawn(picture: Picture, screen: Console) -> Group:
    endpoints, trouble = _endpoints(picture), _trouble(picture)
    room = screen.height - _OTHER_LINES - endpoints.row_count - len(trouble)
    recent = list(picture.recent)[-max(0, min(8, room)) :] if room > 0 else []
    below = ["", _published(picture), _lag(picture), *map(_event, reversed(recent)), *trouble]
    return Group(_text(_head(picture)), _text(""), endpoints, *map(_text, below))


def _text(line: str) -> Text:
    return Text(line, no_wrap=True, overflow="ellipsis")


def _head(picture: Picture) -> str:
    left = picture.ends_at - time.monotonic()
    rest = f", {left:.0f} s left" if 0 <= left <= LONGEST else ""
    return f"poller demo: {picture.phase}{rest} (Ctrl-C ends it)"


def _endpoints(picture: Picture) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in _HEADS:
        table.add_column(head, justify="left" if head == "endpoint" else "right", no_wrap=True)
    for row in _rows(picture):
        table.add_row(*row)
    return table


def _rows(picture: Picture) -> Iterator[tuple[str, ...]]:
    for each in picture.status.endpoints if picture.status else ():
        counts = [_count(picture, "poller_records_total", each.source, each.endpoint, result)
                  for result in ("new", "updated", "duplicate")]  # fmt: skip
        late = _count(picture, "poller_late_arrival_seconds_count", each.endpoint)
        until = "-" if each.read_until is None else f"{time.time() - each.read_until:.0f} s ago"
        yield (each.endpoint, *(f"{count:.0f}" for count in (*counts, late)), until)


def _count(picture: Picture, *key: str) -> float:
    return picture.figures.get(key, 0.0)


def _published(picture: Picture) -> str:
    kinds = (
        f"{kind}s {picture.types[f'telephony.{kind}.new']} new {picture.types[f'telephony.{kind}.updated']} updated"
        for kind in ("call", "recording")
    )
    return f"published {len(picture.events)}: {', '.join(kinds)}"


def _lag(picture: Picture) -> str:
    lags = sorted(picture.lags)
    if picture.unread:
        return f"a consumer reads nothing: {picture.unread}"
    if not lags:
        return "a consumer waits for the first event"
    return f"seen → read by a consumer: {lags[len(lags) // 2]:.2f} s, at most {lags[-1]:.2f} s"


def _trouble(picture: Picture) -> list[str]:
    latest = sorted(picture.errors.items(), key=lambda item: -item[1][0])
    errors = [f"! {time.time() - at:.0f} s ago {_named(name, clean(text))}" for name, (at, text) in latest]
    return [
        *(f"! {note}" for note in picture.notes[-2:]),
        *(f"! {_one_line(each)}" for each in picture.refused),
        *errors[:2],
    ]


def _named(name: str, text: str) -> str:
    """An error on one line, with its endpoint where it does not name it itself."""
    line = _one_line(text)
    return line if name.rsplit(maxsplit=1)[-1] in line else f"{name}: {line}"


def _one_line(text: str) -> str:
    return " ".join(clean(text).split())


def _event(event: dict[str, Any]) -> str:
    """One line: when it began, from where, what, who with whom."""
    data = event["data"]
    kind = event["type"].removeprefix("telephony.")
    people = " → ".join(str((data.get(side) or {}).get("number") or "?") for side in ("from", "to"))
    seconds = data.get("duration_seconds")
    rest = [
        data.get("disposition"),
        None if seconds is None else f"{seconds:g} s",
        "late" if data.get("late") else None,
    ]
    words = [(event.get("time") or "")[11:19], event["source"].split("/")[2], kind, people, *filter(None, rest)]
    return clean("  ".join(words)).replace("\n", " ")


# --- no terminal -----------------------------------------------------------------------------------------------------


async def _lines(picture: Picture) -> None:
    """A line whenever the step changes, and every few seconds."""
    phase, told = "", 0
    due = time.monotonic()
    while True:
        for note in picture.notes[told:]:
            say(note)
        told = len(picture.notes)
        if picture.phase != phase or (picture.figures and time.monotonic() >= due):
            phase, due = picture.phase, time.monotonic() + _LINE_EVERY
            say(_line(picture))
        await anyio.sleep(_FRAME)


def _line(picture: Picture) -> str:
    rows = list(_rows(picture))
    if not rows:
        return picture.phase
    new, updated, dropped, late = (sum(int(row[at]) for row in rows) for at in range(1, 5))
    parts = [
        f"{new} new, {updated} updated, {dropped} duplicates dropped, {late} late",
        _published(picture),
        _lag(picture),
    ]
    return f"{picture.phase}: {'; '.join([*parts, *map(_one_line, picture.refused)])}"


# --- the end ---------------------------------------------------------------------------------------------------------


def _tell(verdict: Verdict, picture: Picture, where: str) -> None:
    say(f"\nCompared with what the phone systems know ({where}):")
    told = ("expected", "published_once", "missing", "twice", "updates_expected", "updates_published")
    wrong = ("updates_missing", "updates_repeated", "unknown")
    for name in told + tuple(name for name in wrong if getattr(verdict, name)):
        say(f"  {name.replace('_', ' '):18} {getattr(verdict, name):6}")
    if verdict.ahead:
        say(f"  besides {verdict.ahead} that need not have been found yet")
    for example in verdict.examples[:10]:
        say(f"  {example}")
    if any(picture.fired.values()):
        say("Simulated faults: " + ", ".join(f"{name} {times}" for name, times in picture.fired.items() if times))
    for each in picture.why:
        say(f"  {_one_line(each)}")
    say("Nothing is missing, nothing came twice.\n" if verdict.ok and verdict.expected else "They differ.\n")
