"""Both lists of Thulium are asked for and read in the same way (Thulium's recordings document, BEHAVIOUR 2.1 and 2.5).

At most 100 records, in no documented order: a window is halved until one answer holds all. Only inside a single minute, which
cannot be halved, are pages read by overlapping offsets, again and again until a walk brings nothing new.
"""

from hashlib import blake2b
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Raw, Struct

from poller.errors import Denied, Incomplete, Malformed, PollerError, RateLimited, Refused, VendorFault
from poller.jsontext import Gathered, Text, lines, normal, read, records
from poller.model import Limits, Page, Request, Window
from poller.sources.thulium.times import DAY, MINUTE, bounds

LIMIT = 100
STEP = 90
"""How far the next offset lies behind the last one: pages overlap, because rows move while they are read."""
WALKS = 10


class Cursor(Struct, frozen=True, array_like=True):
    """A walk by offsets over the rows of one minute."""

    offset: int
    walk: int = 1
    quiet: int = 0
    """Walks in a row that brought nothing new."""
    fresh: bool = False
    """Whether this walk has brought something new."""
    seen: tuple[str, ...] = ()
    """Short hashes of the rows of all walks."""


class _Error(Struct):
    message: Text = None
    code: Text = None


class _Answer(Struct):
    count: Text = None
    result: list[Raw] | None = None
    data: list[Raw] | None = None
    items: list[Raw] | None = None
    errors: list[_Error] | None = None


_answer = msgspec.json.Decoder(_Answer).decode
_bare = msgspec.json.Decoder(list[Raw]).decode
_cursor = msgspec.json.Decoder(Cursor).decode
_encode = msgspec.json.Encoder().encode


def limits(zone: str) -> Limits:
    """Whole minutes, and slices that begin with six hours."""
    return Limits(resolution=MINUTE, min_span=MINUTE, max_span=31 * DAY, first_span=DAY // 4, zone=zone, cap=LIMIT)


def page_request(path: str, basic: tuple[str, str], zone: ZoneInfo, window: Window, cursor: str | None) -> Request:
    """GET 100 rows of a window."""
    date_from, date_to = bounds(window, zone)
    offset = _cursor(cursor).offset if cursor else 0
    query = (("limit", str(LIMIT)), ("offset", str(offset)), ("date_from", date_from), ("date_to", date_to))
    return Request(method="GET", path=path, query=query, basic=basic, headers=(("Accept", "application/json"),))


class PageReading(Gathered):
    """One answer of either list."""

    def __init__(self, name: str, window: Window, cursor: str | None) -> None:
        super().__init__()
        self._name = name
        self._window = window
        self._cursor = _cursor(cursor) if cursor else None

    def close(self) -> Page:
        """The rows, and whether they are all."""
        body = self._body()
        (rows, count), folded = read(body, self._decode, self._name)
        found = records(rows, folded, body)
        suspicions = {
            "longer_than_limit": len(found) > LIMIT,
            "count_below_rows": count is not None and count < len(found),
        }
        page = Page(records=found, total=count, suspicions=tuple(name for name, true in suspicions.items() if true))
        if self._cursor is not None:
            self._walk_on(page, self._cursor)
        elif _more(0, page) and self._window.span > 2 * MINUTE:
            page.cut = True
        elif _more(0, page):
            self._walk_on(page, Cursor(0))
        return page

    def _decode(self, body: bytes) -> tuple[list[Raw], int | None]:
        try:
            if body.lstrip()[:1] == b"[":
                return _bare(body), None
            answer = _answer(body)
        except msgspec.ValidationError as error:
            raise Malformed(f"{self._name}: {error}; the answer begins with {lines(body)}") from None
        if answer.errors:
            raise refusal(answer.errors, self._name)
        lists = [found for found in (answer.result, answer.data, answer.items) if found is not None]
        count = self._count(answer.count)
        if not lists and (count != 0 or b'"result"' not in body):
            raise Malformed(f"{self._name}: no list of rows in the answer: {lines(body)}")
        return [row for rows in lists for row in rows], count

    def _count(self, value: Text) -> int | None:
        text = normal(value)
        if not text:
            return None
        if not text.isdecimal() or len(text) > 9:
            raise Malformed(f"{self._name}: count is {text[:40]!r}")
        return int(text)

    def _walk_on(self, page: Page, at: Cursor) -> None:
        """Sets the page's cursor, or ends after a walk that brought nothing new. Raises Incomplete where there is no end."""
        page.again = at.walk > 1
        seen = set(at.seen) | {blake2b(record, digest_size=6).hexdigest() for record in page.records}
        news = len(seen) > len(at.seen)
        if at.walk == 1 and at.offset and not news and len(page.records) >= LIMIT:
            raise Incomplete(f"{self._name}: the page at offset {at.offset} has only rows of earlier pages")
        if page.records and _more(at.offset, page):
            step = max(1, min(STEP, len(page.records) - (LIMIT - STEP)))
            following = Cursor(at.offset + step, at.walk, at.quiet, at.fresh or news, tuple(sorted(seen)))
        else:
            quiet = 0 if at.fresh or news else at.quiet + 1
            missing = len(seen) < (page.total or 0)
            if quiet >= (2 if missing else 1):
                page.suspicions += ("fewer_than_count",) if missing else ()
                return
            if at.walk >= WALKS:
                raise Incomplete(f"{self._name}: {WALKS} walks over one minute of {page.total} rows do not agree")
            following = Cursor(0, at.walk + 1, quiet, False, tuple(sorted(seen)))
        page.next = _encode(following).decode()


def _more(offset: int, page: Page) -> bool:
    """Whether there are rows behind this page. A full page is never taken for the end, whatever the count says."""
    return len(page.records) >= LIMIT or offset + len(page.records) < (page.total or 0)


def refusal(errors: list[_Error], where: str) -> PollerError:
    """The error for the vendor's own error document; the code's last three digits are an HTTP status."""
    said = "; ".join(f"{normal(error.message)[:160]} ({normal(error.code)[:12]})" for error in errors[:3])
    status = normal(errors[0].code)[-3:]
    if status in {"401", "403"}:
        return Denied(
            f"{where}: the vendor refuses the credential: {said}. Check username, password and the API user's rights"
        )
    if status == "429":
        return RateLimited(f"{where}: the vendor asks for fewer requests: {said}")
    if status.startswith("5") and len(status) == 3:
        return VendorFault(f"{where}: the vendor failed: {said}")
    return Refused(f"{where}: the vendor refuses: {said}")
