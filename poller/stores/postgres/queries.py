"""The named statements of queries.sql."""

import re
from pathlib import Path


def read(path: Path) -> dict[str, str]:
    """Statements by name; a block begins with `-- name: …` and ends where the next one begins. Comments are not sent."""
    blocks = re.split(r"^-- name: (\w+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    texts = [re.sub(r"^--.*\n", "", text, flags=re.MULTILINE).strip().rstrip(";") for text in blocks[2::2]]
    return dict(zip(blocks[1::2], texts, strict=True))


SQL = read(Path(__file__).with_name("queries.sql"))
