"""Every metric, declared once. The names and labels are a contract with dashboards and alerts.

What exists once per endpoint is kept in tables of our own: with 1,000 endpoints these are 32,000 lines, which the library
takes a second of the interpreter to write. Histograms are few and the library's. Values change in the event loop only;
`write` may run in a thread.
"""

import itertools
import platform
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, generate_latest

from poller.errors import PollerError
from poller.exposition import Labels, Table

SLICE = 16 << 10
"""Bytes from which on a slice of the exposition is handed over: a few hundred lines."""
POLL_OUTCOMES = (
    "ok",
    "unreachable",
    "rate_limited",
    "vendor_fault",
    "not_the_api",
    "denied",
    "refused",
    "bad_answer",
    "store",
    "error",
)
HTTP_OUTCOMES = (
    "ok",
    "unreachable",
    "certificate",
    "rate_limited",
    "vendor_fault",
    "redirect",
    "denied",
    "refused",
    "timeout",
    "bad_answer",
)
RECORD_RESULTS = ("new", "updated", "duplicate", "invalid", "filtered")
EVENT_TYPES = (
    "telephony.call.new",
    "telephony.call.updated",
    "telephony.recording.new",
    "telephony.recording.updated",
    "telephony.window.complete",
)

_BAD_ANSWERS = dict.fromkeys(
    (
        "bad_answer",
        "timeout",
        "too_large",
        "truncated",
        "malformed",
        "empty",
        "incomplete",
        "clock_change",
        "filter_ignored",
        "bad_record",
    ),
    "bad_answer",
)
# Ten outcomes per metric, so reasons that mean the same to whoever is woken up share one; the log has the exact one.
_POLL_OUTCOME = _BAD_ANSWERS | {
    "certificate": "unreachable",
    "redirect": "not_the_api",
    "store_full": "store",
    "store_refused": "store",
    "damaged": "store",
    "outdated": "store",
}
_HTTP_OUTCOME = _BAD_ANSWERS | {"timeout": "timeout", "not_the_api": "bad_answer"}


def poll_outcome(error: PollerError | None) -> str:
    """The `outcome` label of a poll that ended so; None: it went well."""
    return _fold(error, _POLL_OUTCOME, POLL_OUTCOMES, "error")


def http_outcome(error: PollerError | None) -> str:
    """The `outcome` label of a request that ended so."""
    return _fold(error, _HTTP_OUTCOME, HTTP_OUTCOMES, "vendor_fault")


def _fold(error: PollerError | None, names: dict[str, str], known: tuple[str, ...], other: str) -> str:
    if error is None:
        return "ok"
    name = names.get(error.reason, error.reason)
    return name if name in known else other


