"""A TCP proxy before a database or a broker that counts round trips, and loses or holds what it is told to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal


class Proxy:
    """`trips`: how often the client spoke after the server had. One connection at a time is what the counts are good for."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self._turn: Literal["client", "server"] = "server"
        self._lose: tuple[Literal["request", "answer"], int] | None = None
        self._flows = asyncio.Event()
        self._flows.set()
        self.trips = 0
        self.frozen = False
        """What is sent is lost, and nobody is told."""
        self.port = 0

    def lose(self, what: Literal["request", "answer"], trip: int) -> None:
        """From now on, in the `trip`-th round trip: cuts the connection before the server has it, or when the server has answered."""
        self.trips = 0
        self._lose = (what, trip)

    def hold(self) -> None:
        """As a network that is cut: nothing comes through, nobody is told, and what is sent comes late, once it is mended."""
        self._flows.clear()

    def release(self) -> None:
        """It is mended."""
        self._flows.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            theirs, ours = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:  # the server is down, which whoever asks is to find out
            writer.close()
            return
        self._writers |= {writer, ours}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, ours, "client", writer))
                group.create_task(self._pump(theirs, writer, "server", ours))
        finally:
            self._writers -= {writer, ours}
            for one in (writer, ours):
                one.close()

    async def _pump(
        self,
        source: asyncio.StreamReader,
        to: asyncio.StreamWriter,
        who: Literal["client", "server"],
        back: asyncio.StreamWriter,
    ) -> None:
        try:
            while data := await source.read(65536):
                if who == "client" and self._turn == "server":
                    self.trips += 1
                self._turn = who
                if self._lost(who):
                    break
                await self._flows.wait()
                if not self.frozen:
                    await self._pass_on(data, to)
        except ConnectionError:
            pass
        to.close()
        back.close()

    async def _pass_on(self, data: bytes, to: asyncio.StreamWriter) -> None:
        to.write(data)
        await to.drain()

    def _lost(self, who: Literal["client", "server"]) -> bool:
        if self._lose is None:
            return False
        what, trip = self._lose
        hit = self.trips == trip and who == ("client" if what == "request" else "server")
        if hit:
            self._lose = None
        return hit

    def cut(self) -> None:
        """Ends all connections."""
        for writer in self._writers:
            writer.close()


@asynccontextmanager
async def proxy(target: int, port: int = 0) -> AsyncIterator[Proxy]:
    """Before the server at port `target`. `port`: of the proxy; any that is free where it is 0."""
    one = Proxy(target)
    server = await asyncio.start_server(one.serve, "127.0.0.1", port)
    one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        server.close()
        one.release()
        one.cut()
        async with asyncio.timeout(20):
            await server.wait_closed()
            while one._writers:  # noqa: ASYNC110 the connections' own tasks empty it
                await asyncio.sleep(0.01)
