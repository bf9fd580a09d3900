"""Which word was meant by one that nobody knows."""

import difflib
from collections.abc import Sequence


def meant(word: str, known: Sequence[str]) -> str:
    """` (did you mean `x`?)`, or nothing where no known word is near."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f" (did you mean `{near[0]}`?)" if near else ""
