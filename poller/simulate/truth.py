"""What must be published: every state of every row, written as NDJSON while the world moves.

One line per state that became visible: `{"vendor", "endpoint", "kind", "id", "own_time", "counted", "states": [{"visible_at",
"gone_at", "found_by", "may_miss", "fields"}], "mention": {…, "by"} | absent}`. Lines of one thing belong together.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from math import inf
from pathlib import Path
from typing import IO, Any

from poller.simulate.things import Row

DECLARED: Mapping[str, tuple[str, ...]] = {
    "mor.user_calls": ("calldate2", "src", "dst", "dispod", "provider_name", "server_id", "nice_billsec"),
    "mor.local_calls": (),
    "mor.recordings": ("source", "destination", "user_id", "duration", "size"),
    "thulium.connections": (
        "disposition", "src", "dst", "duration", "billsec", "user", "user_login", "queue_id", "filename",
    ),
    "thulium.recordings": ("duration", "billsec", "src", "dst", "user"),
    "fonouc.cdrs": (
        "hangup_cause", "caller_id_number", "callee_id_number", "duration_seconds", "billing_seconds", "ringing_seconds",
        "media_recording_id",
    ),
    "fonouc.recordings": ("duration", "duration_ms", "_attachments", "caller_id_number", "callee_id_number"),
}  # fmt: skip
"""Which raw fields make another state of the same thing."""

_MENTIONED = {"thulium.connections": "thulium.recordings", "fonouc.cdrs": "fonouc.recordings"}


def plain(text: str) -> str:
    """A composed id without what XML cannot carry and parsers replace or drop."""
    if not text.isprintable():
        text = "".join(filter(str.isprintable, text))
    return text.replace("\ufffd", "").replace(" ", "")


class Truth:
    """Collects what became visible, in memory and, where a path is given, in a file that is flushed line by line."""

    def __init__(self, found_by: Callable[[str, float, float], float | None], path: Path | None = None) -> None:
        self.lines: list[str] = []
        self._found_by = found_by
        self._file: IO[str] | None = path.open("w", encoding="utf-8") if path else None

    def saw(self, row: Row, index: int) -> None:
        """A state became visible (a watcher of the world). One that differs only in what is not declared is no other state."""
        state, fields = row.states[index], _declared(row, index)
        if index and fields == _declared(row, index - 1):
            return
        later = (other for other in range(index + 1, len(row.states)) if _declared(row, other) != fields)
        gone = row.states[next(later, index)].visible_at
        gone = gone if gone != state.visible_at else inf
        found_by = self._found_by(row.endpoint, row.own_time, state.visible_at)
        life = {
            "visible_at": state.visible_at,
            "gone_at": None if gone == inf else gone,
            "found_by": found_by,
            "may_miss": found_by is None or gone < found_by,
        }
        self._write(
            row.endpoint,
            row.kind,
            row.id,
            own_time=row.own_time,
            counted=row.counted,
            states=[life | {"fields": fields}],
        )
        for recording in state.mentions:
            mention = life | {"own_time": row.own_time, "by": row.endpoint}
            self._write(
                _MENTIONED[row.endpoint], "recording", recording, own_time=row.own_time, states=[], mention=mention
            )

    def _write(self, endpoint: str, kind: str, thing: str, **rest: Any) -> None:  # noqa: ANN401 - any JSON value
        vendor = endpoint.split(".", maxsplit=1)[0]
        thing = plain(thing) if vendor == "mor" else thing
        line = {"vendor": vendor, "endpoint": endpoint, "kind": kind, "id": thing, **rest}
        text = json.dumps(line, ensure_ascii=True)
        self.lines.append(text)
        if self._file is not None:
            self._file.write(text + "\n")
            self._file.flush()

    def things(self) -> list[dict[str, Any]]:
        """Everything so far, lines of one thing merged."""
        return merge(json.loads(line) for line in self.lines)

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()


def _declared(row: Row, index: int) -> dict[str, Any]:
    fields = row.states[index].fields
    return {name: fields.get(name) for name in DECLARED[row.endpoint]}


def load(path: Path) -> list[dict[str, Any]]:
    """Reads a truth file."""
    with path.open(encoding="utf-8") as file:
        return merge(json.loads(line) for line in file if line.endswith("\n"))


def merge(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Puts the lines of each thing together: states, mentions, whether any row of it is counted."""
    things: dict[tuple[str, str], dict[str, Any]] = {}
    for line in lines:
        key = (line["endpoint"], line["id"])
        thing = things.setdefault(
            key, {name: line[name] for name in ("vendor", "endpoint", "kind", "id")}
            | {"own_time": line["own_time"], "counted": False, "states": [], "mentions": []},
        )  # fmt: skip
        thing["states"].extend(line["states"])
        thing["mentions"].extend([line["mention"]] if "mention" in line else [])
        thing["counted"] |= line.get("counted", False)
        if line["states"]:
            thing["own_time"] = line["own_time"]
    return list(things.values())
