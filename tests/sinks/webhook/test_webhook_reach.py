"""Where a webhook may lead: judged as written, as looked up, and as connected, against a name server that changes its mind."""

from typing import Any

import anyio
import httpcore
import pytest
from dns_server import names
from webhook_case import attempt, hook, settings
from webhook_receiver import closes, receiver, says, sends

from poller.errors import Refused
from poller.sinks.webhook.dial import Dialler
from poller.sinks.webhook.sink import WebhookSink

pytestmark = pytest.mark.anyio

NAME = "hook.test"


class Recording(httpcore.AnyIOBackend):
    """The real network, and what was asked of it."""

    def __init__(self, **turned: str) -> None:
        self.asked: list[str] = []
        self.turned = {name.replace("_", "."): address for name, address in turned.items()}

    async def connect_tcp(self, host: str, port: int, **more: Any) -> httpcore.AsyncNetworkStream:  # type: ignore[override]
        self.asked.append(host)
        return await super().connect_tcp(self.turned.get(host, host), port, **more)


async def test_a_name_is_looked_up_once_and_the_socket_goes_to_what_was_judged() -> None:
    async with names(["127.0.0.1"], ["127.0.0.2"]) as server, receiver() as peer:
        network = Recording()
        sink = hook(peer.url(host=NAME), resolve=server.resolve, network=network)
        assert (await attempt(sink)).outcome == "delivered"
        await sink.close()
    assert peer.got[0].headers["host"] == f"{NAME}:{peer.port}"
    assert (server.look_ups, network.asked) == (1, ["127.0.0.1"])


async def test_a_name_that_leads_elsewhere_by_the_next_connection() -> None:
    async with (
        names(["127.0.0.1"], ["127.0.0.2"]) as server,
        receiver(sends(b"HTTP/1.1 204 No\r\nconnection: close\r\n\r\n")) as peer,
        receiver(host="127.0.0.2", port=peer.port) as inside,
    ):
        sink = hook(peer.url(host=NAME), resolve=server.resolve)
        assert (await attempt(sink)).outcome == "delivered"
        answered = await attempt(sink)
        await sink.close()
    assert (answered.outcome, answered.reason) == ("later", "address")
    assert answered.error.startswith("no call was made to hook.test: 127.0.0.2 is not public (loopback)")
    assert (len(peer.got), inside.connections, server.look_ups) == (1, 0, 2)


async def test_a_kept_connection_that_broke_is_judged_anew() -> None:
    """The one call that is made twice: between the two the name changes."""
    async with names(["127.0.0.1"], ["10.0.0.1"]) as server, receiver(says(204), closes) as peer:
        network = Recording()
        sink = hook(peer.url(host=NAME), resolve=server.resolve, network=network)
        await attempt(sink)
        answered = await attempt(sink)
        await sink.close()
    assert answered.reason == "address"
    assert network.asked == ["127.0.0.1"]


@pytest.mark.parametrize(
    "bad",
    [
        "10.0.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "::1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "2001:0:a9fe:a9fe::1",
        "fd00:ec2::254",
        "fe80::1",
    ],
)
async def test_one_bad_address_spoils_the_answer(bad: str) -> None:
    async with names(["127.0.0.1", bad]) as server, receiver() as peer:
        network = Recording()
        sink = hook(peer.url(host=NAME), resolve=server.resolve, network=network)
        answered = await attempt(sink)
        await sink.close()
    assert answered.reason == "address"
    assert (network.asked, peer.connections) == ([], 0)


