"""One test for each trap of BEHAVIOUR 5 that touches MOR, named after it."""

import json
from pathlib import Path

import pytest
from mor_support import WINDOW, call_xml, calls_page, epoch, mor_endpoint, read_answer
from source_case import load_module

from poller.errors import (
    BadAnswer,
    BadRecord,
    ClockChange,
    Denied,
    FilterIgnored,
    Incomplete,
    Malformed,
    PollerError,
    Refused,
    Truncated,
    VendorFault,
)
from poller.model import CallData, Keys, RecordingData, Window, utc
from poller.protocols import Reading

golden = load_module(Path(__file__).with_name("mor_golden.py"))
CALLS = mor_endpoint("user_calls")
RECORDINGS = mor_endpoint("recordings")
LOCAL = mor_endpoint("local_calls")


def keys_of(*calls: str) -> list[Keys]:
    records, _, offset = read_answer(CALLS, [calls_page("".join(calls))])
    return [CALLS.keys(record, offset) for record in records]


def call_of(call: str) -> CallData:
    records, _, offset = read_answer(CALLS, [calls_page(call)])
    data = CALLS.normalise(records[0], offset).data
    assert isinstance(data, CallData)
    return data


def feed_much(reading: Reading, data: bytes) -> None:
    for _ in range(100):
        assert reading.feed(data) == []


def recording(**fields: object) -> bytes:
    usual = {
        "id": "9107",
        "user_id": "12",
        "date": "2024-03-31 04:05:09 +0300",
        "duration": "00:01:03",
        "source": "1",
        "destination": "2",
        "size": "10.0",
        "mp3_url": "",
    }
    return json.dumps({**usual, **fields}).encode()


def recording_of(**fields: object) -> RecordingData:
    data = RECORDINGS.normalise(recording(**fields), None).data
    assert isinstance(data, RecordingData)
    return data


def test_01_partial_answer_is_no_answer() -> None:
    """Cut anywhere, the answer is not whole; the records before the cut were good and came out."""
    page = calls_page(call_xml() + call_xml(uniqueid="1711847110.1"))
    for end in range(len(page)):
        with pytest.raises(BadAnswer):
            read_answer(CALLS, [page[:end]])
    reading = CALLS.reading(CALLS.asks[0], WINDOW, None)
    assert len(reading.feed(page[: page.index(b"</calls>")])) == 2
    with pytest.raises(Truncated):
        reading.close()


def test_01_fewer_calls_than_counted() -> None:
    """A well-formed answer that lacks rows is not whole either; more rows than counted is only noted."""
    with pytest.raises(Incomplete, match="counts 3 calls and sent 1"):
        read_answer(CALLS, [calls_page(call_xml(), total=3)])
    assert read_answer(CALLS, [calls_page(call_xml(), total=0)])[1].suspicions == ("more_than_total",)
    assert read_answer(CALLS, [calls_page(call_xml(), total=1)])[1].suspicions == ()


def test_01_no_total() -> None:
    """The echoed period proves that it is the list; without either it is some other document."""
    page = calls_page("").replace(b"<total_calls>0</total_calls>", b"")
    assert read_answer(CALLS, [page])[1].suspicions == ("no_total",)
    assert read_answer(CALLS, [page.replace(b"</period>", b"</period><calls/>")])[1].suspicions == ("no_total",)
    zoned = mor_endpoint("user_calls", timezone="Europe/Vilnius")
    with pytest.raises(Malformed, match="neither calls nor their number"):
        read_answer(zoned, [b"<page><greeting>hello</greeting></page>"])


def test_01_records_and_an_error() -> None:
    """What came is kept, and the answer does not count as read."""
    page = calls_page(call_xml()).replace(b"</calls_stat>", b"</calls_stat><error>Access Denied</error>")
    reading = CALLS.reading(CALLS.asks[0], WINDOW, None)
    assert len(reading.feed(page)) == 1
    with pytest.raises(Denied):
        reading.close()


