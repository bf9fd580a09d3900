"""Pure: how values are written for the database."""

from collections.abc import Iterable


def to_bytes(text: str) -> bytes:
    """Words of others, which may hold what the database refuses as text: a NUL, half of a surrogate pair."""
    return text.encode("utf-8", "surrogatepass")


def to_text(data: bytes) -> str:
    """The reverse."""
    return data.decode("utf-8", "surrogatepass")


def storable(text: str) -> bool:
    """Whether the database takes it as text: what it does not take, it does not hold either."""
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def array(numbers: Iterable[float]) -> str:
    """As the database writes arrays: text is several times cheaper to make than what the driver makes of a list."""
    return "{" + ",".join([repr(number) for number in numbers]) + "}"


def runs(numbers: Iterable[int]) -> str:
    """Numbers as a multirange: what was sent out of order is mostly one long run with a few holes."""
    found: list[list[int]] = []
    for number in sorted(set(numbers)):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return "{" + ",".join([f"[{first},{last}]" for first, last in found]) + "}"
