"""Counters and gauges that are small and written fast: ten thousand sources have a quarter of a million of them.

What a metric has for one source and endpoint is a row of numbers; the text of the labels is kept once for all metrics
that have the same ones. Values change in the event loop only; `write` may run in a thread.
"""

from collections.abc import Iterator
from typing import Literal

_SLICE = 500

Values = tuple[str, ...]


class Labels:
    """The text of label values, by the labels' names: `Labels().text(("source",), ("mor",))` is `source="mor"`."""

    def __init__(self) -> None:
        self._texts: dict[Values, dict[Values, tuple[Values, str]]] = {}

    def of(self, names: Values, values: Values) -> tuple[Values, str]:
        """The values as they were given first, so that equal ones are one object; and their text."""
        found = self._texts.setdefault(names, {})
        if values not in found:
            pairs = zip(names, values, strict=True)
            found[values] = values, ",".join(f'{name}="{_escape(value)}"' for name, value in pairs)
        return found[values]


class Series:
    """One line of a table. A value of None is not shown."""

    __slots__ = ("_at", "_row")

    def __init__(self, row: list[float | None], at: int) -> None:
        self._row = row
        self._at = at

    @property
    def value(self) -> float | None:
        """What is shown."""
        return self._row[self._at]

    def inc(self, count: float = 1) -> None:
        """Adds to a counter."""
        self._row[self._at] = (self._row[self._at] or 0) + count

    def set(self, value: float | None) -> None:
        """Sets a gauge; None takes the line away: absent is how "not known" is said."""
        self._row[self._at] = value


class Table:
    """One metric: a line per set of label values. `Table("x_total", "counter", "Help.", "source")["mor"].inc()`.

    `last`: the values that the last label can have, where they are a closed set; a row of them is made at once.
    """

    def __init__(
        self,
        name: str,
        kind: Literal["counter", "gauge"],
        text: str,
        *labels: str,
        last: Values = (),
        shared: Labels | None = None,
    ) -> None:
        self.name = name
        self._head = f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
        self._labels = labels
        self._texts = shared or Labels()
        self._of_row = labels[:-1] if last else labels
        self._places = {value: at for at, value in enumerate(last)}
        comma = "," if self._of_row else ""
        self._tails = [f'{comma}{labels[-1]}="{_escape(value)}"' for value in last] or [""]
        self._first = 0 if kind == "counter" else None
        self._rows: dict[Values, tuple[str, list[float | None]]] = {}
        if not labels:
            _ = self[()]

    def __getitem__(self, values: str | Values) -> Series:
        """The line of these label values, new ones beginning at 0 (a counter) or absent (a gauge)."""
        key = (values,) if isinstance(values, str) else values
        if len(key) != len(self._labels):
            raise ValueError(f"{self.name} has the labels {self._labels}, not {len(key)} values")
        at = self._places[key[-1]] if self._places else 0
        return Series(self._row(key[: len(self._of_row)]), at)

    def _row(self, key: Values) -> list[float | None]:
        found = self._rows.get(key)
        if found is None:
            key, text = self._texts.of(self._of_row, key)
            found = self._rows[key] = text, [self._first] * len(self._tails)
        return found[1]

    def inc(self, count: float = 1) -> None:
        """Adds to a counter without labels."""
        self[()].inc(count)

    def set(self, value: float | None) -> None:
        """Sets a gauge without labels."""
        self[()].set(value)

    def forget(self, *values: str) -> None:
        """The row goes; one in which something was counted stays, since it will be asked for again."""
        found = self._rows.get(values)
        if found is not None and (self._first is None or not any(found[1])):
            del self._rows[values]

    def write(self) -> Iterator[str]:
        """The text, in slices of a few hundred lines: none holds the interpreter for long."""
        yield self._head
        rows = list(self._rows.values())
        step = max(1, _SLICE // len(self._tails))
        for at in range(0, len(rows), step):
            yield "".join(self._lines(rows[at : at + step]))

    def _lines(self, rows: list[tuple[str, list[float | None]]]) -> Iterator[str]:
        for text, row in rows:
            for tail, value in zip(self._tails, row, strict=True):
                if value is not None:
                    yield f"{self.name}{{{text}{tail}}} {value}\n" if self._labels else f"{self.name} {value}\n"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