def test_03_known_id_in_another_state() -> None:
    """The same id; the state follows the declared fields and not the money."""
    first, rated, longer = keys_of(call_xml(), call_xml(user_price="9.9", profit="1"), call_xml(nice_billsec="64"))
    assert first == rated
    assert longer.id == first.id
    assert longer.state != first.state


@pytest.mark.parametrize(
    ("uniqueid", "at"),
    [("1698535809.1", "2023-10-28 23:30:09"), ("1698539409.1", "2023-10-29 00:30:09"), ("", "2023-10-28 23:30:09")],
)
def test_05_doubled_hour(uniqueid: str, at: str) -> None:
    """Both 02:30:09 of Berlin's autumn night match a filter in the first one; the uniqueid tells which is meant."""
    window = Window(epoch("2023-10-28 23:00:00"), epoch("2023-10-28 23:50:00"))
    page = calls_page(
        call_xml(calldate2="2023-10-29 01:30:09", uniqueid=uniqueid),
        begin="2023-10-29 01:00:00",
        end="2023-10-29 01:50:00",
    )
    records, _, offset = read_answer(CALLS, [page], window)
    assert offset == 7200
    assert CALLS.normalise(records[0], offset).time == utc(epoch(at))
    assert CALLS.keys(records[0], offset).own == epoch(at)


def test_05_naive_dates_with_a_configured_zone() -> None:
    """Where nothing shows the offset, the configured zone does; what stays open is said."""
    plain = mor_endpoint("recordings", timezone="Europe/Vilnius")
    winter = plain.normalise(recording(date="2024-01-31 04:05:09"), None)
    summer = plain.normalise(recording(date="2024-07-31 04:05:09"), None)
    assert (winter.time, summer.time) == (utc(epoch("2024-01-31 02:05:09")), utc(epoch("2024-07-31 01:05:09")))
    local = mor_endpoint("local_calls", timezone="Europe/Vilnius")
    doubled = json.dumps(
        {"calldate": {"date": "2024-10-27 03:30:00", "timezone": "GMT +0200"}, "orignator_channel": "a"}
    ).encode()
    data = local.normalise(doubled, None).data
    assert isinstance(data, CallData)
    assert data.started_at_precision == "hour"
    assert local.keys(doubled, None).own is None


def test_05_clock_change_inside_the_window() -> None:
    """The golden page again, asked for the two hours that these local bounds really are in Vilnius."""
    window = Window(epoch("2024-03-31 00:30:00"), epoch("2024-03-31 02:30:00"))
    with pytest.raises(ClockChange):
        read_answer(CALLS, [golden.page_bytes("user_calls_x8_admin")], window)
    reading = CALLS.reading(CALLS.asks[0], window, None)
    with pytest.raises(ClockChange):
        reading.feed(golden.page_bytes("user_calls_x8_admin"))
    assert reading.offset == 3 * 3_600, "that of the window's end, so that the next window may be short enough"


def test_06_missing_and_extra_fields_and_formats() -> None:
    """Absent, empty and null are one; `196`, ` 196.0 ` and 196 are one; numbers keep their zeros, plus signs and masks."""
    assert (
        len(
            {
                keys.state
                for keys in keys_of(
                    call_xml(provider_name=""),
                    call_xml(provider_name="").replace("<provider_name></provider_name>", ""),
                )
            }
        )
        == 1
    )
    assert (
        len(
            {
                keys.state
                for keys in keys_of(
                    call_xml(nice_billsec="196"), call_xml(nice_billsec=" 196.0 "), call_xml(nice_billsec="0196")
                )
            }
        )
        == 1
    )
    raw = {"calldate2": "2024-03-31 04:05:09", "uniqueid": "1711847109.4411", "nice_billsec": "196"}
    spellings = [
        {**raw, "nice_billsec": value, "server_id": server}
        for value, server in (("196", ""), (196, None), (196.0, ""), ("196.00", None))
    ]
    assert len({CALLS.keys(json.dumps(spelling).encode(), 0).state for spelling in spellings}) == 1
    data = call_of(call_xml(src="0037060", dst="37120000XXX"))
    assert (data.from_.number, data.to.number) == ("0037060", "37120000XXX")


