"""Both lists of Thulium are asked for and read in the same way (Thulium's recordings document, BEHAVIOUR 2.1 and 2.5).

At most 100 records, in no documented order: a window is halved until one answer holds all. Only inside a single minute, which
cannot be halved, are pages read by overlapping offsets, again and again until two walks have seen the same rows.
"""

from hashlib import blake2b
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Raw, Struct

from poller.errors import Denied, Incomplete, Malformed, PollerError, RateLimited, Refused, VendorFault
from poller.jsontext import Text, lines, normal, read, records
from poller.model import Limits, Page, Request, Window
from poller.sources.thulium.times import DAY, MINUTE, bounds, instants

LIMIT = 100
STEP = 90
"""How far the next offset lies behind the last one: pages overlap, because rows move while they are read."""
WALKS = 5
TOLERANCE = 3 * MINUTE
"""A row may lie outside of the window by as much: bounds are padded and floored to minutes."""


class Cursor(Struct, frozen=True, array_like=True):
    """A walk by offsets over the rows of one minute."""

    offset: int
    walk: int = 1
    count: int = 0
    """The count that the walk's first answer gave."""
    seen: tuple[str, ...] = ()
    """Short hashes of the rows of this walk."""
    before: str = ""
    """The digest of the last walk's rows; empty where there was none or it brought a page without anything new."""


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
    return Limits(resolution=MINUTE, min_span=MINUTE, max_span=31 * DAY, first_span=DAY // 4, zone=zone)


def page_request(path: str, basic: tuple[str, str], zone: ZoneInfo, window: Window, cursor: str | None) -> Request:
    """GET 100 rows of a window."""
    date_from, date_to = bounds(window, zone)
    offset = _cursor(cursor).offset if cursor else 0
    query = (("limit", str(LIMIT)), ("offset", str(offset)), ("date_from", date_from), ("date_to", date_to))
    return Request(method="GET", path=path, query=query, basic=basic, headers=(("Accept", "application/json"),))


class PageReading:
    """One answer of either list. `own` is the field that the filter looks at."""

    offset: int | None = None

    def __init__(self, name: str, own: str, zone: ZoneInfo, window: Window, cursor: str | None) -> None:
        self._name = name
        self._own = own
        self._zone = zone
        self._window = window
        self._cursor = _cursor(cursor) if cursor else None
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """Keeps the bytes: whether a JSON answer is whole shows at its end."""
        self._parts.append(data)
        return []

    def close(self) -> Page:
        """The rows, and whether they are all."""
        body = b"".join(self._parts)
        self._parts.clear()
        (rows, count), folded = read(body, self._decode, self._name)
        found = records(rows, folded, body)
        page = Page(records=found, total=count, suspicions=self._suspicions(found, count))
        if self._cursor is not None:
            self._walk_on(page, self._cursor, count)
        elif len(rows) < count if count is not None else len(rows) >= LIMIT:
            if self._window.span > 2 * MINUTE:
                page.cut = True
            else:
                self._walk_on(page, Cursor(0, count=count or 0), count)
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
        rows = next((found for found in (answer.result, answer.data, answer.items) if found is not None), None)
        count = self._count(answer.count)
        if rows is None and (count != 0 or b'"result"' not in body):
            raise Malformed(f"{self._name}: no list of rows in the answer: {lines(body)}")
        return rows or [], count

    def _count(self, value: Text) -> int | None:
        text = normal(value)
        if not text:
            return None
        if not text.isdecimal() or len(text) > 9:
            raise Malformed(f"{self._name}: count is {text[:40]!r}")
        return int(text)

    def _suspicions(self, rows: list[bytes], count: int | None) -> tuple[str, ...]:
        first = self._cursor is None or self._cursor.offset == 0
        found = {
            "longer_than_limit": len(rows) > LIMIT,
            "count_below_rows": first and count is not None and count < len(rows),
            "count_shrank": self._cursor is not None and count is not None and count < self._cursor.count,
            "outside_window": any(self._outside(row) for row in rows),
        }
        return tuple(name for name, suspect in found.items() if suspect)

    def _outside(self, record: bytes) -> bool:
        """Whether no reading of the row's own time lies in the window; a row without a time is not suspected."""
        try:
            row = msgspec.json.decode(record, type=dict[str, Raw])
            text = msgspec.json.decode(row.get(self._own) or row["date"], type=str)
        except (KeyError, ValueError, RecursionError):
            return False
        begin, end = self._window.begin - TOLERANCE, self._window.end + TOLERANCE
        epochs = instants(text, self._zone)
        return bool(epochs) and not any(begin <= epoch <= end for epoch in epochs)

    def _walk_on(self, page: Page, at: Cursor, count: int | None) -> None:
        """Sets the page's cursor, or ends the walk. Raises Incomplete where walks do not agree."""
        seen = set(at.seen) | {blake2b(record, digest_size=6).hexdigest() for record in page.records}
        full = len(page.records) >= LIMIT
        more = full if count is None else at.offset + len(page.records) < count
        stale = at.offset > 0 and len(seen) == len(at.seen) and (full if count is None else len(seen) < count)
        if more and page.records and not stale:
            step = max(1, min(STEP, len(page.records) - (LIMIT - STEP)))
            first = at.count if at.offset else count or 0
            following = Cursor(at.offset + step, at.walk, first, tuple(sorted(seen)), at.before)
        else:
            digest = "" if stale else blake2b("".join(sorted(seen)).encode(), digest_size=16).hexdigest()
            if digest and digest == at.before:
                if count is not None and len(seen) < count:
                    page.suspicions += ("fewer_than_count",)
                return
            if at.walk >= WALKS:
                raise Incomplete(
                    f"{self._name}: {WALKS} walks over one minute do not agree; the vendor counts {count} rows"
                )
            following = Cursor(0, at.walk + 1, count or 0, (), digest)
        page.next = _encode(following).decode()


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
