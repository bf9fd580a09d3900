"""A track: one endpoint of one source, asked in one way (user, direction, filters). Each has a checkpoint of its own."""

import random
from collections.abc import Sequence
from functools import lru_cache

import anyio
from msgspec import Struct, field, structs

from poller import checkpoint as checkpoints
from poller.checkpoint import Checkpoint, Hours, Step
from poller.clock import Clock
from poller.errors import BadAnswer, ClockMoved, PollerError
from poller.hours import Book, begun, uncounted
from poller.http import Vendor
from poller.identity import Identity
from poller.keep import Keeper, Walk
from poller.log import Outage, get_logger
from poller.metrics import Metrics
from poller.model import HOUR, Ask, CheckpointKey
from poller.options import EndpointOptions, Rung
from poller.protocols import Endpoint
from poller.recent import Lately
from poller.shard import Shard
from poller.tally import Tally
from poller.window import Slice

AHEAD = 3_600
"""A vendor's clock is believed to be ahead of ours by no more than this."""
ABSURD_SKEW = 86_400.0
"""One that differs more from ours is not followed, as if its answers had no Date."""
BELIEVED_FOR = 3_600
"""Seconds for which a vendor's clock is known after its last Date."""
VOID = -1
"""The generation of what nothing was read in."""

_log = get_logger()


class Setup(Struct):
    """What every track of a source shares."""

    name: str
    """The source's name in the configuration: labels and logs."""
    id: str
    """What identities and checkpoints hang on."""
    vendor: Vendor
    shard: Shard
    clock: Clock
    metrics: Metrics
    rnd: random.Random
    seen_ttl: int
    told: tuple[str, ...] = ()
    """The sinks that ask for whole hours."""
    skew: float | None = None
    """The vendor's clock minus `now`, from its last answer that had a Date."""
    ahead: float = 0.0
    """How far our wall clock was ahead of the monotonic one when that answer came."""
    heard: float = 0.0
    """When it came (monotonic)."""
    loading: anyio.Lock = field(default_factory=anyio.Lock)
    """Held while a checkpoint is read."""

    @property
    def knows(self) -> bool:
        """Whether the vendor's clock is known. What was wrong after all must not keep a source from asking for ever."""
        return self.skew is not None and self.clock.mono() - self.heard < BELIEVED_FOR

    def now(self) -> float:
        """Our wall clock as it goes, or as it went before it moved, where the vendor's fits that better."""
        return self.clock.mono() + self.ahead if self.knows else self.clock.now()

    def hear(self, skew: float, ahead: float, read_until: int | None) -> bool:
        """A Date came that is so many seconds from our wall clock, and that from the monotonic one. Whether it can be believed: passes
        follow it then.

        A vendor's clock that went on while ours moved shows which of them is wrong. When a process begins, one that is far behind
        ours, but not behind what was read, shows it too.
        """
        if self.skew is not None and abs(skew + ahead - self.ahead) < abs(skew):
            skew, ahead = skew + ahead - self.ahead, self.ahead
        elif self.skew is None and skew < -ABSURD_SKEW and _not_before(self.clock.mono() + ahead + skew, read_until):
            skew, ahead = 0.0, ahead + skew
        if abs(skew) > ABSURD_SKEW:
            return False
        self.skew, self.ahead, self.heard = skew, ahead, self.clock.mono()
        return True


def _not_before(at: float, read_until: int | None) -> bool:
    return read_until is not None and at >= read_until


@lru_cache(maxsize=256)
def steps(ladder: tuple[Rung, ...]) -> tuple[Step, ...]:
    """A configured ladder in whole seconds. Thousands of endpoints share theirs."""
    return tuple(Step(int(rung.back), int(rung.period)) for rung in ladder)


