"""The admin API through a real unix socket."""

import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest
from admin_ledger import DOWN, LETTER, UP, Ledger

from poller.admin import admin_socket, serve_admin
from poller.admin_client import Remote, alive, connect
from poller.errors import ConfigError, PollerError, Unknown
from poller.kept import LetterPlace, Which
from poller.operations import Again, Cursor, Listed, Listing, Retried, Switched

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def daemon(ledger: Ledger, path: Path) -> AsyncIterator[anyio.CancelScope]:
    with anyio.fail_after(300):
        async with anyio.create_task_group() as tasks:
            await tasks.start(serve_admin, ledger, path)
            yield tasks.cancel_scope
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def remote(path: Path) -> AsyncIterator[Remote]:
    async with connect(path) as found:
        assert found is not None
        yield found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "p.sock"


async def test_every_operation_arrives(path: Path) -> None:
    ledger = Ledger()
    async with daemon(ledger, path), remote(path) as there:
        assert await there.status() == await ledger.status()
        listing = Listing(which=Which(source="s"), after=LetterPlace(1.25, "é/"), limit=3, bodies=True)
        assert await there.dead_letters(listing) == Listed(letters=[LETTER], after=None, total=1)
        assert (await there.dead_letters(Listing(which=Which(sink="x")))).letters == []
        assert await there.dead_letter("a/b") == LETTER
        again = Again(ids=("a/b", "c"), cursor=Cursor(LetterPlace(1.25, "é/"), 0.5))
        tried = await there.retry(again)
        assert tried.results == [Retried(id="a/b", done=True), Retried(id="c", done=False)]
        assert tried.cursor == again.cursor
        assert (ledger.listings[0], ledger.retries) == (listing, [again])
        assert await there.webhooks() == [DOWN, UP]
        assert await there.webhooks("erp") == [UP]
        assert await there.enable_webhook("disabled") == Switched(
            sink="disabled", before="disabled", state="down", since=60
        )
        done = await there.disable_webhook("up", "moves/house")
        assert done == Switched(sink="up", before="up", state="disabled", since=60, why="moves/house")
        await there.forget_sink("old sink/1")
        await there.forget_source("café")
        assert await there.rebuild(sink=None, accept_duplicates=True) == ["None True"]
    assert ledger.forgotten == ["sink old sink/1", "source café"]


async def test_refusals_keep_their_sentence(path: Path) -> None:
    async with daemon(Ledger(), path), remote(path) as there:
        with pytest.raises(Unknown, match="there is no dead letter 'zz'"):
            await there.dead_letter("zz")
        with pytest.raises(PollerError, match="the sink `out` is configured"):
            await there.forget_sink("out")


async def test_a_defect_in_the_daemon_is_said_and_does_not_end_it(path: Path) -> None:
    async with daemon(Ledger(), path), remote(path) as there:
        with pytest.raises(PollerError, match="its log says why"):
            await there.rebuild(sink="broken", accept_duplicates=False)
        assert (await there.status()).running


async def test_a_body_that_is_not_understood(path: Path) -> None:
    transport = httpx.AsyncHTTPTransport(uds=str(path))
    async with daemon(Ledger(), path), httpx.AsyncClient(transport=transport, base_url="http://poller") as client:
        for body in (b"", b"[]", b'{"ids": 3}', b'{"id": []}', b'{"which": {"sinks": "x"}}'):
            answer = await client.post("/dead-letters/retry", content=body)
            assert (answer.status_code, answer.json()["reason"]) == (400, "error")


async def test_only_the_owner_may_open_it_and_it_is_gone_at_the_end(path: Path) -> None:
    async with daemon(Ledger(), path):
        assert stat.S_IMODE((await anyio.Path(path).stat()).st_mode) == 0o600
        assert alive(path)
    assert not await anyio.Path(path).exists()
    assert not alive(path)
    async with connect(path) as there:
        assert there is None


async def test_what_a_dead_daemon_left_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert await anyio.Path(path).is_socket()
    async with daemon(Ledger(), path), remote(path) as there:
        assert (await there.status()).store == "memory"


async def test_a_living_daemon_keeps_its_socket(path: Path) -> None:
    async with daemon(Ledger(), path), remote(path) as there:
        with pytest.raises(ConfigError, match=r"a daemon answers at .* already"), admin_socket(path):
            pass
        assert (await there.status()).running


async def test_a_request_in_flight_is_answered_at_the_end(path: Path) -> None:
    ledger = Ledger()
    answers: list[list[str]] = []

    async def ask() -> None:
        async with remote(path) as there:
            answers.append(await there.rebuild(sink="slow", accept_duplicates=False))

    async with anyio.create_task_group() as tasks, daemon(ledger, path):
        tasks.start_soon(ask)
        await ledger.asked.wait()
    assert answers == [["slow False"]]


def test_a_place_that_cannot_be_listened_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    for path in (tmp_path / "no" / "p.sock", tmp_path / "file"):
        with pytest.raises(ConfigError, match=r"admin\.socket"), admin_socket(path):
            pass
    assert (tmp_path / "file").read_text() == "precious"


def test_a_path_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(PollerError, match="cannot be used"):
        alive(tmp_path / ("x" * 120))
