"""The admin API on a unix socket that only the daemon's user may open. The command line is its one client."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import msgspec
from anyio.abc import TaskStatus
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from poller.admin_client import alive
from poller.errors import ConfigError, PollerError, Unknown
from poller.operations import Again, Listing, Operations, Reconcile, Replay
from poller.serving import answer

_MISREAD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What the decoder raises at bytes that are none of ours."""


class Rebuild(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /rebuild`."""

    sink: str | None = None
    accept_duplicates: bool = False


class Disable(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /webhooks/NAME/disable`."""

    why: str = ""


def admin_app(operations: Operations) -> Starlette:
    """The routes; each answers JSON. A refusal is `{"reason": …, "error": …}` with 404, 400 or 409."""

    async def status(request: Request) -> Response:  # noqa: ARG001 the router passes it
        return _json(await operations.status())

    async def source(request: Request) -> Response:
        return _json(await operations.source(request.path_params["name"]))

    async def journey(request: Request) -> Response:
        return _json(await operations.journey(request.query_params.get("id", "")))

    async def dead_letters(request: Request) -> Response:
        return _json(await operations.dead_letters(msgspec.json.decode(await request.body(), type=Listing)))

    async def dead_letter(request: Request) -> Response:
        return _json(await operations.dead_letter(request.path_params["id"]))

    async def retry(request: Request) -> Response:
        return _json(await operations.retry(msgspec.json.decode(await request.body(), type=Again)))

    async def recording(request: Request) -> Response:
        return _json(await operations.recording(request.path_params["name"], request.query_params.get("id", "")))

    async def forget_sink(request: Request) -> Response:
        await operations.forget_sink(request.path_params["name"])
        return _json(None)

    async def forget_source(request: Request) -> Response:
        await operations.forget_source(request.path_params["name"])
        return _json(None)

    async def rebuild(request: Request) -> Response:
        asked = msgspec.json.decode(await request.body(), type=Rebuild)
        return _json(await operations.rebuild(sink=asked.sink, accept_duplicates=asked.accept_duplicates))

    return Starlette(
        routes=[
            Route("/status", status),
            Route("/journey", journey),
            Route("/dead-letters", dead_letters, methods=["POST"]),
            Route("/dead-letters/retry", retry, methods=["POST"]),
            Route("/dead-letters/{id:path}", dead_letter),
            Route("/recordings/{name:path}", recording),
            *_webhook_routes(operations),
            Route("/sinks/{name:path}/forget", forget_sink, methods=["POST"]),
            Route("/sources/{name:path}/forget", forget_source, methods=["POST"]),
            Route("/sources/{name:path}", source),
            *_span_routes(operations),
            Route("/rebuild", rebuild, methods=["POST"]),
        ],
        exception_handlers={PollerError: _refused, **dict.fromkeys(_MISREAD, _misread)},
    )


def _span_routes(operations: Operations) -> list[Route]:
    async def replay(request: Request) -> Response:
        return _json(await operations.replay(msgspec.json.decode(await request.body(), type=Replay)))

    async def reconcile(request: Request) -> Response:
        return _json(await operations.reconcile(msgspec.json.decode(await request.body(), type=Reconcile)))

    return [Route("/replay", replay, methods=["POST"]), Route("/reconcile", reconcile, methods=["POST"])]


def _webhook_routes(operations: Operations) -> list[Route]:
    async def status(request: Request) -> Response:
        return _json(await operations.webhooks(request.query_params.get("name")))

    async def enable(request: Request) -> Response:
        return _json(await operations.enable_webhook(request.path_params["name"]))

    async def disable(request: Request) -> Response:
        asked = msgspec.json.decode(await request.body(), type=Disable)
        return _json(await operations.disable_webhook(request.path_params["name"], asked.why))

    return [
        Route("/webhooks", status),
        Route("/webhooks/{name:path}/enable", enable, methods=["POST"]),
        Route("/webhooks/{name:path}/disable", disable, methods=["POST"]),
    ]


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


async def _refused(request: Request, error: Exception) -> Response:  # noqa: ARG001 the router passes it
    reason = error.reason if isinstance(error, PollerError) else PollerError.reason
    return _json({"reason": reason, "error": str(error)}, 404 if isinstance(error, Unknown) else 409)


async def _misread(request: Request, error: Exception) -> Response:  # noqa: ARG001 the router passes it
    return _json({"reason": PollerError.reason, "error": f"the request is not understood: {error}"}, 400)


# --- the socket ------------------------------------------------------------------------------------------------------


@contextmanager
def admin_socket(path: Path) -> Iterator[socket.socket]:
    """Listens on `path` with mode 0600; what a dead daemon left there is replaced. Raises ConfigError where one lives."""
    if alive(path):
        raise ConfigError(f"admin.socket: a daemon answers at {path} already: stop it, or give this one another path")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _bind(listener, path)
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)
    finally:
        listener.close()


def _bind(listener: socket.socket, path: Path) -> None:
    try:
        if path.is_socket():
            path.unlink()
        listener.bind(str(path))
        path.chmod(0o600)  # before `listen`, so nobody can have connected
        listener.listen(16)
    except OSError as error:
        what = error.strerror or str(error)
        raise ConfigError(
            f"admin.socket: {path} cannot be listened on: {what}: set it to a path you may write"
        ) from None
    listener.setblocking(False)


async def serve_admin(
    operations: Operations, path: Path, *, task_status: TaskStatus[int] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Serves until cancelled. Raises ConfigError where the socket cannot be used."""
    with admin_socket(path) as listener:
        await answer(admin_app(operations), listener, task_status=task_status)
