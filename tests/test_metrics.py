"""The contract of metrics: names, labels, zeros, absences."""

import inspect
from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from poller import errors
from poller.exposition import Table
from poller.metrics import HTTP_OUTCOMES, POLL_OUTCOMES, Metrics, http_outcome, poll_outcome


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(b"".join(metrics.write()).decode())
        for sample in family.samples
    }


HERE = (("endpoint", "mor.user_calls"), ("source", "mor"))


def test_declared_counters_begin_at_zero_and_unknown_times_are_absent() -> None:
    metrics = Metrics()
    metrics.declare("mor", "mor.user_calls")
    metrics.declare_sink("kafka")
    found = samples(metrics)
    for outcome in POLL_OUTCOMES:
        assert found["poller_polls_total", (HERE[0], ("outcome", outcome), HERE[1])] == 0
    for outcome in HTTP_OUTCOMES:
        assert found["poller_http_requests_total", (HERE[0], ("outcome", outcome), HERE[1])] == 0
    assert found["poller_open_gaps", HERE] == 0
    assert found["poller_pending_events", (("sink", "kafka"),)] == 0
    assert found["poller_events_total", (("type", "telephony.call.new"),)] == 0
    absent = {
        "poller_complete_until_timestamp_seconds",
        "poller_oldest_pending_timestamp_seconds",
        "poller_store_limit_bytes",
    }
    assert not absent & {name for name, _ in found}


def test_a_gauge_comes_and_goes() -> None:
    metrics = Metrics()
    gauge = metrics.oldest_pending["kafka"]
    gauge.set(5.5)
    assert samples(metrics)["poller_oldest_pending_timestamp_seconds", (("sink", "kafka"),)] == 5.5
    gauge.set(None)
    assert "poller_oldest_pending_timestamp_seconds{" not in b"".join(metrics.write()).decode()


def test_record_counters_are_the_five_fates() -> None:
    metrics = Metrics()
    metrics.records["mor", "mor.user_calls", "new"].inc(7)
    metrics.records["mor", "mor.user_calls", "duplicate"].inc()
    found = samples(metrics)
    assert found["poller_records_total", (HERE[0], ("result", "new"), HERE[1])] == 7
    assert found["poller_records_total", (HERE[0], ("result", "duplicate"), HERE[1])] == 1
    assert found["poller_records_total", (HERE[0], ("result", "filtered"), HERE[1])] == 0
    with pytest.raises(KeyError):
        metrics.records["mor", "mor.user_calls", "lost"].inc()


def test_an_endpoint_that_another_process_reads_shows_what_was_counted_and_no_more() -> None:
    metrics = Metrics()
    metrics.declare("mor", "mor.user_calls")
    metrics.polls["mor", "mor.user_calls", "ok"].inc()
    metrics.read_until["mor", "mor.user_calls"].set(5.0)
    metrics.forget("mor", "mor.user_calls")
    left = {key: value for key, value in samples(metrics).items() if ("source", "mor") in key[1] and value}
    assert left == {("poller_polls_total", (HERE[0], ("outcome", "ok"), HERE[1])): 1}
    text = b"".join(metrics.write()).decode()
    assert not [name for name in ("http_requests_total", "open_gaps", "overdue_rungs") if f"\npoller_{name}{{" in text]
    metrics.declare("mor", "mor.user_calls")
    assert samples(metrics)["poller_open_gaps", HERE] == 0


def test_every_error_has_an_outcome_of_the_closed_sets() -> None:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.PollerError)]
    assert len(kinds) > 25
    for kind in kinds:
        assert poll_outcome(kind("x")) in POLL_OUTCOMES
        assert http_outcome(kind("x")) in HTTP_OUTCOMES
    assert poll_outcome(None) == http_outcome(None) == "ok"
    assert poll_outcome(errors.TimedOut("x")) == "bad_answer"
    assert http_outcome(errors.TimedOut("x")) == "timeout"
    assert poll_outcome(errors.CertificateFault("x")) == "unreachable"
    assert len(POLL_OUTCOMES) <= 10
    assert len(HTTP_OUTCOMES) <= 10


def test_label_values_are_escaped() -> None:
    table = Table("x_total", "counter", "Help.", "a")
    table['quote " back \\ line \n'].inc(2)
    text = "".join(table.write())
    (family,) = text_string_to_metric_families(text)
    assert family.samples[0].labels == {"a": 'quote " back \\ line \n'}
    assert family.samples[0].value == 2


def test_the_number_of_series_is_bounded() -> None:
    metrics, sources = Metrics(), 1_000
    for number in range(sources):
        here = f"office{number}", "mor.user_calls"
        metrics.declare(*here)
        for gauge in (metrics.last_success, metrics.read_until, metrics.complete_until):
            gauge[here].set(1.0)
        metrics.clock_skew[here[0]].set(0.1)
    lines = [line for line in b"".join(metrics.write()).decode().splitlines() if not line.startswith("#")]
    print(f"series for {sources} sources with one list each: {len(lines)}")
    of_one = Counter(line.partition("{")[0] for line in lines if 'source="office7"' in line)
    assert max(of_one.values()) <= 10, of_one
    assert sum(of_one.values()) <= 35
    assert len(lines) < 35 * sources + 300
