"""Thulium's API: basic auth, rights per method, pages of at most 100, Polish local time, rows in no promised order."""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from poller.simulate import media
from poller.simulate.site import Shape, Site, spoil
from poller.simulate.things import Raw

ZONE = ZoneInfo("Europe/Warsaw")
_DATE = re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d)?")
_CONNECTION = Shape(
    names=("operator", "outbound_result"),
    optional=("ticket_id", "topic_id", "customer_id", "disconnected_by", "transferred_to", "outbound_result"),
    bad={"date": None, "connection_id": None, "src": {"no": "string"}},
    absurd={"date": "9999-12-31 23:59", "connection_id": "absurd", "src": "1", "dst": "2", "disposition": "FAILED"},
)
_RECORDING = Shape(
    names=("operator",),
    optional=("type",),
    bad={"date": None, "created_at": None, "filename": None},
    absurd={
        "date": "2024-00-00 00:00",
        "created_at": "9999-12-31 23:59",
        "filename": "absurd/x.ogg",
        "connection_id": "absurd",
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThuliumOptions:
    """The settings of the Thulium system that a client can feel."""

    username: str = "api"
    password: str = "thulium secret"  # noqa: S105 - of a simulator
    rights: frozenset[str] = frozenset({"*"})
    """Methods that the user may call: `connections`, `recordings`, `recordings/download`, `recordings/stream`; `*` is all."""
    over_limit: str = "clamp"
    """What a limit above 100 does: `clamp` or `error` (not documented)."""
    to_inclusive: str = "second"
    """Whether date_to 12:34 means 12:34:00 (`second`) or all of the minute (`minute`) (not documented)."""
    recordings_filter: str = "created_at"
    """What date_from and date_to look at: `created_at`, or `date` as in 2017 (BEHAVIOUR 2.3)."""
    file_parameter: str = "filename"


class Thulium:
    """The server. One instance per simulated system."""

    def __init__(self, site: Site, options: ThuliumOptions) -> None:
        self._site = site
        self._options = options

    def app(self) -> Starlette:
        """Its routes."""
        return Starlette(routes=[Route("/api/{method:path}", self._api, methods=["GET", "POST"])])

    async def _api(self, request: Request) -> Response:
        method = request.path_params["method"].strip("/")
        self._site.saw_request(request, sorted(request.query_params))
        if not self._knows(request):
            return _refuse(401, 100401, "Unauthorized", {"www-authenticate": 'Basic realm="api"'})
        if method not in {"connections", "recordings", "recordings/download", "recordings/stream"}:
            return _refuse(404, 100404, f"Unknown method {method}")
        if request.method != "GET":
            return _refuse(405, 100405, "Method not allowed")
        if not self._options.rights & {"*", method}:
            return _refuse(403, 100403, f"No permission to use method {method}")
        return self._file(request) if "/" in method else self._list(request, method)

    def _knows(self, request: Request) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        try:
            user, _, password = base64.b64decode(token, validate=True).decode().partition(":")
        except ValueError:
            return False
        return scheme.lower() == "basic" and (user, password) == (self._options.username, self._options.password)

    def _list(self, request: Request, method: str) -> Response:
        query = request.query_params
        try:
            limit, offset = _count(query.get("limit", "100")), _count(query.get("offset", "0"))
            low, high = self._bound(query.get("date_from")), self._bound(query.get("date_to"))
        except ValueError as fault:
            return _refuse(400, 100400, str(fault))
        if limit > 100 and self._options.over_limit == "error":
            return _refuse(400, 100422, "limit must not be greater than 100")
        found = self._find(method, low, high, query)
        found = self._ordered(found)
        offset = 0 if self._site.faults.fires("repeat_page") else offset
        shape = _CONNECTION if method == "connections" else _RECORDING
        page = spoil(found[offset : offset + min(limit, 100)], shape, self._site.faults)
        return _json({"count": self._total(len(found)), "result": page})

    def _bound(self, text: str | None) -> str | None:
        """A bound as local text with seconds; a bare day is its first second."""
        if text is None:
            return None
        if not _DATE.fullmatch(text):
            raise ValueError(f"Invalid date: {text}")
        return f"{text}:00" if " " in text else f"{text} 00:00:00"

    def _find(self, method: str, low: str | None, high: str | None, query: Mapping[str, str]) -> list[Raw]:
        """The rows are compared as local text: in the doubled hour both hours match, and a window may run backwards."""
        if high is not None and self._options.to_inclusive == "minute":
            high = f"{high[:-2]}59"
        if self._site.faults.fires("filter_ignored"):
            low, high = None, None
        rows = []
        for row, state in self._site.world.between(f"thulium.{method}", *_about(low, high)):
            own = datetime.fromtimestamp(row.own_time, ZONE).strftime("%Y-%m-%d %H:%M:%S")
            if (low is None or own >= low) and (high is None or own <= high):
                rows.append(state.fields)
        asked = [name for name in ("src", "dst", "connection_id", "user_login", "queue_id") if query.get(name)]
        return [fields for fields in rows if all(str(fields.get(name)) == query[name] for name in asked)]

    def _ordered(self, found: list[Raw]) -> list[Raw]:
        """Newest minute first; within a minute the order changes from request to request."""
        rnd = self._site.faults.random()
        if self._site.faults.fires("moving_offsets"):
            rnd.shuffle(found)
            return found
        return sorted(found, key=lambda fields: (str(fields["date"]), rnd.random()), reverse=True)

    def _total(self, total: int) -> int:
        return total // 2 if total and self._site.faults.fires("shrinking_total") else total

    def _file(self, request: Request) -> Response:
        name = request.query_params.get(self._options.file_parameter, "")
        world = self._site.world
        found = media.find(world.files.get(f"thulium/{name}"), world.now())
        if not name:
            return _refuse(400, 100400, f"{self._options.file_parameter} is required")
        return media.answer(request, found, self._site.faults) if found else _refuse(404, 100404, "File not found")


def _count(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise ValueError(f"Invalid number: {text}")
    return int(text)


def _about(low: str | None, high: str | None) -> tuple[float, float]:
    """The span of instants that can lie between two local texts, wide enough for any clock change."""
    bounds = [datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp() if text else None for text in (low, high)]
    begin, end = bounds
    return (float("-inf") if begin is None else begin - 7200), (float("inf") if end is None else end + 7200)


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:  # noqa: ANN401 - any JSON value
    body = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    return Response(body, status, headers={"content-type": "application/json; charset=utf-8", **(headers or {})})


def _refuse(status: int, code: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """The documented error body; a client matches on the code (BEHAVIOUR 2.1)."""
    return _json({"request_id": "671dab0c5f", "errors": [{"message": message, "code": code}]}, status, headers)
