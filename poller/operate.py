"""What the command line may ask: the same code in a running daemon, and on a store that was opened because none runs."""

from collections.abc import Sequence

import msgspec

from poller import __version__, housekeeping, segment, standing
from poller.app_parts import App
from poller.errors import PollerError, Unknown
from poller.health import meta_name
from poller.identity import Identity, day_of
from poller.keep import Walk
from poller.kinds import kind_of
from poller.model import DAY, DeadEvent, DeadRecord, Event, PageCommit, Window
from poller.operations import (
    DeadLetter,
    EndpointStatus,
    Replay,
    Replayed,
    Retried,
    Status,
    Switched,
    WebhookStatus,
)
from poller.outgoing import renumbered
from poller.replay_step import Step
from poller.track import Track, claims

ALWAYS = Window(0, 1 << 40)


class Work:
    """`Operations` on what is open. `running`: both lines are at work."""

    def __init__(self, app: App, *, running: bool) -> None:
        self._app = app
        self._running = running

    # --- status ------------------------------------------------------------------------------------------------------

    async def status(self) -> Status:
        """How things stand."""
        app = self._app
        facts = await app.store.facts()
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
        )

    async def _endpoints(self) -> list[EndpointStatus]:
        await self._load_checkpoints()
        found = [
            _endpoint(source, endpoint, tracks)
            for (source, endpoint), tracks in housekeeping.by_endpoint(self._app.tracks)
        ]
        known = {(track.key.source, track.endpoint.name) for track in self._app.tracks}
        stored = sorted({(key.source, key.endpoint) for key in await self._app.store.checkpoints()} - known)
        return found + [
            EndpointStatus(source=source, endpoint=endpoint, configured=False) for source, endpoint in stored
        ]

    async def _load_checkpoints(self) -> None:
        """Without a daemon nobody has read them yet."""
        if not self._running:
            now = int(self._app.clock.now())
            for track in self._app.tracks:
                await track.load(now)

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

    async def dead_letters(self, *, source: str | None = None, sink: str | None = None) -> list[DeadLetter]:
        """Without bodies, oldest first."""
        records = [] if sink else [_of_record(one) for one in await self._app.store.dead_records()]
        events = [] if source else [_of_event(one) for one in await self._app.store.dead_events(sink)]
        return sorted((one for one in records + events if source in {None, one.source}), key=lambda one: one.at)

    async def dead_letter(self, letter: str) -> DeadLetter:
        """One with its body. Raises Unknown."""
        found = await self._find(letter)
        return _of_record(found, body=True) if isinstance(found, DeadRecord) else _of_event(found, body=True)

    async def retry(self, letters: Sequence[str]) -> list[Retried]:
        """Each goes through the same steps as new ones; one that succeeds is closed in the same commit."""
        found = [await self._find(letter) for letter in letters]
        return [await self._retry(one) for one in found]

    async def _retry(self, letter: DeadRecord | DeadEvent) -> Retried:
        try:
            if isinstance(letter, DeadRecord):
                await self._read_again(letter)
            else:
                await self._append_again(letter)
        except PollerError as error:
            return Retried(id=letter.id, done=False, error=str(error))
        return Retried(id=letter.id, done=True)

    async def _read_again(self, letter: DeadRecord) -> None:
        """Keys, seen and commit, as if the vendor had just shown it. Raises BadRecord where it is still not understood."""
        track = self._track(letter)
        await track.load(int(self._app.clock.now()))
        track.endpoint.keys(letter.raw, letter.offset)
        track.endpoint.normalise(letter.raw, letter.offset)
        walk = Walk(
            ask=letter.ask, generation=track.generation, asked=ALWAYS, tolerance=0, horizon=0,
            read_until=None, complete_until=None, reach=track.ladder[-1].back, offset=letter.offset,
        )  # fmt: skip
        await track.keeper.keep([letter.raw], walk, closes=(letter.id,))

    def _track(self, letter: DeadRecord) -> Track:
        tracks = [
            track
            for track in self._app.tracks
            if (track.key.source, track.endpoint.name) == (letter.source, letter.endpoint)
        ]
        if not tracks:
            raise Unknown(
                f"{letter.source} has no endpoint {letter.endpoint} in the configuration: add it to retry its records"
            )
        return next((track for track in tracks if track.key.ask == letter.ask), tracks[0])

    async def _append_again(self, letter: DeadEvent) -> None:
        """The log gets the event again, for this one sink, so that it goes through the sink's own protocol."""
        if letter.sink not in self._app.sinks:
            raise Unknown(f"sink {letter.sink} is not configured: nothing could deliver the event")
        shard = self._app.shards[letter.shard]
        async with shard.lock:
            last = shard.held.last
            event = letter.event
            again = Event(
                event.id, event.type, event.source, event.subject, event.time, event.key, None,
                renumbered(event.body, last.seq + 1), (letter.sink,), event.replay,
            )  # fmt: skip
            commit = PageCommit(segment=segment.pack([again], last, self._app.clock.now()), closes=(letter.id,))
            shard.held = await shard.store.commit_page(shard.held, commit)
        shard.tell()

    async def _find(self, letter: str) -> DeadRecord | DeadEvent:
        letters: list[DeadRecord | DeadEvent] = [
            *await self._app.store.dead_records(),
            *await self._app.store.dead_events(),
        ]
        found = [one for one in letters if one.id == letter] or [one for one in letters if one.id.startswith(letter)]
        if len(found) != 1 or not letter:
            raise Unknown(f"{letter!r} is {'no dead letter' if not found else 'the beginning of several dead letters'}")
        return found[0]

    async def replay(self, asked: Replay) -> Replayed:
        """One step, which keeps nothing: a daemon that is killed has done a part, and whoever asks knows which."""
        return await Step(self._app, asked, running=self._running).run()

    # --- recordings ----------------------------------------------------------------------------------------------------

    async def recording(self, source: str, recording_id: str) -> dict[str, object] | None:
        """`data` of the recording's newest event, None where the log has none (any more)."""
        track = next((one for one in self._app.tracks if one.setup.name == source), None)
        if track is None:
            raise Unknown(f"there is no source {source} with an endpoint")
        identity, shard = Identity(track.key.source, "recording"), track.setup.shard
        today = day_of(self._app.clock.now())
        oldest = today - int(self._app.settings.retention // DAY) - 32  # a row may be that much older than its event
        for day in range(today + 1, oldest, -3):  # the look-up covers the day before and after, too
            key = identity.mention_key(recording_id, day)
            found = await shard.store.find_event(shard.number, key)
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
        await self._app.store.put_meta(meta_name(name), None)  # one of this name that comes later is another one

    async def forget_source(self, source: str) -> None:
        """Only of a source that is not configured any more; its ids may expire then."""
        if source in {track.key.source for track in self._app.tracks}:
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
        return said or ["nothing waits for a rebuild"]


def _endpoint(source: str, endpoint: str, tracks: Sequence[Track]) -> EndpointStatus:
    read, complete = claims(tracks)
    errors = [str(track.last_error) for track in tracks if track.last_error is not None]
    return EndpointStatus(
        source=source,
        endpoint=endpoint,
        read_until=read,
        complete_until=complete,
        last_success=tracks[0].setup.metrics.last_success[source, endpoint].value,
        open_gaps=sum(housekeeping.open_gaps(track) for track in tracks),
        overdue_rungs=sum(housekeeping.overdue(track) for track in tracks),
        error=errors[0] if errors else None,
    )


def _of_record(letter: DeadRecord, *, body: bool = False) -> DeadLetter:
    return DeadLetter(
        id=letter.id, what="record", source=letter.source, endpoint=letter.endpoint, reason=letter.reason,
        error=letter.error, at=letter.at, size=len(letter.raw), body=letter.raw if body else None,
    )  # fmt: skip


def _of_event(letter: DeadEvent, *, body: bool = False) -> DeadLetter:
    source = letter.event.source.split("/")[2] if letter.event.source.count("/") >= 2 else None
    return DeadLetter(
        id=letter.id, what="event", source=source, sink=letter.sink, reason=letter.reason,
        error=letter.error, at=letter.at, size=len(letter.event.body), body=letter.event.body if body else None,
    )  # fmt: skip
