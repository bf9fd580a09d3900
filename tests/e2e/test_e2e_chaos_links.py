"""The links of chaos: what goes through one comes as it was sent, whatever happens to its speed meanwhile."""

import asyncio

import pytest
from chaos_links import link

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

SENT = bytes(range(256)) * 32


async def test_what_a_slow_link_holds_comes_once_when_it_is_fast_again() -> None:
    came = asyncio.Queue[bytes]()

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            came.put_nowait(data)
        writer.close()
        came.put_nowait(b"")

    server = await asyncio.start_server(keep, "127.0.0.1", 0)
    async with server, link(server.sockets[0].getsockname()[1]) as slow:
        slow.rate = 16 * 1024.0
        _, writer = await asyncio.open_connection("127.0.0.1", slow.port)
        writer.write(SENT)
        got = await came.get()
        assert len(got) < len(SENT)
        slow.rate = 0.0
        writer.close()
        while data := await came.get():
            got += data
    assert got == SENT
