"""How the endpoints stand: those that this process reads as it knows them, the others as the store has them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from msgspec import Struct, structs

from poller import checkpoint as checkpoints
from poller.app_parts import App
from poller.checkpoint import Checkpoint, Gap, Pass, Step
from poller.crosscheck import endpoints_of, source_id
from poller.errors import Damaged, Denied, PollerError, Unknown
from poller.hosts import origin
from poller.housekeeping import by_endpoint, lag, missed_turns, turn_of
from poller.identity import shard_of
from poller.kinds import kind_of, load_source_kind
from poller.leases.alone import Alone
from poller.model import CheckpointKey, Limits
from poller.options import EndpointOptions, SourceOptions
from poller.recent import Lately
from poller.source_status import (
    AskStatus,
    EndpointDetail,
    EndpointStatus,
    GapStatus,
    PassStatus,
    RungStatus,
    SourceStatus,
)
from poller.track import Track, least_claims, steps

GAPS = 3
"""Of an endpoint among all; its source's own page has the others."""


class Sight(Struct, frozen=True):
    """One endpoint asked in one way, whoever reads it. `known`: what its checkpoint claims, None where that is not believed."""

    ask: str
    checkpoint: Checkpoint | None
    known: Checkpoint | None
    ladder: Sequence[Step]
    options: EndpointOptions
    limits: Limits
    now: float
    """By the vendor's clock."""
    lately: Lately
    error: PollerError | None = None

    @classmethod
    def of_track(cls, track: Track) -> Self:
        """One of ours."""
        now = track.setup.now() + (track.setup.skew or 0.0)
        return cls(
            track.ask.key, track.checkpoint, track.known, track.ladder, track.options, track.endpoint.limits, now, track.lately,
            track.last_error,
        )  # fmt: skip

    @property
    def gaps(self) -> list[Gap]:
        """Those of passes in progress included, oldest span first."""
        if self.checkpoint is None:
            return []
        found = [*self.checkpoint.gaps, *(gap for item in self.checkpoint.passes for gap in item.skipped)]
        return sorted(found, key=lambda gap: gap.begin)

    @property
    def overdue(self) -> int:
        """Rungs that missed a turn."""
        if self.checkpoint is None:
            return 0
        return missed_turns(self.checkpoint, self.ladder, self.options, self.limits, self.now)

    @property
    def behind(self) -> float:
        """Seconds past its turn of the rung that is furthest behind."""
        if self.checkpoint is None:
            return 0.0
        return lag(self.checkpoint, self.ladder, self.options, self.limits, self.now)


# --- all of them -----------------------------------------------------------------------------------------------------


def endpoints(app: App, stored: Mapping[CheckpointKey, bytes]) -> list[EndpointStatus]:
    """Of all configured sources, and what the store remembers of others."""
    found = []
    here = {(source, endpoint): tracks for (source, endpoint), tracks in by_endpoint(app.tracks)}
    for (source, endpoint), tracks in here.items():
        found.append(_ours(source, endpoint, tracks))
    names = {source for source, _ in here}
    for name, options in app.settings.sources.items():
        if name not in names:
            found += [detail.it for detail in _elsewhere(app, name, options, stored)]
    ids = {name: source_id(name, options) for name, options in app.settings.sources.items()}
    known = {(track.key.source, track.endpoint.name) for track in app.tracks}
    known |= {(ids.get(one.source, one.source), one.endpoint) for one in found}
    left = {(key.source, key.endpoint) for key in stored} - known
    found.sort(key=lambda one: (one.source, one.endpoint))
    return found + [
        EndpointStatus(source=source, endpoint=endpoint, configured=False) for source, endpoint in sorted(left)
    ]


def _ours(source: str, endpoint: str, tracks: Sequence[Track]) -> EndpointStatus:
    success = tracks[0].setup.metrics.last_success[source, endpoint].value
    return _status(source, endpoint, [Sight.of_track(track) for track in tracks], success=success)


def _status(
    source: str, endpoint: str, sights: Sequence[Sight], *, success: float | None = None, here: bool = True
) -> EndpointStatus:
    """The least of its claims, the sum of its troubles."""
    read, complete = least_claims([one.known for one in sights])
    failing = next((one for one in sights if one.error is not None), None)
    gaps = [gap for one in sights for gap in one.gaps]
    lately = [one.lately for one in sights]
    return EndpointStatus(
        source=source,
        endpoint=endpoint,
        read_until=read,
        complete_until=complete,
        last_success=success,
        open_gaps=len(gaps),
        overdue_rungs=sum(one.overdue for one in sights),
        error=str(failing.error) if failing is not None else None,
        reason=failing.error.reason if failing is not None and failing.error is not None else None,
        failing_since=failing.lately.failing_since if failing is not None else None,
        behind=max([0.0, *(one.behind for one in sights)]),
        next_poll=_least(one.next_poll for one in lately if one.polling_since is None),
        polling_since=_least(one.polling_since for one in lately),
        late_rows=sum(one.late_rows for one in lately),
        late_most=_most(one.late_most for one in lately),
        late_last=_most(one.late_last for one in lately),
        gaps=[_gap(gap) for gap in sorted(gaps, key=lambda gap: gap.begin)[:GAPS]],
        here=here,
    )


