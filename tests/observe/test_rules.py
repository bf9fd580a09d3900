"""Every shipped alert: it fires when it must, it does not when it must not, and a section of the runbook says what to do."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from docs_pages import anchor, anchors, text_of
from prometheus_programs import ROOT, RULES, missing, promtool, shortened

from poller.metrics import Metrics

pytestmark = [pytest.mark.prometheus, pytest.mark.skipif(bool(missing()), reason=missing())]

TEXT = RULES.read_text(encoding="utf-8")
GROUPS: list[dict[str, Any]] = yaml.safe_load(TEXT)["groups"]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule}
RECORDS = [rule["record"] for group in GROUPS for rule in group["rules"] if "record" in rule]
HERE = 'job="p", source="mor", endpoint="mor.user_calls"'
ONE, TWO = 'instance="a"', 'instance="b"'


class Case(NamedTuple):
    """Series (one sample a minute), when to look, and which labels the alert has then; None: it does not fire."""

    alert: str
    series: dict[str, str]
    at: str
    labels: dict[str, str] | None
    values: tuple[str, ...] = ()
    """How each `{{ $value … }}` of the annotations reads."""


SINK = {"job": "p", "sink": "crm"}
LIST = {"job": "p", "source": "mor", "endpoint": "mor.user_calls"}
OVERDUE = f"poller_overdue_rungs{{{HERE}, {ONE}}}"
DENIED = f'poller_polls_total{{{HERE}, outcome="denied", {ONE}}}'
WELL = f'poller_polls_total{{{HERE}, outcome="ok", {ONE}}}'
GAPS = f"poller_open_gaps{{{HERE}, {ONE}}}"
NEAR = f"poller_near_reach_rows_total{{{HERE}, {ONE}}}"
SKEW = f'poller_clock_skew_seconds{{job="p", source="mor", {ONE}}}'
RECORD_LETTERS = f'poller_record_dead_letters_total{{job="p", endpoint="mor.user_calls", reason="bad_record", {ONE}}}'
OLDEST = f'poller_oldest_pending_timestamp_seconds{{job="p", sink="crm", {ONE}}}'
ENABLED = f'poller_sink_enabled{{job="p", sink="crm", {ONE}}}'
EVENT_LETTERS = f'poller_delivery_dead_letters_total{{job="p", sink="crm", reason="refused", {ONE}}}'
DISCARDED = f'poller_dead_letters_discarded_total{{job="p", sink="crm", {ONE}}}'
EXPIRED = f'poller_dead_letters_expired_total{{job="p", what="event", {ONE}}}'
BUILD = f'poller_build_info{{job="p", version="1", python="3", {ONE}}}'
UP = f'up{{job="p", {ONE}}}'
PAUSED = f'poller_polling_paused{{job="p", reason="backlog", {ONE}}}'
SHARDS_ONE, SHARDS_TWO = f'poller_shards{{job="p", {ONE}}}', f'poller_shards{{job="p", {TWO}}}'
OWNED_ONE, OWNED_TWO = f'poller_shards_owned{{job="p", {ONE}}}', f'poller_shards_owned{{job="p", {TWO}}}'
AWAY, FULL = f'poller_store_away{{job="p", {ONE}}}', f'poller_polling_paused{{job="p", reason="store_full", {ONE}}}'
ROLLBACKS = f'poller_store_rollbacks_total{{job="p", {ONE}}}'
BYTES, LIMIT = f'poller_store_bytes{{job="p", {ONE}}}', f'poller_store_limit_bytes{{job="p", {ONE}}}'
FREE, LEAST = f'poller_store_free_bytes{{job="p", {ONE}}}', f'poller_store_least_free_bytes{{job="p", {ONE}}}'

CASES = [
    Case("PollerSourceBehind", {OVERDUE: "2x120"}, "31m", LIST, ("2",)),
    Case("PollerSourceBehind", {OVERDUE: "2x20 0x100"}, "40m", None),  # a long pass that ended
    Case("PollerSourceBehind", {OVERDUE: "0x120"}, "60m", None),
    Case("PollerCredentialRefused", {DENIED: "0+1x60", WELL: "9x60"}, "30m", LIST),
    Case("PollerCredentialRefused", {DENIED: "0+1x60", WELL: "0+1x60"}, "30m", None),  # one user of many
    Case("PollerCredentialRefused", {DENIED: "0x5 1x60", WELL: "0x10 0+1x60"}, "30m", None),  # a token that expired
    Case("PollerOpenGap", {GAPS: "1x60"}, "16m", LIST, ("1",)),
    Case("PollerOpenGap", {GAPS: "1x10 0x60"}, "16m", None),
    Case("PollerLadderTooShort", {NEAR: "0x5 3x60"}, "10m", LIST, ("3",)),
    Case("PollerLadderTooShort", {NEAR: "3x60"}, "10m", None),
    Case("PollerClockSkew", {SKEW: "-120x60"}, "16m", {"job": "p", "source": "mor"}, ("2m 0s",)),
    Case("PollerClockSkew", {SKEW: "0.7x5 300x5 0.7x60"}, "16m", None),
    Case("PollerRecordsSetAside", {RECORD_LETTERS: "_x5 1x200"}, "10m",
         {"job": "p", "endpoint": "mor.user_calls", "reason": "bad_record"}),
    Case("PollerRecordsSetAside", {RECORD_LETTERS: "1x200"}, "90m", None),  # an hour later it is known
    Case("PollerEventsWait", {OLDEST: "0x60", ENABLED: "1x60"}, "21m", SINK, ("21m 0s",)),
    Case("PollerEventsWait", {OLDEST: "0+60x60", ENABLED: "1x60"}, "40m", None),
    Case("PollerEventsWait", {OLDEST: "0x60", ENABLED: "0x60"}, "40m", None),  # has an alert of its own
    Case("PollerSinkDisabled", {ENABLED: "0x60"}, "6m", SINK),
    Case("PollerSinkDisabled", {ENABLED: "0x3 1x60"}, "6m", None),
    Case("PollerEventsSetAside", {EVENT_LETTERS: "_x5 1x200"}, "6m", SINK | {"reason": "refused"}),
    Case("PollerEventsSetAside", {EVENT_LETTERS: "5x100 6x100"}, "110m", SINK | {"reason": "refused"}),
    Case("PollerEventsSetAside", {EVENT_LETTERS: "1x200"}, "90m", None),
    Case("PollerDeadLettersDeleted", {DISCARDED: "0x5 60x60"}, "10m", SINK, ("60",)),
    Case("PollerDeadLettersDeleted", {EXPIRED: "0x5 60x60"}, "10m", {"job": "p", "what": "event"}, ("60",)),
    Case("PollerDeadLettersDeleted", {DISCARDED: "60x60", EXPIRED: "9x60"}, "10m", None),
    Case("PollerAbsent", {UP: "1x60"}, "6m", {}),
    Case("PollerAbsent", {BUILD: "1x60"}, "30m", None),
    Case("PollerDown", {BUILD: "1x10", UP: "1x10 0x60"}, "20m", {"job": "p", "instance": "a"}),
    Case("PollerDown", {BUILD: "1x60", UP: "1x10 0x3 1x60"}, "20m", None),
    Case("PollerDown", {'up{job="other", instance="a"}': "0x60", BUILD: "1x60"}, "20m", None),
    Case("PollerPaused", {PAUSED: "1x60"}, "11m", {"job": "p", "reason": "backlog"}),
    Case("PollerPaused", {PAUSED: "1x5 0x60"}, "11m", None),
    Case("PollerShardWithoutOwner",
         {SHARDS_ONE: "8x60", SHARDS_TWO: "8x60", OWNED_ONE: "4x60", OWNED_TWO: "3x60"}, "11m", {"job": "p"}, ("1",)),
    Case("PollerShardWithoutOwner",
         {SHARDS_ONE: "8x60", SHARDS_TWO: "8x60", OWNED_ONE: "4x60", OWNED_TWO: "3x5 4x60"}, "11m", None),
    Case("PollerStoreAway", {AWAY: "0x3 1x60", FULL: "0x60"}, "10m", {"job": "p"}),
    Case("PollerStoreAway", {AWAY: "0x3 1x3 0x60", FULL: "0x60"}, "10m", None),
    Case("PollerStoreAway", {AWAY: "1x60", FULL: "1x60"}, "10m", None),  # has an alert of its own
    Case("PollerStoreRolledBack", {ROLLBACKS: "0x5 1x60"}, "10m", {"job": "p"}),
    Case("PollerStoreRolledBack", {ROLLBACKS: "_x5 1x200"}, "10m", {"job": "p"}),  # found when the pod started
    Case("PollerStoreRolledBack", {ROLLBACKS: "0x200"}, "10m", None),
    Case("PollerStoreRolledBack", {ROLLBACKS: "1x200"}, "90m", None),
    Case("PollerStoreNearLimit", {BYTES: "90x60", LIMIT: "100x60"}, "16m", {"job": "p"}, ("90%",)),
    Case("PollerStoreNearLimit", {BYTES: "80x60", LIMIT: "100x60"}, "16m", None),
    Case("PollerStoreNearLimit", {BYTES: "900x60"}, "16m", None),  # without store.max_bytes
    Case("PollerDiskLow", {FREE: "2048x60", LEAST: "1024x60"}, "16m", {"job": "p", "instance": "a"}, ("2ki",)),
    Case("PollerDiskLow", {FREE: "9000x60", LEAST: "1024x60"}, "16m", None),
    Case("PollerDiskLow", {BYTES: "1x60"}, "16m", None),  # a store without a disk of its own
]  # fmt: skip


def annotations(case: Case, labels: dict[str, str]) -> dict[str, str]:
    """As the templates must come out; a label that the alert does not have is a KeyError, except where one of two is shown."""
    known = {"sink": "", "what": "", **labels} if case.alert == "PollerDeadLettersDeleted" else labels
    values = iter(case.values)

    def fill(text: str) -> str:
        text = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: known[found[1]], text)
        return re.sub(r"\{\{ \$value[^}]*\}\}", lambda _: next(values), text)

    filled = {name: fill(text) for name, text in ALERTS[case.alert]["annotations"].items()}
    assert next(values, None) is None
    return filled


def written(case: Case) -> dict[str, Any]:
    expected = []
    if case.labels is not None:
        labels = case.labels | ALERTS[case.alert]["labels"]
        expected.append({"exp_labels": labels, "exp_annotations": annotations(case, labels)})
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "alert_rule_test": [{"eval_time": case.at, "alertname": case.alert, "exp_alerts": expected}],
    }


def test_the_rules_are_clean() -> None:
    code, said = promtool("check", "rules", "--lint=all", str(RULES))
    assert code == 0, said
    assert f"{len(ALERTS) + len(RECORDS)} rules found" in said


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.alert}-{'fires' if case.labels is not None else 'not'}"
)
def test_an_alert(case: Case, tmp_path: Path) -> None:
    test = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [written(case)]}
    (tmp_path / "case.yaml").write_text(yaml.safe_dump(test), encoding="utf-8")
    code, said = promtool("test", "rules", "case.yaml", cwd=tmp_path)
    assert code == 0, said


def test_every_alert_is_seen_to_fire_and_not_to() -> None:
    for fires in (True, False):
        assert {case.alert for case in CASES if (case.labels is not None) == fires} == set(ALERTS)


def test_every_alert_has_a_section_of_the_runbook() -> None:
    runbook = ROOT / "docs/runbook.md"
    for name, rule in ALERTS.items():
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{anchor(name)}"
        assert rule["labels"]["severity"] in {"warning", "critical"}
    sections = set(re.findall(r"^## (Poller\w+)$", text_of(runbook), re.MULTILINE))
    assert sections == set(ALERTS)
    assert {anchor(name) for name in ALERTS} <= anchors(runbook)


def test_rules_ask_for_metrics_that_exist() -> None:
    metrics = Metrics()
    known = {table.name for table in metrics.tables} | set(metrics.registry._names_to_collectors)
    for group in GROUPS:
        for rule in group["rules"]:
            asked = set(re.findall(r"\bpoller_\w+", rule["expr"]))
            assert asked <= known, rule
            assert asked, rule


def test_names_of_records_have_three_parts() -> None:
    assert RECORDS
    assert all(re.fullmatch(r"[a-z_]+:poller_[a-z_]+:[a-z0-9_]+", name) for name in RECORDS)


def test_every_duration_is_shortened(tmp_path: Path) -> None:
    short = shortened(TEXT, 300)
    rules = yaml.safe_load(short)["groups"]
    for group in rules:
        for rule in group["rules"]:
            said = f"{rule['expr']} {rule.get('for', '')}"
            assert not re.search(r"\d[smhd]\b(?!s)", re.sub(r"\d+ms", "", said)), said
    assert "for: 1000ms" in short
    assert "offset 12000ms" in short
    assert "> 3\n" in short
    (tmp_path / "short.yaml").write_text(short, encoding="utf-8")
    code, said = promtool("check", "rules", "--lint=all", str(tmp_path / "short.yaml"))
    assert code == 0, said
