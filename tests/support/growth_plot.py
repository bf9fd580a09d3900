"""Curves of costs by sizes: their exponent, and a drawing with both axes logarithmic."""

import math
from dataclasses import dataclass
from html import escape

Points = list[tuple[int, float]]
_WIDTH, _HEIGHT, _COLUMNS = 300, 170, 3
_STYLE = """
text { font: 11px system-ui, sans-serif; fill: #24292f } .title { font-weight: 600 } .axis { stroke: #8c959f } .faint { fill: #57606a }
.fit { stroke: #0969da; stroke-width: 2; fill: none } .dot { fill: #0969da }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .axis { stroke: #6e7681 } .faint { fill: #9198a1 } .fit { stroke: #4493f8 } .dot { fill: #4493f8 } }
"""


@dataclass(frozen=True)
class Curve:
    """What `unit` of something costs by the size of something else. `bound`: the exponent that it may have at most."""

    title: str
    size: str
    unit: str
    points: Points
    bound: float

    @property
    def exponent(self) -> float:
        """`b` of the nearest `a * n ** b`, by least squares of the logarithms."""
        return fitted(self.points)[1]

    @property
    def fault(self) -> bool:
        """Whether it grows more than it may."""
        return self.exponent > self.bound

    def row(self) -> str:
        """For a table."""
        costs = " | ".join(f"{number:,}: {shown(cost)}" for number, cost in self.points)
        return (
            f"{self.title} ({self.unit} by {self.size}): {costs}  n^{self.exponent:.2f}, at most n^{self.bound:.2f}"
            + ("  TOO MUCH" if self.fault else "")
        )


def shown(cost: float) -> str:
    """Three digits, without an exponent."""
    return f"{cost:,.0f}" if cost >= 100 else f"{cost:.3g}"


def fitted(points: Points) -> tuple[float, float]:
    """`a` and `b`."""
    logs = [(math.log(number), math.log(cost)) for number, cost in points]
    mean_x, mean_y = (sum(column) / len(logs) for column in zip(*logs, strict=True))
    slope = sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum((x - mean_x) ** 2 for x, _ in logs)
    return math.exp(mean_y - slope * mean_x), slope


def drawing(curves: list[Curve]) -> str:
    """All of them as SVG, for light and dark."""
    rows = -(-len(curves) // _COLUMNS)
    panels = "".join(
        f'<g transform="translate({place % _COLUMNS * _WIDTH},{place // _COLUMNS * _HEIGHT})">{_panel(curve)}</g>'
        for place, curve in enumerate(curves)
    )
    box = f"{_COLUMNS * _WIDTH} {rows * _HEIGHT}"
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {box}" role="img" aria-label="Costs by sizes"><style>{_STYLE}</style>{panels}</svg>\n'


def _panel(curve: Curve) -> str:
    factor, slope = fitted(curve.points)
    low, high = (math.log10(curve.points[at][0]) for at in (0, -1))
    middle = sum(math.log10(cost) for _, cost in curve.points) / len(curve.points)
    # Two decades of cost at least, so that what is flat looks flat.
    half = max(1.0, *(abs(math.log10(cost) - middle) * 1.1 for _, cost in curve.points))

    def at(number: float, cost: float) -> tuple[float, float]:
        return (
            14 + (math.log10(number) - low) / (high - low) * (_WIDTH - 44),
            94 - (math.log10(cost) - middle) / half * 44,
        )

    ends = [at(number, factor * number**slope) for number in (curve.points[0][0], curve.points[-1][0])]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in ends)
    dots = "".join(
        f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/><text x="{x:.1f}" y="{y - 8:.1f}" text-anchor="{anchor}">{shown(cost)}</text>'
        f'<text class="faint" x="{x:.1f}" y="155" text-anchor="{anchor}">{number:,}</text>'
        for place, (number, cost) in enumerate(curve.points)
        for x, y in [at(number, cost)]
        for anchor in ["start" if place == 0 else "end" if place == len(curve.points) - 1 else "middle"]
    )
    return (
        f'<text class="title" x="10" y="16">{escape(curve.title)}, n^{curve.exponent:.2f}</text>'
        f'<text class="faint" x="10" y="31">{escape(curve.unit)} by {escape(curve.size)}</text>'
        f'<line class="axis" x1="10" x2="{_WIDTH - 20}" y1="142" y2="142"/><polyline class="fit" points="{line}"/>{dots}'
    )
