"""Every endpoint of every folder under poller/sources keeps the contract of poller.protocols.Endpoint."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from source_case import SourceCase, changed, load_cases, read, vendors, without

from poller.errors import BadRecord, NotTheApi, PollerError
from poller.model import DAY, Keys, RecordingData
from poller.options import EndpointOptions, SourceOptions

CASES = [case for vendor in vendors() for case in load_cases(vendor)]

pytestmark = pytest.mark.parametrize("case", CASES, ids=str)
quick = settings(max_examples=40, deadline=None)


def first(case: SourceCase) -> tuple[bytes, int | None]:
    """The first record of the good page, and the answer's offset."""
    records, _, offset = read(case, case.page)
    assert len(records) >= 2
    return records[0], offset


def judge(case: SourceCase, records: list[bytes], offset: int | None) -> None:
    """Any record is either understood, or refused with BadRecord."""
    for record in records:
        try:
            case.endpoint.keys(record, offset)
            msgspec.json.encode(case.endpoint.normalise(record, offset).data)
        except BadRecord:
            continue


def test_names_and_limits_are_sane(case: SourceCase) -> None:
    limits = case.endpoint.limits
    assert case.endpoint.name == case.name
    assert case.endpoint.asks
    assert len({ask.key for ask in case.endpoint.asks}) == len(case.endpoint.asks)
    assert case.endpoint.version >= 1
    assert 0 < limits.resolution <= limits.min_span <= limits.first_span <= limits.max_span


def test_request_is_deterministic_and_its_repr_keeps_secrets(case: SourceCase) -> None:
    ask = case.endpoint.asks[0]
    request = case.endpoint.request(ask, case.window, None)
    assert request == case.endpoint.request(ask, case.window, None)
    assert request.path
    assert "pass-word" not in repr(request)
    assert "secret" not in repr(request).lower()


@quick
@given(cuts=st.lists(st.integers(0, 4000), max_size=12))
def test_any_chunking_reads_the_same(case: SourceCase, cuts: list[int]) -> None:
    whole, page, offset = read(case, case.page)
    again, chunked, shown = read(case, case.page, cuts=tuple(cuts))
    assert again == whole
    assert shown == offset
    page.records = chunked.records = []
    assert chunked == page


def test_byte_by_byte_reads_the_same(case: SourceCase) -> None:
    assert read(case, case.page, cuts=tuple(range(len(case.page))))[0] == read(case, case.page)[0]


def test_each_record_is_one_line_of_json(case: SourceCase) -> None:
    pretty = case.page.replace(b"},{", b"},\r\n{").replace(b'","', b'",\n"')
    for body in (case.page, pretty):
        records, _, _ = read(case, body)
        assert len(records) == len(read(case, case.page)[0])
        for record in records:
            assert b"\n" not in record
            assert b"\r" not in record
            assert isinstance(json.loads(record), dict)


