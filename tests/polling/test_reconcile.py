"""A span that is read again: what the vendor shows otherwise than it was published."""

from pathlib import Path
from typing import Any

import pytest
from golden_events import _answers
from polling_app import app_of
from polling_rig import ID, NAME, Rig, later, poll_on, polling
from polling_vendor import Listed, Query, lines

from poller.config import Settings
from poller.errors import PollerError, Unknown
from poller.model import Ask
from poller.operate import Work
from poller.operations import Reconcile, Reconciled
from poller.options import SourceOptions
from poller.sinks import ndjson
from poller.stores.memory import Config

pytestmark = pytest.mark.anyio

LADDER = [{"back": "2h"}]


def working(rig: Rig, listed: Listed, **keys: Any) -> Work:
    options = {"out": ndjson.Config(kind="ndjson", path=Path("-"))}
    source = SourceOptions(base_url="http://127.0.0.1/", id=ID)
    app = app_of(
        Settings(store=Config(), sinks=options, sources={NAME: source}), rig.store, rig.clock, rig.metrics,
        rig.setup.rnd, [rig.shard],
    )  # fmt: skip
    app.tracks = [rig.track(listed, ask=ask, **{"ladder": LADDER, "start": "3h"} | keys) for ask in listed.asks]
    return Work(app, running=True)


async def reconcile(work: Work, begin: float, end: float, endpoint: str = "phones.calls") -> Reconciled:
    return await work.reconcile(Reconcile(source=NAME, endpoint=endpoint, begin=int(begin), end=int(end)))


def found(one: Reconciled) -> list[tuple[str, str]]:
    return [(each.what, each.id) for each in one.differences]


async def test_a_vendor_whose_rows_were_added_changed_and_removed_behind_our_back() -> None:
    async with polling(page=3) as rig:
        listed = Listed()
        now = rig.clock.now()
        for number in range(12):
            rig.phones.add(now - 3_000 + number * 100, id=f"c{number}", state="a")
        work = working(rig, listed)
        await poll_on(work._app.tracks[0])
        log, checkpoints = await rig.log(), await rig.store.checkpoints()
        whole = await reconcile(work, now - 3_600, now - 600)
        assert (found(whole), whole.records, whole.unread) == ([], 12, [])
        assert (whole.known_from, whole.published_from, whole.judges_unknown) == (None, None, True)
        rig.phones.add(now - 2_950, id="added")
        rig.phones.add(now - 300, id="added later than the span")
        rows = rig.phones.rows["calls"]
        rows[3][2]["state"] = "b"
        removed = rows.pop(5)[2]["id"]
        asked = len(rig.phones.asked)
        one = await reconcile(work, now - 3_600, now - 600, "calls")
        assert found(one) == [("missing", "added"), ("changed", "c3"), ("unknown", removed)]
        assert (one.counts["missing"], one.counts["changed"], one.counts["unknown"]) == (1, 1, 1)
        assert {each.event for each in one.differences if each.what != "missing"} == {log[3].id, log[5].id}
        assert len(rig.phones.asked) - asked == 4, "by the vendor's own pages"
        assert await rig.log() == log, "nothing is written"
        assert await rig.store.checkpoints() == checkpoints
        await poll_on(work._app.tracks[0])
        assert found(await reconcile(work, now - 3_600, now - 600)) == [("unknown", removed)], (
            "polling has found the rest"
        )


async def test_a_state_that_returned_is_changed_since_another_was_published_last() -> None:
    async with polling() as rig:
        work = working(rig, Listed())
        now = rig.clock.now()
        rig.phones.add(now - 1_000, id="a", state="x")
        await poll_on(work._app.tracks[0])
        rig.phones.rows["calls"][0][2]["state"] = "y"
        await poll_on(work._app.tracks[0])
        assert found(await reconcile(work, now - 2_000, now)) == []
        rig.phones.rows["calls"][0][2]["state"] = "x"
        assert found(await reconcile(work, now - 2_000, now)) == [("changed", "a")]


