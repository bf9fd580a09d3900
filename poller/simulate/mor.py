"""MOR's API as the server of several versions gives it: strict about hashes, lenient about everything else, always 200."""

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import parse_qsl, urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from poller.simulate import media, mor_hash, mor_xml
from poller.simulate.mor_lists import MorLists
from poller.simulate.mor_settings import MorOptions
from poller.simulate.site import Site


class Mor:
    """The server. One instance per simulated system."""

    def __init__(self, site: Site, options: MorOptions) -> None:
        self._site = site
        self._options = options
        self._lists = MorLists(site, options)

    def app(self) -> Starlette:
        """Its routes."""
        methods = ["GET", "POST"]
        return Starlette(
            routes=[
                Route("/billing/api/{method}", self._api, methods=methods),
                Route("/billing/recordings/{name}", self._file, methods=["GET"]),
            ]
        )

    async def _api(self, request: Request) -> Response:
        form = parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True)
        parameters = {**request.query_params, **dict(form)}
        method = request.path_params["method"]
        self._site.saw_request(request, sorted(parameters))
        if method == "user_calls" and self._options.version == "x3":
            return RedirectResponse(f"{request.url.path}_get?{urlencode(parameters)}", 302)
        if method not in self._known():
            return self._send(
                request, f"{mor_xml.HEAD}<error><type>ActionNotFound</type>{mor_xml.element('name', method)}</error>"
            )
        refused = self._refusal(request, method, parameters)
        if refused is not None:
            return self._send(request, refused)
        return self._send(request, self._answer(request, method, parameters))

    def _answer(self, request: Request, method: str, parameters: Mapping[str, str]) -> str | Iterable[str]:
        if method == "recordings_get":
            return self._lists.recordings(str(request.base_url), parameters)
        if method == "local_calls_get":
            return self._lists.local_calls(parameters)
        bulk = self._options.bulk
        return self._lists.calls(parameters) if bulk is None else self._lists.bulk(bulk, parameters)

    def _known(self) -> set[str]:
        known = {"user_calls"} if not self._options.since("x3") else {"user_calls", "user_calls_get"}
        known |= {"recordings_get"} if self._options.since("x7") else set()
        return known | ({"local_calls_get"} if self._options.since("x13") else set())

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
        root = () if method.startswith("user_calls") and not self._options.since("x5") else ("status",)
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
        if login is None or (calls and not self._options.since("x3") and parameters.get("p") != login.password):
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

    async def _file(self, request: Request) -> Response:
        name = request.path_params["name"]
        self._site.saw_request(request, [])
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
