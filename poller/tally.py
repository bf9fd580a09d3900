"""What became of records."""

from msgspec import Struct


class Tally(Struct):
    """What became of the records of a poll. The five add up to what was fetched."""

    new: int = 0
    updated: int = 0
    duplicate: int = 0
    invalid: int = 0
    filtered: int = 0
    late: int = 0
    """Of the new and updated ones, those found in a span that had been read before."""
    latest: float = 0.0
    """The largest lateness found, in seconds."""

    def add(self, other: "Tally") -> None:
        """Adds another tally to this one."""
        self.new += other.new
        self.updated += other.updated
        self.duplicate += other.duplicate
        self.invalid += other.invalid
        self.filtered += other.filtered
        self.late += other.late
        self.latest = max(self.latest, other.latest)
