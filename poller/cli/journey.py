"""`poller journey`: what became of one call, recording or event."""

import re
from typing import Annotated

import msgspec
import typer

from poller.cli.print import DEFAULT_CONFIG, ConfigPath, Json, say, say_json, when
from poller.commands import ask
from poller.journeys import Journey, Leg, Stop
from poller.masking import quoted
from poller.recent import Note


def journey(
    wanted: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="The vendor's id of a call or recording, or the id of an event or dead letter."
        ),
    ],
    config: ConfigPath = DEFAULT_CONFIG,
    numbers: Annotated[bool, typer.Option("--numbers", help="Show telephone numbers instead of masking them.")] = False,
    as_json: Json = False,
) -> None:
    """Show the way of one call: by which poll it was first seen, where it was published, what was attempted."""
    found = ask(config, lambda operations: operations.journey(wanted.encode("utf-8", "replace").decode()), looking=True)
    if as_json:
        say_json(_plain(found))
        return
    if not found.legs:
        say(f"Nothing is known of {found.wanted}")
    for leg in found.legs:
        for line in _lines(leg, found.wanted):
            say(line if numbers else masked_line(line, found.wanted))
    for letter in found.letters:
        say(f"Dead letter that holds it: {letter}")
    for line in found.looked:
        say(f"Looked: {line}")


def _plain(found: Journey) -> dict[str, object]:
    """For programs: the events as they are, with all numbers."""
    fields: dict[str, object] = msgspec.to_builtins(found)
    bodies = [None if leg.body is None else msgspec.json.decode(leg.body) for leg in found.legs]
    legs = [msgspec.to_builtins(leg) | {"body": body} for leg, body in zip(found.legs, bodies, strict=True)]
    return fields | {"legs": legs}


def masked_line(line: str, wanted: str) -> str:
    """The id that was asked for stays, where it stands as a whole: `3` is a part of many numbers."""
    if quoted(wanted) == wanted:
        return quoted(line)
    return wanted.join(quoted(part) for part in re.split(rf"(?<!\w){re.escape(wanted)}(?!\w)", line))


def _lines(leg: Leg, wanted: str) -> list[str]:
    lines = [f"{leg.type or 'An event that is no longer kept'}{' (sent again)' if leg.again else ''}"]
    if leg.event is not None:
        subject = f"{leg.kind or 'list'} {leg.subject}" if leg.subject != wanted else f"this {leg.kind or 'list'}"
        lines.append(f"  {subject}, event {leg.event}, revision {leg.revision}, began {leg.time or 'not known'}")
    lists = f", {' or '.join(leg.lists)}" if leg.lists else ""
    late = ", late" if leg.late else ""
    lines.append(f"  seen       {when(leg.first_seen) or f'under {leg.day}'} by a poll of {leg.source}{lists}{late}")
    if leg.poll is not None:
        brought = f"{leg.poll.new} new, {leg.poll.updated} updated, {leg.poll.duplicate} known"
        lines.append(f"             which began {when(leg.poll.at)}, took {leg.poll.seconds:.1f} s: {brought}")
        if leg.poll.begin is not None:
            lines.append(f"             and asked for {when(leg.poll.begin)} to {when(leg.poll.end)}")
    kept = f"{when(leg.committed) or 'no longer kept'} as entry {leg.seq} of shard {leg.shard}"
    lines.append(f"  kept       {kept}")
    for stop in leg.stops:
        lines += _stop_lines(stop)
    return lines


def _stop_lines(stop: Stop) -> list[str]:
    attempts = f", {stop.attempts} attempts" if stop.attempts is not None else ""
    later = f", the next one {when(stop.next)}" if stop.next is not None else ""
    letter = f", dead letter {stop.letter}" if stop.letter is not None else ""
    said = f": {stop.error}" if stop.error else ""
    where = f", {stop.where}" if stop.where else ""
    return [
        f"  {stop.sink}: {stop.standing}{where}{attempts}{later}{letter}{said}",
        *(_note_line(note) for note in stop.notes),
    ]


def _note_line(note: Note) -> str:
    which = f"attempt {note.number}" if note.number else "with others"
    said = ": ".join(filter(None, (note.reason, note.error)))
    return f"             {when(note.begin)} {which}: {note.outcome}{f' ({said})' if said else ''}"