@pytest.mark.parametrize(
    "text",
    [
        "2024-03-31 04:05:09",
        "2024/03/31 04:05:09",
        "2024.03.31 04:05:09",
        "2024,03,31 04:05:09",
        "31-03-2024 04:05:09",
        "31.03.2024 04:05:09",
        "31/03/2024 04:05:09",
        "03/31/2024 04:05:09",
    ],
)
def test_06_start_is_a_second_and_not_a_text(text: str) -> None:
    """X3 writes dates as its GUI does; changing that setting makes no call new or changed."""
    (usual,) = keys_of(call_xml(uniqueid=""))
    (found,) = keys_of(call_xml(uniqueid="", calldate2=text))
    assert found == usual


def test_06_month_first_can_be_told() -> None:
    """Only the vendor knows what 04/05/2024 means."""
    record = json.dumps({"calldate2": "04/05/2024 10:00:00"}).encode()
    assert CALLS.keys(record, 0).own == epoch("2024-05-04 10:00:00")
    assert mor_endpoint("user_calls", {"day_first": False}).keys(record, 0).own == epoch("2024-04-05 10:00:00")


@pytest.mark.parametrize(
    "text", ["", "soon", "2024-02-30 00:00:00", "0000-00-00 00:00:00", "9999-12-31 23:59:59", "1711847109"]
)
def test_06_absurd_dates_are_bad_records(text: str) -> None:
    """A dead letter, not a crash and not 1970."""
    for endpoint, record in (
        (CALLS, {"uniqueid": "1.1", "calldate2": text}),
        (RECORDINGS, {"id": "1", "date": text}),
        (LOCAL, {"calldate": {"date": text}}),
    ):
        with pytest.raises(BadRecord):
            endpoint.keys(json.dumps(record).encode(), 0)


def test_09_today_is_never_trusted() -> None:
    """Trap 13 as well: MOR drops a parameter that it does not like and answers for today, with status 200."""
    today = calls_page(call_xml(), begin="2024-03-31 00:00:00", end="2024-03-31 23:59:59")
    reading = CALLS.reading(CALLS.asks[0], WINDOW, None)
    with pytest.raises(FilterIgnored, match="another period"):
        reading.feed(today)


@pytest.mark.parametrize(
    ("begin", "end"),
    [("2024-03-31 02:30:01", "2024-03-31 05:30:00"), ("2024-04-01 02:30:00", "2024-04-01 05:30:00"), ("x", "y")],
)
def test_09_any_other_echo_is_refused(begin: str, end: str) -> None:
    """Not a multiple of a quarter, farther than any zone, not readable."""
    with pytest.raises(FilterIgnored):
        read_answer(CALLS, [calls_page(call_xml(), begin=begin, end=end)])


def test_09_no_echo_needs_a_zone() -> None:
    """Nobody knows which period it was, nor which zone."""
    page = calls_page(call_xml()).replace(b"period_", b"nothing_")
    with pytest.raises(FilterIgnored, match="timezone"):
        read_answer(CALLS, [page])
    zoned = mor_endpoint("user_calls", timezone="Europe/Vilnius")
    records, _, offset = read_answer(zoned, [page])
    assert offset is None
    assert zoned.keys(records[0], offset).own == epoch("2024-03-31 01:05:09")


@pytest.mark.parametrize("offset", [-43200, -12600, 0, 20700, 50400])
def test_09_zone_is_learnt(offset: int) -> None:
    """Any whole quarter of an hour within fourteen hours."""
    shown = (utc(at + offset).strftime("%Y-%m-%d %H:%M:%S") for at in (WINDOW.begin, WINDOW.end))
    begin, end = shown
    assert read_answer(CALLS, [calls_page("", begin=begin, end=end)])[2] == offset


