"""What a long run shows at intervals, and whether it stays where it was."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import combinations, groupby
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

import msgspec

FEWEST = 4
"""Points of a slope, at least."""


class Sample(msgspec.Struct):
    """One look. `at`: seconds since the run began, by its own clock."""

    at: float
    figures: dict[str, float]


class Bound(NamedTuple):
    """How fast a figure may grow, and how large it may be."""

    figure: str
    unit: str
    slope: float
    """The most by which it may grow in each `per`; nothing is asked of what falls."""
    most: float = float("inf")


class Finding(NamedTuple):
    """What came of a bound."""

    bound: Bound
    first: float
    last: float
    """Means of the first and the last turn that is judged."""
    largest: float
    slope: float

    @property
    def ok(self) -> bool:
        return self.slope <= self.bound.slope and self.largest <= self.bound.most


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Theil and Sen's: the median of the slopes between all pairs. A quarter of the points may lie anywhere without moving it."""
    return median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2))


def judge(
    samples: Sequence[Sample], bounds: Sequence[Bound], *, settled: float, per: float, turn: float
) -> list[Finding]:
    """Each figure from `settled` seconds on, against its bound. `per`: seconds of what the slopes are given for.

    `turn`: seconds after which what rises and falls begins anew (a day, after which a day's ids go). The slope is one of the
    means of whole turns: what rises for a whole turn and falls at once rises in most pairs of its points.
    """
    late = [sample for sample in samples if sample.at > settled]
    turns = [list(some) for _, some in groupby(late, lambda one: int((one.at - settled - 1) // turn))]
    turns = [some for some in turns if len(some) >= 0.8 * max(map(len, turns))]  # the last one may not be over
    assert len(turns) >= FEWEST, f"{len(turns)} turns after {settled:g} s say nothing"
    found = []
    for bound in bounds:
        values = [[one.figures[bound.figure] for one in some] for some in turns]
        means = [mean(some) for some in values]
        steady = slope([(number * turn / per, value) for number, value in enumerate(means)])
        found.append(Finding(bound, means[0], means[-1], max(map(max, values)), steady))
    return found


def table(findings: Sequence[Finding], per: str) -> Iterator[str]:
    """As text, and as Markdown."""
    yield f"| figure | settled | at the end | most | growth per {per} | allowed | |"
    yield "|---|---|---|---|---|---|---|"
    for one in findings:
        unit = f" {one.bound.unit}" if one.bound.unit else ""
        verdict = "flat" if one.ok else "**grows**"
        cells = (f"{one.first:,.0f}{unit}", f"{one.last:,.0f}", f"{one.largest:,.0f}", f"{one.slope:+,.2f}{unit}")
        most = f", at most {one.bound.most:,.0f}" if one.bound.most != float("inf") else ""
        yield f"| {one.bound.figure} | {' | '.join(cells)} | {one.bound.slope:,g}{most} | {verdict} |"


# --- looking -----------------------------------------------------------------------------------------------------------


class Kept:
    """Samples in a file: in memory they would grow with the run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.write_bytes(b"")

    def add(self, at: float, figures: Mapping[str, float]) -> None:
        """One look."""
        with self._path.open("ab") as out:
            out.write(msgspec.json.encode(Sample(at, dict(figures))) + b"\n")

    def samples(self) -> list[Sample]:
        """All of them."""
        return [msgspec.json.decode(line, type=Sample) for line in self._path.read_bytes().splitlines()]


def process(pid: int) -> dict[str, float]:
    """What the system says of a process: KiB in memory, open files, threads."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines())
    files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return {"resident": float(status["VmRSS"].split()[0]), "open files": files, "threads": int(status["Threads"])}


def store(path: Path) -> dict[str, float]:
    """What is in the store's files, in KiB where it is a size. Reads only."""
    log = path.with_name(path.name + "-wal")
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10)) as db:
        (page,), (pages,), (free,) = (
            db.execute(f"PRAGMA {name}").fetchone() for name in ("page_size", "page_count", "freelist_count")
        )
        (events,) = db.execute("SELECT coalesce(sum(length(data)), 0) FROM segment").fetchone()
        (seen,) = db.execute("SELECT value FROM counter WHERE name = 'seen'").fetchone()
        (claims,) = db.execute("SELECT coalesce(sum(length(value)), 0) FROM checkpoint").fetchone()
    return {
        "store file": path.stat().st_size / 1024,
        "write-ahead log": log.stat().st_size / 1024 if log.exists() else 0.0,
        "store used": (pages - free) * page / 1024,
        "pages free": free,
        "kept events": events / 1024,
        "seen ids": seen,
        "checkpoints": claims / 1024,
    }


def series(text: str) -> float:
    """How many a scrape shows."""
    return sum(1 for line in text.splitlines() if line and not line.startswith("#"))