@pytest.mark.parametrize(
    "bad", ["169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "fd00:ec2::254"]
)
async def test_metadata_is_never_allowed(bad: str) -> None:
    everything = [NAME, "0.0.0.0/0", "::/0"]
    async with names([bad]) as server:
        network = Recording()
        sink = hook(f"http://{NAME}/", resolve=server.resolve, network=network, allow=everything)
        answered = await attempt(sink)
        await sink.close()
    assert answered.reason == "address"
    assert "machine's credentials" in answered.error
    assert network.asked == []


async def test_an_address_in_the_url_is_judged_before_anything_is_connected() -> None:
    """The settings refuse it already; what connects does not rely on that."""
    async with receiver() as peer:
        network = Recording()
        config = settings(peer.url())
        forbidden = config.model_copy(update={"allow": ()})
        sink = WebhookSink("crm", forbidden, Dialler(forbidden, network=network))
        answered = await attempt(sink)
    assert answered.reason == "address"
    assert network.asked == []


async def test_an_allowed_host_may_be_anywhere_else() -> None:
    async with names(["127.0.0.1"]) as server, receiver() as peer:
        sink = hook(peer.url(host=NAME), resolve=server.resolve, allow=[NAME])
        assert (await attempt(sink)).outcome == "delivered"
        await sink.close()


async def test_the_socket_itself_is_judged() -> None:
    """Between us and the address something turns the connection to another one."""
    async with names(["127.0.0.1"]) as server, receiver(host="127.0.0.2") as inside:
        network = Recording(**{"127_0_0_1": "127.0.0.2"})
        sink = hook(inside.url(host=NAME), resolve=server.resolve, network=network)
        answered = await attempt(sink)
        await sink.close()
    assert answered.reason == "address"
    assert answered.error.startswith("no call was made to hook.test: 127.0.0.2 is not public")
    assert inside.got == []


async def test_the_next_address_is_tried_where_one_refuses() -> None:
    async with names(["127.0.0.3", "127.0.0.1"]) as server, receiver() as peer:
        network = Recording()
        sink = hook(peer.url(host=NAME), resolve=server.resolve, network=network, allow=["127.0.0.0/8"])
        assert (await attempt(sink)).outcome == "delivered"
        await sink.close()
    assert network.asked == ["127.0.0.3", "127.0.0.1"]


class Deaf(Recording):
    """A network in which one kind of address leads nowhere."""

    async def connect_tcp(self, host: str, port: int, **more: Any) -> httpcore.AsyncNetworkStream:  # type: ignore[override]
        if ":" in host:
            self.asked.append(host)
            await anyio.sleep_forever()
        return await super().connect_tcp(host, port, **more)


async def test_ipv6_that_leads_nowhere_does_not_use_up_the_time() -> None:
    async with names(["2001:4860:4860::8888", "2001:4860:4860::8844", "127.0.0.1"]) as server, receiver() as peer:
        network = Deaf()
        sink = hook(peer.url(host=NAME), resolve=server.resolve, network=network, timeout="6s")
        assert (await attempt(sink)).outcome == "delivered"
        await sink.close()
    assert network.asked == ["2001:4860:4860::8888", "2001:4860:4860::8844", "127.0.0.1"]


async def test_a_name_server_that_hangs_is_over_after_the_timeout() -> None:
    async def never(host: str, port: int) -> list[str]:  # noqa: ARG001 what a resolver is given

        await anyio.sleep_forever()
        return []

    sink = hook(f"http://{NAME}/", resolve=never, timeout="200ms")
    answered = await attempt(sink)
    assert (answered.reason, answered.error) == (
        "unreachable",
        "no connection to http://hook.test within 0.2 s. Check url and the network",
    )


async def test_a_name_that_nobody_knows() -> None:
    sink = hook("http://nobody.invalid/", timeout="60s")
    answered = await attempt(sink)
    assert (answered.outcome, answered.reason) == ("later", "unreachable")
    assert "nobody.invalid cannot be resolved" in answered.error


async def test_a_name_without_addresses() -> None:
    async with names([]) as server:
        sink = hook(f"http://{NAME}/", resolve=server.resolve)
        answered = await attempt(sink)
    assert (answered.reason, answered.error) == ("unreachable", "hook.test has no address")


async def test_the_system_s_own_look_up() -> None:
    """`localhost` is in every hosts file; allowed by its name."""
    async with receiver() as peer:
        sink = hook(peer.url(host="localhost"), allow=["localhost"])
        assert (await attempt(sink)).outcome == "delivered"
        await sink.close()


async def test_ipv6_literals() -> None:
    async with receiver(host="::1") as peer:
        sink = hook(peer.url(host="[::1]"), allow=["::1"])
        assert (await attempt(sink)).outcome == "delivered"
        await sink.close()
    assert peer.got[0].headers["host"] == f"[::1]:{peer.port}"


# --- asked without a call --------------------------------------------------------------------------------------------


async def test_where_it_leads_is_told_without_a_call() -> None:
    async def answers(host: str, port: int) -> list[str]:  # noqa: ARG001 what a resolver is given
        return {"crm.example": ["203.0.114.7", "2a00::7"], "two.example": ["203.0.114.7", "10.0.0.7"]}[host]

    network = Recording()
    crm = hook("https://crm.example/hooks", resolve=answers, network=network)
    assert await crm.reach() == ["203.0.114.7", "2a00::7"]
    two = hook("https://two.example/hooks", resolve=answers, network=network)
    with pytest.raises(Refused, match=r"10\.0\.0\.7 is not public \(private\)"):
        await two.reach()
    own = hook("https://two.example/hooks", resolve=answers, network=network, allow=["10.0.0.0/8"])
    assert await own.reach() == ["203.0.114.7", "10.0.0.7"]
    assert network.asked == []