def test_09_echo_after_the_calls() -> None:
    """The order of the document is not promised: calls wait for the echo, within bounds."""
    period = (
        b"<period><period_start>2024-03-31 02:30:00</period_start><period_end>2024-03-31 05:30:00</period_end></period>"
    )
    page = calls_page(call_xml()).replace(period, b"").replace(b"</calls_stat>", period + b"</calls_stat>")
    records, found, offset = read_answer(CALLS, [page])
    assert (len(records), found.total, offset) == (1, 1, 10800)
    reading = CALLS.reading(CALLS.asks[0], WINDOW, None)
    many = (call_xml(clid="x" * 50_000) * 4).encode()
    reading.feed(b"<page><calls_stat><calls>")
    with pytest.raises(Malformed, match="before the period"):
        feed_much(reading, many)


@pytest.mark.parametrize(
    ("words", "error", "advice"),
    [
        ("API Requests are disabled", Denied, "allow API"),
        ("GET Requests are disabled", Denied, "method: POST"),
        ("Incorrect hash", Denied, "api_secret"),
        ("API must have Secret Key", Denied, "secret key"),
        ("Access Denied", Denied, "username"),
        ("Bad login", Denied, "password"),
        ("You are not authorized to use this functionality", Denied, "right"),
        ("Dont_be_so_smart", Denied, "username"),
        ("User was not found", Refused, "users"),
        ("Date from is incorrect format", Refused, "dates"),
        ("Cannot connect to Elasticsearch", VendorFault, "away"),
        ("Something new", Refused, "Something new"),
    ],
)
@pytest.mark.parametrize(
    "shape",
    [
        "<error>{}</error>",
        "<status><error>{}</error></status>",
        "<page><status><error>{}</error></status></page>",
        "<page><status><status><error>{}</error></status></status></page>",
    ],
)
def test_14_errors_at_every_nesting(words: str, error: type[PollerError], advice: str, shape: str) -> None:
    """200, text/html, anywhere in the document: never an empty list."""
    for endpoint in (CALLS, RECORDINGS, LOCAL):
        with pytest.raises(error) as caught:
            read_answer(endpoint, [shape.format(words).encode()])
        assert words in str(caught.value)
        assert advice in str(caught.value)


def test_14_no_recordings_is_empty_for_recordings_only() -> None:
    """And nothing else is."""
    empty = golden.page_bytes("recordings_none")
    records, page, _ = read_answer(RECORDINGS, [empty])
    assert (records, page.total) == ([], 0)
    with pytest.raises(Refused):
        read_answer(LOCAL, [empty])
    with pytest.raises(BadAnswer):
        read_answer(RECORDINGS, [b"<page><status></status></page>"])
    with pytest.raises(Malformed, match="no list"):
        read_answer(LOCAL, [b"<page><greeting>hello</greeting></page>"])


def test_14_an_error_shows_no_hash() -> None:
    """The vendor may repeat what was sent."""
    with pytest.raises(Refused) as caught:
        read_answer(CALLS, [b"<error>bad hash=f7c3bc1d808e04732adf679965ccc34ca7ae3441</error>"])
    assert "f7c3bc1d" not in str(caught.value)


def test_14_error_message_field() -> None:
    """`error_msg` is there in every page, and empty when all is well."""
    with pytest.raises(Refused, match="No rights"):
        read_answer(CALLS, [calls_page("").replace(b"<error_msg></error_msg>", b"<error_msg>No rights</error_msg>")])


def test_16_timezone_tag_is_not_believed() -> None:
    """It is today's offset, wrong for a call on the other side of a clock change."""
    (winter, summer) = keys_of(
        call_xml(timezone="GMT +02:00", uniqueid=""), call_xml(timezone="GMT +03:00", uniqueid="")
    )
    assert winter == summer
    assert summer.own == epoch("2024-03-31 01:05:09")