class Metrics:
    """All metrics of one process, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.tables: list[Table] = []
        self._labels = Labels()
        self._pending: defaultdict[str, dict[int, tuple[int, float | None]]] = defaultdict(dict)
        self._endpoint_tables()
        self._endpoint_kinds()
        self._sink_tables()
        self._process_tables()

    # --- declarations --------------------------------------------------------------------------------------------

    def _endpoint_tables(self) -> None:
        labels = ("source", "endpoint")
        self.polls = self._counter(
            "poller_polls_total", "Passes by how they ended.", *labels, "outcome", last=POLL_OUTCOMES
        )
        self.records = self._counter(
            "poller_records_total", "Records read, by what became of them.", *labels, "result", last=RECORD_RESULTS
        )
        self.http_requests = self._counter(
            "poller_http_requests_total", "Requests by how they ended.", *labels, "outcome", last=HTTP_OUTCOMES
        )
        self.last_success = self._gauge(
            "poller_last_success_timestamp_seconds", "When a pass last ended well.", *labels
        )
        self.read_until = self._gauge(
            "poller_read_until_timestamp_seconds", "End of the lowest rung's last pass.", *labels
        )
        self.complete_until = self._gauge(
            "poller_complete_until_timestamp_seconds",
            "Everything before it was seen, as far as the ladder promises.",
            *labels,
        )
        self.suspicions = self._counter(
            "poller_suspicions_total", "Answers that contradict themselves.", *labels, "reason"
        )
        self.overdue_rungs = self._gauge("poller_overdue_rungs", "Rungs whose pass is due and not done.", *labels)
        self.open_gaps = self._gauge("poller_open_gaps", "Spans that could not be read yet.", *labels)
        self.near_reach_rows = self._counter(
            "poller_near_reach_rows_total", "Rows found close to the longest rung's reach.", *labels
        )

    def _endpoint_kinds(self) -> None:
        self.poll_seconds = self._histogram(
            "poller_poll_seconds",
            "Time of one pass.",
            (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
            "endpoint",
        )
        self.http_request_seconds = self._histogram(
            "poller_http_request_seconds",
            "Time spent waiting for one answer, its body included.",
            (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
            "endpoint",
        )
        self.late_arrival_seconds = self._histogram(
            "poller_late_arrival_seconds",
            "How long after its own time a row was found in a span that had been read before.",
            (10, 60, 300, 1800, 3600, 10800, 21600, 43200, 86400, 172800),
            "endpoint",
        )
        self.response_bytes = self._histogram(
            "poller_response_bytes",
            "Size of one answer after decompression.",
            (1 << 10, 1 << 13, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26, 1 << 28),
            "endpoint",
        )

    def _sink_tables(self) -> None:
        self.pending_events = self._gauge("poller_pending_events", "Events that wait for the sink.", "sink")
        self.oldest_pending = self._gauge(
            "poller_oldest_pending_timestamp_seconds", "When the oldest waiting event was committed.", "sink"
        )
        self.deliveries = self._counter(
            "poller_deliveries_total", "Events by what the sink did with them.", "sink", "outcome", "reason"
        )
        self.delivery_seconds = self._histogram(
            "poller_delivery_seconds",
            "Time of one delivery.",
            (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            "sink",
        )
        self.end_to_end_seconds = self._histogram(
            "poller_end_to_end_seconds",
            "From first seen to delivered.",
            (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600),
            "sink",
        )
        self.delivery_dead_letters = self._counter(
            "poller_delivery_dead_letters_total", "Events that the sink can never take.", "sink", "reason"
        )
        self.dead_letter_bytes = self._gauge(
            "poller_dead_letter_bytes", "Size of the sink's dead letters, before compression.", "sink"
        )
        self.dead_letters_discarded = self._counter(
            "poller_dead_letters_discarded_total", "Oldest dead letters that were deleted for max_dead_letters.", "sink"
        )
        self.sink_enabled = self._gauge(
            "poller_sink_enabled", "0 while nothing is tried: the sink wants no more calls, or was disabled.", "sink"
        )
        self.sink_up = self._gauge(
            "poller_sink_up", "0 while a sink that takes events one by one is slowed, down or disabled.", "sink"
        )
        self.sink_changes = self._counter(
            "poller_sink_state_changes_total",
            "How often a sink that takes events one by one became slowed, down or disabled.",
            "sink",
            "state",
        )
        self.delivery_held_back = self._counter(
            "poller_delivery_held_back_seconds_total",
            "How long a sink that takes events one by one waited for its turns, so that the others have theirs.",
            "sink",
        )
        self.producer_rebuilds = self._counter(
            "poller_producer_rebuilds_total", "Lanes opened anew after a fault.", "sink"
        )

    def _process_tables(self) -> None:
        self.events = self._counter("poller_events_total", "Events committed.", "type")
        self.record_dead_letters = self._counter(
            "poller_record_dead_letters_total", "Records that could not be understood.", "endpoint", "reason"
        )
        self.dead_letters_expired = self._counter(
            "poller_dead_letters_expired_total", "Dead letters that were deleted for dead_letter_retention.", "what"
        )
        self.store_commit_seconds = self._histogram(
            "poller_store_commit_seconds",
            "Time of one commit.",
            (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
        )
        self.store_bytes = self._gauge("poller_store_bytes", "Size of the store.")
        self.store_limit_bytes = self._gauge("poller_store_limit_bytes", "Size at which polling pauses.")
        self.store_free_bytes = self._gauge("poller_store_free_bytes", "Free space on the store's disk.")
        self.store_least_free_bytes = self._gauge(
            "poller_store_least_free_bytes", "Free space below which polling pauses."
        )
        self.seen_ids = self._gauge("poller_seen_ids", "Ids remembered.")
        self.shards = self._gauge("poller_shards", "Shards of the store.")
        self.shards_owned = self._gauge("poller_shards_owned", "Shards that this process works on.")
        self.polling_paused = self._gauge("poller_polling_paused", "1 while polling pauses for the reason.", "reason")
        self.store_rollbacks = self._counter(
            "poller_store_rollbacks_total", "Times a shard of the store was not as it had been left."
        )
        self.store_away = self._gauge("poller_store_away", "1 while the store does not do what is asked of it.")
        self.schedule_lateness_seconds = self._histogram(
            "poller_schedule_lateness_seconds",
            "How late polls start.",
            (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 30, 300),
        )
        self.loop_lag_seconds = self._histogram(
            "poller_loop_lag_seconds",
            "How late the event loop wakes.",
            (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
        )
        self.clock_skew = self._gauge("poller_clock_skew_seconds", "The vendor's clock minus ours.", "source")
        build = self._gauge("poller_build_info", "The running program.", "version", "python")
        build[version("poller"), platform.python_version()].set(1)
        for kind in EVENT_TYPES:
            _ = self.events[kind]
        for what in ("record", "event"):
            _ = self.dead_letters_expired[what]

    def _counter(self, name: str, text: str, *labels: str, last: tuple[str, ...] = ()) -> Table:
        self.tables.append(Table(name, "counter", text, *labels, last=last, shared=self._labels))
        return self.tables[-1]

    def _gauge(self, name: str, text: str, *labels: str) -> Table:
        self.tables.append(Table(name, "gauge", text, *labels, shared=self._labels))
        return self.tables[-1]

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

    # --- use -----------------------------------------------------------------------------------------------------

    def declare(self, source: str, endpoint: str) -> None:
        """Shows everything that is known from the configuration at 0; what is not known yet stays absent."""
        _ = self.polls[source, endpoint, "ok"]
        self.declare_requests(source, endpoint)
        _ = self.records[source, endpoint, "new"]
        _ = self.near_reach_rows[source, endpoint]
        self.overdue_rungs[source, endpoint].set(0)
        self.open_gaps[source, endpoint].set(0)
        for histogram in (self.poll_seconds, self.late_arrival_seconds):
            histogram.labels(endpoint)

    def declare_requests(self, source: str, endpoint: str) -> None:
        """The same for requests alone (a login is no endpoint, yet it asks)."""
        _ = self.http_requests[source, endpoint, "ok"]
        for histogram in (self.http_request_seconds, self.response_bytes):
            histogram.labels(endpoint)

    def forget(self, source: str, endpoint: str) -> None:
        """Another process reads the endpoint now, and claims what there is to claim. What was counted here stays."""
        for table in (self.polls, self.http_requests, self.records, self.last_success, self.read_until,
                      self.complete_until, self.open_gaps, self.overdue_rungs):  # fmt: skip
            table.forget(source, endpoint)

    def declare_sink(self, sink: str) -> None:
        """The same for a sink."""
        self.pending_events[sink].set(0)
        self.sink_enabled[sink].set(1)
        _ = self.deliveries[sink, "delivered", ""]
        _ = self.producer_rebuilds[sink]
        _ = self.delivery_held_back[sink]
        _ = self.dead_letters_discarded[sink]
        self.dead_letter_bytes[sink].set(0)
        self.delivery_seconds.labels(sink)
        self.end_to_end_seconds.labels(sink)

    def show_pending(self, sink: str, shard: int, events: int, oldest: float | None) -> None:
        """What waits for a sink in one shard; what is shown is the sum of this process's shards, and the oldest of all."""
        self._pending[sink][shard] = (events, oldest)
        self._show_pending(sink)

    def forget_pending(self, sink: str, shard: int) -> None:
        """The shard is somebody else's."""
        self._pending[sink].pop(shard, None)
        self._show_pending(sink)

    def _show_pending(self, sink: str) -> None:
        found = self._pending[sink].values()
        self.pending_events[sink].set(sum(events for events, _ in found))
        self.oldest_pending[sink].set(min((at for _, at in found if at is not None), default=None))

    def write(self) -> Iterator[bytes]:
        """The text exposition format, version 0.0.4, in slices that hold the interpreter for a fraction of a millisecond.

        What is short is put together: each slice is handed from a thread to the loop, which costs more than to write a short one.
        """
        out = bytearray(generate_latest(self.registry))
        for text in itertools.chain.from_iterable(table.write() for table in self.tables):
            out += text.encode()
            if len(out) >= SLICE:
                yield bytes(out)
                out.clear()
        yield bytes(out)
