"""Whatever a phone system answers: one of our errors or records, each of which is understood or refused alone; nobody's neighbour is lost."""

import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from fuzz_mutations import JSON, XML, Change, changed, changes, corpus, looked_for
from hypothesis import given
from hypothesis import strategies as st
from source_case import SourceCase, load_cases, read, vendors

from poller.errors import BadRecord, PollerError

SOURCES = Path(__file__).resolve().parents[1] / "sources"
CASES = [case for vendor in vendors() for case in load_cases(vendor)]
PAGES = {
    case.name: [
        case.page,
        *(
            page.read_bytes()
            for page in sorted((SOURCES / case.name.partition(".")[0] / "golden").iterdir())
            if page.suffix != ".expected" and page.name.startswith(case.name.partition(".")[2])
            if page.suffix == ".xml" or not page.with_suffix(".xml").exists()
        ),
    ]
    for case in CASES
}
LONGEST = 10.0
"""Seconds of the processor for one small answer: what grows with the square of its size takes minutes."""

by_case = pytest.mark.parametrize("case", CASES, ids=str)


def tokens(case: SourceCase) -> Sequence[bytes]:
    return XML if case.name.startswith("mor.") else JSON


def readable(error: PollerError) -> None:
    """A sentence that can be written, and does not repeat the answer."""
    assert len(str(error).encode()) < 3_000


def survive(case: SourceCase, body: bytes, cuts: Sequence[int] = ()) -> list[bytes]:
    """The records of an answer; none where it is refused. Bounded in time and size."""
    begun = time.process_time()
    try:
        records, _, offset = read(case, body, cuts=tuple(cuts))
    except PollerError as error:
        readable(error)
        return []
    for record in records:
        try:
            case.endpoint.keys(record, offset)
            msgspec.json.encode(case.endpoint.normalise(record, offset).data)
        except BadRecord as error:
            readable(error)
    assert time.process_time() - begun < LONGEST
    assert sum(map(len, records)) <= 64 * len(body) + 4_096
    return records


@by_case
@pytest.mark.parametrize("found", corpus("answers"), ids=lambda path: path.name)
def test_answers_that_were_found(case: SourceCase, found: Path) -> None:
    body = found.read_bytes()
    assert survive(case, body) == survive(case, body, range(0, len(body), 7))


@by_case
@looked_for(100)
@given(data=st.data())
def test_a_changed_answer_is_read_or_refused(case: SourceCase, data: st.DataObject) -> None:
    page = data.draw(st.sampled_from(PAGES[case.name]))
    other = data.draw(st.sampled_from(PAGES[case.name]))
    if data.draw(st.booleans()):  # the one's beginning, the other's end
        page = page[: data.draw(st.integers(0, len(page)))] + other[data.draw(st.integers(0, len(other))) :]
    body = changed(page, data.draw(changes(tokens(case))))
    survive(case, body, data.draw(st.lists(st.integers(0, len(body)), max_size=4)))


def spans(case: SourceCase) -> list[tuple[int, int]]:
    """Where the records of the good page stand."""
    page, found, at = case.page, [], 0
    if case.name.startswith("mor."):
        tag = b"call" if b"<call>" in page else b"recording"
        while (at := page.find(b"<%b>" % tag, at)) >= 0:
            end = page.index(b"</%b>" % tag, at) + len(tag) + 3
            found.append((at, end))
            at = end
        return found
    for record in read(case, page)[0]:
        at = page.index(record, at)
        found.append((at, at + len(record)))
        at += len(record)
    return found


@by_case
def test_where_the_records_stand_is_known(case: SourceCase) -> None:
    assert len(spans(case)) == len(read(case, case.page)[0]) >= 2


@by_case
@looked_for(100)
@given(number=st.integers(0, 9), data=st.data())
def test_a_changed_record_costs_no_neighbour(case: SourceCase, number: int, data: st.DataObject) -> None:
    """Either the answer is refused as a whole, and asked for again, or all the others are there as they were."""
    places, records = spans(case), read(case, case.page)[0]
    which = number % len(places)
    begin, end = places[which]
    todo: list[Change] = data.draw(changes(tokens(case), 3))
    body = case.page[:begin] + changed(case.page[begin:end], todo) + case.page[end:]
    try:
        found = read(case, body)[0]
    except PollerError:
        return
    left = [json.loads(record) for record in found]
    for place, record in enumerate(records):
        assert place == which or json.loads(record) in left
    survive(case, body)


@by_case
def test_records_of_all_lengths_and_places_cost_no_neighbour(case: SourceCase) -> None:
    """The same for what is certainly well formed: text of every kind in the place of the record's first field."""
    places, records = spans(case), read(case, case.page)[0]
    name, value = next((key, text) for key, text in json.loads(records[0]).items() if isinstance(text, str) and text)
    begin, end = places[0]
    first = case.page[begin:end]
    assert value.encode() in first, name
    for put, pair in itertools.product(["x", "x" * 70_000, "żółć \U0001f600", "&amp;lt;", "{}[]"], [(0, 1), (0, None)]):
        body = case.page[:begin] + first.replace(value.encode(), put.encode(), pair[1] or -1) + case.page[end:]
        found = [json.loads(record) for record in read(case, body)[0]]
        assert [json.loads(record) for record in records[1:]] == found[1:]
