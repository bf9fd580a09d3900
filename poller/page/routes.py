"""The pages: what is asked, who may ask, what comes back. Everything but the log-in asks for the token."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import anyio
import anyio.to_thread
from anyio.abc import TaskStatus
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from poller.clock import Clock
from poller.errors import PollerError, Unknown
from poller.kept import LetterPlace, Which
from poller.masking import masked, quoted
from poller.operations import Again, Cursor, Listing, Operations
from poller.page.access import COOKIE, LASTS, Access, from_here
from poller.page.advice import advice
from poller.page.shown import FOLDER, STATIC, environment, text
from poller.page.verdict import Row, standing, view
from poller.server import listening
from poller.serving import answer

Page: TypeAlias = Callable[[Request], Awaitable[Response]]
LETTERS = 100
"""Of one page."""
WHICH = ("sink", "source", "reason")
"""By which dead letters are chosen."""
_FORM = 16 << 10
"""Bytes of a form."""
_READING = 10.0
"""Seconds for reading one."""
_WRONG = 1.0
"""Seconds that a wrong token costs; one at a time."""
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class Pages:
    """All of them, over what a daemon answers."""

    def __init__(self, operations: Operations, access: Access, clock: Clock) -> None:
        self._operations = operations
        self._access = access
        self._clock = clock
        self._templates = environment()
        self._templates.globals |= {"advice": advice, "standing": standing, "rows": Row}
        self._wrong = anyio.Lock()

    # --- who may -----------------------------------------------------------------------------------------------------

    def knows(self, request: Request) -> bool:
        """Whether the token was given, now or before."""
        ticket = request.cookies.get(COOKIE, "")
        return self._access.bearer(request.headers) or self._access.holds(ticket, self._clock.now())

    def inside(self, page: Page) -> Page:
        """Only for who knows the token; a form only from a page of this origin, unless a program says the token itself."""

        async def guarded(request: Request) -> Response:
            if not self.knows(request):
                return RedirectResponse("/login", HTTPStatus.SEE_OTHER)
            own = self._access.bearer(request.headers) or from_here(request.headers)
            if request.method == "POST" and not own:
                return await self._said("Not from here", ["This form was sent by another page."], HTTPStatus.FORBIDDEN)
            try:
                return await page(request)
            except PollerError as error:
                code = HTTPStatus.NOT_FOUND if isinstance(error, Unknown) else HTTPStatus.CONFLICT
                return await self._said("That did not work", [quoted(str(error))], code)

        return guarded

    async def login(self, request: Request) -> Response:
        """Asks for the token, and takes it."""
        if request.method != "POST":  # a HEAD asks for the same
            return await self._page("login.html", wrong=False)
        if not from_here(request.headers):
            return await self._said("Not from here", ["This form was sent by another page."], HTTPStatus.FORBIDDEN)
        if not self._access.fits((await _form(request)).get("token", "")):
            async with self._wrong:
                await self._clock.sleep(_WRONG)
            return await self._page("login.html", HTTPStatus.FORBIDDEN, wrong=True)
        found = RedirectResponse("/", HTTPStatus.SEE_OTHER)
        ticket = self._access.ticket(self._clock.now())
        secure = request.url.scheme == "https"
        found.set_cookie(COOKIE, ticket, max_age=LASTS, httponly=True, samesite="strict", secure=secure)
        return found

    async def logout(self, request: Request) -> Response:  # noqa: ARG002 the router passes it
        """The browser forgets."""
        found = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
        found.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return found

    # --- looking -------------------------------------------------------------------------------------------------------

    async def status(self, request: Request) -> Response:  # noqa: ARG002 the router passes it
        """How everything stands."""
        status, hooks = await self._operations.status(), await self._operations.webhooks()
        shown = view(status, hooks, self._clock.now())
        return await self._page("status.html", status=status, view=shown, hooks={one.sink: one for one in hooks})

    async def source(self, request: Request) -> Response:
        """One phone system, with all that is known of it."""
        found = await self._operations.source(request.path_params["name"])
        return await self._page("source.html", source=found)

    async def journey(self, request: Request) -> Response:
        """What became of one call, recording or event."""
        wanted, numbers = request.query_params.get("id", "").strip(), request.query_params.get("numbers") == "shown"
        found = await self._operations.journey(wanted) if wanted else None
        show = str if numbers else quoted
        return await self._page(
            "journey.html", wanted=wanted, found=found, numbers=numbers, show=show, text=partial(text, numbers=numbers)
        )

    async def letters(self, request: Request) -> Response:
        """A part of the dead letters, oldest first."""
        try:
            after = LetterPlace(float(request.query_params.get("at", 0)), request.query_params.get("id", ""))
        except ValueError:
            after = LetterPlace()
        chosen = {name: said for name in WHICH if (said := request.query_params.get(name))}
        listed = await self._operations.dead_letters(Listing(which=Which(**chosen), after=after, limit=LETTERS))
        return await self._page("letters.html", listed=listed, masked=masked, chosen=chosen)

    async def letter(self, request: Request) -> Response:
        """One, with its bytes."""
        one = await self._operations.dead_letter(request.path_params["id"])
        numbers = request.query_params.get("numbers") == "shown"
        body = text(one.body or b"", numbers=numbers)
        error = one.error if numbers else masked(one.error)
        return await self._page("letter.html", one=one, body=body, error=error, numbers=numbers)

    # --- doing ---------------------------------------------------------------------------------------------------------

    async def retry(self, request: Request) -> Response:
        """One dead letter is tried again, or one step of all that were chosen."""
        form = await _form(request)
        if form.get("all") == "yes":  # said, so that a form that broke off does not mean everything
            return await self._retry_some(form)
        tried = await self._operations.retry(Again(ids=(form.get("id", ""),)))
        lines = [
            f"{one.id[:12]}: {'tried again' if one.done else quoted(one.error or 'not done')}" for one in tried.results
        ]
        if tried.waiting:
            lines = [f"{tried.waiting} events wait for {tried.sink} already: try again when it has taken them."]
        return await self._said("Retry", lines or ["There is no such dead letter any more."], back="/dead-letters")

    async def _retry_some(self, form: dict[str, str]) -> Response:
        """Goes on where the step before ended: what fails again does not keep the others from their turn."""
        chosen = {name: said for name in WHICH if (said := form.get(name))}
        cursor = None
        with suppress(ValueError):
            place = LetterPlace(float(form.get("at", "")), form.get("after", ""))
            cursor = Cursor(place, float(form.get("until", "")))
        tried = await self._operations.retry(Again(which=Which(**chosen), cursor=cursor))
        done = sum(one.done for one in tried.results)
        failed = [f"{one.id[:12]}: {quoted(one.error or 'not done')}" for one in tried.results if not one.done]
        lines = [f"{done} tried again.", *failed[:LETTERS]]
        if tried.waiting:
            lines = [f"{tried.waiting} events wait for {tried.sink} already: go on when it has taken them."]
        goes_on = None if tried.ended or not (tried.results or tried.waiting) else tried.cursor
        return await self._page("retried.html", lines=lines, chosen=chosen, cursor=goes_on)

    async def enable(self, request: Request) -> Response:
        """A webhook."""
        done = await self._operations.enable_webhook((await _form(request)).get("sink", ""))
        return await self._said("Enabled", [f"{done.sink} was {done.before} and is {done.state}."])

    async def disable(self, request: Request) -> Response:
        """A webhook."""
        done = await self._operations.disable_webhook((await _form(request)).get("sink", ""), "on the status page")
        return await self._said("Disabled", [f"{done.sink} was {done.before} and is {done.state}."])

    async def file(self, request: Request) -> Response:
        """The style and the script: no secret is in them."""
        name = request.url.path.removeprefix("/")
        return Response(await anyio.Path(FOLDER / "static" / name).read_bytes(), headers={"content-type": STATIC[name]})

    # --- answering -----------------------------------------------------------------------------------------------------

    async def _page(self, template: str, code: int = 200, **values: Any) -> Response:  # noqa: ANN401 whatever the template takes
        """Rendered off the event loop."""
        values = {"now": self._clock.now(), "inside": template != "login.html", **values}
        written = await anyio.to_thread.run_sync(partial(self._templates.get_template(template).render, values))
        # Half a surrogate pair, which a vendor's JSON may hold, is shown as it was written.
        return Response(written.encode("utf-8", "backslashreplace"), code, media_type="text/html")

    async def _said(self, title: str, lines: list[str], code: int = 200, back: str = "/") -> Response:
        return await self._page("said.html", code, title=title, lines=lines, back=back)


async def _form(request: Request) -> dict[str, str]:
    """Its fields; nothing of one that is too long, or does not come to its end."""
    read = bytearray()
    with anyio.move_on_after(_READING), suppress(ClientDisconnect):
        async for part in request.stream():
            read += part
            if len(read) > _FORM:
                return {}
        return dict(parse_qsl(read.decode("utf-8", "replace"), keep_blank_values=True))
    return {}


def page_app(operations: Operations, token: str, clock: Clock) -> Starlette:
    """The application: HTML for people."""
    pages = Pages(operations, Access(token), clock)
    inside = pages.inside
    app = Starlette(
        routes=[
            Route("/", inside(pages.status)),
            Route("/login", pages.login, methods=["GET", "POST"]),
            Route("/logout", inside(pages.logout), methods=["POST"]),
            Route("/sources/{name:path}", inside(pages.source)),
            Route("/journey", inside(pages.journey)),
            Route("/dead-letters", inside(pages.letters)),
            Route("/dead-letters/retry", inside(pages.retry), methods=["POST"]),
            Route("/dead-letters/{id:path}", inside(pages.letter)),
            Route("/webhooks/enable", inside(pages.enable), methods=["POST"]),
            Route("/webhooks/disable", inside(pages.disable), methods=["POST"]),
            *(Route(f"/{name}", pages.file) for name in STATIC),
        ]
    )
    app.add_middleware(_Headers)
    return app


class _Headers:
    """On every answer, whoever made it."""

    def __init__(self, app: Any) -> None:  # noqa: ANN401 the library's own
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 the library's own
        """As the library asks for."""

        async def sent(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    *((name.encode(), value.encode()) for name, value in HEADERS.items()),
                ]
            await send(message)

        await self._app(scope, receive, sent)


async def serve_page(
    operations: Operations,
    listen: str,
    token: str,
    clock: Clock,
    *,
    task_status: TaskStatus[int] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serves at `listen` until cancelled; `task_status.started` gets the port. Raises ConfigError where the address cannot be used."""
    with listening(listen) as there:
        await answer(page_app(operations, token, clock), there, task_status=task_status)
