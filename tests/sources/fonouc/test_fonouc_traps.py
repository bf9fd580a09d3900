"""The traps of BEHAVIOUR section 5 that touch FonoUC, one by one."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_case import load_module, read

from poller.errors import BadRecord, Denied, EmptyAnswer, Incomplete, NotTheApi, PollerError, Refused, Truncated
from poller.model import Ask, Page, Window
from poller.protocols import Endpoint
from poller.sources.fonouc import build, cdrs
from poller.sources.fonouc.epochs import epoch

cases = load_module(Path(__file__).parent / "fonouc_cases.py")
CDRS: Endpoint = cases.CDRS
WINDOW: Window = cases.WINDOW
CASE = cases.CASES[0]


def page(body: object, cursor: str | None = None) -> tuple[list[str], Page]:
    """The call ids of an answer, and how it ended."""
    records, ended, _ = read(CASE, body if isinstance(body, bytes) else cases.encode(body), cursor)
    return [CDRS.keys(record, None).id for record in records], ended


def one(**fields: Any) -> bytes:
    """A record's bytes."""
    return bytes(cases.encode(cases.cdr(1, **fields)))


def normalised(record: bytes) -> Any:
    """The event's data."""
    return CDRS.normalise(record, None).data


def endpoint(**options: Any) -> Endpoint:
    """Cdrs with other options."""
    return build("f", cases.config(endpoints={"cdrs": options})).endpoints["cdrs"]


class Platform:
    """Pages as the platform gives them: newest first, the key is one second alone, and inclusive (BEHAVIOUR 3.4)."""

    def __init__(self, seconds: list[int]) -> None:
        self.rows = sorted(((second, number) for number, second in enumerate(seconds)), reverse=True)
        self.sizes: list[int] = []

    def answer(self, query: dict[str, str]) -> bytes:
        """One page and the key of the row behind it."""
        size, key = int(query["pageSize"]), int(query.get("startKey", 10**12))
        self.sizes.append(size)
        left = [row for row in self.rows if row[0] + cases.GREGORIAN <= key]
        body: dict[str, Any] = {"data": [cases.cdr(number) for _, number in left[:size]]}
        if len(left) > size:
            body["next_start_key"] = str(left[size][0] + cases.GREGORIAN)
        return bytes(cases.encode(body))


def walk(platform: Platform, asked: Endpoint, limit: int = 200) -> tuple[set[str], list[Window]]:
    """Reads a window to its end: the ids and the gaps."""
    found: set[str] = set()
    gaps: list[Window] = []
    cursor: str | None = None
    for _ in range(limit):
        reading = asked.reading(Ask(), WINDOW, cursor)
        body = platform.answer(dict(asked.request(Ask(), WINDOW, cursor).query))
        ended = (reading.feed(body), reading.close())[1]
        found |= {asked.keys(record, None).id for record in ended.records}
        gaps += [ended.gap] if ended.gap else []
        cursor = ended.next
        if cursor is None:
            return found, gaps
    raise AssertionError("a walk without end")


def follow(keys: list[str]) -> None:
    """One page for each key that the platform returns."""
    cursor: str | None = None
    for key in keys:
        cursor = page({"data": [cases.cdr(1)], "next_start_key": key}, cursor)[1].next
        assert cursor is not None


def ids(count: int) -> set[str]:
    """The ids of the platform's rows."""
    return {f"c{number}@198.51.100.9" for number in range(count)}


def test_trap_01_truncated_answer_after_status_200_is_no_end() -> None:
    whole = cases.encode({"data": [cases.cdr(1), cases.cdr(2)]})
    with pytest.raises(Truncated):
        page(whole[:-1])


@pytest.mark.parametrize("body", [b"", b" \r\n"])
def test_trap_01_empty_body_may_mean_no_records(body: bytes) -> None:
    found, ended = page(body)
    assert (found, ended.next, ended.doubtful) == ([], None, True)
    assert not page({"data": []})[1].doubtful


