"""Counters and gauges that are written fast: the text of each line stands ready, only the value is added.

Values change in the event loop only; `write` may run in a thread.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

_SLICE = 500


class Series:
    """One line of a table. A value of None is not shown."""

    __slots__ = ("head", "value")

    def __init__(self, head: str, value: float | None) -> None:
        self.head = head
        self.value = value

    def inc(self, count: float = 1) -> None:
        """Adds to a counter."""
        self.value = (self.value or 0) + count

    def set(self, value: float | None) -> None:
        """Sets a gauge; None takes the line away: absent is how "not known" is said."""
        self.value = value


class Table:
    """One metric: a line per set of label values. `Table("x_total", "counter", "Help.", "source")["mor"].inc()`."""

    def __init__(self, name: str, kind: Literal["counter", "gauge"], text: str, *labels: str) -> None:
        self.name = name
        self._head = f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
        self._labels = labels
        self._first = 0 if kind == "counter" else None
        self._series: dict[tuple[str, ...], Series] = {}
        self._expected: dict[tuple[str, ...], tuple[str, ...]] = {}
        if not labels:
            _ = self[()]

    def __getitem__(self, values: str | tuple[str, ...]) -> Series:
        """The line of these label values, new ones beginning at 0 (a counter) or absent (a gauge)."""
        key = (values,) if isinstance(values, str) else values
        found = self._series.get(key)
        if found is None:
            if len(key) != len(self._labels):
                raise ValueError(f"{self.name} has the labels {self._labels}, not {len(key)} values")
            found = self._series[key] = Series(
                f"{self.name}{{{self._pairs(key)}}} " if key else f"{self.name} ", self._first
            )
        return found

    def _pairs(self, values: tuple[str, ...]) -> str:
        return ",".join([f'{name}="{_escape(value)}"' for name, value in zip(self._labels, values, strict=False)])

    def expect(self, values: tuple[str, ...], lasts: tuple[str, ...]) -> None:
        """Shows lines at 0, with each of `lasts` behind these label values, until they are counted.

        Most of them stay so for ever: they are put together when they are written, and take no memory.
        """
        self._expected[values] = lasts

    def forget(self, values: tuple[str, ...]) -> None:
        """What is only expected is expected no more; a line of exactly these values goes. What was counted stays."""
        self._expected.pop(values, None)
        self._series.pop(values, None)

    def inc(self, count: float = 1) -> None:
        """Adds to a counter without labels."""
        self[()].inc(count)

    def set(self, value: float | None) -> None:
        """Sets a gauge without labels."""
        self[()].set(value)

    def items(self) -> list[tuple[tuple[str, ...], Series]]:
        """The lines that were counted or set, by their label values."""
        return list(self._series.items())

    def write(self) -> Iterator[str]:
        """The text, in slices short enough not to hold the interpreter for long."""
        yield self._head
        counted, expected = dict(self._series), list(self._expected.items())  # of one moment: no line comes twice
        for at in range(0, len(expected), _SLICE // 10):
            yield "".join([self._zeros(values, lasts, counted) for values, lasts in expected[at : at + _SLICE // 10]])
        series = list(counted.values())
        for at in range(0, len(series), _SLICE):
            shown = ((one.head, one.value) for one in series[at : at + _SLICE])
            yield "".join(f"{head}{value}\n" for head, value in shown if value is not None)

    def _zeros(self, values: tuple[str, ...], lasts: tuple[str, ...], counted: Mapping[tuple[str, ...], Series]) -> str:
        begin, label = f"{self.name}{{{self._pairs(values)},", self._labels[-1]
        return "".join([f'{begin}{label}="{last}"}} 0\n' for last in lasts if (*values, last) not in counted])


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
