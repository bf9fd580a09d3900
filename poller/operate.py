"""What the command line may ask: the same code in a running daemon, and on a store that was opened because none runs."""

import msgspec

from poller import __version__, elsewhere, lists, segment, standing
from poller.app_parts import App
from poller.crosscheck import source_id
from poller.errands import Doing, Slice, Wanted
from poller.errors import Damaged, PollerError, Unknown
from poller.health import meta_name
from poller.identity import Identity, day_of, shard_of
from poller.journey import Search
from poller.journeys import Journey
from poller.kinds import kind_of
from poller.letters import Letters
from poller.model import DAY
from poller.one_by_one.switch import switch_name
from poller.operations import (
    Again,
    DeadLetter,
    Listed,
    Listing,
    Reconcile,
    Reconciled,
    Replay,
    Replayed,
    Status,
    Switched,
    Tried,
    WebhookStatus,
)
from poller.reconcile import reconcile
from poller.replay_step import Step
from poller.shard import Shard
from poller.source_status import EndpointStatus, SourceStatus


class Work:
    """`Operations` on what is open. `running`: both lines are at work."""

    def __init__(self, app: App, *, running: bool) -> None:
        self._app = app
        self._running = running
        self._letters = Letters(app, running=running)

    # --- status ------------------------------------------------------------------------------------------------------

    async def status(self) -> Status:
        """How things stand."""
        app = self._app
        facts = await app.store.facts()
        shards, replicas = await elsewhere.shards(app)
        return Status(
            version=__version__,
            running=self._running,
            started_at=app.started_at if self._running else None,
            store=kind_of(app.settings.store),
            store_bytes=facts.bytes,
            store_limit_bytes=facts.limit_bytes,
            seen_ids=facts.seen_ids,
            paused=sorted({reason for shard in app.shards for reason in shard.paused}),
            endpoints=await self._endpoints(),
            sinks=await standing.sinks(app, running=self._running),
            shards=shards,
            replicas=replicas,
        )

    async def _endpoints(self) -> list[EndpointStatus]:
        await self._load_checkpoints()
        return lists.endpoints(self._app, await self._app.store.checkpoints())

    async def source(self, name: str) -> SourceStatus:
        """One configured source. Raises Unknown."""
        await self._load_checkpoints()
        return await lists.source(self._app, name)

    async def journey(self, wanted: str) -> Journey:
        """What became of one id. Raises PollerError for one that cannot be any."""
        return await Search(self._app, wanted, running=self._running).run()

    def _id_of(self, name: str) -> str:
        options = self._app.settings.sources.get(name)
        return source_id(name, options) if options is not None else name

    async def _load_checkpoints(self) -> None:
        """Without a daemon nobody has read them yet."""
        if not self._running:
            now = int(self._app.clock.now())
            for track in self._app.tracks:
                try:
                    await track.load(now)
                except Damaged as error:
                    track.last_error = error

    async def webhooks(self, name: str | None = None) -> list[WebhookStatus]:
        """How the configured webhooks stand, or one of them."""
        return await standing.webhooks(self._app, name, running=self._running)

    async def enable_webhook(self, name: str) -> Switched:
        """A disabled one is probed with one event, one that is down is so at once; others are left as they are."""
        return await standing.switch(self._app, name, None, running=self._running)

    async def disable_webhook(self, name: str, why: str) -> Switched:
        """Nothing is tried until it is enabled. One that is disabled already keeps its reason."""
        return await standing.switch(self._app, name, why, running=self._running)

    # --- dead letters --------------------------------------------------------------------------------------------------

    async def dead_letters(self, asked: Listing) -> Listed:
        """A part of the list, oldest first."""
        return await self._letters.listed(asked)

    async def dead_letter(self, letter: str) -> DeadLetter:
        """One with its body. Raises Unknown."""
        return await self._letters.one(letter)

    async def retry(self, asked: Again) -> Tried:
        """One step, which keeps nothing: what it has done is done."""
        return await self._letters.retry(asked)

    async def replay(self, asked: Replay) -> Replayed:
        """One step, which keeps nothing: a daemon that is killed has done a part, and whoever asks knows which."""
        return await Step(self._app, asked, running=self._running).run()

    async def reconcile(self, asked: Reconcile) -> Reconciled:
        """By whoever works on the source's shard: its login and its turns at the vendor are used."""
        return await reconcile(self._app, asked, running=self._running)

    async def do(self, wanted: Wanted, shard: Shard, doing: Doing) -> None:
        """For another process, what only the one can do that works on the shard."""
        if isinstance(wanted, Slice):
            await Step(self._app, wanted.asked, running=self._running).do(shard, wanted.mark, doing)
        else:
            await self._letters.try_here(shard, wanted, doing)

    # --- recordings ----------------------------------------------------------------------------------------------------

    async def recording(self, source: str, recording_id: str) -> dict[str, object] | None:
        """`data` of the recording's newest event, None where the log has none (any more)."""
        track = next((one for one in self._app.tracks if one.setup.name == source), None)
        if track is None and source not in self._app.settings.sources:
            raise Unknown(f"there is no source {source} with an endpoint")
        name = track.key.source if track is not None else self._id_of(source)
        identity, number = Identity(name, "recording"), shard_of(name, self._app.store.shards)
        today = day_of(self._app.clock.now())
        oldest = today - int(self._app.settings.retention // DAY) - 32  # a row may be that much older than its event
        for day in range(today + 1, oldest, -3):  # the look-up covers the day before and after, too
            key = identity.mention_key(recording_id, day)
            found = await self._app.store.find_event(number, key)
            for event in reversed(segment.unpack(found) if found is not None else []):
                if event.seen is not None and event.seen.id == key.id:
                    data: dict[str, object] = msgspec.json.decode(event.body)["data"]
                    return data
        return None

    # --- forgetting and rebuilding ---------------------------------------------------------------------------------------

    async def forget_sink(self, name: str) -> None:
        """Only of a sink that is not configured any more."""
        if name in self._app.sinks:
            raise PollerError(
                f"sink {name} is configured: take it out of the configuration and restart before forgetting it"
            )
        if not await self._app.store.forget_sink(name):
            raise Unknown(f"the store knows no sink {name}")
        for fact in (meta_name, switch_name):  # one of this name that comes later is another one
            await self._app.store.put_meta(fact(name), None)

    async def forget_source(self, source: str) -> None:
        """Only of a source that is not configured any more; its ids may expire then."""
        here = {track.key.source for track in self._app.tracks}
        if source in here | {self._id_of(name) for name in self._app.settings.sources}:
            raise PollerError(
                f"source {source} is configured: take it out of the configuration and restart before forgetting it"
            )
        if not await self._app.store.forget_source(source):
            raise Unknown(f"the store knows no source {source}")

    async def rebuild(self, *, sink: str | None, accept_duplicates: bool) -> list[str]:
        """For a sink whose topics cannot be read back: goes on from the store's own position."""
        if sink is not None and sink not in self._app.sinks:
            raise Unknown(f"there is no sink {sink}")
        if not accept_duplicates:
            raise PollerError(
                "a rebuild reads the topics back by itself whenever they can be read. Where they cannot, "
                "--accept-duplicates goes on without them: events that were published already may be published again"
            )
        said = [
            sentence
            for delivery in self._app.deliveries
            if sink in {None, delivery.sink.name}
            for sentence in [await delivery.accept_duplicates()]
            if sentence
        ]
        return [*(said or ["nothing waits for a rebuild here"]), *await self._not_asked()]

    async def _not_asked(self) -> list[str]:
        """For people: a rebuild is begun where the shard is worked on."""
        return [
            f"not asked: shards {', '.join(map(str, shards))}, which {name or 'nobody'} works on: where one of them waits for a "
            "rebuild, the log of its replica says so, and the command has to be run there"
            for name, shards in sorted((await elsewhere.owners(self._app)).items())
        ]
