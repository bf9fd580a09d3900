"""FonoUC's API over Kazoo's lists: tokens, plain-text errors, windows by save time, pages by inclusive keys, many answer shapes."""

import base64
import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from poller.simulate import jwt, media
from poller.simulate.bulk import Bulk
from poller.simulate.fonouc_pages import Cut, Entry, cut, cut_by_month, months, write_key
from poller.simulate.site import Shape, Site, spoil
from poller.simulate.things import Raw

MAX_SPAN = 2_682_000
"""31 days and an hour."""
SHAPES = ("data_tail", "top", "cdrs", "bare", "rows", "numeric_keys", "item_cdrs")
_KEY = b"simulated signing key"
_CDR = Shape(
    names=("caller_id_name", "callee_id_name"),
    optional=("to", "from", "a_leg", "direction", "recording_filename", "caller_id_name"),
    bad={"id": "202401-x", "call_id": None, "timestamp": "soon"},
    absurd={"id": "999912-absurd", "call_id": "absurd", "datetime": "9999-99-99 99:99:99 +0000 UTC", "timestamp": "-1"},
)
_RECORDING = Shape(
    names=("caller_id_name", "description"),
    optional=("owner_id", "url", "user", "origin", "custom_channel_vars", "request"),
    bad={"_id": None, "start": "soon"},
    absurd={"_id": "999912-absurd", "start": 99999999999999999, "pvt_created": -5, "duration": 0},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FonoucOptions:
    """The settings of the FonoUC system that a client can feel."""

    username: str = "api"
    password: str = "fonouc secret"  # noqa: S105 - of a simulator
    domain: str = "acme"
    account_id: str = "0c5e73e6bafa6159397befa649d93738"
    api_key: str = "fonouc api key"
    login_path: str = "/api/v2/login"
    token_field: str = "access_token"  # noqa: S105 - the name of a field
    token_life: float = 3600.0
    shape: str = "data_tail"
    """One of SHAPES, or `rotate`: another one with each answer."""
    keys: str = "second"
    """`second` (repeating, may be stuck) or `opaque` (versions with the fix)."""
    listing: str = "together"
    """`together`, or `by_month` as 4.0 to 4.1 did: duplicates of the older month, pages of twice the size."""
    key_parameter: str = "startKey"
    default_page: int = 50
    max_page: int = 100_000
    empty_body: bool = False
    """200 with nothing at all where there are no records."""
    file_path: str = "recordings"
    """`recordings` (plural, as clients found) or `recording` (singular, as documented)."""
    other_file_path: str = "404"
    """What the other spelling gives: `404`, or `json` (the document)."""
    bulk: Bulk | None = None


class Fonouc:
    """The server. One instance per simulated system."""

    def __init__(self, site: Site, options: FonoucOptions) -> None:
        self._site = site
        self._options = options
        self._shapes = itertools.cycle(SHAPES)
        self._serial = itertools.count(1)
        self._refused: set[str] = set()

    def app(self) -> Starlette:
        """Its routes; what is unknown is plain text."""
        return Starlette(
            routes=[
                Route(self._options.login_path, self._login, methods=["POST"]),
                Route("/api/v2/reports/cdrs", self._list, methods=["GET"]),
                Route("/api/v2/reports/cdrs/all", self._list, methods=["GET"]),
                Route("/api/v2/reports/recordings", self._list, methods=["GET"]),
                Route("/api/v2/reports/recordings/{id}", self._file, methods=["GET"]),
                Route("/api/v2/reports/recording/{id}", self._file, methods=["GET"]),
            ]
        )

    # --- who asks ---

    async def _login(self, request: Request) -> Response:
        self._site.saw_request(request, [])
        try:
            body = json.loads(await request.body())
            sent = tuple(body[name] for name in ("username", "password", "domain"))
        except (ValueError, KeyError, TypeError):
            return _text("The information sent is invalid.", 400)
        if sent != (self._options.username, self._options.password, self._options.domain):
            return _text("Invalid credentials", 401)
        now = self._site.world.clock.now()
        claims = {
            "sub": "api",
            "type": "access",
            "iat": int(now),
            "exp": int(now + self._options.token_life),
            "jti": next(self._serial),
        }
        token = jwt.issue(claims, _KEY)
        refresh = "refreshToken" if "T" in self._options.token_field else "refresh_token"
        return JSONResponse(
            {
                "user": {"id": "u1", "first_name": "Api"},
                self._options.token_field: token,
                refresh: jwt.issue({"type": "refresh"}, _KEY),
            }
        )

    def _refusal(self, request: Request) -> Response | None:
        """A token or an API key, and the account; errors are plain text (BEHAVIOUR 3.1)."""
        account = request.headers.get("x-account-id")
        if "x-api-key" in request.headers:
            if request.headers["x-api-key"] != self._options.api_key:
                return _text("Invalid API key", 401)
        else:
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            if scheme != "Bearer" or not self._valid(token):
                return _text("Authentication token is invalid", 401)
        if not account:
            return _text("X-Account-ID header is required", 400)
        return None if account == self._options.account_id else _text("Forbidden", 403)

    def _valid(self, token: str) -> bool:
        claims = jwt.claims_of(token, _KEY)
        if self._site.faults.fires("token_expired_early"):
            self._refused.add(token)
        return (
            claims is not None
            and claims.get("type") == "access"
            and claims["exp"] > self._site.world.clock.now()
            and token not in self._refused
        )

    # --- lists ---

    async def _list(self, request: Request) -> Response:
        self._site.saw_request(request, sorted(request.query_params))
        refused = self._refusal(request)
        if refused is not None:
            return refused
        query = request.query_params
        try:
            begin, end = self._window(query)
            size = _size(query, self._options.default_page)
            key = "" if self._site.faults.fires("repeat_page") else query.get(self._options.key_parameter, "")
            recordings = request.url.path.endswith("/recordings")
            page = self._page(recordings, begin, end, min(size, self._options.max_page), key)
        except ValueError as fault:
            return _text(str(fault), 400)
        if isinstance(page, str):
            return Response(page.encode(), media_type="application/json")
        records = spoil([entry.fields for entry in page.entries], _RECORDING if recordings else _CDR, self._site.faults)
        if self._site.faults.fires("empty_page_with_key"):
            records = []
        if not records and self._options.empty_body and not page.next_key:
            return Response(b"", media_type="application/json")
        shape = "recordings" if recordings else "all" if request.url.path.endswith("/all") else self._shape()
        return _json(_shaped(shape, records, page.next_key, size))

    def _window(self, query: Mapping[str, str]) -> tuple[int, int]:
        """Unix seconds; without them the last 31 days. Raises ValueError with the sentence of the 400."""
        end = _whole(query, "endDate", int(self._site.world.now()))
        begin = _whole(query, "startDate", end - MAX_SPAN)
        if end < begin:
            raise ValueError("endDate is prior to startDate")
        if end - begin > MAX_SPAN:
            raise ValueError(f"created_to is more than {MAX_SPAN} seconds from created_from")
        return begin, end

    def _page(self, recordings: bool, begin: int, end: int, size: int, key: str) -> Cut | str:
        if self._options.bulk is not None and not recordings:
            return _bulk_page(self._options.bulk, begin, end, size, key)
        faults = self._site.faults
        opened = list(months(begin, end))
        if faults.fires("missing_month"):
            opened = opened[1:]
        if faults.fires("filter_ignored"):
            begin, end = 0, int(self._site.world.now())
        entries = [
            Entry(row.own_time, row.place["id"], row.place["month"], state.fields)
            for row, state in self._site.world.between("fonouc.recordings" if recordings else "fonouc.cdrs", begin, end)
            if row.place["month"] in opened
        ]
        opaque = self._options.keys == "opaque"
        by_month = self._options.listing == "by_month"
        page = cut_by_month(entries, opened, size, key) if by_month else cut(entries, size, key, opaque=opaque)
        if key and faults.fires("repeat_key"):
            page.next_key = key
        if page.entries and faults.fires("stuck_key"):
            page.next_key = write_key(page.entries[0], opaque=opaque)
        if not page.next_key and page.entries and faults.fires("page_for_ever"):
            page.next_key = cut(page.entries, len(page.entries) - 1, "", opaque=opaque).next_key
        return page

    def _shape(self) -> str:
        return next(self._shapes) if self._options.shape == "rotate" else self._options.shape

    # --- files ---

    async def _file(self, request: Request) -> Response:
        self._site.saw_request(request, [])
        refused = self._refusal(request)
        if refused is not None:
            return refused
        identity = request.path_params["id"]
        world = self._site.world
        if request.url.path.split("/")[4] != self._options.file_path:
            rows = [state.fields for row, state in world.all("fonouc.recordings") if row.id == identity]
            found_json = self._options.other_file_path == "json" and rows
            return _json({"recordings": rows}) if found_json else _text("404 page not found", 404)
        found = media.find(world.files.get(f"fonouc/{identity}"), world.now())
        return media.answer(request, found, self._site.faults) if found else _text("bad identifier", 404)


def _whole(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not re.fullmatch("-?[0-9]{1,18}", text):
        raise ValueError(f"{name} is not a number")
    return int(text)


def _size(query: Mapping[str, str], default: int) -> int:
    size = _whole(query, "pageSize", default)
    if size < 1:
        raise ValueError("pageSize must be positive")
    return size


def _shaped(shape: str, records: list[Raw], key: str, size: int) -> Any:  # noqa: ANN401 - any JSON value
    """The answer in one of the forms that were met (BEHAVIOUR 3.1); the last page has no key or an empty one."""
    tail = {"next_start_key": key, "page_size": size}
    keyed = {"next_start_key": key} if key else {}
    if shape == "all":
        records = [_with_disposition(record) for record in records]
    shapes: dict[str, Any] = {
        "data_tail": {"data": [*records, tail]},
        "top": {"data": records, "page_size": size} | keyed,
        "cdrs": {"cdrs": records, "new_start_key": key},
        "all": {"cdrs": records, "new_start_key": key},
        "recordings": {"recordings": records, "next_start_key": key},
        "rows": {"rows": records, "next_start_key": key},
        "numeric_keys": {str(n): record for n, record in enumerate(records)} | tail,
        "item_cdrs": {"data": [{"cdrs": records}], "next_start_key": key},
        "bare": [*records, tail] if key else records,
    }
    return shapes[shape]


def _with_disposition(record: Raw) -> Raw:
    late = {
        "disposition": record.get("agent_disposition", ""),
        "subdisposition": {"name": record.get("disposition", "")},
    }
    return {
        **record,
        "msg_id": f"m-{record.get('call_id')}",
        "call_direction": str(record.get("direction", "")).lower(),
        "fonoUC": late,
    }


def _bulk_page(bulk: Bulk, begin: int, end: int, size: int, key: str) -> str:
    """Descending like the rest, by opaque keys that never repeat."""
    span = bulk.between(begin, end)
    top = min(span.stop, _bulk_number(key)) if key else span.stop
    bottom = max(span.start, top - size)
    following = (
        base64.urlsafe_b64encode(f"[{bulk.own_time(bottom)},{bottom}]".encode()).decode() if bottom > span.start else ""
    )
    records = ",".join(map(bulk.fonouc, range(top - 1, bottom - 1, -1)))
    return f'{{"data":[{records}],"page_size":{size},"next_start_key":"{following}"}}'


def _bulk_number(key: str) -> int:
    return int(json.loads(base64.urlsafe_b64decode(key))[1])


def _text(text: str, status: int) -> Response:
    return PlainTextResponse(text + "\n", status)


def _json(value: Any) -> Response:  # noqa: ANN401 - any JSON value
    return Response(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"), media_type="application/json")