def _least(values: Iterable[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _most(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _gap(gap: Gap) -> GapStatus:
    return GapStatus(begin=gap.begin, end=gap.end, since=gap.since, reason=gap.reason)


# --- those of one source ---------------------------------------------------------------------------------------------


async def source(app: App, name: str) -> SourceStatus:
    """One configured source. Raises Unknown."""
    options = app.settings.sources.get(name)
    if options is None:
        raise Unknown(f"there is no source {name} in the configuration")
    own = source_id(name, options)
    tracks = [track for track in app.tracks if track.setup.name == name]
    stored = {} if tracks else await app.store.checkpoints(own)
    totals = await app.store.letter_totals()
    shard = tracks[0].setup.shard.number if tracks else shard_of(own, app.store.shards)
    return SourceStatus(
        name=name,
        id=own,
        kind=kind_of(options),
        address=origin(options.base_url),
        shard=shard,
        here=bool(tracks),
        owner=None if tracks else await _owner(app, shard),
        credential=_credential(tracks),
        skew=tracks[0].setup.skew if tracks else None,
        endpoints=_details(name, tracks) if tracks else _elsewhere(app, name, options, stored),
        dead_letters=sum(one.letters for one in totals if one.source == own),
    )


async def _owner(app: App, shard: int) -> str | None:
    if isinstance(app.leasing, Alone):
        return None
    leases = (await app.leasing.leases()).leases
    return next((one.owner for one in leases if one.shard == shard and one.left > 0), None)


def _credential(tracks: Sequence[Track]) -> str:
    if not tracks:
        return "known where the source is read"
    refused = next((track for track in tracks if isinstance(track.last_error, Denied)), None)
    if refused is not None:
        return "refused: the phone system does not take it, or it lacks rights"
    return tracks[0].setup.vendor.credential


def _details(name: str, tracks: Sequence[Track]) -> list[EndpointDetail]:
    found = []
    for (_, endpoint), same in by_endpoint(tracks):
        it, options = _ours(name, endpoint, same), same[0].options
        asks = [_ask(Sight.of_track(track)) for track in same]
        found.append(EndpointDetail(it=it, interval=options.interval, settle=options.settle, asks=asks))
    return found


def _elsewhere(
    app: App, name: str, options: SourceOptions, stored: Mapping[CheckpointKey, bytes]
) -> list[EndpointDetail]:
    """What this process does not read. What went wrong last is known where it is read."""
    built, found = load_source_kind(kind_of(options)).build(name, options), []
    for key, own in endpoints_of(options).items():
        endpoint = built.endpoints[key]
        ladder = steps(own.ladder)
        sights = []
        for ask in endpoint.asks:
            known, error = _stored(stored, CheckpointKey(source_id(name, options), endpoint.name, ask.key), ladder)
            sights.append(Sight(ask.key, known, known, ladder, own, endpoint.limits, app.clock.now(), Lately(), error))
        it = _status(name, endpoint.name, sights, here=False)
        asks = [_ask(one) for one in sights]
        found.append(EndpointDetail(it=it, interval=own.interval, settle=own.settle, asks=asks))
    return found


def _stored(
    stored: Mapping[CheckpointKey, bytes], key: CheckpointKey, ladder: Sequence[Step]
) -> tuple[Checkpoint | None, PollerError | None]:
    data = stored.get(key)
    if data is None:
        return None, None
    try:
        found = checkpoints.read(data, key)
    except Damaged as error:
        return None, error
    checkpoints.fit(found, ladder)
    return found, None


def _ask(one: Sight) -> AskStatus:
    found = AskStatus(ask=one.ask, polls=list(one.lately.polls), failures=list(one.lately.failures))
    if one.checkpoint is None:
        return structs.replace(found, rungs=[_rung(one, step, None) for step in one.ladder])
    rungs = zip(one.ladder, one.checkpoint.rungs, strict=True)
    return structs.replace(
        found,
        start=one.checkpoint.start,
        window=min(one.checkpoint.span, one.limits.max_span),
        rungs=[_rung(one, step, rung.last) for step, rung in rungs],
        passes=[_pass(item) for item in one.checkpoint.passes],
        gaps=[_gap(gap) for gap in one.gaps],
    )


def _rung(one: Sight, step: Step, last: int | None) -> RungStatus:
    turn = turn_of(step, one.options, one.limits)
    due = last + turn + one.options.settle if last is not None else None
    return RungStatus(back=step.back, every=turn, last=last, due=due)


def _pass(item: Pass) -> PassStatus:
    done = sum(window.span for window in item.done)
    share = min(1.0, done / max(1, item.end - item.begin))
    return PassStatus(begin=item.begin, end=item.end, back=item.top, share=share)