async def test_only_a_closed_span_is_compared() -> None:
    async with polling() as rig:
        work = working(rig, Listed())
        now = rig.clock.now()
        with pytest.raises(PollerError, match="not at all"):
            await reconcile(work, now - 100, now)
        await poll_on(work._app.tracks[0])
        for begin, end, said in (
            (now - 4 * 3_600, now - 3_600, "polled from"),
            (now - 3_600, now, "up to"),
            (now - 100, now - 100, "ends before"),
        ):
            with pytest.raises(PollerError, match=said):
                await reconcile(work, begin, end)
        with pytest.raises(Unknown, match=r"phones\.calls"):
            await reconcile(work, now - 200, now - 100, "nothing")
        with pytest.raises(Unknown, match="no source"):
            await work.reconcile(Reconcile(source="x", endpoint="y", begin=0, end=1))
        assert (await reconcile(work, now - 200, now - 100)).complete_until == now - 10 - 2 * 3_600


async def test_spans_that_the_vendor_does_not_give_are_named_and_what_lies_there_is_not_called_unknown() -> None:
    async with polling() as rig:
        work = working(rig, Listed(first_span=600, min_span=60))
        now = rig.clock.now()
        for back in (1_500, 900):
            rig.phones.add(now - back, id=f"{back} ago")
        await poll_on(work._app.tracks[0])
        rig.phones.rows["calls"].clear()

        def say(query: Query) -> bytes | None:
            return rig.phones.whole(b"") if query.window.begin <= now - 900 <= query.window.end else None

        rig.phones.say = say
        one = await reconcile(work, now - 1_800, now - 60)
        assert found(one) == [("unknown", "1500 ago")]
        assert one.unread
        assert all(each.begin - 60 <= now - 900 <= each.end + 60 for each in one.unread)


async def test_what_the_store_no_longer_keeps_is_said() -> None:
    async with polling() as rig:
        rig.setup.seen_ttl = 3 * 3_600
        work = working(rig, Listed(), start="5h")
        now = rig.clock.now()
        rig.phones.add(now - 4 * 3_600, id="old")
        rig.phones.add(now - 3_600, id="new")
        await poll_on(work._app.tracks[0])
        await rig.store.delivered(rig.shard.held, "out", rig.shard.held.last)
        later(rig.clock, 3_600)
        rig.phones.add(rig.clock.now() - 60, id="newest")
        await poll_on(work._app.tracks[0])
        await rig.store.delivered(rig.shard.held, "out", rig.shard.held.last)
        await rig.store.expire(log_before=rig.clock.now() - 600, seen_before_day=0, limit=1_000)
        one = await reconcile(work, now - 4 * 3_600, now)
        assert one.counts["forgotten"] == 1
        assert one.known_from == now + 60 + 3_600 - 10 - 3 * 3_600
        assert one.published_from is not None
        assert found(one) == []


async def test_a_list_that_is_asked_in_several_ways_and_shows_no_own_time() -> None:
    async with polling() as rig:
        listed = Listed(asks=(Ask((("user", "5"),)), Ask((("user", "9"),))), shows_own_time=False)

        def say(query: Query) -> bytes | None:
            return rig.phones.whole(
                lines([row for row in rig.phones.visible(query) if row["user"] == query.ask["user"]])
            )

        rig.phones.say = say
        now = rig.clock.now()
        for user in "559":
            rig.phones.add(now - 1_000, user=user)
        work = working(rig, listed)
        for track in work._app.tracks:
            await poll_on(track)
        rig.phones.add(now - 900, user="9", id="added")
        one = await reconcile(work, now - 1_800, now - 600)
        assert (found(one), one.records, one.judges_unknown) == ([("missing", "added")], 4, False)


def test_the_record_that_an_event_carries_identifies_it_as_the_vendors_did() -> None:
    """Of every list of every vendor: by it, what the vendor shows no more is placed in its span."""
    lists = set()
    for endpoint, _, records, offset in _answers():
        for record in records:
            vendor = endpoint.normalise(record, offset).data.vendor
            assert vendor is not None
            assert endpoint.keys(bytes(vendor), offset) == endpoint.keys(record, offset)
            lists.add(endpoint.name)
    assert len(lists) == 7
