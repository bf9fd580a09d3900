"""The whole program with webhooks that fail in every way: no key, no signature and no token of a URL is in anything that it says.

The receivers repeat what came, as frameworks do in debug mode. The same search finds all of it in what they got.
"""

import asyncio
import base64
import json
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from hooked_daemon import HookedDaemon, until
from webhook_case import HMAC, PRIVATE
from webhook_receiver import Answer, Got, Receiver, answer, closes, echoes, hangs, receiver, resets, says

pytestmark = pytest.mark.anyio

TOKEN, QUERY = "T0KEN-in-the-path", "QUERYT0KEN"
PATH = f"/hooks/{TOKEN}/calls?key={QUERY}"
RAW, SEED = (base64.b64decode(key.partition("_")[2]) for key in (HMAC, PRIVATE))
CALLS = tuple(f"c{number}" for number in range(6))


async def in_json(got: Got, writer: asyncio.StreamWriter) -> None:
    """An error page for programs."""
    writer.write(answer(500, json.dumps({"headers": got.head.decode(), "escaped": quote(got.head.decode())}).encode()))


async def to_where_it_knows_all(got: Got, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(302, location=f"http://169.254.169.254{PATH}&{quote(got.headers['webhook-signature'])}"))


async def in_its_own_words(got: Got, writer: asyncio.StreamWriter) -> bool:
    writer.write(got.head + b"\r\n\r\n")
    return False


WAYS: dict[str, Answer] = {
    "well": says(204),
    "echo": echoes(500),
    "refused": echoes(400),
    "large": echoes(413),
    "json": in_json,
    "key": says(500, f"expected {HMAC} or {PRIVATE}".encode()),
    "bytes": says(500, b"%s or %s, a seed of %s" % (RAW, RAW.hex().encode(), SEED[:32].hex().upper().encode())),
    "redirect": to_where_it_knows_all,
    "no-http": in_its_own_words,
    "closes": closes,
    "resets": resets,
    "hangs": hangs,
    "gone": echoes(410),
    "slower": says(429, f"for {PATH}".encode(), retry_after="9"),
    "stops": says(200, PATH.encode(), webhook_delivery="disable"),
}
DOWN = WAYS.keys() - {"well", "refused", "large"}
"""Of these the log says something: that they are down, slowed or disabled, and what was said."""
NEVER = {"nowhere": f"http://127.0.0.1:9{PATH}", "no-tls": f"https://127.0.0.1:9{PATH}"}


def secrets() -> dict[str, str]:
    """What nobody may read, by what it is."""
    found = {"token": "T0KEN-in", "query": QUERY}
    for name, key in {"hmac": HMAC, "ed25519": PRIVATE}.items():
        _, _, payload = key.partition("_")
        raw = base64.b64decode(payload)
        found |= {f"{name} base64": payload[:16], f"{name} end": payload[-14:-2], f"{name} hex": raw.hex()[:24]}
        found[f"{name} HEX"] = raw.hex()[:24].upper()
        found[f"{name} HEX"] = raw.hex()[:24].upper()
        found[f"{name} text"] = raw[:12].decode("latin-1")
        found[f"{name} url"] = base64.urlsafe_b64encode(raw).decode()[:16]
    return found


def leaks(text: str, more: dict[str, str]) -> list[str]:
    return [what for what, secret in {**secrets(), **more}.items() if secret in text]


def signatures(peers: dict[str, Receiver]) -> dict[str, str]:
    """Every one that anybody got."""
    return {
        f"signature {number} to {name}, call {call}": each.partition(",")[2][:14]
        for name, peer in peers.items()
        for call, got in enumerate(peer.got)
        for number, each in enumerate(got.headers["webhook-signature"].split(" "))
    }


COMMANDS = (
    ("status",), ("status", "--json"), ("sinks", "list", "--json"), ("config", "show"), ("config", "show", "--json"),
    ("webhook", "status"), ("webhook", "status", "--json"), ("dead-letters", "list"), ("dead-letters", "list", "--json"),
    ("dead-letters", "export"), ("validate",),
)  # fmt: skip


async def all_that_is_said(daemon: HookedDaemon) -> dict[str, str]:
    """By where it was said."""
    found = {" ".join(words): await daemon.poller(*words) for words in COMMANDS}
    for name in ("echo", "bytes", "gone"):
        found[f"webhook status {name}"] = await daemon.poller("webhook", "status", name)
    letters = json.loads(found["dead-letters list --json"])
    assert {letter["sink"] for letter in letters} == {"refused", "large"}
    for letter in letters[:2]:
        found[f"dead-letters show {letter['id'][:8]}"] = await daemon.poller("dead-letters", "show", letter["id"])
    found["enable"] = await daemon.poller("webhook", "enable", "gone")
    found["disable"] = await daemon.poller("webhook", "disable", "echo", "--why", "it fails")
    found["dead-letters retry"] = await daemon.poller("dead-letters", "retry", letters[0]["id"])
    return found


async def metrics(daemon: HookedDaemon) -> str:
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        return (await client.get(f"http://127.0.0.1:{daemon.metrics_port()}/metrics")).text


def config_of(url: str) -> dict[str, object]:
    return {
        "url": url, "secrets": [{"env": "KEY"}, {"file": "private.key"}], "timeout": "2s", "allow": ["127.0.0.0/8"],
        "allow_http": True, "probe": "1s",
    }  # fmt: skip


@pytest.mark.slow
async def test_no_secret_is_said_anywhere(tmp_path: Path) -> None:
    key = tmp_path / "private.key"
    key.write_text(PRIVATE)
    key.chmod(0o600)
    async with AsyncExitStack() as stack:
        peers = {name: await stack.enter_async_context(receiver(way)) for name, way in WAYS.items()}
        urls = {name: peer.url(PATH) for name, peer in peers.items()} | NEVER
        daemon = HookedDaemon(tmp_path, {name: config_of(url) for name, url in urls.items()}, {"KEY": HMAC})
        await daemon.fill(*CALLS)
        async with daemon.running():
            await until(lambda: all(peer.got for peer in peers.values()), daemon.log)
            await until(lambda: all(len(peers[name].got) == len(CALLS) for name in ("well", "refused", "large")))
            await until(lambda: all(f'"sink": "{name}"' in daemon.log() for name in DOWN | NEVER.keys()), daemon.log)
            for name in ("refused", "large"):
                await daemon.until_webhook(name, lambda it: it["dead_letters"] >= 5)  # from then on it counts as down
            said = await all_that_is_said(daemon)
            said["metrics"] = await metrics(daemon)
        said["log"] = daemon.log()
    more = signatures(peers)
    assert len(more) >= 2 * (len(WAYS) + 3 * (len(CALLS) - 1))
    assert {where: leaks(text, more) for where, text in said.items() if leaks(text, more)} == {}
    assert all(f'sink="{name}"' in said["metrics"] for name in urls)
    got = "\n".join(each.head.decode() for peer in peers.values() for each in peer.got)
    assert set(leaks(got, more)) == {"token", "query", *more}, "the search finds what is there"
    assert {"hmac base64", "ed25519 end", "hmac text"} <= set(leaks(f"{HMAC} {PRIVATE} a secret of the tests", more))
