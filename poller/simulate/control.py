"""The endpoints beside the vendor's own: `/_faults`, `/_control`, `/_truth`, `/_log`. No fault ever touches them."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from poller.simulate.site import Site


class Control:
    """Shows and changes one simulated vendor."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def app(self) -> Starlette:
        """Its routes."""
        return Starlette(
            routes=[
                Route("/_faults", self._faults, methods=["GET", "POST"]),
                Route("/_control", self._control, methods=["GET", "POST"]),
                Route("/_truth", self._truth),
                Route("/_log", self._log),
            ]
        )

    async def _faults(self, request: Request) -> Response:
        """GET: how often each fired. POST `{"rates": {name: 0…1}, "force": {name: times}, "calm": true}` changes them first."""
        faults = self._site.faults
        if request.method == "POST":
            wanted = await request.json()
            try:
                if wanted.get("calm"):
                    faults.calm()
                for name, rate in wanted.get("rates", {}).items():
                    faults.rate(name, float(rate))
                for name, times in wanted.get("force", {}).items():
                    faults.force(name, int(times))
            except ValueError as fault:
                return PlainTextResponse(f"{fault}\n", 400)
        return JSONResponse({"fired": faults.fired, "rates": faults.rates})

    async def _control(self, request: Request) -> Response:
        """GET: the state. POST: moves the clock, sets speed and rate, takes the vendor down."""
        if request.method == "POST":
            try:
                self._site.change(await request.json())
            except ValueError as fault:
                return PlainTextResponse(f"{fault}\n", 400)
        return JSONResponse(self._site.state())

    async def _truth(self, _request: Request) -> Response:
        """The truth so far as NDJSON, of all vendors of this world."""
        self._site.world.now()
        return PlainTextResponse(
            "".join(f"{line}\n" for line in self._site.truth.lines), media_type="application/x-ndjson"
        )

    async def _log(self, _request: Request) -> Response:
        return JSONResponse(self._site.log)


def beside(vendor: ASGIApp, control: ASGIApp) -> ASGIApp:
    """Paths that begin with `/_` go to `control`, the rest to `vendor`."""

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        inner = control if scope["type"] == "http" and scope["path"].startswith("/_") else vendor
        await inner(scope, receive, send)

    return route
