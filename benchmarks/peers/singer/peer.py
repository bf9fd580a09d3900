"""The Singer SDK as one of those that are compared: a tap alone."""

import json
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import place as places
import used

FOLDER = Path(__file__).parent


class Singer:
    """A RESTStream. Each run is given the last state of the run before, as whoever runs taps does."""

    name = "Singer SDK"
    into_kafka = False
    terms = (
        "tap.py: RESTStream, incremental by the record's time, the state of one run given to the next; "
        "into a file that nobody reads: no target, no Kafka"
    )

    def __init__(self) -> None:
        self._python = places.python(FOLDER)

    def run(self, place: places.Place, until: Callable[[], bool] | None = None) -> used.Used:
        """Appends its messages to a file for each run."""
        state, number = place.folder / "state.json", len(list(place.folder.glob("*.jsonl")))
        config = json.dumps({"url": place.url, "begin": place.begin, "end": place.end})
        (place.folder / "config.json").write_text(config)
        command = [str(self._python), str(FOLDER / "tap.py"), "--config", str(place.folder / "config.json")]
        command += ["--state", str(state)] if state.exists() else []
        path = place.folder / f"{number}.jsonl"
        with path.open("wb") as output, (place.folder / "log").open("ab") as log:
            done = used.run(command, output=output, errors=log, until=until, by=signal.SIGKILL)
        for line in _lines(path):
            if line.get("type") == "STATE":
                state.write_text(json.dumps(line["value"]))
        return done

    def published(self, place: places.Place) -> Counter[str]:
        """What it wrote for a target to read."""
        lines = (line for path in place.folder.glob("*.jsonl") for line in _lines(path))
        return Counter(line["record"]["call_id"] for line in lines if line.get("type") == "RECORD")


def _lines(path: Path) -> list[dict]:
    """Whole messages: the last one of a killed tap may be cut."""
    with path.open("rb") as file:
        return [json.loads(line) for line in file if line.endswith(b"\n")]