@pytest.mark.parametrize(
    "text",
    [
        "2024-03-31 04:05:09 +0300",
        "2024-03-31 04:05:09 +03:00",
        "2024-03-31 01:05:09 UTC",
        "2024-03-31 01:05:09 GMT +0000",
        "2024-03-30 20:05:09 -0500",
    ],
)
def test_16_recordings_have_their_own_offset(text: str) -> None:
    """The one that was valid on that date."""
    assert RECORDINGS.keys(recording(date=text), None).own == epoch("2024-03-31 01:05:09")


def test_16_a_plain_recording_date_is_not_taken_for_utc() -> None:
    """Unknown is said as unknown, unless the call's uniqueid in the file's name tells the zone."""
    assert recording_of(date="2024-03-31 04:05:09").started_at is None
    found = recording_of(date="2024-03-31 04:05:09", mp3_url="/recordings/1711847109.4411.mp3")
    assert found.started_at == utc(epoch("2024-03-31 01:05:09"))


def test_17_routing_attempts_share_an_id() -> None:
    """The FAILED attempt and the ANSWERED one are two states of one call, and never one."""
    keys = golden.result("user_calls_x8_admin")["keys"]
    assert keys[0]["id"] == keys[1]["id"] == "1711847109.4411"
    assert keys[0]["state"] != keys[1]["state"]


def test_17_no_uniqueid() -> None:
    """Composed of what does not change; equal ones are counted, so two equal failed calls are two calls."""
    first, equal, other = keys_of(call_xml(uniqueid=""), call_xml(uniqueid=""), call_xml(uniqueid="", clid="other"))
    assert first == equal
    assert first.counted
    assert other.id != first.id
    assert not keys_of(call_xml())[0].counted


def test_17_day_comes_from_the_id() -> None:
    """A call over midnight local time; but an id whose instant is absurd does not place the key."""
    (late,) = keys_of(call_xml(calldate2="2024-03-31 02:59:59", uniqueid="1711843199.1"))
    assert late.day == epoch("2024-03-30 23:59:59") // 86_400
    (absurd,) = keys_of(call_xml(uniqueid="1011847109.1"))
    assert absurd.day == epoch("2024-03-31 04:05:09") // 86_400


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("00:01:03", 63),
        ("61:04", 3664),
        ("100:00", 6000),
        ("01:00:00", 3600),
        ("63", 63),
        ("63.0", 63),
        ("", None),
        ("-", None),
    ],
)
def test_18_duration_is_text(text: str, seconds: float | None) -> None:
    """Minutes may pass 59."""
    assert recording_of(duration=text).duration_seconds == seconds


def test_18_duration_formats_are_one_state() -> None:
    """The GUI's time format is no change of a recording; nor is the way a size is written."""
    states = {
        RECORDINGS.keys(recording(duration=duration, size=size), None).state
        for duration, size in (("00:01:03", "1024.0"), ("1:03", "1024"), ("01:03", "1024.00"))
    }
    assert len(states) == 1


def test_18_a_recording_whose_call_is_not_there_yet() -> None:
    """Published as it is, and another state once its call is written."""
    early = recording(user_id="-1", source="", destination="", duration="00:00:00", size="0.0")
    data = RECORDINGS.normalise(early, None).data
    assert isinstance(data, RecordingData)
    assert (data.from_.number, data.to.number, data.duration_seconds, data.size_bytes) == (None, None, 0.0, 0)
    before, after = RECORDINGS.keys(early, None), RECORDINGS.keys(recording(), None)
    assert before.id == after.id
    assert before.state != after.state
    assert recording_of(size="253440.0").size_bytes == 253440


