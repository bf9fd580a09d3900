"""The named statements of queries.sql."""

import re
from pathlib import Path


def read(path: Path) -> dict[str, str]:
    """Statements by name; a block begins with `-- name: …` and ends where the next one begins."""
    blocks = re.split(r"^-- name: (\w+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name: text.strip() for name, text in zip(blocks[1::2], blocks[2::2], strict=True)}


SQL = read(Path(__file__).with_name("queries.sql"))