@pytest.mark.parametrize(
    ("body", "error"),
    [(b"", EmptyAnswer), (b"\n", EmptyAnswer), ({"data": []}, Incomplete), ([], Incomplete), (None, Incomplete)],
)
def test_trap_01_nothing_behind_a_key_is_no_end(body: object, error: type[PollerError]) -> None:
    """The key is that of a row which is still to come."""
    first = page({"data": [cases.cdr(1)], "next_start_key": "63876470703"})[1]
    again = page({"data": [cases.cdr(1)], "next_start_key": "63876470703"}, first.next)[1]
    for cursor in (first.next, again.next):
        with pytest.raises(error):
            page(body, cursor)


@pytest.mark.parametrize(
    "body",
    [
        {"data": None, "page_size": 200},
        {"recordings": None},
        [],
        {"rows": []},
        None,
        {"next_start_key": "", "page_size": 9},
        [{"page_size": 9}],
    ],
)
def test_trap_01_empty_lists(body: object) -> None:
    found, ended = page(body)
    assert (found, ended.next) == ([], None)


@pytest.mark.parametrize(
    "body",
    [
        {"data": [], "cdrs": [cases.cdr(1), cases.cdr(2)]},
        {"data": [cases.cdr(1)], "rows": [cases.cdr(2)]},
        {"data": {"0": cases.cdr(1), "x": cases.cdr(2), "page_size": 9}},
        {"0": cases.cdr(1), "x": cases.cdr(2), "status": "ok", "user": {"name": "n"}},
    ],
)
def test_trap_01_no_record_is_passed_over_for_its_place(body: object) -> None:
    assert page(body)[0] == ["c1@198.51.100.9", "c2@198.51.100.9"]


@pytest.mark.parametrize("body", [{"data": {}}, {"user": cases.cdr(1)}, {"data": {"message": "x"}}])
def test_trap_01_documents_without_a_list_are_no_pages(body: object) -> None:
    with pytest.raises(PollerError):
        page(body)


@pytest.mark.parametrize("empty", [{}, [], None, 1, "x", {"page_size": 5}])
def test_trap_06_an_empty_record_is_a_bad_one_and_not_passed_over(empty: object) -> None:
    records, _, _ = read(CASE, cases.encode({"data": [empty, cases.cdr(2)]}))
    with pytest.raises(BadRecord):
        CDRS.keys(records[0], None)
    assert CDRS.keys(records[1], None).id == "c2@198.51.100.9"


def test_trap_06_a_key_given_twice_counts_with_its_last_value() -> None:
    """As most readers of JSON have it; the raw record keeps both."""
    twice = one()[:-1] + b',"hangup_cause":"USER_BUSY"}'
    assert CDRS.keys(twice, None) == CDRS.keys(one(hangup_cause="USER_BUSY"), None)
    assert normalised(twice).hangup_cause == "USER_BUSY"
    assert bytes(normalised(twice).vendor) == twice


IDENTIFYING = (
    "call_id", "timestamp", "caller_id_number", "callee_id_number", "billing_seconds", "duration_seconds", "ringing_seconds",
    "hangup_cause", "media_recording_id", "agent", "agent_name", "callid", "id", "msg_id", "datetime", "interaction_id", "from", "to",
)  # fmt: skip
TEXTS = [
    "",
    " ",
    "x",
    "a.b",
    "None",
    "7",
    "1709251800",
    "63876470291",
    "12@acme.example",
    "2024-02-29 23:58:11 +0000 UTC",
]
OTHERS: list[object] = [None, 0, 7, 7.0, 7.5, 1709251800, 63876470291.0, -1, 10**400, True, [], {"a": 1}]
VALUES = st.sampled_from([*TEXTS, *OTHERS])


@given(st.dictionaries(st.sampled_from(IDENTIFYING), VALUES), st.permutations(IDENTIFYING))
def test_trap_06_whatever_a_leg_shows_the_fast_way_and_the_careful_one_agree(
    fields: dict[str, Any], order: list[str]
) -> None:
    shown = cases.cdr(1, **fields)
    record = bytes(cases.encode({name: shown[name] for name in sorted(shown, key=[*order, *shown].index)}))
    try:
        expected = cdrs._careful(record)
    except BadRecord:
        with pytest.raises(BadRecord):
            CDRS.keys(record, None)
    else:
        assert CDRS.keys(record, None) == expected