class Track:
    """One endpoint, asked in one way."""

    def __init__(self, setup: Setup, endpoint: Endpoint, options: EndpointOptions, ask: Ask, keeper: Keeper) -> None:
        self.setup = setup
        self.endpoint = endpoint
        self.options = options
        self.ask = ask
        self.keeper = keeper
        self.key = CheckpointKey(setup.id, endpoint.name, ask.key)
        self.ladder = steps(options.ladder)
        self.checkpoint: Checkpoint | None = None
        self.last_error: PollerError | None = None
        self.refusals = 0
        """How often the credential was refused since a poll last worked."""
        self.tally = Tally()
        self.lately = Lately()
        where = {"source": setup.name, "endpoint": endpoint.name} | ({"ask": ask.key} if ask.key else {})
        self.outage = Outage(_log.bind(**where), setup.clock)
        self.shortened = 0
        """Bad answers in a row."""
        self.narrow: tuple[int, int] | None = None
        """The pass (its number) whose windows are being made shorter, and the seconds it has come to."""
        self.bad: BadAnswer | None = None
        """The last one of this poll."""
        self.read_something = False
        """Whether this poll read a slice to its end."""
        self.generation = VOID
        self._learnt = VOID
        """The generation in which hours were learnt last."""

    async def keep(self, records: list[bytes], walk: Walk, draft: Checkpoint | None = None) -> None:
        """Commits and tallies. `draft`: what is known then; None: no more than before."""
        found = await self.keeper.keep(records, walk, draft or self.checkpoint, advances=draft is not None)
        self.tally.add(found)

    def begin_poll(self) -> None:
        """Forgets what the poll before met."""
        self.bad, self.read_something = None, False

    def target(self) -> int:
        """The vendor's present minus `settle`. Raises ClockMoved while neither its clock nor ours can be believed."""
        setup = self.setup
        skew = setup.skew if setup.knows else None
        if skew is None and not setup.clock.steady():
            raise ClockMoved(
                "our wall clock moved, and the vendor's answers show no Date: nothing is claimed until it is steady"
            )
        return int(setup.now() + min(skew or 0.0, AHEAD) - self.options.settle)

    @property
    def known(self) -> Checkpoint | None:
        """The checkpoint, unless it is of a store that is not believed any more: that one claims nothing."""
        return self.checkpoint if self.generation == self.setup.shard.generation else None

    async def load(self, target: int) -> Checkpoint:
        """The checkpoint as the store has it, a new one where there is none; kept until the shard is believed anew.

        Raises Damaged, Lost, StoreFault.
        """
        if self.known is not None:
            return self.known
        # Polls are not the only ones who load, and whoever was first may have gone on from it.
        async with self.setup.loading:
            return self.known or await self._load(target)

    async def _load(self, target: int) -> Checkpoint:
        shard, book = self.setup.shard, self.keeper.book
        # Before it is read: that may show that the store was exchanged, and then the belief under which it was read is the one that is void.
        self.checkpoint, self.generation = None, shard.generation
        data = (await shard.store.checkpoints(self.setup.id)).get(self.key)
        found = self._fresh(target) if data is None else checkpoints.read(data, self.key)
        checkpoints.fit(found, self.ladder)
        self._remember_identity(found, target)
        self._say_edits(found)
        if book is not None:
            found.hours = await self._hours(found, book)
            book.learn(self.ask.key, self.generation, found)
            self._learnt = self.generation
        self.checkpoint = found
        return found

    async def _hours(self, checkpoint: Checkpoint, book: Book) -> Hours:
        """As they stand there. After an older program, or a time in which nobody asked, they go on where the seen ids say that they ended."""
        shard, hours = self.setup.shard, checkpoint.hours
        if hours is None:
            hours, before = begun(checkpoint), book.before(checkpoint)
            unseen = await shard.store.look_up(None, [book.key(one) for one in before]) if before else {}
            told = next((one.begin + HOUR for index, one in enumerate(before) if index not in unseen), None)
            if told is not None:
                hours = structs.replace(hours, first=told, told=told)
        # What a sink gave back is seen, and counted nowhere.
        return uncounted(hours, self._present) if shard.was_set_back(self._learnt) else hours

    @property
    def _present(self) -> float:
        """No vendor's clock is believed to be past it."""
        return self.setup.now() + AHEAD

    def _fresh(self, target: int) -> Checkpoint:
        return checkpoints.begin(self.options.start, target, self.ladder, self.endpoint.limits.first_span)

    def rewound(self, published_at: float) -> tuple[int, bytes]:
        """For a store that was emptied: where to begin again, and the checkpoint that says so.

        The earlier of `start` and what the ladder reaches back from the last publication.
        """
        fresh = self._fresh(int(self.setup.now() - self.options.settle))
        fresh.start = min(fresh.start, self.known.start) if self.known is not None else fresh.start
        checkpoints.rewind(fresh, int(published_at) - self.ladder[-1].back)
        if self.keeper.book is not None:
            fresh.hours = uncounted(begun(fresh), self._present)
        return fresh.start, checkpoints.dump(fresh)

    def _remember_identity(self, checkpoint: Checkpoint, target: int) -> None:
        """A changed `dedupe_by` or identity version holds for records dated after the change."""
        current = (self.options.dedupe_by, self.endpoint.version)
        if not checkpoint.identities:
            checkpoint.identities = [(0, *current)]
        elif checkpoint.identities[-1][1:] != current:
            checkpoint.identities.append((target, *current))
            _log.warning("identity changed", source=self.setup.name, endpoint=self.endpoint.name, dedupe_by=current[0],
                         detail="holds for records dated after now; older ones keep the identity they were published under")  # fmt: skip
        known: list[tuple[int, Identity]] = [
            (since, self.keeper.identity(dedupe_by)) for since, dedupe_by, _ in checkpoint.identities
        ]
        self.keeper.identities = known

    def _say_edits(self, checkpoint: Checkpoint) -> None:
        if checkpoint.configured_start != self.options.start:
            _log.warning("start was edited", source=self.setup.name, endpoint=self.endpoint.name,
                         detail="the first pass has fixed it; the edit changes nothing", start=checkpoint.start)  # fmt: skip
            checkpoint.configured_start = self.options.start

    def walk(self, checkpoint: Checkpoint, part: Slice) -> Walk:
        """What is known when a walk over this slice begins."""
        limits = self.endpoint.limits
        return Walk(
            ask=self.ask.key,
            # One that is not the track's any more was read before the shard was believed anew: nothing of it is written.
            generation=self.generation if checkpoint is self.checkpoint else VOID,
            asked=part.asked,
            # In a doubled hour the vendor's local bounds fit both hours, and rows of both come.
            tolerance=limits.resolution + (3_600 if limits.zone or limits.learns_offset else 0),
            horizon=checkpoints.horizon(checkpoint, self.setup.seen_ttl),
            read_until=checkpoints.read_until(checkpoint),
            complete_until=self.complete_until(checkpoint),
            reach=self.ladder[-1].back,
        )

    def complete_until(self, checkpoint: Checkpoint) -> int | None:
        """Up to where rows are late: what is claimed, or was told to be whole before a longer ladder took the claim back."""
        claimed, book = checkpoints.complete_until(checkpoint), self.keeper.book
        told = book.told(self.generation) if book is not None else None
        return max((at for at in (claimed, told) if at is not None), default=None)

    def suspect(self, reason: str) -> None:
        """Counted always, logged once."""
        series = self.setup.metrics.suspicions[self.setup.name, self.endpoint.name, reason]
        if not series.value:
            _log.warning("suspicious answer", source=self.setup.name, endpoint=self.endpoint.name, reason=reason)
        series.inc()


def claims(tracks: Sequence[Track]) -> tuple[int | None, int | None]:
    """(read_until, complete_until) of an endpoint: the least over its tracks; None while one of them claims nothing."""
    return least_claims([track.known for track in tracks])


def least_claims(of: Sequence[Checkpoint | None]) -> tuple[int | None, int | None]:
    """The same from checkpoints; None: of a track that has none."""
    known = [one for one in of if one is not None]
    if len(known) < len(of):
        return None, None
    return _least([checkpoints.read_until(one) for one in known]), _least(
        [checkpoints.complete_until(one) for one in known]
    )


def _least(values: list[int | None]) -> int | None:
    found = [value for value in values if value is not None]
    return min(found) if found and len(found) == len(values) else None
