"""Dead records that another process is asked to try again: each has a commit of its own, and what is told is what was done."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest
from errands_store import SharedStore
from fake_clock import FakeClock
from polling_app import app_of
from polling_rig import ID, Rig, polling
from polling_vendor import Listed

from poller.config import Settings
from poller.errand import Errand
from poller.errands import keep_doing
from poller.errors import StoreFault, StoreFull
from poller.identity import shard_of
from poller.model import DeadRecord, Held, PageCommit
from poller.operate import Work
from poller.operations import Again
from poller.shard import Nobody, Shard
from poller.stores.memory import Config

pytestmark = pytest.mark.anyio

NOW, SHARDS = 1_700_000_000.0, 2
MINE = shard_of(ID, SHARDS)
IDS = ("r0", "r1", "r2", "r3")
AWAY = StoreFault("the database does not answer")
Commit = Callable[[], Awaitable[None]]


class Shared(SharedStore):
    """How often something was asked. `commits`: what the next commits do instead."""

    def __init__(self) -> None:
        super().__init__(SHARDS)
        self.asked = 0
        self.commits: Callable[[Commit], Awaitable[None]] | None = None

    async def commit_page(self, held: Held, page: PageCommit) -> Held:
        after: list[Held] = []

        async def commit() -> None:
            after.append(await super(Shared, self).commit_page(held, page))

        await (commit() if self.commits is None else self.commits(commit))
        return after[0]

    async def ask(self, errand: Errand, seconds: float) -> None:
        self.asked += 1
        await super().ask(errand, seconds)

    async def commit_errand(self, *_: object) -> Held | None:
        raise AssertionError


class Two:
    """The second one works on the source's shard; it is the first one that is asked."""

    def __init__(self, rig: Rig, store: Shared, clock: FakeClock) -> None:
        self.rig, self.store, self.clock = rig, store, clock
        self.shard = rig.shard = rig.setup.shard = Shard(store, MINE)
        self.first = Work(self._app(lambda number: Shard(store, number, owner=Nobody(number))), running=True)
        self.app = self._app(
            lambda number: self.shard if number == MINE else Shard(store, number, owner=Nobody(number))
        )
        self.app.tracks = [rig.track(Listed())]
        self.second = Work(self.app, running=True)

    def _app(self, shard: Callable[[int], Shard]) -> Any:
        shards = [shard(number) for number in range(SHARDS)]
        settings = Settings(store=Config())
        return app_of(settings, self.store, self.clock, self.rig.metrics, self.rig.setup.rnd, shards)

    async def bury(self) -> None:
        """Records that the parser understands by now."""
        await self.shard.believe()
        raws = [msgspec.json.encode({"id": letter, "own": NOW - 100}) for letter in IDS]
        dead = [
            DeadRecord(
                id=letter,
                source=ID,
                endpoint="phones.calls",
                ask="",
                reason="x",
                error="x",
                raw=raw,
                offset=None,
                at=NOW,
            )
            for letter, raw in zip(IDS, raws, strict=True)
        ]
        self.shard.held = await self.store.commit_page(self.shard.held, PageCommit(dead=dead))

    async def left(self) -> list[str]:
        """The records that are still there."""
        return [letter.id for letter in await self.store.letters(IDS)]

    async def retry(self) -> dict[str, str | None]:
        """What is told, where the first one is asked."""
        async with self.working():
            tried = await self.first.retry(Again(ids=IDS))
        assert all(one.done == (one.error is None) for one in tried.results)
        return {one.id: one.error for one in tried.results}

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """The second one looks for what it is asked, and time passes."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keep_doing, self.app, self.second, self._look)
            tasks.start_soon(self._pass_time)
            with anyio.fail_after(60):
                yield
            tasks.cancel_scope.cancel()

    async def _look(self) -> Collection[int]:
        await self.clock.sleep(1)
        return range(len(self.app.shards))

    async def _pass_time(self) -> None:
        while True:
            await self.clock.advance(0.1)


@pytest.fixture
async def two() -> AsyncIterator[Two]:
    store, clock = Shared(), FakeClock(NOW)
    async with polling(store, clock) as rig:
        made = Two(rig, store, clock)
        await made.bury()
        yield made


def failing(*faults: Exception | None, after: bool = False) -> Callable[[Commit], Awaitable[None]]:
    """One after the other, the last one for ever. `after`: the commit was made, and nobody heard of it."""
    queue = list(faults)

    async def instead(commit: Commit) -> None:
        fault = queue[0] if len(queue) == 1 else queue.pop(0)
        if fault is None or after:
            await commit()
        if fault is not None:
            raise fault

    return instead


async def test_what_was_done_before_the_store_failed_is_told_as_done(two: Two) -> None:
    two.store.commits = failing(None, None, AWAY, AWAY, None)
    assert await two.retry() == dict.fromkeys(IDS)
    assert two.store.asked == 1
    assert await two.left() == []


async def test_a_commit_of_which_nobody_heard_is_told_as_done(two: Two) -> None:
    two.store.commits = failing(None, AWAY, None, after=True)
    assert await two.retry() == dict.fromkeys(IDS)
    assert two.shard.held.last.seq == len(IDS), "each was published once"


async def test_a_store_that_stays_away_leaves_the_rest_to_be_retried(two: Two) -> None:
    two.store.commits = failing(None, AWAY)
    told = await two.retry()
    assert "most likely it was retried" in str(told["r0"])
    assert all("no replica has done it" in str(told[letter]) for letter in IDS[1:])
    assert await two.left() == list(IDS[1:])
    two.store.commits = None
    assert [one.done for one in (await two.second.retry(Again())).results] == [True] * 3


async def test_a_store_without_room_is_said_for_those_that_are_left(two: Two) -> None:
    two.store.commits = failing(None, StoreFull("no room left"))
    assert await two.retry() == {"r0": None} | dict.fromkeys(IDS[1:], "not retried: no room left")
    assert two.store.asked == 1


async def test_records_that_take_long_are_asked_for_again_until_all_are_done(two: Two) -> None:
    async def slowly(commit: Commit) -> None:
        await two.clock.sleep(6)
        await commit()

    two.store.commits = slowly
    assert await two.retry() == dict.fromkeys(IDS)
    assert two.store.asked == 2


async def test_what_nobody_waits_for_any_more_is_not_begun(two: Two) -> None:
    begun = anyio.Event()

    async def slowly(commit: Commit) -> None:
        begun.set()
        await two.clock.sleep(3)
        await commit()

    two.store.commits = slowly
    async with two.working():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(two.first.retry, Again(ids=IDS))
            await begun.wait()
            tasks.cancel_scope.cancel()
        await two.clock.sleep(30)
    assert await two.left() == list(IDS[1:]), "the one that was under way is done"


async def test_of_a_process_of_its_own_is_told_what_was_done_before_the_store_failed(two: Two) -> None:
    two.store.commits = failing(None, None, AWAY)
    tried = await two.second.retry(Again(ids=IDS))
    assert [one.error for one in tried.results] == [None, None, *[f"not retried: {AWAY}"] * 2]