def test_trap_01_error_documents_are_errors() -> None:
    with pytest.raises(Refused, match="bad range"):
        page({"error": "400", "message": "bad range", "data": {}})
    with pytest.raises(Denied):
        page({"data": {"message": "invalid_credentials"}, "error": "401", "message": "invalid_credentials"})


@pytest.mark.parametrize(
    "body",
    [
        {"data": [cases.cdr(1), cases.cdr(2)], "page_size": 2},
        {"data": [cases.cdr(1), cases.cdr(2), {"page_size": 2}]},
        {"data": [cases.cdr(1), cases.cdr(2), {"next_start_key": "", "page_size": 2}]},
        {"cdrs": [cases.cdr(1), cases.cdr(2)]},
        {"recordings": [cases.cdr(1), cases.cdr(2)]},
        {"rows": [cases.cdr(1), cases.cdr(2)]},
        [cases.cdr(1), cases.cdr(2)],
        {"0": cases.cdr(1), "1": cases.cdr(2)},
        {"data": {"0": cases.cdr(1), "1": cases.cdr(2)}, "page_size": 2},
        [{"cdrs": [cases.cdr(1)]}, {"cdrs": [cases.cdr(2)]}],
        {"data": [{"cdrs": [cases.cdr(1), cases.cdr(2)], "page_size": 2}]},
        {"next_start_key": "", "data": [cases.cdr(1), cases.cdr(2)]},
    ],
)
def test_trap_26_every_shape_of_an_answer(body: object) -> None:
    found, ended = page(body)
    assert found == ["c1@198.51.100.9", "c2@198.51.100.9"]
    assert ended.next is None


@pytest.mark.parametrize(
    "body",
    [
        {"data": [cases.cdr(1), {"next_start_key": "63876470703", "page_size": 1}]},
        {"data": [cases.cdr(1), {"next_start_key": 63876470703}]},
        {"data": [cases.cdr(1)], "next_start_key": 63876470703, "page_size": 1},
        {"cdrs": [cases.cdr(1)], "new_start_key": "63876470703"},
        {"data": [{"cdrs": [cases.cdr(1)], "new_start_key": "63876470703"}]},
        {"data": {"0": cases.cdr(1)}, "next_start_key": "63876470703"},
    ],
)
def test_trap_26_next_key_wherever_it_stands(body: object) -> None:
    found, ended = page(body)
    assert found == ["c1@198.51.100.9"]
    assert dict(CDRS.request(Ask(), WINDOW, ended.next).query)["startKey"] == "63876470703"


def test_trap_26_pagination_object_is_no_call_and_a_call_is_no_pagination_object() -> None:
    found, _ = page({"data": [cases.cdr(1), {"next_start_key": "1", "page_size": 1}]})
    assert found == ["c1@198.51.100.9"]
    found, ended = page({"data": [cases.cdr(1), cases.cdr(2, page_size=5, next_start_key="7")]})
    assert found == ["c1@198.51.100.9", "c2@198.51.100.9"]
    assert ended.next is None


def test_trap_26_other_name_of_the_key_parameter() -> None:
    asked = endpoint(start_key="start_key")
    cursor = page({"data": [cases.cdr(1)], "next_start_key": "k"})[1].next
    assert ("start_key", "k") in asked.request(Ask(), WINDOW, cursor).query


def test_trap_26_inclusive_key_repeats_rows_and_loses_none() -> None:
    seconds = [WINDOW.begin + 10 * number for number in range(50)]
    assert walk(Platform(seconds), endpoint(page_size=7)) == (ids(50), [])