def test_normalised_agrees_with_the_keys_and_can_be_encoded(case: SourceCase) -> None:
    records, _, offset = read(case, case.page)
    for record in records:
        keys, normal = case.endpoint.keys(record, offset), case.endpoint.normalise(record, offset)
        data = json.loads(msgspec.json.encode(normal.data))
        assert data["vendor"] == json.loads(record)
        assert isinstance(normal.data, RecordingData) == (case.endpoint.kind == "recording")
        assert normal.partition_key
        assert keys.counted or normal.subject == keys.id
        assert normal.time is not None
        assert normal.time.tzinfo is not None
        assert abs(normal.time.timestamp() // DAY - keys.day) <= 1
        if case.endpoint.kind == "recording":
            assert data["recording_id"] == keys.id
        for mention in normal.mentions:
            assert mention.data.partial
            assert mention.data.recording_id == mention.id
            assert abs(mention.day - keys.day) <= 1
            msgspec.json.encode(mention.data)


def test_a_declared_field_changes_the_state_and_never_more(case: SourceCase) -> None:
    record, offset = first(case)
    keys = case.endpoint.keys(record, offset)
    for name, value in case.declared.items():
        other = case.endpoint.keys(changed(record, {name: value}), offset)
        assert other.state != keys.state, name
        assert (other.id, other.day) == (keys.id, keys.day), name


def test_an_undeclared_field_changes_nothing(case: SourceCase) -> None:
    record, offset = first(case)
    keys = case.endpoint.keys(record, offset)
    for name, value in {**case.undeclared, "never_seen_before": {"deep": [1, None]}}.items():
        other = case.endpoint.keys(changed(record, {name: value}), offset)
        assert (other.id, other.day, other.state) == (keys.id, keys.day, keys.state), name


def test_unknown_fields_are_kept_in_the_raw_record(case: SourceCase) -> None:
    record, offset = first(case)
    normal = case.endpoint.normalise(changed(record, {"never_seen_before": [1, {"a": None}]}), offset)
    assert json.loads(msgspec.json.encode(normal.data))["vendor"]["never_seen_before"] == [1, {"a": None}]


def test_missing_and_null_fields_are_tolerated_and_mean_the_same(case: SourceCase) -> None:
    record, offset = first(case)
    for name in json.loads(record):
        found: list[Keys | None] = []
        for variant in (without(record, name), changed(record, {name: None}), changed(record, {name: ""})):
            try:
                case.endpoint.normalise(variant, offset)
                found.append(case.endpoint.keys(variant, offset))
            except BadRecord:
                assert name in case.required
                found.append(None)
        assert found[0] == found[1] == found[2], name


def test_fields_of_other_types_never_escape_bad_record(case: SourceCase) -> None:
    record, offset = first(case)
    odd = [True, [1], {"a": 1}, -1, 1.5, "x", "\u202e", 10**30, "9" * 5000, [[[]]]]
    judge(case, [changed(record, {name: value}) for name in json.loads(record) for value in odd], offset)


def test_an_empty_list_is_no_error(case: SourceCase) -> None:
    records, page, _ = read(case, case.empty)
    assert records == []
    assert page.next is None
    assert not page.cut


def test_an_answer_without_any_byte(case: SourceCase) -> None:
    if case.empty_body:
        records, page, _ = read(case, b"")
        assert (records, page.next) == ([], None)
    else:
        with pytest.raises(PollerError):
            read(case, b"")


@pytest.mark.parametrize(
    "body",
    [
        b"<!DOCTYPE html><html><body>Sign in</body></html>",
        b"\n <html><head><title>502 Bad Gateway</title></head></html>",
        b"Bad Gateway",
    ],
)
def test_a_page_for_people_is_not_the_api(case: SourceCase, body: bytes) -> None:
    with pytest.raises(PollerError) as caught:
        read(case, body)
    if b"html" in body:
        assert isinstance(caught.value, NotTheApi)


def test_truncated_anywhere_is_an_error(case: SourceCase) -> None:
    body = case.page.rstrip()
    for end in range(1, len(body)):
        with pytest.raises(PollerError):
            read(case, body[:end])


@pytest.mark.parametrize(
    "body", [b"{}", b'"x"', b"1", b"true", b'{"data":1}', b'{"result":{}}', b"[1", b"\x00", b"\xff\xfe"]
)
def test_another_document_is_an_error(case: SourceCase, body: bytes) -> None:
    with pytest.raises(PollerError):
        read(case, body)


def test_bytes_that_are_not_utf8_lose_no_record(case: SourceCase) -> None:
    value = next(str(text) for text in json.loads(first(case)[0]).values() if isinstance(text, str) and len(text) > 4)
    body = case.page.replace(value.encode(), value.encode()[:2] + b"\xff" + value.encode()[3:], 1)
    assert body != case.page
    records, _, offset = read(case, body)
    assert len(records) == len(read(case, case.page)[0])
    for record in records:
        record.decode()
    judge(case, records, offset)


@quick
@given(noise=st.binary(max_size=200))
def test_random_bytes_never_escape(case: SourceCase, noise: bytes) -> None:
    for body in (noise, b"{" + noise, b"[" + noise, b"<" + noise):
        try:
            records, _, offset = read(case, body)
        except PollerError:
            continue
        judge(case, records, offset)


@quick
@given(noise=st.binary(max_size=12), at=st.integers(0, 4000), length=st.integers(0, 30))
def test_a_damaged_answer_never_escapes(case: SourceCase, noise: bytes, at: int, length: int) -> None:
    place = at % len(case.page)
    try:
        records, _, offset = read(case, case.page[:place] + noise + case.page[place + length :])
    except PollerError:
        return
    judge(case, records, offset)


@quick
@given(noise=st.binary(max_size=60))
def test_a_damaged_record_is_a_bad_record(case: SourceCase, noise: bytes) -> None:
    record, offset = first(case)
    judge(case, [noise, b"{" + noise + b"}", record[:20] + noise + record[20:], b"[" * 3000], offset)


def test_the_folder_is_a_registration(case: SourceCase) -> None:
    module = __import__(f"poller.sources.{case.name.partition('.')[0]}", fromlist=["Config"])
    assert issubclass(module.Config, SourceOptions)
    assert callable(module.build)
    endpoints = module.Config.model_fields["endpoints"].annotation
    options = endpoints.model_fields[case.name.partition(".")[2]].annotation.__args__[0]
    assert issubclass(options, EndpointOptions)