def test_18_open_page_is_forgiven_and_nothing_else() -> None:
    """recordings_get may leave `<page>` open; anything else that is missing is a cut."""
    page = golden.page_bytes("recordings_open_page")
    assert len(read_answer(RECORDINGS, [page])[0]) == 1
    for end in range(1, len(page.rstrip())):
        with pytest.raises(BadAnswer):
            read_answer(RECORDINGS, [page[:end]])
    assert read_answer(RECORDINGS, [golden.page_bytes("recordings_none").replace(b"</page>", b"")])[1].total == 0
    with pytest.raises(Truncated):
        read_answer(CALLS, [calls_page(call_xml()).replace(b"</page>", b"")])


def test_14_equal_dates_are_never_asked_and_a_reversed_pair_is_a_clock_change() -> None:
    """Equal dates are an error of the vendor; ours are in order, so "greater" means that its clock was put back between them."""
    for begin, end in ((100, 100), (100, 101)):
        values = dict(RECORDINGS.request(RECORDINGS.asks[0], Window(begin, end), None).form or ())
        assert int(values["date_till"]) > int(values["date_from"])
    with pytest.raises(ClockChange):
        read_answer(RECORDINGS, [golden.page_bytes("recordings_reversed")])


@pytest.mark.parametrize(
    ("found", "url"),
    [
        ("/billing/recordings/a.mp3", "https://mor.example/billing/recordings/a.mp3"),
        ("recordings/a.mp3", "https://mor.example/billing/recordings/a.mp3"),
        ("a.mp3", "https://mor.example/billing/recordings/a.mp3"),
        ("http://10.9.8.7/recordings/a.mp3", "http://10.9.8.7/recordings/a.mp3"),
        ("//rec.example/a.mp3", "https://rec.example/a.mp3"),
        ("/recordings/a b ż.mp3?x=1%2B1", "https://mor.example/recordings/a%20b%20%C5%BC.mp3?x=1%2B1"),
        ("/recordings/100%.mp3", "https://mor.example/recordings/100%25.mp3"),
        ("", None),
        (" ", None),
        ("file:///etc/passwd", None),
        ("javascript:alert(1)/", None),
        ("http://[broken/a.mp3", None),
    ],
)
def test_20_mp3_url(found: str, url: str | None) -> None:
    """Relative, absolute, empty, on another host."""
    assert recording_of(mp3_url=found).media_url == url


def test_20_uniqueid_from_the_files_name() -> None:
    """So that a recording lies beside its call; any other name is only a name."""
    normal = RECORDINGS.normalise(recording(mp3_url="http://10.9.8.7/recordings/1711847109.4411.mp3"), None)
    assert (normal.subject, normal.partition_key) == ("9107", "1711847109.4411")
    other = RECORDINGS.normalise(recording(mp3_url="/recordings/hello.mp3"), None)
    assert (other.subject, other.partition_key) == ("9107", "9107")


def test_21_halves_and_spellings_are_one_call() -> None:
    """`;1` and `;2` in one answer, the misspelt tags in one of them."""
    keys = golden.result("local_calls_halves")["keys"]
    assert keys[0]["id"] == keys[1]["id"]
    assert not keys[0]["counted"]
    assert keys[0]["state"] == keys[1]["state"] == ""


def test_21_calls_without_a_channel_are_told_apart() -> None:
    """With an empty channel nothing names the call: everything else does, and equal ones are counted."""

    def keys(**fields: str) -> Keys:
        usual = {
            "calldate": {"date": "2024-03-31 09:14:02"},
            "orignator_channel": "",
            "originator_device": "a",
            "terminator_device": "b",
        }
        return LOCAL.keys(json.dumps({**usual, **fields}).encode(), None)

    assert keys().counted
    assert keys(originator_device="c").id != keys().id


@pytest.mark.parametrize("zone", ["GMT +0300", "GMT +03:00", "+0300"])
def test_21_zone_with_and_without_colon(zone: str) -> None:
    """Both are written."""
    record = json.dumps(
        {"calldate": {"date": "2024-03-31 09:14:02", "timezone": zone}, "orignator_channel": "a"}
    ).encode()
    assert LOCAL.keys(record, None).own == epoch("2024-03-31 06:14:02")