def test_trap_26_second_with_more_rows_than_a_page() -> None:
    seconds = [*range(WINDOW.begin, WINDOW.begin + 20), *([WINDOW.begin + 20] * 30), WINDOW.begin + 21]
    platform = Platform(seconds)
    assert walk(platform, endpoint(page_size=5, max_page_size=80)) == (ids(51), [])
    assert max(platform.sizes) <= 40
    assert platform.sizes[-1] == 5


def test_trap_26_second_with_more_rows_than_the_largest_page_is_a_gap() -> None:
    busy = WINDOW.begin + 20
    seconds = [*range(WINDOW.begin, busy), *([busy] * 30), busy + 1]
    found, gaps = walk(Platform(seconds), endpoint(page_size=5, max_page_size=10))
    assert gaps == [Window(busy, busy + 1)]
    assert ids(20) <= found
    assert "c50@198.51.100.9" in found


def test_trap_26_nothing_below_a_second_that_was_left_out_is_the_end() -> None:
    busy = WINDOW.begin + 20
    platform = Platform([*([busy] * 30), busy + 1])
    found, gaps = walk(platform, endpoint(page_size=5, max_page_size=10))
    assert gaps == [Window(busy, busy + 1)]
    assert "c30@198.51.100.9" in found


def test_trap_26_stuck_first_second_of_the_window_ends_the_walk_with_its_gap() -> None:
    platform = Platform([WINDOW.begin] * 30)
    found, gaps = walk(platform, endpoint(page_size=5, max_page_size=10))
    assert platform.sizes == [5, 5, 10]
    assert gaps == [Window(WINDOW.begin, WINDOW.begin + 1)]
    assert len(found) == 10


def test_trap_26_page_that_is_asked_for_again_says_so() -> None:
    first = page({"data": [cases.cdr(1)], "next_start_key": "63876470703"})[1]
    stuck = page({"data": [cases.cdr(1)], "next_start_key": "63876470703"}, first.next)[1]
    moved = page({"data": [cases.cdr(1)], "next_start_key": "63876470702"}, stuck.next)[1]
    assert [first.again, stuck.again, moved.again] == [False, True, False]


def test_trap_26_opaque_key_that_is_stuck_is_incomplete() -> None:
    asked = endpoint(page_size=5, max_page_size=5)
    cursor = None
    body = cases.encode({"data": [cases.cdr(1)], "next_start_key": "g3QAAAA"})
    for _ in range(2):
        reading = asked.reading(Ask(), WINDOW, cursor)
        reading.feed(body)
        if cursor is None:
            cursor = reading.close().next
        else:
            with pytest.raises(Incomplete, match="max_page_size"):
                reading.close()


@pytest.mark.parametrize(
    "keys", [["a", "b"], ["a", "b", "c"], ["a", "b", "c", "d", "e", "f", "g"], ["63876470703", "63876470704"]]
)
def test_trap_26_keys_in_a_circle_are_noticed(keys: list[str]) -> None:
    with pytest.raises(Incomplete):
        follow(keys * 30)


def test_trap_26_keys_that_turn_round_are_noticed() -> None:
    with pytest.raises(Incomplete):
        follow(["63876470703", "63876470701", "63876470702"])


def test_trap_26_rising_keys_are_read_too() -> None:
    follow(["63876470703", "63876470704", "63876470999"])


@pytest.mark.parametrize(
    "stamp",
    [
        63876470291,
        "63876470291",
        1709251091,
        "1709251091",
        1709251091.0,
        1709251091000,
        "1709251091000",
        1709251091000000,
        "2024-02-29 23:58:11 +0000 UTC",
        "2024-03-01 00:58:11 +0100 CET",
        "2024-02-29T23:58:11Z",
    ],
)
def test_trap_27_every_epoch_is_the_same_instant(stamp: object) -> None:
    normal = CDRS.normalise(one(timestamp=stamp, datetime=""), None)
    assert normal.time is not None
    assert normal.time.isoformat() == "2024-02-29T23:58:11+00:00"
    assert CDRS.keys(one(timestamp=stamp, datetime=""), None) == CDRS.keys(one(), None)


