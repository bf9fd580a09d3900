"""The number of series is bounded by the configuration alone, whatever the phone systems and the receivers answer."""

import re
from functools import cache
from pathlib import Path

from series_bound import bound, count

from poller.housekeeping import REASONS
from poller.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
LISTS = {
    "mor": ("mor.user_calls", "mor.local_calls", "mor.recordings"),
    "thulium": ("thulium.connections", "thulium.recordings"),
    "fonouc": ("fonouc.cdrs", "fonouc.recordings"),
}
SUSPICIONS = {
    "mor": ("error_message", "no_total", "more_than_total"),
    "thulium": ("longer_than_limit", "count_below_rows", "fewer_than_count"),
    "fonouc": ("full_page", "stuck_key"),
}
FAILED = ("timeout", "unreachable", "certificate", "address", "redirect", "rate_limited", "server_error", "client_error",
          "too_large", "refused", "gone", "disabled", "defect")  # fmt: skip
DEAD = ("client_error", "too_large", "refused", "aborted", "exhausted", "backlog")
SOURCES, SINKS = 1_000, 10


def walks() -> set[str]:
    """What any list may be suspected of."""
    return set(re.findall(r'suspect\("(\w+)"\)', (ROOT / "poller/poll.py").read_text(encoding="utf-8")))


@cache
def everything_said() -> Metrics:
    """As after years: every label value that the program knows has been seen."""
    metrics = Metrics()
    for number in range(SOURCES):
        vendor = list(LISTS)[number % len(LISTS)]
        source = f"{vendor}-{number}"
        metrics.clock_skew[source].set(1)
        metrics.declare_requests(source, "login")
        for name in LISTS[vendor]:
            say_of_a_list(metrics, source, name, walks() | set(SUSPICIONS[vendor]))
    for number in range(SINKS):
        say_of_a_sink(metrics, f"sink-{number}")
    for table in metrics.tables:
        if not table._labels:
            table.set(1)
    for reason in REASONS:
        metrics.polling_paused[reason].set(1)
    return metrics


def say_of_a_list(metrics: Metrics, source: str, name: str, suspicions: set[str]) -> None:
    metrics.declare(source, name)
    metrics.record_dead_letters[name, "bad_record"].inc()
    for table in (metrics.last_success, metrics.read_until, metrics.complete_until):
        table[source, name].set(1)
    for reason in suspicions:
        metrics.suspicions[source, name, reason].inc()


def say_of_a_sink(metrics: Metrics, name: str) -> None:
    metrics.declare_sink(name)
    for table in (metrics.oldest_pending, metrics.sink_up):
        table[name].set(1)
    for state in ("slowed", "down", "disabled"):
        metrics.sink_changes[name, state].inc()
    metrics.deliveries[name, "filtered", ""].inc()
    for reason in FAILED:
        metrics.deliveries[name, "failed", reason].inc()
    for reason in DEAD:
        metrics.deliveries[name, "dead", reason].inc()
        metrics.delivery_dead_letters[name, reason].inc()


def test_a_thousand_sources() -> None:
    text = b"".join(everything_said().write()).decode()
    lists = sum(len(LISTS[list(LISTS)[number % len(LISTS)]]) for number in range(SOURCES))
    kinds = sum(map(len, LISTS.values())) + 1
    promised = bound(lists=lists, sources=SOURCES, kinds=kinds, sinks=SINKS)
    shown = count(text)
    print(
        f"{SOURCES:,} sources, {lists:,} lists, {SINKS} sinks: {shown:,} series of at most {promised:,}, {len(text) / 1e6:.1f} MB"
    )
    assert 0.9 * promised < shown <= promised


def test_every_metric_was_said() -> None:
    """One that is new has its place in the formula."""
    metrics = everything_said()
    assert [
        table.name for table in metrics.tables if not any(text and not text.startswith("#") for text in table.write())
    ] == []


def test_the_words_are_the_programs_own() -> None:
    assert len(walks()) == 7
    for vendor, words in SUSPICIONS.items():
        text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "poller/sources" / vendor).glob("*.py"))
        for word in words:
            assert f'"{word}"' in text
    for vendor, names in LISTS.items():
        text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "poller/sources" / vendor).glob("*.py"))
        assert set(re.findall(r'^    name = "(\w+\.\w+)"$', text, re.MULTILINE)) == set(names)
