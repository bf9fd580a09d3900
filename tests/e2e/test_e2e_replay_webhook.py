"""Events are sent to webhooks again, by the whole program."""

import json
from pathlib import Path

import pytest
from hooked_daemon import HookedDaemon, until
from webhook_case import HMAC
from webhook_receiver import Receiver, receiver, says

pytestmark = pytest.mark.anyio

CALLS = ("c1", "c2", "c3")


def hook(peer: Receiver, **more: object) -> dict[str, object]:
    return {"url": peer.url(), "secrets": [{"env": "KEY"}], "allow": ["127.0.0.1"], "allow_http": True} | more


async def test_a_replay_is_marked_and_keeps_ids(tmp_path: Path) -> None:
    async with receiver() as peer, receiver() as other:
        sinks = {"crm": hook(peer), "files": hook(other, events=["telephony.recording.*"])}
        daemon = HookedDaemon(tmp_path, sinks, {"KEY": HMAC})
        await daemon.fill(*CALLS)
        async with daemon.running():
            await until(lambda: len(peer.got) == 3, daemon.log)
            said = json.loads(await daemon.poller("replay", "--sink", "crm", "--since", "1h", "--json"))
            assert (said["events"], said["ended"]) == (3, True)
            await until(lambda: len(peer.got) == 6, daemon.log)
            ids = [{got.headers["webhook-id"] for got in some} for some in (peer.got[:3], peer.got[3:])]
            assert ids[0] == ids[1]
            assert len(ids[0]) == 3
            assert [got.headers.get("poller-replay") for got in peer.got] == [None] * 3 + ["true"] * 3
            assert {got.headers["poller-attempt"] for got in peer.got} == {"1"}
            said = await daemon.poller("replay", "--sink", "files", "--since", "1h")
            assert said.startswith("Nothing to send again: files has no such event"), "its own filter counts"
        assert other.got == []


async def test_a_replay_of_what_is_refused_is_a_dead_letter_that_is_still_a_replay_when_it_is_retried(
    tmp_path: Path,
) -> None:
    async with receiver(says(204), says(400, b"not now"), says(204)) as peer:
        daemon = HookedDaemon(tmp_path, {"crm": hook(peer)}, {"KEY": HMAC})
        await daemon.fill("c1")
        async with daemon.running():
            await until(lambda: len(peer.got) == 1, daemon.log)
            await daemon.poller("replay", "--sink", "crm", "--since", "1h")
            await daemon.until_webhook("crm", lambda it: it["dead_letters"] == 1)
            await daemon.poller("dead-letters", "retry", "--all")
            await until(lambda: len(peer.got) == 3, daemon.log)
        assert [got.headers.get("poller-replay") for got in peer.got] == [None, "true", "true"]
        assert len({got.headers["webhook-id"] for got in peer.got}) == 1
