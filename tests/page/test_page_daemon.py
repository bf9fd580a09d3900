"""The real daemon serves its status page, with what it really polls, and without a secret."""

import json
import time
from html import escape
from pathlib import Path

import anyio
import httpx
import pytest
from e2e_daemon import daemon, simulation
from page_made import TOKEN

from poller.simulate.broker import free_port
from poller.simulate.run import simulators

pytestmark = pytest.mark.anyio


async def test_it_shows_what_the_daemon_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGE_TOKEN", TOKEN)
    port = free_port()
    async with simulators(simulation()) as sims:
        with daemon(tmp_path, sims, {"file": {"kind": "ndjson", "path": str(tmp_path / "out.ndjson")}}) as running:
            running.settings["admin"] |= {"listen": f"127.0.0.1:{port}", "token": {"env": "PAGE_TOKEN"}}
            running.write()
            running.start()
            await running.until_said("status page")
            url, headers = f"http://127.0.0.1:{port}", {"authorization": f"Bearer {TOKEN}"}
            async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=60) as browser:
                deadline = time.monotonic() + 180
                while (page := (await browser.get("/")).text).count(">complete<") < 7:
                    assert time.monotonic() < deadline, page
                    await anyio.sleep(0.3)
                assert (await browser.get("/dead-letters")).status_code == 200
                for name in running.settings["sources"]:
                    assert "Last polls" in (await browser.get(f"/sources/{name}")).text
                event = json.loads((tmp_path / "out.ndjson").read_text(encoding="utf-8").splitlines()[0])
                for wanted in (event["subject"], event["id"]):
                    # It is written to the file before that is noted.
                    while ">delivered<" not in (way := (await browser.get("/journey", params={"id": wanted})).text):
                        assert time.monotonic() < deadline, way
                        await anyio.sleep(0.1)
                    for said in (f"The way of {escape(wanted)}", event["type"], "by a poll of", "out.ndjson"):
                        assert said in way, said
                    assert "When is not remembered" not in way
            for name in ("mor.user_calls", "thulium.connections", "fonouc.cdrs"):
                assert name in page
            for secret in [TOKEN, *sims.environment().values()]:
                assert secret not in page
                assert secret not in running.log.read_text(encoding="utf-8")
            assert await running.stop() == 0
