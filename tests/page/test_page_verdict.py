"""What a person reads first, of every state that an installation can be in."""

import pytest
from msgspec import structs

from poller.errors import PollerError
from poller.operations import ShardStatus, SinkStatus, Status, WebhookStatus
from poller.page.advice import OF, OTHER, advice
from poller.page.verdict import WAITS, View, standing, view
from poller.source_status import EndpointStatus, GapStatus

NOW = 1_000_000.0
WELL = EndpointStatus(source="mor", endpoint="mor.user_calls", complete_until=NOW - 60, read_until=NOW)
KAFKA = SinkStatus(sink="kafka", kind="kafka")
STATUS = Status(version="1", running=True, store="sqlite", store_bytes=1, seen_ids=1, endpoints=[WELL], sinks=[KAFKA])


def seen(webhooks: tuple[WebhookStatus, ...] = (), **more: object) -> View:
    return view(structs.replace(STATUS, **more), webhooks, NOW)


def test_all_is_well() -> None:
    assert seen() == view(STATUS, [], NOW)
    assert (seen().well, seen().troubles) == (True, [])
    assert seen().sentence == "All 1 lists are up to date, and nothing waits too long."
    assert seen(endpoints=[]).sentence == "Nothing is polled."


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({}, "complete"),
        ({"complete_until": None}, "starting"),
        ({"open_gaps": 1}, "gap"),
        ({"error": "503"}, "failing"),
        ({"error": "503", "overdue_rungs": 1}, "behind"),
        ({"overdue_rungs": 2}, "behind"),
        ({"configured": False, "error": "503"}, "removed"),
    ],
)
def test_a_list_in_one_word(change: dict[str, object], word: str) -> None:
    assert standing(structs.replace(WELL, **change)) == word


def test_who_is_behind_comes_first_and_says_why() -> None:
    bad = structs.replace(WELL, source="fono", overdue_rungs=1, error="the phone system refuses the password")
    found = seen(endpoints=[WELL, bad])
    assert found.sentence == "1 of 2 lists is not up to date: fono."
    assert [row.it.source for row in found.rows] == ["fono", "mor"]
    assert (found.troubles[0].why, found.troubles[0].weight) == ("the phone system refuses the password", "bad")


def test_the_furthest_behind_is_first_and_the_reason_is_in_plain_words() -> None:
    some = structs.replace(WELL, source="a", overdue_rungs=1, behind=90.0, error="no", reason="timeout")
    most = structs.replace(some, source="z", behind=7_300.0, error="403", reason="denied")
    also = structs.replace(most, endpoint="mor.recordings", behind=7_200.0)
    found = seen(endpoints=[WELL, some, also, most])
    assert found.sentence == ("3 of 4 lists are not up to date: z (refuses the credential), a (answers too slowly).")
    assert [(row.it.source, row.it.endpoint) for row in found.rows[:2]] == [
        ("z", "mor.user_calls"),
        ("z", "mor.recordings"),
    ]
    first, second = found.troubles
    assert first.what == "z, mor.user_calls, mor.recordings are behind by 2 h: it refuses the credential."
    assert first.do.startswith("Check the user")
    assert (first.source, second.what) == ("z", "a, mor.user_calls is behind by 1 min: it answers too slowly.")


def test_a_gap_says_from_when_until_when() -> None:
    gap = GapStatus(begin=NOW - 100, end=NOW - 90, since=NOW, reason="malformed")
    (trouble,) = seen(endpoints=[structs.replace(WELL, open_gaps=1, gaps=[gap])]).troubles
    assert "1970-01-12T13:45:00.000Z to 1970-01-12T13:45:10.000Z (malformed)" in trouble.why


def test_every_reason_has_plain_words() -> None:
    def all_of(kind: type[PollerError]) -> set[type[PollerError]]:
        return {kind}.union(*(all_of(each) for each in kind.__subclasses__()))

    never_asking = {
        "config",
        "unknown",
        "bad_record",
        "store_refused",
        "sink",
        "fenced",
        "sink_refused",
        "foreign_progress",
    }
    generic = {"error", "transient", "permanent"}
    ours = {each.reason for each in all_of(PollerError) if each.__module__ == "poller.errors"}
    assert ours - never_asking - generic == OF.keys()
    assert advice("of tomorrow") is OTHER
    assert advice(None) is None


def test_many_that_are_behind_are_counted() -> None:
    bad = [structs.replace(WELL, source=f"s{number}", overdue_rungs=1) for number in range(5)]
    assert seen(endpoints=bad).sentence == "5 of 5 lists are not up to date: s0, s1, s2 and 2 more."


def test_sinks_that_keep_events_waiting() -> None:
    late = structs.replace(KAFKA, pending=3, oldest_pending=NOW - WAITS - 1)
    assert [one.what for one in seen(sinks=[late]).troubles] == ["Events for kafka wait too long."]
    assert seen(sinks=[structs.replace(late, oldest_pending=NOW - WAITS + 1)]).well
    hook = WebhookStatus(sink="crm", url="https://crm.example", state="down", why="503 from it")
    down = SinkStatus(sink="crm", kind="webhook", state="down")
    (trouble,) = seen((hook,), sinks=[down]).troubles
    assert (trouble.what, trouble.why) == ("Sink crm is down.", "503 from it")
    (trouble,) = seen((), sinks=[structs.replace(down, state="disabled", error="410")]).troubles
    assert (trouble.what, trouble.why) == ("Sink crm is disabled.", "410")


def test_other_troubles() -> None:
    assert "polling pauses" in seen(paused=["the store is full"]).sentence
    assert seen(sinks=[structs.replace(KAFKA, dead_letters=1)]).troubles[0].what == "Sink kafka has 1 dead letter."
    free = [ShardStatus(shard=3, sources=["mor"]), ShardStatus(shard=4, owner="a")]
    (trouble,) = seen(shards=free).troubles
    assert (trouble.what, trouble.anchor) == ("1 shard has no owner.", "pollershardwithoutowner")
    assert "mor" in trouble.why
