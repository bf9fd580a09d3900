"""The traps of BEHAVIOUR section 5 that touch Thulium, one by one."""

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from source_case import load_module

from poller.errors import BadRecord, Denied, Incomplete, Malformed, RateLimited, Refused, Truncated, VendorFault
from poller.model import Ask, Page, Window
from poller.protocols import Endpoint
from poller.sources.thulium import build
from poller.sources.thulium.times import bounds, instants

cases = load_module(Path(__file__).parent / "thulium_cases.py")
CONNECTIONS: Endpoint = cases.CONNECTIONS
RECORDINGS: Endpoint = cases.RECORDINGS
SUMMER, WINTER = cases.SUMMER, cases.WINTER
MINUTE = Window(SUMMER, SUMMER + 60)
WARSAW = ZoneInfo("Europe/Warsaw")


def read(body: object, window: Window = cases.WINDOW, cursor: str | None = None, asked: Endpoint = CONNECTIONS) -> Page:
    """One answer."""
    reading = asked.reading(Ask(), window, cursor)
    reading.feed(body if isinstance(body, bytes) else json.dumps(body).encode())
    return reading.close()


def asks(window: Window, cursor: str | None = None, asked: Endpoint = CONNECTIONS) -> dict[str, str]:
    """The parameters of a request."""
    return dict(asked.request(Ask(), window, cursor).query)


def row(**fields: Any) -> bytes:
    """A connection's bytes."""
    return json.dumps(cases.connection(1, **fields)).encode()


def rec(**fields: Any) -> bytes:
    """A recording's bytes."""
    return json.dumps(cases.recording(1, **fields)).encode()


def rows(count: int, first: int = 0) -> list[dict[str, Any]]:
    """Different rows of one minute."""
    return [cases.connection(number) for number in range(first, first + count)]


def normalised(asked: Endpoint, record: bytes) -> Any:
    """The event's data."""
    return asked.normalise(record, None).data


