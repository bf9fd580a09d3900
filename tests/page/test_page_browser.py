"""The status page in a real Chromium: keyboard, narrow and dark screens, no scripts, live figures, and what axe finds."""

import json
import os
import shutil
from pathlib import Path

import pytest
from anyio import to_thread
from node_programs import run_node
from page_made import TOKEN, Figures, served

PROGRAM = os.environ.get("POLLER_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome") or ""
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.node,
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not PROGRAM, reason="Chromium is not installed (Debian: apt-get install chromium)"),
]


async def test_as_people_use_it(tmp_path: Path) -> None:
    async with served(Figures()) as url:
        given = {"url": url, "token": TOKEN, "program": PROGRAM, "folder": str(tmp_path)}
        said = json.loads(await to_thread.run_sync(run_node, "page.mjs", json.dumps(given)))
    assert said["findings"] == []
    assert said["wide"] == []
    assert said["complaints"] == []
    assert said["before"] == "1 of 7 lists is not up to date: pbx-0003 (answers that it has failed)."
    assert said["meanwhile"] == ["No answer · poller", said["before"]]
    assert said["after"].startswith("7 of 7 lists are not up to date")
    assert said["same"], "it was put in place, not loaded anew"
    assert said["pressed"] == "Enabled"
    assert said["plain"] == said["after"]
    assert (said["journey"], said["source"]) == ("The way of 1700000000.7", "pbx-0001")
