"""Telegraf as one of those that are compared: only the plugins that the feed needs, built as its documentation says."""

import hashlib
import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import place as places
import topic
import used
from feed import PAGE

FOLDER = Path(__file__).parent
RELEASE = "1.37.3"
TAGS = "custom,inputs.http,outputs.kafka,parsers.json,serializers.json"
PACKAGE = "github.com/influxdata/telegraf/cmd/telegraf"


class Telegraf:
    """`--once` over all pages."""

    name = "Telegraf"
    into_kafka = True
    terms = (
        f"{RELEASE}, telegraf.conf: inputs.http with an address for each page (it follows none), --once, a buffer for all of a reading, "
        "all fields, idempotent writes, zstd; no dedupe; into Kafka"
    )

    def __init__(self) -> None:
        if shutil.which("go") is None:
            raise places.Missing("there is no go on the PATH")
        sums = hashlib.sha256((FOLDER / "go.sum").read_bytes() + TAGS.encode()).hexdigest()[:12]
        self._program = places.kept(f"telegraf-{RELEASE}-{sums}", _build)

    def run(self, place: places.Place, until: Callable[[], bool] | None = None) -> used.Used:
        """One gathering, and what it flushes."""
        config = place.folder / "telegraf.conf"
        config.write_text(configuration(place))
        with (place.folder / "log").open("ab") as log:
            command = [str(self._program), "--once", "--config", str(config)]
            return used.run(command, output=log, errors=log, until=until, by=signal.SIGKILL)

    def published(self, place: places.Place) -> Counter[str]:
        """As read_committed readers see it."""
        return topic.found(place.bootstrap, place.topic, places.key)


def configuration(place: places.Place) -> str:
    """telegraf.conf with the addresses of all pages."""
    pages = range(0, max(1, place.records), PAGE)
    urls = [f'"{place.url}/cdrs?startDate={place.begin}&endDate={place.end}&startKey={first}"' for first in pages]
    text = (FOLDER / "telegraf.conf").read_text().replace("= LIMIT", f"= {max(10_000, 2 * place.records)}")
    text = text.replace('"BOOTSTRAP"', f'"{place.bootstrap}"').replace('"TOPIC"', f'"{place.topic}"')
    return text.replace("[URLS]", f"[{', '.join(urls)}]")


def _build(target: Path) -> None:
    """With the modules that go.sum names; a few minutes."""
    environment = os.environ | {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    command = ["go", "build", "-tags", TAGS, "-ldflags", "-s -w", "-o", str(target), PACKAGE]
    done = subprocess.run(command, cwd=FOLDER, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise places.Missing(f"it cannot be built: {places.last_line(done.stderr)}")