def epoch(text: str) -> int:
    """Epoch seconds of a UTC time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


# --- 22: at most 100 rows, no documented order -----------------------------------------------------------------------


def test_trap_22_one_page_without_offset_holds_all() -> None:
    page = read(cases.answer(rows(99)))
    assert (len(page.records), page.next, page.cut, page.total, page.suspicions) == (99, None, False, 99, ())
    assert asks(cases.WINDOW)["offset"] == "0"
    assert asks(cases.WINDOW)["limit"] == "100"


@pytest.mark.parametrize(
    "body",
    [
        cases.answer(rows(100), 101),
        cases.answer(rows(100), 100),
        cases.answer(rows(100), 50),
        cases.answer(rows(70), 80),
        cases.answer([], 3),
        json.dumps(rows(100)).encode(),
    ],
)
def test_trap_22_more_rows_than_came_cut_the_window(body: bytes) -> None:
    page = read(body)
    assert page.cut
    assert page.next is None
    assert len(page.records) == body.count(b'"connection_id"')


class Minute:
    """The rows of one minute, answered in an order that moves between requests, by any limit and offset."""

    def __init__(self, count: int, *, moves: bool = False, ignores_offset: bool = False, bare: bool = False) -> None:
        self.rows = rows(count)
        self.moves, self.ignores, self.bare = moves, ignores_offset, bare
        self.random = random.Random(7)
        self.asked = 0

    def answer(self, query: dict[str, str]) -> bytes:
        """One page."""
        self.asked += 1
        if self.moves:
            self.random.shuffle(self.rows)
        offset = 0 if self.ignores else int(query["offset"])
        found = self.rows[offset : offset + int(query["limit"])]
        return json.dumps(found if self.bare else {"count": len(self.rows), "result": found}).encode()


def walk(minute: Minute) -> tuple[set[str], tuple[str, ...]]:
    """Reads one minute to the end of its walks: ids and suspicions."""
    found: set[str] = set()
    cursor: str | None = None
    for _ in range(200):
        page = read(minute.answer(asks(MINUTE, cursor)), MINUTE, cursor)
        assert not page.cut
        found |= {CONNECTIONS.keys(record, None).id for record in page.records}
        cursor = page.next
        if cursor is None:
            return found, page.suspicions
    raise AssertionError("a walk without end")


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("count", [100, 101, 190, 191, 350])
def test_trap_22_single_minute_is_walked_until_two_walks_agree(count: int, bare: bool) -> None:
    minute = Minute(count, bare=bare)
    found, suspicions = walk(minute)
    assert len(found) == count
    assert suspicions == ()
    assert minute.asked >= 4


def test_trap_22_small_minute_takes_one_request() -> None:
    minute = Minute(99)
    assert len(walk(minute)[0]) == 99
    assert minute.asked == 1


def test_trap_22_moving_order_is_walked_until_all_was_seen() -> None:
    minute = Minute(150, moves=True)
    assert len(walk(minute)[0]) == 150
    assert minute.asked > 4


class Changing(Minute):
    """Other rows at each request."""

    def answer(self, query: dict[str, str]) -> bytes:
        """A page that is not full, of a list that says it is longer."""
        self.rows = rows(99, 1000 * self.asked)
        self.asked += 1
        return json.dumps({"count": 120, "result": self.rows if query["limit"] == "100" else []}).encode()


def test_trap_22_walks_that_never_agree_are_incomplete() -> None:
    with pytest.raises(Incomplete, match="do not agree"):
        walk(Changing(0))


def test_trap_22_equal_rows_do_not_keep_a_minute_open() -> None:
    minute = Minute(150)
    minute.rows += minute.rows[:1]
    found, suspicions = walk(minute)
    assert (len(found), suspicions) == (150, ("fewer_than_count",))


def test_trap_22_offset_that_is_ignored_is_not_taken_for_the_end() -> None:
    with pytest.raises(Incomplete):
        walk(Minute(350, ignores_offset=True))


def test_trap_22_offsets_overlap() -> None:
    cursor = read(cases.answer(rows(100), 250), MINUTE).next
    assert asks(MINUTE, cursor)["offset"] == "90"


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (cases.answer(rows(150), 150), "longer_than_limit"),
        (cases.answer(rows(5), 3), "count_below_rows"),
    ],
)
def test_trap_22_contradictions_are_suspicious(body: bytes, name: str) -> None:
    assert read(body).suspicions == (name,)


def test_trap_22_count_that_shrinks_while_paging_does_not_end_the_walk() -> None:
    cursor = read(cases.answer(rows(100), 250), MINUTE).next
    page = read(cases.answer(rows(100, 90), 120), MINUTE, cursor)
    assert (asks(MINUTE, page.next)["offset"], page.total) == ("180", 120)


def test_trap_22_second_walk_repeats_its_pages_on_purpose() -> None:
    minute, repeats = Minute(150), list[bool]()
    cursor: str | None = None
    while not repeats or cursor is not None:
        page = read(minute.answer(asks(MINUTE, cursor)), MINUTE, cursor)
        repeats.append(page.again)
        cursor = page.next
    assert repeats == [False, False, True, True]


# --- 23: minutes, Polish local time, two meanings of the filter ------------------------------------------------------


def test_trap_23_bounds_are_explicit_local_minutes_with_a_padded_end() -> None:
    query = asks(Window(epoch("2024-07-04 10:00"), epoch("2024-07-04 11:00")))
    assert (query["date_from"], query["date_to"]) == ("2024-07-04 12:00", "2024-07-04 13:01")


def test_trap_05_bounds_never_run_backwards_at_a_clock_change() -> None:
    autumn, spring = epoch("2024-10-27 01:00"), epoch("2024-03-31 01:00")
    for window, expected in (
        (Window(autumn - 3600, autumn), ("2024-10-27 02:00", "2024-10-27 03:01")),
        (Window(autumn, autumn + 3600), ("2024-10-27 02:00", "2024-10-27 03:01")),
        (Window(autumn - 60, autumn), ("2024-10-27 02:59", "2024-10-27 03:01")),
        (Window(autumn, autumn + 60), ("2024-10-27 02:00", "2024-10-27 02:02")),
        (Window(spring - 3600, spring), ("2024-03-31 01:00", "2024-03-31 02:01")),
        (Window(spring, spring + 3600), ("2024-03-31 03:00", "2024-03-31 04:01")),
    ):
        assert bounds(window, WARSAW) == expected


@given(
    begin=st.integers(1_600_000_000 // 60, 1_900_000_000 // 60), span=st.integers(1, 50_000), second=st.integers(0, 59)
)
def test_trap_05_every_local_reading_of_an_instant_in_the_window_is_inside_the_bounds(
    begin: int, span: int, second: int
) -> None:
    window = Window(begin * 60, (begin + span) * 60)
    date_from, date_to = bounds(window, WARSAW)
    for instant in (window.begin + second, (window.begin + window.end) // 2, window.end - 1 - second):
        if window.begin <= instant <= window.end:
            assert date_from <= datetime.fromtimestamp(instant, WARSAW).strftime("%Y-%m-%d %H:%M") <= date_to


def test_trap_05_doubled_hour_is_told_apart_by_the_connection_id() -> None:
    for start in (SUMMER, WINTER):
        record = row(connection_id=f"{start + 7}.88")
        assert CONNECTIONS.keys(record, None).own == start
        data = normalised(CONNECTIONS, record)
        assert (data.started_at.timestamp(), data.started_at_precision) == (start + 7, "second")


@pytest.mark.parametrize(
    ("date", "precision", "began"),
    [
        ("2024-10-27 02:31", "hour", SUMMER),
        ("2024-10-27 04:31", "minute", epoch("2024-10-27 03:31")),
        ("2024-10-27 04:31:07", "second", epoch("2024-10-27 03:31:07")),
    ],
)
def test_trap_05_precision_without_an_instant_in_the_id(date: str, precision: str, began: int) -> None:
    data = normalised(CONNECTIONS, row(date=date, connection_id="no-epoch"))
    assert (data.started_at_precision, data.started_at.timestamp()) == (precision, began)
    assert (data.ended_at is None) is (precision != "second")


def test_trap_05_skipped_hour_and_bare_dates_are_read() -> None:
    assert instants("2024-03-31 02:30", WARSAW)
    assert instants("2024-03-31", WARSAW)


@pytest.mark.parametrize(
    "date",
    ["0000-00-00 00:00", "2024-13-01 10:00", "soon", "", None, "9999-12-31 23:59", "0001-01-01 00:00", 17, "2" * 4000],
)
def test_trap_06_absurd_date_is_replaced_by_the_ids_instant_or_a_bad_record(date: object) -> None:
    assert CONNECTIONS.keys(row(date=date), None).day == SUMMER // 86_400
    assert normalised(CONNECTIONS, row(date=date)).started_at.timestamp() == SUMMER + 7
    with pytest.raises(BadRecord):
        CONNECTIONS.keys(row(date=date, connection_id="x"), None)


def test_trap_23_created_at_or_call_date_is_the_own_time() -> None:
    by_call = build("t", cases.config(endpoints={"recordings": {"filter": "call_date"}})).endpoints["recordings"]
    assert RECORDINGS.keys(rec(created_at="2024-10-27 04:40"), None).own == epoch("2024-10-27 03:40")
    assert by_call.keys(rec(), None).own == SUMMER
    assert RECORDINGS.keys(rec(created_at=None), None).own == SUMMER  # the old answers know no created_at


def test_trap_05_what_may_lie_in_either_half_of_the_doubled_hour_shows_no_own_time() -> None:
    """The earlier reading may lie before `start` where the call does not."""
    assert CONNECTIONS.keys(row(), None).own == SUMMER, "the id tells"
    unsure = CONNECTIONS.keys(row(connection_id="no-epoch"), None)
    assert (unsure.own, unsure.day) == (None, SUMMER // 86_400)
    assert RECORDINGS.keys(rec(created_at="2024-10-27 02:40"), None).own is None
    winter = rec(created_at="2024-10-27 02:40", connection_id=f"{SUMMER + 3_607}.88")
    assert RECORDINGS.keys(winter, None).own == SUMMER + 3_600 + 9 * 60, "no recording is older than its call"


def test_trap_23_day_of_a_recording_is_its_calls_whenever_it_was_created() -> None:
    early, late = (RECORDINGS.keys(rec(created_at=f"2024-10-{day} 02:40"), None) for day in (27, 30))
    assert (early.day, early.state) == (late.day, late.state)


def test_trap_23_other_timezone() -> None:
    source = build("t", cases.config(timezone="America/New_York"))
    window = Window(epoch("2024-07-04 10:00"), epoch("2024-07-04 11:00"))
    assert asks(window, asked=source.endpoints["connections"])["date_from"] == "2024-07-04 06:00"
    assert source.endpoints["connections"].limits.zone == "America/New_York"
    with pytest.raises(ValidationError, match="IANA"):
        cases.config(timezone="Mars/Olympus")


# --- 24: file names --------------------------------------------------------------------------------------------------


def test_trap_24_filename_goes_into_the_query_of_download_then_stream() -> None:
    name = "infolinia/2024-10-27/ż ó&x=1.ogg"
    files = cases.SOURCE.media.files(name, None, None)
    assert [(file.request.path, file.request.query) for file in files] == [
        ("/recordings/download", (("filename", name),)),
        ("/recordings/stream", (("filename", name),)),
    ]
    assert files[0].request.basic == ("api", "pass-word")
    assert "pass-word" not in repr(files)
    assert cases.SOURCE.media.find(name, None) is None
    with pytest.raises(Refused):
        cases.SOURCE.media.files(" ", None, None)


def test_trap_24_media_url_is_percent_encoded_and_types_follow_the_ending() -> None:
    for name, kind in (
        ("a/b c.OGG", "audio/ogg"),
        ("a.mp3", "audio/mpeg"),
        ("a.wav", "audio/wav"),
        ("a.ogg.pgp", "application/pgp-encrypted"),
        ("a", None),
    ):
        data = normalised(RECORDINGS, rec(filename=name))
        assert data.content_type == kind
        assert "/" not in data.media_url.partition("filename=")[2]


def test_trap_24_several_files_of_one_call_are_several_recordings() -> None:
    first, second = (RECORDINGS.normalise(rec(filename=name), None) for name in ("a.ogg", "b.ogg"))
    assert first.subject != second.subject
    assert first.partition_key == second.partition_key == f"{SUMMER + 7}.88"
    assert RECORDINGS.normalise(rec(connection_id=""), None).partition_key == "infolinia/2024-10-27/1.ogg"


# --- 25: unanswered calls, rights per method -------------------------------------------------------------------------


@pytest.mark.parametrize("value", [True, False, None, [1], {"a": 1}, ""])
def test_trap_06_what_is_neither_text_nor_number_is_no_id(value: object) -> None:
    """Two calls with such an id would be taken for one."""
    with pytest.raises(BadRecord, match="without connection_id"):
        CONNECTIONS.keys(row(connection_id=value), None)
    assert RECORDINGS.keys(rec(connection_id=value), None).id
    assert normalised(RECORDINGS, rec(connection_id=value)).connection_id is None


def test_trap_01_no_row_is_passed_over_for_the_name_of_its_list() -> None:
    assert len(read({"count": 2, "result": [], "data": rows(2)}).records) == 2
    assert len(read({"count": 2, "result": rows(1), "items": rows(1, 1)}).records) == 2


@pytest.mark.parametrize(
    ("said", "disposition"),
    [("ANSWERED", "answered"), ("NO ANSWER", "no_answer"), ("BUSY", "busy"), ("FAILED", "failed"), ("", "unknown")],
)
def test_trap_25_unanswered_calls_are_calls(said: str, disposition: str) -> None:
    record = row(disposition=said, filename="", billsec=0)
    assert normalised(CONNECTIONS, record).disposition == disposition
    assert CONNECTIONS.normalise(record, None).mentions == normalised(CONNECTIONS, record).recordings == []


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (100401, Denied),
        (403, Denied),
        ("100403", Denied),
        (100429, RateLimited),
        (100500, VendorFault),
        (100404, Refused),
        (None, Refused),
    ],
)
def test_trap_25_and_01_error_documents_with_status_200(code: object, error: type[Exception]) -> None:
    body = {"request_id": "671dab", "errors": [{"message": "No rights to this method", "code": code}]}
    with pytest.raises(error, match="No rights to this method"):
        read(body)


def test_trap_25_only_configured_lists_are_asked() -> None:
    assert list(build("t", cases.config(endpoints={"connections": {}})).endpoints) == ["connections"]


# --- general ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["result", "data", "items"])
def test_trap_01_other_names_of_the_list(name: str) -> None:
    assert len(read({"count": "2", name: rows(2)}).records) == 2
    assert len(read(rows(2)).records) == 2


def test_trap_01_no_list_is_no_empty_list() -> None:
    for body in (
        {},
        {"count": 0},
        {"count": 3, "result": None},
        {"message": "?"},
        {"count": "many", "result": []},
        {"count": -1, "result": []},
    ):
        with pytest.raises(Malformed):
            read(body)
    assert read({"count": 0, "result": None}).records == []
    with pytest.raises(Truncated):
        read(cases.answer(rows(2))[:-1])


def test_trap_04_ids_that_look_like_numbers_stay_text() -> None:
    ids = [CONNECTIONS.keys(row(connection_id=f"{SUMMER}.{end}"), None).id for end in ("1", "10")]
    assert ids == [f"{SUMMER}.1", f"{SUMMER}.10"]
    bare = row(connection_id="ID").replace(b'"ID"', b"%d.10" % SUMMER)
    assert CONNECTIONS.keys(bare, None).id == CONNECTIONS.normalise(bare, None).subject == f"{SUMMER}.10"
    # also where another field is of an odd type
    odd = bare.replace(b'"Ewa Testowa"', b"[1]")
    assert CONNECTIONS.keys(odd, None).id == f"{SUMMER}.10"


def test_trap_06_numbers_as_text_null_and_absent_are_one_state() -> None:
    plain = CONNECTIONS.keys(row(duration="196", queue_id=None), None)
    for fields in ({"duration": 196, "queue_id": ""}, {"duration": 196.0, "queue_id": None}):
        assert CONNECTIONS.keys(row(**fields), None) == plain


def test_trap_06_one_record_that_cannot_be_understood_costs_no_neighbour() -> None:
    deep = row(user="U").replace(b'"U"', b"[" * 5000 + b"]" * 5000)
    body = b'{"count":3,"result":[' + row() + b"," + deep + b"," + row(connection_id=f"{SUMMER}.9") + b"]}"
    records = read(body).records
    assert len(records) == 3
    assert CONNECTIONS.keys(records[2], None).id == f"{SUMMER}.9"
    with pytest.raises(BadRecord):
        CONNECTIONS.keys(records[1], None)
    nothing: tuple[object, ...] = ("", None, [])
    for identity in nothing:
        with pytest.raises(BadRecord):
            CONNECTIONS.keys(row(date="", connection_id=identity), None)
    with pytest.raises(BadRecord):
        CONNECTIONS.normalise(row(duration="long"), None)
    with pytest.raises(BadRecord):
        RECORDINGS.keys(rec(filename=""), None)


def test_trap_08_mention_and_recording_meet_whichever_comes_first() -> None:
    mention = CONNECTIONS.normalise(row(), None).mentions[0]
    keys = RECORDINGS.keys(rec(), None)
    assert (mention.id, mention.day) == (keys.id, keys.day)
    assert mention.data.partial


def test_trap_12_basic_auth_is_in_no_repr() -> None:
    request = CONNECTIONS.request(Ask(), cases.WINDOW, None)
    assert request.basic == ("api", "pass-word")
    assert "pass-word" not in repr(request) + repr(cases.SOURCE)
