"""Both lists of FonoUC are asked for and paged in the same way: the request, the answer's shapes, the key of the next page.

Every shape is named in BEHAVIOUR 3.1, the paging in 3.2 and 3.4.
"""

import msgspec
from msgspec import Raw, Struct, field

from poller.errors import Denied, EmptyAnswer, Incomplete, Malformed, Refused
from poller.jsontext import Gathered, Text, lines, read, records, words
from poller.model import Limits, Page, Request, Window
from poller.sources.fonouc.config import ListOptions
from poller.sources.fonouc.epochs import EARLIEST, GREGORIAN, LATEST

DAY = 86_400


class Cursor(Struct, frozen=True, array_like=True):
    """Where a walk over the pages of one window is."""

    key: str
    size: int
    """Records asked for; larger than configured while one second holds more than a page."""
    way: int = 0
    """Whether numeric keys fall (-1) or rise (1); 0 while it is not known."""
    pages: int = 1
    mark: str = ""
    """A key of this walk, renewed at every power of two: a walk in a circle meets it again."""
    made: bool = False
    """The key is our own and not the vendor's: there may be nothing behind it."""


class _Answer(Struct):
    data: list[Raw] | None = None
    cdrs: list[Raw] | None = None
    recordings: list[Raw] | None = None
    rows: list[Raw] | None = None
    next_start_key: Text = None
    new_start_key: Text = None


class _Item(Struct):
    """What tells a record from the pagination object and from an item that wraps records."""

    cdrs: list[Raw] | None = None
    id: Raw = Raw()
    document_id: Raw = field(name="_id", default=Raw())
    call_id: Raw = Raw()
    msg_id: Raw = Raw()
    next_start_key: Text = None
    new_start_key: Text = None
    page_size: Text = None


_ERRORS = ("error", "errors", "message")
_PAGING = {"next_start_key", "new_start_key", "page_size"}
_LISTS = ("data", "cdrs", "recordings", "rows")
_answer = msgspec.json.Decoder(_Answer).decode
_item = msgspec.json.Decoder(_Item).decode
_any = msgspec.json.Decoder(list[Raw] | dict[str, Raw] | None).decode
_cursor = msgspec.json.Decoder(Cursor).decode
_encode = msgspec.json.Encoder().encode


def limits(*, shows_own_time: bool) -> Limits:
    """31 days are the most that the platform takes (BEHAVIOUR 3.4)."""
    return Limits(max_span=31 * DAY, first_span=DAY, shows_own_time=shows_own_time, month_borders=True)


def page_request(
    options: ListOptions, headers: tuple[tuple[str, str], ...], window: Window, cursor: str | None
) -> Request:
    """GET one page of a window, newest first."""
    factor = 1000 if options.date_unit == "ms" else 1
    at = _cursor(cursor) if cursor else None
    query = [
        ("startDate", str(window.begin * factor)),
        ("endDate", str(window.end * factor)),
        ("pageSize", str(at.size if at else options.page_size)),
    ]
    if at:
        query.append((options.start_key, at.key))
    return Request(method="GET", path=options.path, query=tuple(query), headers=headers)


