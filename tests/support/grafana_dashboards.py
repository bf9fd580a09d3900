"""Writes the dashboards: `python tests/support/grafana_dashboards.py [FOLDER]`. The same text every time.

Every query selects by job and instance, counters stand in rate or increase, and nothing hides an empty panel.
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    GridPos,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

FOLDER = Path(__file__).resolve().parents[2] / "helm/poller/files/dashboards"
PROMETHEUS = DataSourceRef(type_val="prometheus", uid="${datasource}")


@dataclass(frozen=True)
class Panel:
    """`queries`: expression and legend; `#` stands for the labels that the dashboard selects by."""

    title: str
    text: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"
    width: int = 12


@dataclass(frozen=True)
class Board:
    """`names`: which labels have a variable, each with the metric that knows its values."""

    uid: str
    title: str
    text: str
    rows: dict[str, tuple[Panel, ...]]
    names: dict[str, str] = field(default_factory=dict)


def figure(title: str, text: str, unit: str, expr: str) -> Panel:
    """One number."""
    return Panel(title, text, unit, ((expr, ""),), "stat", 4)


def lines(title: str, text: str, unit: str, *queries: tuple[str, str], width: int = 12) -> Panel:
    """Lines over time."""
    return Panel(title, text, unit, queries, width=width)


def quantiles(metric: str, by: str = "", select: str = "#") -> tuple[tuple[str, str], ...]:
    """Of a histogram: half, and nearly all."""
    labels, legend = (f"le, {by}", f"{{{{{by}}}}} ") if by else ("le", "")
    return tuple(
        (
            f"histogram_quantile({q}, sum by ({labels}) (rate({metric}_bucket{{{select}}}[$__rate_interval])))",
            f"{legend}{name}",
        )
        for q, name in (("0.5", "half"), ("0.95", "95%"))
    )


def ages(metric: str, by: str) -> tuple[str, str]:
    """How long ago a time was."""
    return f"time() - min by ({by}) ({metric}{{#}})", " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))


def rates(metric: str, by: str, more: str = "", select: str = "#") -> tuple[str, str]:
    """Of a counter, a second."""
    legend = " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))
    return f"sum by ({by}) (rate({metric}{{{select}{more}}}[$__rate_interval]))", legend


LIST = "source, endpoint"
OVERVIEW = Board(
    "poller-overview",
    "poller / Overview",
    "Is everything complete, what is late, what is stuck, and how long does an event take?",
    {
        "Is everything complete?": (
            figure("Complete until", "How long ago the time is before which everything was seen, of the list that is furthest behind.",
                   "s", "max(time() - poller_complete_until_timestamp_seconds{#})"),
            figure("Lists behind", "Lists of which a rung of the ladder missed a whole turn.", "short",
                   "sum(max by (source, endpoint) (poller_overdue_rungs{#}) > bool 0)"),
            figure("Open gaps", "Spans that could not be read yet.", "short", "sum(poller_open_gaps{#})"),
            figure("Polling pauses", "1 while nothing is polled, for whichever reason.", "short", "max(poller_polling_paused{#})"),
            figure("Sinks disabled", "Sinks to which nothing is delivered.", "short",
                   "sum(1 - min by (sink) (poller_sink_enabled{#}))"),
            figure("Shards without owner", "Shards that no replica works on.", "short",
                   "max(poller_shards{#}) - sum(poller_shards_owned{#})"),
            lines("Behind the present: complete", "How long ago the time is before which everything was seen. It follows the longest rung: hours are usual.",
                  "s", ages("poller_complete_until_timestamp_seconds", LIST)),
            lines("Behind the present: read", "How long ago the last short pass ended.", "s",
                  ages("poller_read_until_timestamp_seconds", LIST)),
        ),
        "What is late?": (
            lines("Rows that arrive late", "How long after its own time a row was found in a span that had been read before.", "s",
                  *quantiles("poller_late_arrival_seconds", "endpoint")),
            lines("Rows near the ladder's reach", "What comes a little later than these is never found.", "short",
                  ("sum by (source, endpoint) (increase(poller_near_reach_rows_total{#}[$__rate_interval]))", "{{source}} {{endpoint}}")),
            lines("Polls that start late", "How late polls start.", "s", *quantiles("poller_schedule_lateness_seconds")),
            lines("Polls that fail", "Passes that did not end well, a second, by the reason.", "cps",
                  rates("poller_polls_total", "source, outcome", ', outcome!="ok"')),
        ),
        "What is stuck?": (
            lines("Oldest event that waits", "No line: nothing waits.", "s", ages("poller_oldest_pending_timestamp_seconds", "sink")),
            lines("Events that wait", "By sink.", "short", ("sum by (sink) (poller_pending_events{#})", "{{sink}}")),
            lines("Events set aside", "New dead letters of sinks, a second, by the reason.", "cps",
                  rates("poller_delivery_dead_letters_total", "sink, reason")),
            lines("Records set aside", "Records that are not understood, a second.", "cps",
                  rates("poller_record_dead_letters_total", "endpoint, reason")),
        ),
        "Throughput": (
            lines("New records", "A second, by list.", "cps", rates("poller_records_total", LIST, ', result="new"')),
            lines("Events", "Committed, a second, by type.", "cps", rates("poller_events_total", "type")),
            lines("Requests", "To phone systems, a second, by how they ended.", "reqps", rates("poller_http_requests_total", "outcome")),
            lines("Deliveries", "Events, a second, by what the sink did with them.", "cps", rates("poller_deliveries_total", "sink, outcome")),
        ),
        "End to end, and the process": (
            lines("From first seen to delivered", "Per sink.", "s", *quantiles("poller_end_to_end_seconds", "sink")),
            lines("Time of one commit", "Of the store.", "s", *quantiles("poller_store_commit_seconds")),
            lines("Delay of the event loop", "Above a second something blocks it.", "s", *quantiles("poller_loop_lag_seconds")),
            lines("Store", "Its size, the size at which polling pauses, and the free space of its disk.", "bytes",
                  ("max(poller_store_bytes{#})", "size"), ("max(poller_store_limit_bytes{#})", "limit"),
                  ("min(poller_store_free_bytes{#})", "free")),
            lines("Memory", "Resident, of each process.", "bytes", ("process_resident_memory_bytes{#}", "{{instance}}")),
            lines("Processor", "Of each process; 100% is one core.", "percentunit",
                  ("rate(process_cpu_seconds_total{#}[$__rate_interval])", "{{instance}}")),
        ),
    },
)  # fmt: skip

SOURCE = Board(
    "poller-source",
    "poller / Source",
    "One phone system: how far it was read, what it answers, and how late its rows come.",
    {
        "How far": (
            lines("Behind the present: complete", "How long ago the time is before which everything was seen.", "s",
                  ages("poller_complete_until_timestamp_seconds", LIST)),
            lines("Behind the present: read", "How long ago the last short pass ended.", "s",
                  ages("poller_read_until_timestamp_seconds", LIST)),
            lines("Last good pass", "How long ago a pass ended well.", "s", ages("poller_last_success_timestamp_seconds", LIST), width=8),
            lines("Overdue rungs", "Rungs that missed a whole turn.", "short",
                  ("max by (source, endpoint) (poller_overdue_rungs{#})", "{{source}} {{endpoint}}"), width=8),
            lines("Open gaps", "Spans that could not be read yet.", "short",
                  ("max by (source, endpoint) (poller_open_gaps{#})", "{{source}} {{endpoint}}"), width=8),
        ),
        "What it answers": (
            lines("Polls", "A second, by how they ended.", "cps", rates("poller_polls_total", "endpoint, outcome")),
            lines("Requests", "A second, by how they ended.", "reqps", rates("poller_http_requests_total", "endpoint, outcome")),
            lines("Records", "A second, by what became of them.", "cps", rates("poller_records_total", "endpoint, result")),
            lines("Suspicious answers", "Answers that contradict themselves, a second.", "cps",
                  rates("poller_suspicions_total", "endpoint, reason")),
            lines("Clock skew", "The vendor's clock minus ours.", "s", ("avg by (source) (poller_clock_skew_seconds{#source})", "{{source}}")),
            lines("Rows near the ladder's reach", "What comes a little later than these is never found.", "short",
                  ("sum by (source, endpoint) (increase(poller_near_reach_rows_total{#}[$__rate_interval]))", "{{source}} {{endpoint}}")),
        ),
        "This kind of list, of all sources": (
            lines("Time of one pass", "Of all sources that have this list.", "s", *quantiles("poller_poll_seconds", "endpoint", "#endpoint")),
            lines("Time of one request", "Its body included.", "s", *quantiles("poller_http_request_seconds", "endpoint", "#endpoint")),
            lines("Size of one answer", "After decompression.", "bytes", *quantiles("poller_response_bytes", "endpoint", "#endpoint")),
            lines("Rows that arrive late", "How long after its own time a row was found in a span that had been read before.", "s",
                  *quantiles("poller_late_arrival_seconds", "endpoint", "#endpoint")),
            lines("Records set aside", "Records that are not understood, a second.", "cps",
                  rates("poller_record_dead_letters_total", "endpoint, reason", select="#endpoint")),
        ),
    },
    {"source": "poller_open_gaps", "endpoint": "poller_open_gaps"},
)  # fmt: skip

DELIVERY = Board(
    "poller-delivery",
    "poller / Delivery",
    "The sinks: what waits, what fails and why, how long an event takes.",
    {
        "What waits": (
            lines("Events that wait", "By sink.", "short", ("sum by (sink) (poller_pending_events{#})", "{{sink}}"), width=8),
            lines("Oldest event that waits", "No line: nothing waits.", "s", ages("poller_oldest_pending_timestamp_seconds", "sink"), width=8),
            lines("Enabled", "0: nothing is delivered.", "short", ("min by (sink) (poller_sink_enabled{#})", "{{sink}}"), width=8),
        ),
        "What happens": (
            lines("Deliveries", "Events, a second, by what the sink did with them.", "cps", rates("poller_deliveries_total", "sink, outcome")),
            lines("Deliveries that fail", "A second, by the reason.", "cps",
                  rates("poller_deliveries_total", "sink, reason", ', outcome!~"delivered|filtered"')),
            lines("Time of one delivery", "Half of them and 95% of them take no longer.", "s", *quantiles("poller_delivery_seconds", "sink")),
            lines("From first seen to delivered", "Half of them and 95% of them take no longer.", "s", *quantiles("poller_end_to_end_seconds", "sink")),
        ),
        "Dead letters": (
            lines("Events set aside", "New dead letters, a second, by the reason.", "cps",
                  rates("poller_delivery_dead_letters_total", "sink, reason")),
            lines("Size of the dead letters", "Beyond max_dead_letters the oldest are deleted.", "bytes",
                  ("max by (sink) (poller_dead_letter_bytes{#})", "{{sink}}")),
        ),
    },
    {"sink": "poller_sink_enabled"},
)  # fmt: skip


def selected(expr: str, names: tuple[str, ...]) -> str:
    """`#` becomes the matchers of all names; `#endpoint` those of this one alone, where a metric lacks the others."""

    def matchers(found: re.Match[str]) -> str:
        return ", ".join(f'{name}=~"${name}"' for name in ("job", "instance", *((found[1],) if found[1] else names)))

    return re.sub(r"#(\w*)", matchers, expr)


def built(panel: Panel, names: tuple[str, ...]) -> Any:
    """The library's panel."""
    one = stat.Panel() if panel.kind == "stat" else timeseries.Panel()
    height = 4 if panel.kind == "stat" else 8
    one = one.title(panel.title).description(panel.text).unit(panel.unit).datasource(PROMETHEUS)
    one = one.grid_pos(GridPos(h=height, w=panel.width))
    for number, (expr, legend) in enumerate(panel.queries):
        query = prometheus.Dataquery().expr(selected(expr, names)).ref_id(chr(65 + number)).datasource(PROMETHEUS)
        one = one.with_target(query.legend_format(legend) if legend else query)
    return one


