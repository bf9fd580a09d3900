"""What can be done with dead letters, on what is open. A retry goes step by step, and nothing is kept between two steps."""

import math
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

import anyio

from poller import segment
from poller.app_parts import App
from poller.errands import PATIENCE, Doing, Lot, LotTried, ask
from poller.errors import Outdated, PollerError, StoreFault, StoreFull, Unknown
from poller.identity import shard_of
from poller.keep import Walk
from poller.kept import LetterHead, LetterPlace, Which
from poller.model import DeadEvent, DeadRecord, Event, PageCommit, Window
from poller.operations import Again, Cursor, DeadLetter, Listed, Listing, Retried, Tried
from poller.outgoing import renumbered
from poller.replay import PART
from poller.room import too_many
from poller.shard import Shard
from poller.track import Track

ALWAYS = Window(0, 1 << 40)
COMMIT = 500
"""Events in one commit, and letters in one step."""
RECORDS = 100
"""Records in one step: each has a commit of its own."""
READ = 4 << 20
"""Bytes in one step or list at most, unless a single letter is larger."""
LISTED = 1_000
"""Letters in one list at most."""
AT_ONCE = 10.0
"""Seconds for which records are tried for another process before it is told how far that came: it waits no longer than PATIENCE."""
_HALVES = 20
"""Errands of which it is remembered how far they came."""


class Half:
    """How far a lot of records came."""

    def __init__(self) -> None:
        self.told: dict[str, Retried] = {}
        self.doubted: str | None = None
        """Tried when the store failed, so it may be done."""


