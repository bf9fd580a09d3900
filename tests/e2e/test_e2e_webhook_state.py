"""A webhook that wants no more calls, looked at, mended and switched on again while the daemon runs; and by hand, with and without it."""

import json
from pathlib import Path

import pytest
from hooked_daemon import HookedDaemon, until
from webhook_case import HMAC
from webhook_receiver import Receiver, receiver, says

pytestmark = pytest.mark.anyio

CALLS = ("c1", "c2", "c3")


def hook(peer: Receiver) -> dict[str, object]:
    return {
        "url": peer.url("/hooks/T0KEN"), "secrets": [{"env": "KEY"}], "allow": ["127.0.0.1"], "allow_http": True,
        "concurrency": 1,
    }  # fmt: skip


def calls(peer: Receiver) -> list[str]:
    return [json.loads(got.body)["subject"] for got in peer.got]


async def test_a_webhook_that_wants_no_more_calls_is_mended(tmp_path: Path) -> None:
    async with receiver(says(410, b"we have moved"), says(204)) as peer, receiver() as other:
        daemon = HookedDaemon(tmp_path, {"crm": hook(peer), "erp": hook(other)}, {"KEY": HMAC})
        await daemon.fill(*CALLS)
        async with daemon.running():
            gone = await daemon.until_webhook("crm", lambda it: it["state"] == "disabled")
            assert gone["why"] == gone["heard"]
            assert "410 from http://127.0.0.1" in gone["why"]
            assert "we have moved" in gone["why"]
            assert gone["url"] == f"http://127.0.0.1:{peer.port}"
            assert (gone["failures"], gone["next_try"]) == (1, None)
            gone = await daemon.until_webhook("crm", lambda it: it["retrying"] == 1)
            assert (gone["waiting"], gone["dead_letters"]) == (2, 0)
            assert gone["oldest_pending"] <= gone["since"]
            await until(lambda: len(other.got) == 3, daemon.log)
            (sink,) = [
                each for each in json.loads(await daemon.poller("sinks", "list", "--json")) if each["sink"] == "crm"
            ]
            assert (sink["state"], sink["pending"], sink["retrying"]) == ("disabled", 3, 1)
            assert "is disabled since" in sink["error"]
            assert calls(peer) == ["c1"]

            said = await daemon.poller("webhook", "enable", "crm")
            assert said == "crm is enabled: one event is tried, the others follow once it is taken\n"
            well = await daemon.until_webhook("crm", lambda it: it["state"] == "up" and not it["waiting"])
            assert (well["retrying"], well["next_try"], well["why"], well["failures"]) == (0, None, None, 0)
            assert well["heard"] == "delivered"
            assert sorted(calls(peer)) == ["c1", *CALLS]
            assert [got.headers["poller-attempt"] for got in peer.got[:2]] == ["1", "2"], (
                "the probe is the one that failed"
            )
            ids = {json.loads(got.body)["subject"]: got.headers["webhook-id"] for got in peer.got}
            assert len(set(ids.values())) == 3
            assert peer.got[0].headers["webhook-id"] == ids["c1"], "the same id again"


async def test_disabled_by_hand_it_stays_so(tmp_path: Path) -> None:
    async with receiver() as peer:
        daemon = HookedDaemon(tmp_path, {"crm": hook(peer)}, {"KEY": HMAC})
        await daemon.fill("c1")
        async with daemon.running():
            await until(lambda: calls(peer) == ["c1"], daemon.log)
            assert "is disabled; once" in await daemon.poller("webhook", "disable", "crm", "--why", "they move house")
            it = await daemon.webhook("crm")
            assert (it["state"], it["why"]) == ("disabled", "disabled by hand: they move house")
            again = await daemon.poller("webhook", "disable", "crm", "--why", "another")
            assert "disabled already, since" in again
            assert "they move house" in again
        await daemon.fill("c2")
        it = await daemon.webhook("crm")
        assert (it["state"], it["waiting"], it["failures"]) == ("disabled", 1, None)
        async with daemon.running():
            assert (await daemon.until_webhook("crm", lambda it: it["failures"] == 0))["state"] == "disabled"
            assert "they move house" in daemon.log().rpartition("listening")[2]
        assert calls(peer) == ["c1"]

        assert "is enabled" in await daemon.poller("webhook", "enable", "crm")
        it = await daemon.webhook("crm")
        assert (it["state"], it["next_try"]) == ("down", it["since"])
        assert "not disabled but down" in await daemon.poller("webhook", "enable", "crm")
        async with daemon.running():
            await until(lambda: calls(peer) == ["c1", "c2"], daemon.log)
            assert (await daemon.until_webhook("crm", lambda it: it["waiting"] == 0))["state"] == "up"
            assert await daemon.poller("webhook", "enable", "crm") == "crm is not disabled: nothing to do\n"


async def test_one_that_is_forgotten_and_comes_again_is_another_one(tmp_path: Path) -> None:
    async with receiver() as peer:
        daemon = HookedDaemon(tmp_path, {"crm": hook(peer)}, {"KEY": HMAC})
        await daemon.fill("c1")
        async with daemon.running():
            await until(lambda: calls(peer) == ["c1"], daemon.log)
            await daemon.poller("webhook", "disable", "crm")
        without = HookedDaemon(tmp_path, {"log": {"kind": "ndjson", "path": "out.jsonl"}}, {})
        await without.poller("sinks", "forget", "crm")
        again = HookedDaemon(tmp_path, {"crm": hook(peer)}, {"KEY": HMAC})
        assert (await again.webhook("crm"))["state"] == "up"


async def test_names_that_are_no_webhooks(tmp_path: Path) -> None:
    daemon = HookedDaemon(tmp_path, {"log": {"kind": "ndjson", "path": "out.jsonl"}}, {})
    await daemon.fill("c1")
    for words in (("enable",), ("disable",), ("status",)):
        said = await daemon.poller("webhook", *words, "crm", code=1)
        assert said == "poller: there is no webhook crm in the configuration; there are: none\n"
        said = await daemon.poller("webhook", *words, "log", code=1)
        assert said == "poller: sink log is no webhook, it is of kind ndjson: only webhooks have a state\n"
    assert "Webhooks" in await daemon.poller("webhook", "status")


async def test_where_webhooks_lead_is_checked_without_a_call(tmp_path: Path) -> None:
    async with receiver() as peer:
        url = peer.url("/hooks/T0KEN", host="localhost")
        sinks = {
            "crm": {**hook(peer), "url": url, "allow": ["localhost"]},
            "away": {"url": "https://crm.invalid/hooks/T0KEN", "secrets": [{"env": "KEY"}]},
            "log": {"kind": "ndjson", "path": "out.jsonl"},
        }
        daemon = HookedDaemon(tmp_path, sinks, {"KEY": HMAC})
        said = await daemon.poller("check", "crm")
        assert said.startswith(f"crm: http://localhost:{peer.port} → ")
        assert "127.0.0.1" in said
        assert said.endswith(", may be reached\n")
        said = await daemon.poller("check", "away", code=1)
        assert said.startswith("away: https://crm.invalid: failed: the name")
        told = json.loads(await daemon.poller("check", "--json", code=1))
        assert [each.get("source") or each["sink"] for each in told] == ["office", "away", "crm"]
        assert [each["verdict"] for each in told] == ["failed", "failed", "ok"]
        assert "sink log is of kind ndjson" in await daemon.poller("check", "log", code=2)
        assert "there is no source nobody" in await daemon.poller("check", "nobody", code=2)
        assert "T0KEN" not in said + json.dumps(told)
    assert peer.connections == 0