def variables(board: Board) -> Iterator[Any]:
    """The data source, job and instance, and the names that the board selects by."""
    yield dashboard.DatasourceVariable("datasource").label("Data Source").type("prometheus")
    known = {"job": "poller_build_info", "instance": 'poller_build_info{job=~"$job"}'}
    known |= {name: f'{metric}{{job=~"$job", instance=~"$instance"}}' for name, metric in board.names.items()}
    for name, metric in known.items():
        yield (
            dashboard.QueryVariable(name)
            .label(name)
            .datasource(PROMETHEUS)
            .query(f"label_values({metric}, {name})")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(VariableSort.ALPHABETICAL_ASC)
            .multi(True)
            .include_all(True)
            .all_value(".+")
            .current(VariableOption(text="All", value="$__all", selected=True))
        )


def text_of(board: Board) -> str:
    """Its JSON."""
    names = tuple(board.names)
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.text)
        .tags(["poller"])
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time("now-6h", "now")
        .refresh("1m")
        .timezone("browser")
        .link(
            dashboard.DashboardLink("poller")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["poller"])
            .keep_time(True)
            .include_vars(True)
        )
    )
    for variable in variables(board):
        made = made.with_variable(variable)
    number = 0
    for title, panels in board.rows.items():
        made = made.with_row(dashboard.Row(title))
        for panel in panels:
            number += 1
            made = made.with_panel(built(panel, names).id(number))
    return json.dumps(made.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def main(folder: Path) -> None:
    """Writes all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, board in (("overview", OVERVIEW), ("source", SOURCE), ("delivery", DELIVERY)):
        (folder / f"{name}.json").write_text(text_of(board), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
