"""Numbers, names and delays that all feeds draw from; the awkward ones among them are the point."""

from collections.abc import Sequence
from random import Random

from poller.simulate.world import WorldOptions

NUMBERS: Sequence[str] = (
    "37060000011", "+37060000012", "0037060000013", "37120000022", "+48501000111", "0501000111", "501000333", "221000222",
    "+16045550111", "16045550112", "anonymous", "sip:ana@pbx.example", "1-32626@198.51.100.9", "0000", "*72", "٠١٢٣٤٥",
)  # fmt: skip
EXTENSIONS: Sequence[str] = ("101", "104", "1204", "0042", "007")
NAMES: Sequence[str] = (
    "", "Ona <test>", "Žaneta & Sons", "Łukasz \"Żółw\" O'Neil", "名前 山田", "Zoë 🙂", "a\tb", "]]>", "null", "  padded  ",
)  # fmt: skip
UNPRINTABLE: Sequence[str] = ("bell\x07", "\x01start", "null\x00byte", "vt\x0b")


def number(rnd: Random) -> str:
    """An outside number, as vendors write them."""
    if rnd.random() < 0.2:
        return rnd.choice(NUMBERS)
    return f"{rnd.choice(('370', '+370', '48', '+48', '1', '0'))}{rnd.randrange(10**7, 10**9)}"


def name(rnd: Random) -> str:
    """A caller's name."""
    return rnd.choice(NAMES)


def row_visible(rnd: Random, own: int, end: float, options: WorldOptions) -> float:
    """When the row of a call that ended at `end` becomes visible: soon, late, or exactly at a rung's reach."""
    kind = rnd.random()
    usual = end + rnd.uniform(*options.usual_delay)
    exact = [own + back for back, _ in options.ladder if own + back >= end]
    if kind < options.exact_share and exact:
        return float(rnd.choice(exact))
    if kind < options.exact_share + options.late_share:
        return max(usual, own + rnd.uniform(0, options.late_max))
    return usual


def changes_at(rnd: Random, visible: float, options: WorldOptions) -> float | None:
    """When the row changes after it became visible; None: never."""
    return visible + rnd.uniform(*options.change_delay) if rnd.random() < options.change_share else None