@pytest.mark.parametrize(
    "stamp", ["", None, 0, "0", "soon", -5, 10**30, "0001-01-01 00:00:00 +0000 UTC", 5, "9" * 4000]
)
def test_trap_27_senseless_timestamp_falls_back_to_the_datetime(stamp: object) -> None:
    assert CDRS.keys(one(timestamp=stamp), None).day == CDRS.keys(one(), None).day


def test_trap_27_absurd_dates_make_a_bad_record() -> None:
    for when in ("", "0001-01-01 00:00:00 +0000 UTC", "2024-02-30 23:58:11 +0000 UTC", "9999-12-31 23:59:59 +0000 UTC"):
        with pytest.raises(BadRecord):
            CDRS.keys(one(timestamp=0, datetime=when), None)
    assert epoch("2024-02-29 23:58:11") is None  # without a zone nothing is known


def test_trap_27_dates_are_asked_for_in_seconds_or_as_configured() -> None:
    assert dict(CDRS.request(Ask(), WINDOW, None).query) == {
        "startDate": str(WINDOW.begin),
        "endDate": str(WINDOW.end),
        "pageSize": "1000",
    }
    asked = endpoint(date_unit="ms", page_size=7).request(Ask(), WINDOW, None)
    assert dict(asked.query) == {"startDate": f"{WINDOW.begin}000", "endDate": f"{WINDOW.end}000", "pageSize": "7"}


def test_trap_28_start_before_the_window_is_kept_and_is_not_the_windows_time() -> None:
    body = {"data": [cases.cdr(1, timestamp=str(WINDOW.begin - 40_000 + cases.GREGORIAN))]}
    found, ended = page(body)
    assert (found, ended.suspicions) == (["c1@198.51.100.9"], ())
    assert not CDRS.limits.shows_own_time
    assert CDRS.keys(one(), None).own is None


def test_trap_29_limits_know_months_and_31_days() -> None:
    for asked in cases.SOURCE.endpoints.values():
        assert asked.limits.month_borders
        assert asked.limits.max_span <= 2_682_000 - 3600


def test_trap_29_recording_is_linked_by_call_id_not_by_cdr_id() -> None:
    call = CDRS.normalise(one(), None)
    recording = cases.RECORDINGS.normalise(cases.encode(cases.recording(1)), None)
    assert recording.data.cdr_id != call.data.cdr_id
    assert recording.partition_key == call.partition_key
    assert recording.subject == call.mentions[0].id


def test_trap_30_full_last_page_without_a_key_is_suspicious() -> None:
    asked = endpoint(page_size=2)
    reading = asked.reading(Ask(), WINDOW, None)
    reading.feed(cases.encode({"data": [cases.cdr(1), cases.cdr(2)]}))
    assert reading.close().suspicions == ("full_page",)


def test_trap_30_repeated_rows_and_longer_pages_pass() -> None:
    found, _ = page({"data": [cases.cdr(1), cases.cdr(2), cases.cdr(1)], "page_size": 2})
    assert found == ["c1@198.51.100.9", "c2@198.51.100.9", "c1@198.51.100.9"]


def test_trap_31_legs_of_one_interaction_are_two_calls() -> None:
    legs = [one(call_id=leg, interaction_id="63876471000-5a6b7c8d") for leg in ("a@x", "b@x")]
    assert len({CDRS.keys(leg, None).id for leg in legs}) == 2
    assert {normalised(leg).interaction_id for leg in legs} == {"63876471000-5a6b7c8d"}


def test_trap_31_mention_of_the_one_recording_and_none_without() -> None:
    assert [mention.id for mention in CDRS.normalise(one(), None).mentions] == ["202402-r1"]
    assert CDRS.normalise(one(media_recording_id=""), None).mentions == []
    assert normalised(one(media_recording_id=None)).recordings == []


def test_trap_32_plain_text_error_with_200() -> None:
    with pytest.raises(NotTheApi, match="Authentication token is invalid"):
        page(b"Authentication token is invalid")


