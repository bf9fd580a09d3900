"""Certificates: of the right issuer, for the host's own name, in their time; everything else is said and sends nothing."""

import asyncio
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from webhook_case import attempt, hook, settings
from webhook_receiver import receiver

from poller.errors import ConfigError
from poller.options import Tls
from poller.sinks.webhook import build
from poller.sinks.webhook.sink import WebhookSink

pytestmark = pytest.mark.anyio

NAME = "hook.test"


@pytest.fixture(scope="module")
def issuer() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(issuer: trustme.CA, tmp_path: Path) -> str:
    issuer.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return str(tmp_path / "ca.pem")


def server(issuer: trustme.CA, name: str = NAME, **more: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issuer.issue_cert(name, **more).configure_cert(context)
    return context


async def here(host: str, port: int) -> Sequence[str]:  # noqa: ARG001 what a resolver is given
    return ["127.0.0.1"]


def secured(url: str, **tls: Any) -> WebhookSink:
    return hook(url, resolve=here, allow_http=False, timeout="60s", tls=tls)


async def test_a_trusted_certificate_of_the_host_s_own_name(issuer: trustme.CA, ca_file: str) -> None:
    async with receiver(tls=server(issuer)) as peer:
        sink = secured(peer.url(host=NAME), ca_file=ca_file)
        outcomes = [(await attempt(sink)).outcome for _ in range(2)]
        await sink.close()
    assert outcomes == ["delivered"] * 2
    assert (peer.names, peer.connections) == ([NAME], 1)


async def test_bad_certificates(issuer: trustme.CA, ca_file: str) -> None:
    past = datetime(2020, 1, 1, tzinfo=UTC)
    bad = {
        "unable to get local issuer|self-signed|self signed": server(trustme.CA()),
        "Hostname mismatch": server(issuer, "other.test"),
        "expired": server(issuer, not_after=past, not_before=past.replace(year=2019)),
    }
    for said, context in bad.items():
        async with receiver(tls=context) as peer:
            sink = secured(peer.url(host=NAME), ca_file=ca_file)
            answered = await attempt(sink)
            await sink.close()
        assert (answered.outcome, answered.reason) == ("later", "certificate")
        assert any(words in answered.error for words in said.split("|")), answered.error
        assert f"https://{NAME}:{peer.port}" in answered.error
        assert peer.got == []


async def test_the_system_s_issuers_do_not_know_ours(issuer: trustme.CA) -> None:
    async with receiver(tls=server(issuer)) as peer:
        sink = secured(peer.url(host=NAME))
        answered = await attempt(sink)
        await sink.close()
    assert (answered.reason, peer.got) == ("certificate", [])


async def test_an_address_needs_a_certificate_of_its_own(issuer: trustme.CA, ca_file: str) -> None:
    async with receiver(tls=server(issuer, "127.0.0.1")) as peer:
        sink = secured(peer.url(), ca_file=ca_file)
        assert (await attempt(sink)).outcome == "delivered"
        await sink.close()
    async with receiver(tls=server(issuer)) as peer:
        sink = secured(peer.url(), ca_file=ca_file)
        assert (await attempt(sink)).reason == "certificate"
        await sink.close()


async def test_a_port_that_speaks_no_tls() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    listening = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with listening:
        sink = secured(f"https://{NAME}:{listening.sockets[0].getsockname()[1]}/")
        answered = await attempt(sink)
        await sink.close()
    assert (answered.outcome, answered.reason) == ("later", "certificate")
    assert "Check that its port speaks https" in answered.error


async def test_verification_is_off_only_where_it_is_said_loudly(issuer: trustme.CA, capsys: Any) -> None:
    async with receiver(tls=server(issuer, "other.test")) as peer:
        sink = secured(peer.url(host=NAME), verify=False)
        assert (await attempt(sink)).outcome == "delivered"
        await sink.close()
        build("crm", sink_config(peer.url(host=NAME), verify=False), shards=1)
    assert "certificates are not checked" in "".join(capsys.readouterr())


def sink_config(url: str, **tls: Any) -> Any:

    return settings(url, tls=tls)


def test_a_file_of_issuers_that_is_none(tmp_path: Path) -> None:
    """It was well when the configuration was read."""
    (tmp_path / "no.pem").write_text("nothing")
    for name in ("no.pem", "missing.pem"):
        tls = Tls.model_construct(ca_file=tmp_path / name)
        with pytest.raises(ConfigError, match=r"tls.ca_file .* cannot be used"):
            build("crm", sink_config("https://hook.test/").model_copy(update={"tls": tls}), shards=1)
