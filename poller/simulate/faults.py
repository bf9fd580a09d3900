"""Every fault by name: how often it fires (seeded), how often it did. The same faults for all vendors where they make sense."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Final, Literal, TypeAlias

Where: TypeAlias = Literal["before", "after", "page", "records", "clock"]
"""before: instead of the answer · after: done to the whole answer · page, records: while it is made · clock: to its headers."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One way of a vendor to misbehave."""

    where: Where
    text: str
    vendors: tuple[str, ...] = ("mor", "thulium", "fonouc")


_FONO = ("fonouc",)
_JSON = ("thulium", "fonouc")
FAULTS: Final[Mapping[str, Fault]] = {
    # instead of the answer
    "html_200": Fault("before", "200 with an HTML page of a proxy"),
    "empty_200": Fault("before", "200 with an empty body"),
    "error_200": Fault("before", "200 with the vendor's own error text"),
    "http_500": Fault("before", "500 with an HTML body"),
    "http_503_retry_after": Fault("before", "503 with Retry-After in seconds"),
    "rate_limit_429": Fault("before", "429 without Retry-After"),
    "rate_limit_429_seconds": Fault("before", "429 with Retry-After in seconds"),
    "rate_limit_429_date": Fault("before", "429 with Retry-After as a date"),
    "hang": Fault("before", "takes the request and never answers"),
    "connection_reset": Fault("before", "the connection is reset before a byte came"),
    "redirect_other_host": Fault("before", "302 to another host"),
    "doctype_bomb": Fault("before", "XML with a DOCTYPE whose entities expand without end", ("mor",)),
    "endless_body": Fault("before", "200 with a body that never ends"),
    "gzip_bomb": Fault("before", "a small gzip body that inflates to 1 GiB"),
    "token_expired_early": Fault("before", "a valid token is refused once with 401", _FONO),
    # done to the answer
    "truncated": Fault("after", "the body ends in the middle, the framing is right"),
    "reset_midway": Fault("after", "the connection is reset in the middle of the body"),
    "content_length_too_long": Fault("after", "Content-Length promises more than comes, then the connection closes"),
    "content_length_too_short": Fault("after", "Content-Length cuts the body short"),
    "slow": Fault("after", "the body drips, a piece at a time"),
    "late": Fault("after", "the answer comes after two seconds"),
    "wrong_charset": Fault("after", "the body is in another charset than it says"),
    "invalid_utf8": Fault("after", "bytes that are no UTF-8 inside the body"),
    # to its headers
    "date_header_missing": Fault("clock", "no Date header"),
    "date_header_skewed": Fault("clock", "Date is 4 minutes behind"),
    "date_header_absurd": Fault("clock", "Date is not a date"),
    # to the records
    "control_characters": Fault("records", "control characters in names"),
    "extra_fields": Fault("records", "fields that nobody documented"),
    "missing_fields": Fault("records", "optional fields are absent"),
    "null_fields": Fault("records", "empty fields are null", _JSON),
    "numbers_as_strings": Fault("records", "numbers as strings", _JSON),
    "absurd_dates": Fault("records", "one more record, of the year 9999 or the 0th month"),
    "bad_record": Fault("records", "one more record that cannot be understood"),
    "duplicate_rows": Fault("records", "rows come twice in one answer"),
    "shuffled": Fault("records", "rows in no order"),
    # to the page
    "filter_ignored": Fault("page", "the answer ignores the asked window"),
    "echo_wrong": Fault("page", "the echoed period is another one than asked for", ("mor",)),
    "unclosed_page": Fault("page", "the closing </page> is missing", ("mor",)),
    "repeat_page": Fault("page", "the first page again, whatever the offset or key", _JSON),
    "repeat_key": Fault("page", "next_start_key is the one that was sent", _FONO),
    "stuck_key": Fault("page", "next_start_key names the first row of the same page: it never advances", _FONO),
    "page_for_ever": Fault("page", "always another page", _FONO),
    "missing_month": Fault("page", "one month's database fails and is taken for empty", _FONO),
    "empty_page_with_key": Fault("page", "an empty page that says there is another", _FONO),
    "shrinking_total": Fault("page", "count is smaller than it was", ("thulium",)),
    "moving_offsets": Fault("page", "rows change places between two pages", ("thulium",)),
    # files of recordings
    "file_json": Fault("page", "JSON instead of audio"),
    "file_short": Fault("page", "fewer bytes than the list said"),
}  # fmt: skip
"""Name → what happens. Printable as a table."""


class Faults:
    """Rates and counts of one simulated vendor."""

    def __init__(self, vendor: str, rates: Mapping[str, float] | None = None, seed: int = 1) -> None:
        self.vendor = vendor
        self.rates: dict[str, float] = {}
        self.fired: dict[str, int] = {name: 0 for name, fault in FAULTS.items() if vendor in fault.vendors}
        self._forced: dict[str, int] = {}
        self._rnd = Random(f"{seed}/faults/{vendor}")
        for name, rate in (rates or {}).items():
            self.rate(name, rate)

    def rate(self, name: str, rate: float) -> None:
        """Sets how often a fault fires (0…1). Raises ValueError for an unknown name or rate; a name of another vendor is ignored."""
        if name not in FAULTS:
            raise ValueError(f"no fault is called {name!r}; there are {', '.join(sorted(FAULTS))}")
        if not 0 <= rate <= 1:
            raise ValueError(f"the rate of {name} is {rate}: it lies between 0 and 1")
        if name in self.fired:
            self.rates[name] = rate

    def force(self, name: str, times: int = 1) -> None:
        """Makes the fault fire the next `times` times it could."""
        self.rate(name, self.rates.get(name, 0.0))
        self._forced[name] = self._forced.get(name, 0) + times

    def fires(self, name: str) -> bool:
        """Whether the fault happens now; counted. Never for a fault of other vendors."""
        if name not in self.fired:
            return False
        if self._forced.get(name, 0) > 0:
            self._forced[name] -= 1
        elif not (self.rates.get(name) and self._rnd.random() < self.rates[name]):
            return False
        self.fired[name] += 1
        return True

    @property
    def forced(self) -> bool:
        """Whether any fault is due to fire."""
        return any(self._forced.values())

    def random(self) -> Random:
        """The seeded source of everything that happens at random in answers."""
        return self._rnd

    def calm(self) -> None:
        """No fault any more; the counts stay."""
        self.rates.clear()
        self._forced.clear()


def parse_rates(texts: list[str]) -> dict[str, float]:
    """`["slow=0.1", "html_200=0.05"]` → rates. Raises ValueError with a sentence."""
    rates = {}
    for text in texts:
        name, _, rate = text.partition("=")
        try:
            rates[name.strip()] = float(rate)
        except ValueError:
            raise ValueError(f"{text!r} is no fault with a rate: write name=0.05") from None
        if name.strip() not in FAULTS:
            raise ValueError(f"no fault is called {name!r}; there are {', '.join(sorted(FAULTS))}")
    return rates