def test_trap_32_file_by_plural_then_singular_path_and_never_by_url() -> None:
    data = json.loads(json.dumps({"size_bytes": 3281760, "vendor": {"url": "http://127.0.0.1:60891/recordings/v1"}}))
    files = cases.SOURCE.media.files("202402-a/b@c", data, None)
    assert [file.request.path for file in files] == [
        "/reports/recordings/202402-a%2Fb%40c",
        "/reports/recording/202402-a%2Fb%40c",
    ]
    for file in files:
        assert dict(file.request.headers) == {"X-Account-ID": cases.ACCOUNT, "Accept": "audio/mpeg"}
        assert file.size == 3281760
    assert cases.SOURCE.media.find("x", data) is None
    assert "127.0.0.1" not in str(cases.RECORDINGS.normalise(cases.encode(cases.recording()), None).data.media_url)


@pytest.mark.parametrize(
    ("broken", "whole_page"),
    [
        (b'"deep":' + b"[" * 5000 + b"]" * 5000, True),
        (b'"hangup_cause":' + b'{"a":' * 5000 + b"1" + b"}" * 5000, True),
        (b'"billing_seconds":1e999', True),
        (b'"billing_seconds":' + b"9" * 5000, True),
        (b'"timestamp":1,"datetime":"never"', True),
    ],
)
def test_trap_06_one_record_that_cannot_be_understood_costs_no_neighbour(broken: bytes, whole_page: bool) -> None:
    bad = one()[:-1] + b"," + broken + b"}"
    body = b'{"data":[' + cases.encode(cases.cdr(2)) + b"," + bad + b"," + cases.encode(cases.cdr(3)) + b"]}"
    records, _, _ = read(CASE, body)
    assert (len(records) == 3) is whole_page
    assert records[1] == bad
    assert [CDRS.keys(record, None).id for record in (records[0], records[2])] == ["c2@198.51.100.9", "c3@198.51.100.9"]
    with pytest.raises(BadRecord):
        CDRS.keys(records[1], None)
    with pytest.raises(BadRecord):
        CDRS.normalise(records[1], None)


def test_trap_06_control_characters_and_half_surrogates_are_mended() -> None:
    body = cases.encode({"data": [cases.cdr(1, caller_id_name="NAME"), cases.cdr(2)]})
    for damage, name in (
        (b"A\x01\nB", "A\x01\nB"),
        (b"A\\ud83dB", "A\ufffdB"),
        (b"A\\qB", "A\ufffdqB"),
        (b"A\\ud83d\\ude00", "A\U0001f600"),
    ):
        records, _, _ = read(CASE, body.replace(b"NAME", damage))
        assert json.loads(records[0])["caller_id_name"] == name
        assert records[1] == one(**cases.cdr(2))


def test_trap_06_numbers_as_text_null_and_absent_are_one_state() -> None:
    plain = CDRS.keys(one(billing_seconds="196", ringing_seconds=""), None)
    for fields in ({"billing_seconds": 196}, {"billing_seconds": 196.0, "ringing_seconds": None}):
        assert CDRS.keys(one(**{"ringing_seconds": "", **fields}), None) == plain
    assert CDRS.keys(one(billing_seconds=0), None).state != CDRS.keys(one(billing_seconds=None), None).state


def test_trap_06_leading_zeros_and_plus_stay() -> None:
    parties = [normalised(one(caller_id_number=number)).from_.number for number in ("0048", "+48", "48")]
    assert parties == ["0048", "+48", "48"]


def test_trap_06_id_without_call_id() -> None:
    for fields, expected in (
        ({"call_id": ""}, "c1@198.51.100.9"),
        ({"call_id": None, "id": "", "msg_id": "m-7"}, "m-7"),
        ({"call_id": 17}, "17"),
        ({"call_id": True}, "c1@198.51.100.9"),
        ({"call_id": [], "id": {}, "msg_id": "m-7"}, "m-7"),
    ):
        assert CDRS.keys(one(**fields), None).id == expected
        assert CDRS.normalise(one(**fields), None).subject == expected
    with pytest.raises(BadRecord):
        CDRS.keys(one(call_id="", id=""), None)
    with pytest.raises(BadRecord):
        cases.RECORDINGS.keys(cases.encode(cases.recording(1, _id=True, media_recording_id={})), None)


