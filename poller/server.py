"""What the outside may ask of the process: /metrics, /livez and /readyz."""

import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager

import anyio
import anyio.to_thread
from anyio.abc import TaskStatus
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from poller.clock import Clock
from poller.config import split_address
from poller.errors import ConfigError
from poller.metrics import Metrics
from poller.serving import answer

_BEAT = 1.0
_HELD = 10.0
"""Seconds after which a loop that does not wake counts as stuck."""
_TOO_LATE = b"\nthe metrics could not be written in time\n"
"""No line of the format, so that whoever scrapes refuses the whole: half of the series would look like all of them."""
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Heartbeat:
    """A task that does nothing but wake up: how late it wakes is how long the event loop was held."""

    def __init__(self, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._beat = clock.mono()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._clock.sleep(_BEAT)
            now = self._clock.mono()
            self._metrics.loop_lag_seconds.observe(max(0.0, now - self._beat - _BEAT))
            self._beat = now

    @property
    def age(self) -> float:
        """Seconds since the last beat."""
        return self._clock.mono() - self._beat

    @property
    def alive(self) -> bool:
        """Whether the loop has not been held for long."""
        return self.age < _HELD


def pages(
    metrics: Metrics, heartbeat: Heartbeat, ready: Callable[[], Mapping[str, bool]], longest: float = 10.0
) -> Starlette:
    """The application. `ready` says for each thing that must be there (configuration, store) whether it is.

    `longest`: seconds in which the metrics must be written and read.
    """
    turn = anyio.CapacityLimiter(1)

    async def slices() -> AsyncIterator[bytes]:
        """Written in a thread and sent one by one: all of it is many megabytes where there are thousands of sources."""
        written, until = metrics.write(), anyio.current_time() + longest
        while anyio.current_time() < until:
            piece = await anyio.to_thread.run_sync(next, written, None, limiter=turn)
            if piece is None:
                return
            yield piece
        yield _TOO_LATE

    async def show_metrics(request: Request) -> Response:
        said = {"content-type": METRICS_TYPE}
        if request.scope["http_version"] == "1.0":  # without chunks: only a length tells whether all of it has come
            return Response(b"".join([piece async for piece in slices()]), headers=said)
        return StreamingResponse(slices(), headers=said)

    async def show_alive(_: Request) -> Response:
        said = {"alive": heartbeat.alive, "heartbeat_age_seconds": round(heartbeat.age, 3)}
        return JSONResponse(said, status_code=200 if heartbeat.alive else 503)

    async def show_ready(_: Request) -> Response:
        missing = [name for name, there in ready().items() if not there]
        return JSONResponse({"ready": not missing, "waiting_for": missing}, status_code=503 if missing else 200)

    return Starlette(
        routes=[
            Route("/metrics", show_metrics),
            Route("/livez", show_alive),
            Route("/readyz", show_ready),
        ]
    )


async def serve(
    listen: str,
    metrics: Metrics,
    ready: Callable[[], Mapping[str, bool]],
    *,
    clock: Clock,
    task_status: TaskStatus[int] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Answers at `listen` (`host:port`) until cancelled, then lets answers in flight finish for a moment.

    `task_status.started` gets the port. Raises ConfigError where the address cannot be used.
    """
    heartbeat = Heartbeat(clock, metrics)
    with listening(listen) as there:  # outside the group, which would wrap the error
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(heartbeat.run, name="heartbeat")
            await answer(pages(metrics, heartbeat, ready), there, task_status=task_status)


def split_listen(listen: str) -> tuple[str, int]:
    """`127.0.0.1:9464` or `[::1]:9464` in its parts. Raises ConfigError."""
    try:
        return split_address(listen)
    except ValueError:
        raise ConfigError(f"{listen!r} is no address to listen at: write host:port, such as 127.0.0.1:9464") from None


@contextmanager
def listening(listen: str) -> Iterator[socket.socket]:
    """A bound socket. Raises ConfigError where the address cannot be used."""
    host, port = split_listen(listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as there:
        there.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            there.bind((host, port))
            there.listen(128)
        except OSError as error:
            raise ConfigError(
                f"cannot listen at {listen}: {error.strerror or error}. "
                "Is another daemon running? Else change `listen` in the configuration"
            ) from None
        there.setblocking(False)
        yield there