class PageReading(Gathered):
    """One answer of either list; the records are the raw objects of the list, all returned at the end."""

    def __init__(self, name: str, options: ListOptions, window: Window, cursor: str | None) -> None:
        super().__init__()
        self._name = name
        self._options = options
        self._window = window
        self._cursor = _cursor(cursor) if cursor else None

    def close(self) -> Page:
        """The records and the cursor. An empty body may mean no records (BEHAVIOUR 3.1), but not behind a key."""
        body = self._body()
        if not body.strip():
            if self._promised:
                raise EmptyAnswer(
                    f"{self._name}: an empty answer behind a key, and a key is that of a row still to come"
                )
            return Page(doubtful=True)
        try:
            answer, folded = read(body, _answer, self._name)
            lists = _lists(answer)
        except msgspec.ValidationError:
            lists = []
        if lists:
            key = words(answer.next_start_key) or words(answer.new_start_key) or ""
        else:
            (items, key), folded = read(body, self._unusual, self._name)
            lists = [items]
        found: list[Raw] = []
        for listed in lists:
            items, key = _unwrapped(listed, key)
            found += items
        return self._page(records(found, folded, body), key)

    @property
    def _promised(self) -> bool:
        """Whether the page before promised a row: its key is the next row's own, and inclusive (BEHAVIOUR 3.4)."""
        return self._cursor is not None and not self._cursor.made

    def _unusual(self, body: bytes) -> tuple[list[Raw], str]:
        try:
            return _other_shape(body, self._name)
        except msgspec.ValidationError as error:
            raise Malformed(f"{self._name}: {error}; the answer begins with {lines(body)}") from None

    def _page(self, found: list[bytes], key: str) -> Page:
        size = self._cursor.size if self._cursor else self._options.page_size
        if not key and not found and self._promised:
            raise Incomplete(f"{self._name}: an empty last page behind a key, and a key is that of a row still to come")
        if not key:
            return Page(records=found, suspicions=("full_page",) if len(found) == size else ())
        cursor, gap = self._advance(key)
        following = _encode(cursor).decode() if cursor else None
        stuck = self._cursor is not None and key == self._cursor.key
        return Page(records=found, next=following, again=stuck, gap=gap, suspicions=("stuck_key",) if gap else ())

    def _advance(self, key: str) -> tuple[Cursor | None, Window | None]:
        """The cursor behind the returned key. A key that does not move means more records in one second than a page."""
        at, options = self._cursor, self._options
        if at is None:
            return Cursor(key, options.page_size, mark=key), None
        if key == at.key:
            if at.size < options.max_page_size:
                size = min(at.size * 2, options.max_page_size)
                return msgspec.structs.replace(at, size=size, made=False), None
            return self._pass_by(at)
        way = _way(at.key, key)
        if key == at.mark or (way and at.way and way != at.way):
            raise Incomplete(
                f"{self._name}: the key {key!r} does not lead on from {at.key!r}; is {options.start_key} its name?"
            )
        pages = at.pages + 1
        mark = key if pages & (pages - 1) == 0 else at.mark
        return Cursor(key, options.page_size, way or at.way, pages, mark), None

    def _pass_by(self, at: Cursor) -> tuple[Cursor | None, Window]:
        """Leaves one second out and goes on below it."""
        key = int(at.key) if at.key.isdecimal() else 0
        gregorian = EARLIEST <= key - GREGORIAN < LATEST
        second = key - GREGORIAN if gregorian else key
        if not EARLIEST <= second < LATEST or at.way > 0:
            raise Incomplete(
                f"{self._name}: the key {at.key!r} comes back even with pages of {at.size}; raise max_page_size"
            )
        gap = Window(second, second + 1)
        if second <= self._window.begin:
            return None, gap
        below = str(key - 1)
        return Cursor(below, self._options.page_size, -1, at.pages + 1, below, made=True), gap


def _way(before: str, after: str) -> int:
    if not (before.isdecimal() and after.isdecimal()):
        return 0
    return 1 if int(after) > int(before) else -1


def _lists(answer: _Answer) -> list[list[Raw]]:
    """Every list of records that the answer has: one under another name is not passed over because the first is empty."""
    return [items for items in (answer.data, answer.cdrs, answer.recordings, answer.rows) if items is not None]


def _unwrapped(items: list[Raw], key: str) -> tuple[list[Raw], str]:
    """Takes the pagination object off the end (the vendor's document has it there) and records out of their wraps."""
    if not items:
        return items, key
    last = _look(items[-1])
    found = words(last.next_start_key) or words(last.new_start_key) or ""
    if last.cdrs is None and not _is_record(last) and (found or last.page_size is not None):
        items, key = items[:-1], key or found
    if not items or _look(items[0]).cdrs is None:
        return items, key
    inner: list[Raw] = []
    for item in items:
        wrap = _look(item)
        inner += [item] if wrap.cdrs is None else wrap.cdrs
        key = key or words(wrap.next_start_key) or words(wrap.new_start_key) or ""
    return inner, key


def _is_record(item: _Item) -> bool:
    return any(bytes(part) for part in (item.id, item.document_id, item.call_id, item.msg_id))


def _looks_like_one(item: Raw) -> bool:
    return bytes(item)[:1] == b"{" and _is_record(_look(item))


def _look(item: Raw) -> _Item:
    try:
        return _item(item)
    except (ValueError, RecursionError):
        return _Item(call_id=item)  # unusual, so a record: the keys judge it


def _other_shape(body: bytes, where: str) -> tuple[list[Raw], str]:
    """A bare list, a list that is null (an empty one of Go), or objects with numeric keys in a list's place."""
    top = _any(body)
    if not isinstance(top, dict):
        return top or [], ""
    key = next((_key(top[name]) for name in ("next_start_key", "new_start_key") if name in top), "")
    for name in _LISTS:
        if name in top and not isinstance(inner := _any(top[name]), dict):
            return inner or [], key
        if name in top and not any(error in top for error in _ERRORS):
            return _numbered(inner, body, where), key
    return _numbered(top, body, where), key


def _key(raw: Raw) -> str:
    return words(msgspec.json.decode(raw, type=Text)) or ""


def _numbered(top: dict[str, Raw], body: bytes, where: str) -> list[Raw]:
    items = [item for name, item in top.items() if name.isdecimal()]
    if items:  # a record under another name is not passed over
        items += [item for name, item in top.items() if not name.isdecimal() and _looks_like_one(item)]
    if items or (top and top.keys() <= _PAGING):
        return items
    said = b" ".join(bytes(top[name]) for name in _ERRORS if name in top).decode("utf-8", "replace")[:200]
    if not said:
        raise Malformed(f"{where}: no list of records in the answer: {lines(body)}")
    if any(word in said for word in ("401", "403", "invalid_credentials", "token")):
        raise Denied(f"{where}: the credential is refused: {said}")
    raise Refused(f"{where}: {said}")