@pytest.mark.parametrize(
    ("fields", "direction", "disposition"),
    [
        ({}, "inbound", "answered"),
        ({"direction": "Outbound", "billing_seconds": 0, "hangup_cause": "NO_ANSWER"}, "outbound", "no_answer"),
        ({"call_direction": "inbound", "billing_seconds": 0, "hangup_cause": "USER_BUSY"}, "inbound", "busy"),
        (
            {
                "caller_id_number": "1204",
                "callee_id_number": "1205",
                "billing_seconds": 0,
                "hangup_cause": "ORIGINATOR_CANCEL",
            },
            "internal",
            "cancelled",
        ),
        (
            {
                "caller_id_number": "1204",
                "callee_id_number": "+16045550111",
                "billing_seconds": 0,
                "hangup_cause": "CALL_REJECTED",
            },
            "outbound",
            "failed",
        ),
        ({"caller_id_number": "", "callee_id_number": "1204", "billing_seconds": 0}, "inbound", "no_answer"),
        (
            {
                "hangup_cause": "",
                "billing_seconds": "",
                "caller_id_number": "16045550111",
                "callee_id_number": "16045550112",
            },
            None,
            "unknown",
        ),
    ],
)
def test_direction_and_disposition(fields: dict[str, Any], direction: str | None, disposition: str) -> None:
    data = normalised(one(**fields))
    assert (data.direction, data.disposition) == (direction, disposition)


def test_trap_08_recording_keys_do_not_need_the_call() -> None:
    record = cases.encode(cases.recording(1, call_id=None, start="", interaction_id=None))
    assert cases.RECORDINGS.keys(record, None).id == "202402-r1"
    assert cases.RECORDINGS.normalise(record, None).partition_key == "202402-r1"


def test_trap_07_audio_that_comes_later_is_another_state() -> None:
    early = cases.encode(cases.recording(1, _attachments=None))
    late = cases.encode(cases.recording(1))
    assert cases.RECORDINGS.keys(early, None).state != cases.RECORDINGS.keys(late, None).state
    assert cases.RECORDINGS.normalise(early, None).data.size_bytes is None


def test_a_size_whose_name_is_broken_makes_up_no_state() -> None:
    sound = cases.encode(cases.recording(1, _attachments={"a.mp3": {"length": 5}}))
    with pytest.raises(BadRecord):
        cases.RECORDINGS.keys(sound.replace(b"length", "len\ufffdgth".encode()), None)
    renamed = sound.replace(b"a.mp3", "\ufffd.mp3".encode())
    assert cases.RECORDINGS.keys(renamed, None) == cases.RECORDINGS.keys(sound, None)


def test_own_time_of_a_recording_is_what_its_filter_looks_at() -> None:
    record = cases.encode(cases.recording())
    by_start = build("f", cases.config(endpoints={"recordings": {"filter": "start"}})).endpoints["recordings"]
    assert cases.RECORDINGS.keys(record, None).own == 63876470703 - cases.GREGORIAN
    assert by_start.keys(record, None).own == 63876470293 - cases.GREGORIAN


def test_trap_12_no_secret_in_errors_or_reprs() -> None:
    source = build("f", cases.config(username=None, password=None, domain=None, api_key="key-of-keys"))
    request = source.endpoints["cdrs"].request(Ask(), WINDOW, None)
    assert ("X-API-Key", "key-of-keys") in request.headers
    assert ("X-Account-ID", cases.ACCOUNT) in request.headers
    assert source.login is None
    assert "key-of-keys" not in repr(request) + repr(source)
    for body in (b"{}", b'{"data":{}}', b"<html>", b"["):
        with pytest.raises(PollerError) as caught:
            page(body)
        assert "pass-word" not in str(caught.value)