class Letters:
    """Lists, shows and retries. `running`: somebody delivers what is appended."""

    def __init__(self, app: App, *, running: bool) -> None:
        self._app = app
        self._store = app.store
        self._running = running
        self._appending = anyio.Lock()
        self._halves: dict[str, Half] = {}
        """By errand: those that the store's faults broke off, to be gone on with at the next look."""

    # --- looking -----------------------------------------------------------------------------------------------------

    async def listed(self, asked: Listing) -> Listed:
        """A part of the list, oldest first."""
        limit = min(max(asked.limit, 1), LISTED)
        heads = await self._store.letter_heads(asked.which, after=asked.after, until=math.inf, limit=limit + 1)
        some = heads[:limit]
        if asked.bodies:
            some = some[: _fitting(some)]
        bodies = await self._bodies(some) if asked.bodies else {}
        return Listed(
            letters=[_shown(head, bodies.get(head.id)) for head in some if not asked.bodies or head.id in bodies],
            after=some[-1].place if len(heads) > len(some) else None,
            total=await self._total(asked.which),
        )

    async def one(self, letter: str) -> DeadLetter:
        """With its body. Raises Unknown."""
        head = await self._find(letter)
        bodies = await self._bodies([head])
        if head.id not in bodies:
            raise Unknown(f"{letter!r} is no dead letter any more")
        return _shown(head, bodies[head.id])

    async def _bodies(self, heads: Sequence[LetterHead]) -> dict[str, bytes]:
        found = await self._store.letters([head.id for head in heads])
        return {one.id: one.raw if isinstance(one, DeadRecord) else one.event.body for one in found}

    async def _total(self, which: Which) -> int:
        totals = await self._store.letter_totals()
        return sum(one.letters for one in totals if which.fits(one.sink or None, one.source, one.reason))

    async def _find(self, letter: str) -> LetterHead:
        found = await self._store.letters_like(letter, 2)
        # The whole id sorts before longer ones that begin with it.
        if letter and found and (len(found) == 1 or found[0].id == letter):
            return found[0]
        raise Unknown(f"{letter!r} is {'the beginning of several dead letters' if found else 'no dead letter'}")

    # --- retrying ----------------------------------------------------------------------------------------------------

    async def retry(self, asked: Again) -> Tried:
        """One step. Each goes through the same steps as new ones; one that succeeds is closed in the same commit.

        Raises Unknown for an id, StoreFault, Outdated; PollerError where a sink has too much to do and no daemon runs.
        """
        cursor = asked.cursor or Cursor(LetterPlace(), self._app.clock.now())
        if asked.ids is not None:
            heads = [await self._find(letter) for letter in asked.ids[:COMMIT]]
        else:
            heads = await self._store.letter_heads(asked.which, after=cursor.after, until=cursor.until, limit=COMMIT)
        total = len(asked.ids) if asked.ids is not None else await self._total(asked.which)
        if not total and asked.which.sink not in {None, *self._app.sinks}:
            known = ", ".join(self._app.sinks)
            raise Unknown(f"there is no sink {asked.which.sink}, and no dead letter of one; there are: {known}")
        some, waiting = await self._with_room(heads[: _fitting(heads)])
        if not some:
            sink = heads[0].sink if heads else None
            return Tried(cursor=cursor, ended=not heads, total=total, waiting=waiting, sink=sink)
        return Tried(results=await self._try(some), cursor=Cursor(some[-1].place, cursor.until), total=total)

    async def _with_room(self, heads: Sequence[LetterHead]) -> tuple[Sequence[LetterHead], int]:
        """The first of them, up to one whose sink has enough to do; how many events wait for that one."""
        waiting: dict[str, int] = {}
        given = Counter[str]()
        for count, head in enumerate(heads):
            sink = head.sink
            if sink is None or sink not in self._app.sinks:
                continue
            limit = self._app.settings.sinks[sink].max_pending
            if sink not in waiting:
                waiting[sink] = await too_many(self._store, self._app.shards, sink, limit)
                if waiting[sink] and not count and not self._running:
                    raise PollerError(
                        f"{waiting[sink]} events wait for sink {sink}, and no daemon runs that would deliver them: "
                        "start it before more are added"
                    )
            given[sink] += head.size
            if waiting[sink]:
                self._app.hurry(sink)
            if waiting[sink] or (count and limit is not None and given[sink] > limit // PART):
                return heads[:count], waiting[sink]
        return heads, 0

    async def _try(self, heads: Sequence[LetterHead]) -> list[Retried]:
        """By whoever works on their shards, each shard on its own."""
        found: dict[tuple[int, Literal["record", "event"]], list[str]] = {}
        for head in {one.id: one for one in heads}.values():  # one that is named twice would be gone at the second time
            found.setdefault((self._shard(head).number, head.what), []).append(head.id)
        lots = [(self._app.shards[shard], Lot(what, tuple(ids))) for (shard, what), ids in found.items()]
        said: dict[str, Retried] = {}
        async with anyio.create_task_group() as tasks:
            for shard, lot in lots:
                if not shard.ours:
                    tasks.start_soon(self._try_elsewhere, shard.number, lot, said)
        for shard, lot in lots:
            if lot.ids[0] not in said:
                said |= await self._try_own(shard, lot, told=bool(said))
        return [said[head.id] for head in heads]

    async def _try_own(self, shard: Shard, lot: Lot, *, told: bool) -> dict[str, Retried]:
        """`told`: something is done already, and has to be told. Raises StoreFault, Outdated, PollerError where nothing is."""
        try:
            results = await self.try_here(shard, lot)
        except PollerError as error:
            if not told:
                raise
            results = tuple(_tried(letter, str(error)) for letter in lot.ids)
        return {one.id: one for one in results}

    def _shard(self, head: LetterHead) -> Shard:
        if head.what == "event":
            return self._app.shards[head.shard]
        here = (track.setup.shard for track in self._app.tracks if track.key.source == head.source)
        return next(here, None) or self._app.shards[shard_of(head.source, self._store.shards)]

    async def _try_elsewhere(self, shard: int, lot: Lot, said: dict[str, Retried]) -> None:
        left, end = lot.ids, self._app.clock.mono() + PATIENCE
        while left:
            try:
                answer = await ask(self._app, shard, Lot(lot.what, left), LotTried)
            except PollerError as error:  # what was done for other shards is done, and has to be told
                answer = LotTried(await self._found_out(Lot(lot.what, left), str(error)))
            said |= {one.id: one for one in answer.results}
            left = answer.left if self._app.clock.mono() < end else ()

    async def _found_out(self, lot: Lot, why: str) -> tuple[Retried, ...]:
        """Nobody has said what became of them. Events go together or not at all; records are closed one by one."""
        there = set(lot.ids)
        if lot.what == "record":
            with suppress(StoreFault):
                there = {one.id for one in await self._store.letters(lot.ids)}
        return tuple(_tried(letter, why if letter in there else _UNTOLD) for letter in lot.ids)

    async def try_here(self, shard: Shard, lot: Lot, doing: Doing | None = None) -> tuple[Retried, ...]:
        """Dead letters of a shard of this process. `doing`: for another one, which is answered. Raises StoreFault, Outdated."""
        if lot.what == "event":
            return await self._append_again(shard, lot.ids, doing)
        return await self._read_all_again(lot.ids, doing)

    async def _append_again(self, shard: Shard, ids: Sequence[str], doing: Doing | None) -> tuple[Retried, ...]:
        """The log gets the events again, each for its one sink, so that they go through the sink's own protocol."""
        shard.check()
        async with self._appending:  # two that retry the same letters append them once
            # Before the shard's lock: polling does not wait for megabytes to be read.
            found = {one.id: one for one in await self._store.letters(ids) if isinstance(one, DeadEvent)}
            letters = [one for one in found.values() if one.sink in self._app.sinks]
            results = tuple(_tried(letter, self._obstacle(found.get(letter))) for letter in ids)
            async with shard.lock:
                page = self._page(shard, letters)
                if doing is not None:
                    await doing.commit(shard, page, LotTried(results))
                elif letters:
                    shard.held = await shard.store.commit_page(shard.held, page)
        shard.tell()
        return results

    def _page(self, shard: Shard, letters: Sequence[DeadEvent]) -> PageCommit:
        last = shard.held.last
        copies = [_again(letter, seq) for seq, letter in enumerate(letters, last.seq + 1)]
        packed = segment.pack(copies, last, self._app.clock.now()) if copies else None
        return PageCommit(segment=packed, closes=tuple(letter.id for letter in letters))

    def _obstacle(self, letter: DeadEvent | None) -> str | None:
        if letter is None:
            return _GONE
        if letter.sink not in self._app.sinks:
            return f"sink {letter.sink} is not configured: nothing could deliver the event"
        return None

    async def _read_all_again(self, ids: Sequence[str], doing: Doing | None) -> tuple[Retried, ...]:
        """Each has a commit of its own, so what is done is done, and is told whatever happens to the next one.

        Raises StoreFault, Outdated where nothing can be told; Withdrawn.
        """
        half = Half() if doing is None else self._half(doing.id)
        left, why = await self._read_some(ids, half, doing)
        results = tuple(half.told.get(letter) or _tried(letter, why) for letter in ids)
        if doing is not None:
            await doing.answer(LotTried(results, left))
            self._halves.pop(doing.id, None)
        return results

    async def _read_some(self, ids: Sequence[str], half: Half, doing: Doing | None) -> tuple[tuple[str, ...], str]:
        """What may be asked for again at once, and why what is not done is not done."""
        end = math.inf if doing is None else self._app.clock.mono() + AT_ONCE
        todo = [letter for letter in ids if letter not in half.told]
        for number, letter in enumerate(todo):
            if number and self._app.clock.mono() >= end:
                return tuple(todo[number:]), _NO_TIME
            doubted = half.doubted == letter
            try:
                if doing is not None:
                    await doing.confirm()
                half.doubted = letter
                error = await self._read_again(letter)
            except (StoreFault, Outdated) as fault:
                if not half.told or (doing is not None and not isinstance(fault, StoreFull)):
                    raise  # an errand is looked at again
                return (), f"not retried: {fault}"
            half.told[letter] = _tried(letter, None if doubted and error == _GONE else error)
        return (), ""

    def _half(self, errand: str) -> Half:
        """Whoever asked may have given up: the oldest are forgotten."""
        found = self._halves.setdefault(errand, Half())
        while len(self._halves) > _HALVES:
            del self._halves[next(iter(self._halves))]
        return found

    async def _read_again(self, letter: str) -> str | None:
        """Keys, seen and commit, as if the vendor had just shown it; a sentence where it is still not understood."""
        for one in await self._store.letters([letter]):
            if isinstance(one, DeadRecord):
                try:
                    await self._keep(one)
                except (StoreFault, Outdated):
                    raise
                except PollerError as error:
                    return str(error)
                return None
        return _GONE

    async def _keep(self, letter: DeadRecord) -> None:
        track = self._track(letter)
        known = await track.load(int(self._app.clock.now()))
        track.endpoint.keys(letter.raw, letter.offset)
        track.endpoint.normalise(letter.raw, letter.offset)
        walk = Walk(
            ask=letter.ask, generation=track.generation, asked=ALWAYS, tolerance=0, horizon=0,
            read_until=None, complete_until=track.complete_until(known), reach=track.ladder[-1].back, offset=letter.offset,
        )  # fmt: skip
        await track.keeper.keep([letter.raw], walk, known if letter.ask == track.key.ask else None, closes=(letter.id,))

    def _track(self, letter: DeadRecord) -> Track:
        tracks = [
            track
            for track in self._app.tracks
            if (track.key.source, track.endpoint.name) == (letter.source, letter.endpoint)
        ]
        if not tracks:
            self._app.shards[shard_of(letter.source, self._store.shards)].check()
            raise Unknown(
                f"{letter.source} has no endpoint {letter.endpoint} in the configuration: add it to retry its records"
            )
        return next((track for track in tracks if track.key.ask == letter.ask), tracks[0])


def _tried(letter: str, error: str | None) -> Retried:
    return Retried(id=letter, done=error is None, error=error)


_GONE = "it is gone: it was retried or deleted meanwhile"
_NO_TIME = "not retried yet, there was no time: retry it again"
_UNTOLD = (
    "it is gone: most likely it was retried by the replica that works on its shard, which could not say so in time"
)


def _fitting(heads: Sequence[LetterHead]) -> int:
    """How many of the first ones one step may take."""
    size = records = 0
    for count, head in enumerate(heads):
        size += head.size
        records += head.what == "record"
        if count and (size > READ or records > RECORDS):
            return count
    return len(heads)


def _again(letter: DeadEvent, seq: int) -> Event:
    event = letter.event
    return Event(
        event.id, event.type, event.source, event.subject, event.time, event.key, None, renumbered(event.body, seq),
        (letter.sink,), event.replay,
    )  # fmt: skip


def _shown(head: LetterHead, body: bytes | None) -> DeadLetter:
    return DeadLetter(
        id=head.id, what=head.what, source=head.source or None, endpoint=head.endpoint, sink=head.sink, reason=head.reason,
        error=head.error, at=head.at, size=head.size, body=body,
    )  # fmt: skip
