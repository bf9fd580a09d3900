"""A broker with further doors, each for a proxy of the tests' own: a client goes where the broker says that it is to be found."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tcp_proxy import Proxy, proxy

from poller.simulate.broker import Broker, free_port

Door = tuple[int, int]
"""The port at which the broker listens, and the one that it tells those who came through it."""
MOST = 4


def broker_with_doors(folder: Path, data: Path | None = None) -> tuple[Broker, Sequence[Door]]:
    """Not started. Without a proxy at the second port of a door, nobody gets through it. `data`: where its files are, if not with its log."""
    ports: set[int] = set()
    while len(ports) < 2 + 2 * MOST:
        ports.add(free_port())
    port, controller, *rest = ports
    doors = list(zip(rest[:MOST], rest[MOST:], strict=True))
    names = [f"DOOR{number}" for number in range(MOST)]
    plain = f"PLAINTEXT://127.0.0.1:{port}"
    listens = [f"{name}://127.0.0.1:{inside}" for name, (inside, _) in zip(names, doors, strict=True)]
    told = [f"{name}://127.0.0.1:{outside}" for name, (_, outside) in zip(names, doors, strict=True)]
    broker = Broker(
        folder,
        {
            "listeners": ",".join([plain, f"CONTROLLER://127.0.0.1:{controller}", *listens]),
            "advertised.listeners": ",".join([plain, *told]),
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
            "listener.security.protocol.map": ",".join(
                f"{name}:PLAINTEXT" for name in ("PLAINTEXT", "CONTROLLER", *names)
            ),
        }
        | ({} if data is None else {"log.dirs": str(data)}),
    )
    broker.bootstrap = f"127.0.0.1:{port}"
    return broker, doors


@asynccontextmanager
async def doors_open(doors: Sequence[Door]) -> AsyncIterator[list[Proxy]]:
    """A proxy in each."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(proxy(inside, outside)) for inside, outside in doors]
