"""MOR's API as the server of several versions gives it: strict about hashes, lenient about everything else, always 200."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import parse_qsl, urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from poller.simulate import media, mor_hash, mor_xml
from poller.simulate.bulk import Bulk
from poller.simulate.mor_feed import ZONE, local
from poller.simulate.site import Shape, Site, spoil
from poller.simulate.things import Raw, Row

VERSIONS = ("8", "9", "10", "11", "x3", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13")
_FAR = 4_102_444_800
"""2100: later dates are 'incorrect format'."""
_SIMPLE = ("calldate2", "timezone", "clid", "destination", "dispod", "dst", "nice_billsec", "src", "prefix", "user_price", "uniqueid")  # fmt: skip
_CALL = Shape(
    names=("user", "destination"),
    optional=("did", "did_price", "profit", "user", "user_price", "prefix", "reseller_rate"),
    bad={"calldate2": "no date at all", "dispod": "ANSWERED(16)", "uniqueid": ""},
    absurd={"calldate2": "0000-00-00 00:00:00", "src": "1", "dst": "2", "clid": "3", "dispod": "FAILED(34)", "nice_billsec": "0", "uniqueid": ""},
)  # fmt: skip
_RECORDING = Shape(
    names=("comment",),
    optional=("comment", "src_device_id", "mp3_url"),
    bad={"id": "", "date": "yesterday"},
    absurd={"id": "999999999999", "date": "9999-12-31 23:59:59 +0200", "duration": "99:99:99", "size": "-1", "source": "", "destination": ""},
)  # fmt: skip
_LOCAL = Shape(
    names=("originator_caller_id", "terminator_user"),
    optional=("orignator_ip", "terminator_ip"),
    bad={"calldate": {"date": "?", "timezone": ""}},
    absurd={"calldate": {"date": "2024-13-45 25:61:00", "timezone": "GMT +0000"}, "orignator_channel": "SIP/x", "terminator_device": "x"},
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Login:
    """A user of the MOR system. `kind`: admin, reseller or user."""

    id: int
    kind: str
    password: str = "secret password"
    owns: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MorOptions:
    """The settings of the MOR system that a client can feel."""

    version: str = "x13"
    secret: str = "mor secret"
    logins: Mapping[str, Login] = field(
        default_factory=lambda: {
            "admin": Login(0, "admin"),
            "reseller": Login(3, "reseller", owns=(14,)),
            "shop": Login(2, "user"),
        }
    )
    users: tuple[int, ...] = (0, 2, 3, 5, 9, 14)
    api_enabled: bool = True
    allow_get: bool = False
    check_hash: bool = True
    xml_extension: bool = False
    local_hash: str = "from_till_user"
    refuse_all_users: bool = False
    """Later versions require s_user (BEHAVIOUR 1.3)."""
    bulk: Bulk | None = None

    def __post_init__(self) -> None:
        if self.version not in VERSIONS:
            raise ValueError(f"MOR version {self.version!r} is not simulated: {', '.join(VERSIONS)}")


class Mor:
    """The server. One instance per simulated system."""

    def __init__(self, site: Site, options: MorOptions) -> None:
        self._site = site
        self._options = options
        self._age = VERSIONS.index(options.version)

    def app(self) -> Starlette:
        """Its routes."""
        methods = ["GET", "POST"]
        return Starlette(
            routes=[
                Route("/billing/api/{method}", self._api, methods=methods),
                Route("/billing/recordings/{name}", self._file, methods=["GET"]),
            ]
        )

    def _since(self, version: str) -> bool:
        return self._age >= VERSIONS.index(version)

    async def _api(self, request: Request) -> Response:
        form = parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True)
        parameters = {**request.query_params, **dict(form)}
        method = request.path_params["method"]
        self._site.saw_request(request.method, request.url.path, sorted(parameters))
        asked = {
            "user_calls": self._calls,
            "user_calls_get": self._calls,
            "recordings_get": self._recordings,
            "local_calls_get": self._locals,
        }
        if method == "user_calls" and self._options.version == "x3":
            return RedirectResponse(f"{request.url.path}_get?{urlencode(parameters)}", 302)
        if method not in self._known():
            return self._send(
                request, f"{mor_xml.HEAD}<error><type>ActionNotFound</type>{mor_xml.element('name', method)}</error>"
            )
        refused = self._refusal(request, method, parameters)
        if refused is not None:
            return self._send(request, refused)
        if self._options.bulk is not None and method.startswith("user_calls"):
            return self._send(request, self._bulk(self._options.bulk, parameters))
        return self._send(request, asked[method](request, parameters))

    def _known(self) -> set[str]:
        known = {"user_calls"} if not self._since("x3") else {"user_calls", "user_calls_get"}
        known |= {"recordings_get"} if self._since("x7") else set()
        return known | ({"local_calls_get"} if self._since("x13") else set())

    def _send(self, request: Request, body: str | Iterable[str]) -> Response:
        """Always 200, always XML, by default sent as text/html to be saved to disk (BEHAVIOUR 1.1)."""
        extension = "xml" if self._options.xml_extension else "html"
        headers = {"content-type": f"text/{extension}; charset=utf-8"}
        if request.query_params.get("test") != "1":
            headers["content-disposition"] = f"attachment; filename=mor_api_response.{extension}"
        if isinstance(body, str):
            return Response(body.encode("utf-8", "replace"), headers=headers)
        return StreamingResponse(_chunks(body), headers=headers)

    # --- refusals ---

    def _refusal(self, request: Request, method: str, parameters: Mapping[str, str]) -> str | None:
        options = self._options
        if not options.api_enabled:
            return mor_xml.error("API Requests are disabled", "status")
        if request.method == "GET" and not options.allow_get:
            return mor_xml.error("GET Requests are disabled", "status")
        root = () if method.startswith("user_calls") and not self._since("x5") else ("status",)
        if options.check_hash and not options.secret:
            return mor_xml.error("API must have Secret Key", *root)
        if options.check_hash and parameters.get("hash", "") != self._hash(method, parameters):
            self._site.wrong_hashes.append(method)
            return mor_xml.error("Incorrect hash", *root)
        return self._refuse_user(method, parameters)

    def _hash(self, method: str, parameters: Mapping[str, str]) -> str:
        secret = self._options.secret
        if method == "recordings_get":
            return mor_hash.sha1(secret)
        if method == "local_calls_get":
            return mor_hash.local_hash(parameters, secret, self._options.local_hash)
        return mor_hash.calls_hash(parameters, secret)

    def _refuse_user(self, method: str, parameters: Mapping[str, str]) -> str | None:
        login = self._options.logins.get(parameters.get("u", ""))
        calls = method.startswith("user_calls")
        if login is None or (calls and not self._since("x3") and parameters.get("p") != login.password):
            # Versions 8 to 11 ask for the password; later ones ignore it.
            wrappers = () if calls else ("page", "status", "status") if method == "recordings_get" else ("status",)
            return mor_xml.error("User was not found" if calls else "Access Denied", *wrappers)
        wanted = self._wanted(method, parameters)
        everyone = wanted in {"", "all"} and calls and self._options.version != "8"
        if login.kind == "user" or (everyone and not self._options.refuse_all_users) or method == "recordings_get":
            return None
        allowed = self._options.users if login.kind == "admin" else (login.id, *login.owns)
        known = bool(re.fullmatch("[0-9]+", wanted)) and int(wanted) in allowed
        return None if known else mor_xml.error("User was not found", *(() if calls else ("status",)))

    def _wanted(self, method: str, parameters: Mapping[str, str]) -> str:
        old = self._options.version == "8" and method.startswith("user_calls")
        return parameters.get("user_id" if old else "s_user", "")

    # --- what is asked ---

    def _period(self, parameters: Mapping[str, str], first: str, last: str) -> tuple[int, int]:
        """What is no integer is as if it had not been sent: then it is today, server time."""
        midnight = datetime.fromtimestamp(self._site.world.now(), ZONE).replace(
            hour=0, minute=0, second=0, microsecond=0
        )
        today = (int(midnight.timestamp()), int((midnight + timedelta(hours=23, minutes=59, seconds=59)).timestamp()))
        sent = (parameters.get(first, ""), parameters.get(last, ""))
        begin, end = (int(text) if re.fullmatch("[0-9]{1,12}", text) else 0 for text in sent)
        return min(begin, _FAR) or today[0], min(end, _FAR) or today[1]

    def _rows(self, endpoint: str, begin: int, end: int) -> Iterator[tuple[Row, Raw]]:
        """The database knows local time alone: rows are compared as local text, doubled hour and all."""
        if self._site.faults.fires("filter_ignored"):
            end = int(self._site.world.now())
            begin = end - 86_400
        low, high = local(begin), local(end)
        for row, state in self._site.world.between(endpoint, begin - 7200, end + 7200):
            if low <= row.place["local"] <= high:
                yield row, state.fields

    def _calls(self, _request: Request, parameters: Mapping[str, str]) -> str:
        login = self._options.logins[parameters["u"]]
        begin, end = self._period(parameters, "period_start", "period_end")
        found = [
            self._call(fields, login)
            for row, fields in self._rows("mor.user_calls", begin, end)
            if self._in_scope(row, login, parameters) and _matches(fields, parameters)
        ]
        calls = spoil(found, _CALL, self._site.faults)
        calls.sort(key=lambda call: str(call["calldate2"]), reverse=parameters.get("order_desc") == "1")
        wrong = 1020 if self._site.faults.fires("echo_wrong") else 0
        head = mor_xml.calls_head(
            total=len(calls), echo=(local(begin + wrong), local(end)), username=parameters["u"], userid=login.id,
            everything=login.kind == "admin",
        )  # fmt: skip
        return "".join(mor_xml.calls_page(head, calls))

    def _in_scope(self, row: Row, login: Login, parameters: Mapping[str, str]) -> bool:
        sides = (row.place["user"], row.place["callee"])
        if self._options.version == "8":
            side = sides[1] if parameters.get("direction") == "incoming" else sides[0]
            return side == int(parameters["user_id"])
        wanted = parameters.get("s_user", "")
        if login.kind == "user":
            return login.id in sides
        if wanted not in {"", "all"}:
            return int(wanted) in sides
        return login.kind == "admin" or sides[0] in (login.id, *login.owns)

    def _call(self, fields: Raw, login: Login) -> Raw:
        """The fields that this version shows to this login."""
        now = datetime.fromtimestamp(self._site.world.clock.now(), ZONE).strftime("%z")
        shown = {"calldate2": fields["calldate2"], "timezone": f"GMT {now[:3]}:{now[3:]}", **fields}
        if not self._since("x5"):
            del shown["uniqueid"]
        if self._since("x11"):
            shown["user_currency"] = "EUR"
        if login.kind == "user":
            shown = {name: shown[name] for name in _SIMPLE if name in shown}
            shown["dispod"] = str(shown["dispod"]).partition("(")[0]
        return shown

    def _recordings(self, request: Request, parameters: Mapping[str, str]) -> str:
        for name in ("date_from", "date_till"):
            text = parameters.get(name, "")
            if re.fullmatch("[0-9]+", text) and int(text) > _FAR:
                return mor_xml.error(f"{name.replace('_', ' ').capitalize()} is incorrect format", "page", "status")
        begin, end = self._period(parameters, "date_from", "date_till")
        if end <= begin and "uniqueid" not in parameters:
            return mor_xml.error("Date from is greater than date till", "page", "status")
        records = [self._recording(request, fields) for fields in self._find_recordings(parameters, begin, end)]
        records = spoil(records, _RECORDING, self._site.faults)
        if not records:
            return mor_xml.error("No Recordings found", "page", "status")
        return mor_xml.recordings_page(records, closed=not self._site.faults.fires("unclosed_page"))

    def _find_recordings(self, parameters: Mapping[str, str], begin: int, end: int) -> list[Raw]:
        if "uniqueid" in parameters:
            rows = self._site.world.all("mor.recordings")
            return [state.fields for row, state in rows if row.place["uniqueid"] == parameters["uniqueid"]]
        login = self._options.logins[parameters["u"]]
        scope = None if login.kind == "admin" else (login.id, *login.owns)
        asked = {
            "source": parameters.get("source"),
            "destination": parameters.get("destination"),
            "user_id": parameters.get("user"),
        }
        return [
            fields
            for row, fields in self._rows("mor.recordings", begin, end)
            if (scope is None or row.place["user"] in scope)
            and all(value in {None, "", fields[name]} for name, value in asked.items())
        ]

    def _recording(self, request: Request, fields: Raw) -> Raw:
        place, _, name = fields["mp3_url"].partition(":")
        roots = {
            "": "",
            "relative": "/billing/recordings/",
            "absolute": f"{request.base_url}billing/recordings/",
            "other": "http://10.9.8.7/recordings/",
        }
        shown = {**fields, "mp3_url": roots[place] + name}
        if not self._since("x9"):
            del shown["mp3_url"]
        return shown

    def _locals(self, _request: Request, parameters: Mapping[str, str]) -> str:
        begin, end = self._period(parameters, "from", "till")
        login = self._options.logins[parameters["u"]]
        wanted = login.id if login.kind == "user" else int(parameters["s_user"])
        zone = datetime.fromtimestamp(self._site.world.clock.now(), ZONE).strftime("GMT %z")
        calls = [
            {**fields, "calldate": {**fields["calldate"], "timezone": zone}}
            for row, fields in self._rows("mor.local_calls", begin, end)
            if wanted in (row.place["user"], row.place["callee"])
        ]
        return mor_xml.local_calls_page(spoil(calls, _LOCAL, self._site.faults))

    def _bulk(self, bulk: Bulk, parameters: Mapping[str, str]) -> Iterator[str]:
        begin, end = self._period(parameters, "period_start", "period_end")
        span = bulk.between(begin, end)
        head = mor_xml.calls_head(
            total=len(span), echo=(local(begin), local(end)), username=parameters["u"], userid=0, everything=True
        )
        return mor_xml.calls_page(head, ()) if not span else bulk.mor_page(head, span)

    async def _file(self, request: Request) -> Response:
        name = request.path_params["name"]
        self._site.saw_request(request.method, request.url.path, [])
        world = self._site.world
        found = media.find(world.files.get(f"mor/{name}"), world.now())
        if found is None:
            return PlainTextResponse("<html><body>404 Not Found</body></html>", 404, media_type="text/html")
        return media.answer(request, found, self._site.faults)


def _chunks(pieces: Iterable[str]) -> Iterator[bytes]:
    """Joins small pieces into writes of about 64 KiB."""
    held: list[str] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= 65_536:
            yield "".join(held).encode()
            held, size = [], 0
    yield "".join(held).encode()


def _matches(fields: Raw, parameters: Mapping[str, str]) -> bool:
    """The documented filters that the simulated rows can tell apart."""
    wanted = (parameters.get("s_call_type") or parameters.get("calltype") or "all").replace("_", " ").lower()
    disposition = str(fields["dispod"]).partition("(")[0].lower()
    prefix = parameters.get("s_destination", "")
    did = parameters.get("only_did") != "1" or bool(fields["did"])
    return wanted in {"all", disposition} and str(fields["dst"]).startswith(prefix.rstrip("%")) and did
