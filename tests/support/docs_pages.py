"""The pages of the documentation, their links, code blocks and quotations."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "helm/poller/README.md",
]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`((?:[^`\n]|\n(?!\n))+)`")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block."""

    page: str
    language: str
    text: str


def text_of(page: Path) -> str:
    """The page as it is."""
    return page.read_text(encoding="utf-8")


def prose_of(page: Path) -> str:
    """Without its fenced blocks."""
    return _FENCE.sub("", text_of(page))


def blocks(*languages: str) -> list[Block]:
    """All fenced blocks in these languages."""
    return [
        Block(page.name, language, text)
        for page in PAGES
        for language, text in _FENCE.findall(text_of(page))
        if language in languages
    ]


def links(page: Path) -> list[str]:
    """Where the page's links lead, as written."""
    return _LINK.findall(prose_of(page))


def anchors(page: Path) -> set[str]:
    """The anchors that its headings have on the usual forges."""
    return {anchor(heading) for heading in _HEADING.findall(prose_of(page))}


def anchor(heading: str) -> str:
    """`## Sink: kafka` → `sink-kafka`."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def commands(page: Path) -> Iterator[str]:
    """Every `poller …` command of a page: in shell blocks and in inline code."""
    for language, text in _FENCE.findall(text_of(page)):
        if language == "sh":
            for line in text.replace("\\\n", " ").splitlines():
                command = line.partition(" # ")[0].strip().removeprefix(".venv/bin/")
                if command.startswith("poller "):
                    yield command
    for code in _CODE.findall(prose_of(page)):
        if found := re.match(r"(?:kubectl exec \S+ -- )?(poller\s.*)", " ".join(code.split())):
            yield found[1]


def quotations(page: Path) -> list[str]:
    """The program's sentences that a page quotes, each a line `> `…``."""
    return [
        line.removeprefix("> ")[1:-1]
        for line in prose_of(page).splitlines()
        if re.fullmatch(r"> `.*`", line) is not None
    ]
