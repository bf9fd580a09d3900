"""Who may see the status page and who may press its buttons, asked over HTTP."""

import inspect
import json
import re
import time
from typing import Any
from urllib.parse import quote

import anyio
import httpx
import msgspec
import pytest
from msgspec import structs
from page_made import EVIL, TOKEN, Figures, served

from poller.kept import Which
from poller.page.access import COOKIE, LASTS, Access, from_here
from poller.page.shown import text

pytestmark = pytest.mark.anyio

INSIDE = ["/", "/dead-letters", "/dead-letters/a/b", "/sources/pbx-0001", "/journey", "/journey?id=x"]
NUMBER = re.compile(r"601\D{0,3}234")
"""What must not be seen of +48 601 234 567, however it is written: fewer of its digits may stand in any instant."""
ACTIONS = ["/dead-letters/retry", "/webhooks/enable", "/webhooks/disable", "/logout"]


def client(url: str, *, known: bool = True) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {TOKEN}"} if known else {}
    return httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=60)


async def test_nobody_sees_anything_without_the_token() -> None:
    async with served(Figures()) as url, client(url, known=False) as browser:
        for path in INSIDE:
            answer = await browser.get(path)
            assert (answer.status_code, answer.headers["location"]) == (303, "/login")
            assert "pbx" not in answer.text
        for path in ACTIONS:
            assert (await browser.post(path, headers={"origin": url})).status_code == 303
        wrong = await browser.get("/", headers={"authorization": "Bearer nearly"})
        assert wrong.status_code == 303
        forged = await browser.get("/", headers={"cookie": f"{COOKIE}={int(time.time()) + 99}.{'0' * 64}"})
        assert forged.status_code == 303


async def test_a_person_logs_in_and_out() -> None:
    async with served(Figures()) as url, client(url, known=False) as browser:
        refused = await browser.post("/login", data={"token": "guess"}, headers={"origin": url})
        assert (refused.status_code, COOKIE in browser.cookies) == (403, False)
        assert "guess" not in refused.text
        taken = await browser.post("/login", data={"token": TOKEN}, headers={"origin": url})
        cookie = taken.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert TOKEN not in cookie
        assert "pbx-0001" in (await browser.get("/")).text
        await browser.post("/logout", headers={"origin": url})
        assert (await browser.get("/")).status_code == 303


@pytest.mark.parametrize("headers", [{}, {"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"},
                                     {"sec-fetch-site": "same-site"}, {"origin": "null"}])  # fmt: skip
async def test_a_form_of_another_page_does_nothing(headers: dict[str, str]) -> None:
    figures = Figures()
    async with served(figures) as url, client(url, known=False) as browser:
        await browser.post("/login", data={"token": TOKEN}, headers={"origin": url})
        for path in ACTIONS:
            answer = await browser.post(path, data={"id": "a/b", "sink": "crm"}, headers=headers)
            assert answer.status_code == 403
        assert (await browser.post("/login", data={"token": TOKEN}, headers=headers)).status_code == 403
    assert figures.retries == []


async def test_buttons_do_what_they_say() -> None:
    figures = Figures()
    async with served(figures) as url, client(url, known=False) as browser:
        await browser.post("/login", data={"token": TOKEN}, headers={"origin": url})
        answer = await browser.post(
            "/dead-letters/retry", data={"id": "a/b"}, headers={"sec-fetch-site": "same-origin"}
        )
        assert "a/b: tried again" in answer.text
        assert [one.ids for one in figures.retries] == [("a/b",)]
        answer = await browser.post("/webhooks/enable", data={"sink": "disabled"}, headers={"origin": url})
        assert "was disabled and is down" in answer.text
        unknown = await browser.post("/webhooks/enable", data={"sink": "<none>"}, headers={"origin": url})
        assert unknown.status_code in {404, 409}
        assert "<none>" not in unknown.text


async def test_every_answer_has_the_headers() -> None:
    async with served(Figures()) as url, client(url) as browser:
        for path in [*INSIDE, "/login", "/page.css", "/page.js", "/nowhere"]:
            headers = (await browser.get(path)).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
            assert headers["cache-control"] == "no-store"


async def test_what_others_say_is_text() -> None:
    async with served(Figures()) as url, client(url) as browser:
        page = (await browser.get("/")).text
    assert EVIL not in page
    assert "&lt;script&gt;" in page
    assert "style=" not in page
    assert "http://" not in page.replace(url, "")


SHARP = '"><img src=x onerror="alert(1)"><!--\u2028'


class Hostile(Figures):
    """Whatever text it knows, a caller's name or a receiver's sentence, is markup; but for the words that the pages ask about."""

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def asked(*more: Any, **named: Any) -> Any:
            return sharp(await found(*more, **named))

        return asked


def sharp(value: Any, name: str = "") -> Any:
    if isinstance(value, str):
        return value if name in {"state", "kind", "what"} else f"{SHARP}{value}"
    if isinstance(value, bytes):
        return json.dumps({SHARP: SHARP}).encode()
    if isinstance(value, (list, tuple)):
        return type(value)(sharp(each, name) for each in value)
    if isinstance(value, dict):
        return {sharp(key): sharp(each, name) for key, each in value.items()}
    if isinstance(value, msgspec.Struct):
        return structs.replace(
            value, **{field: sharp(getattr(value, field), field) for field in value.__struct_fields__}
        )
    return value


async def test_markup_in_any_text_is_text_on_every_page() -> None:
    async with served(Hostile(down=True)) as url, client(url) as browser:
        for path in [
            *(each for each in INSIDE if each != "/journey"),
            "/dead-letters/a/b?numbers=shown",
            "/sources/x?numbers=shown",
            "/journey?id=x&numbers=shown",
            f"/journey?id={quote(SHARP)}",
        ]:
            answer = await browser.get(path)
            assert answer.status_code == 200, path
            assert "&lt;img" in answer.text, path
            assert "<img" not in answer.text
            assert "<!--" not in answer.text
            assert 'onerror="' not in answer.text
        for path in ACTIONS[:3]:
            answer = await browser.post(path, data={"id": SHARP, "sink": "crm"})
            assert "<img" not in answer.text, path


async def test_numbers_are_masked_until_asked_for() -> None:
    figures = Figures()
    figures.body = b'{"src": "+48 601 234 567"}'
    async with served(figures) as url, client(url) as browser:
        masked = (await browser.get("/dead-letters/a/b")).text
        shown = (await browser.get("/dead-letters/a/b?numbers=shown")).text
    assert not NUMBER.search(masked)
    assert "567" in masked
    assert "+48 601 234 567" in shown


@pytest.mark.parametrize("said", ["no agent for +48 601 234 567", "48601234567 is unknown", "601-234-567"])
async def test_numbers_that_others_quote_are_masked(said: str) -> None:
    figures = Figures(down=True, failed=f"503 from pbx.example:8443 at 2026-01-02 03:04:05: {said}")
    async with served(figures) as url, client(url) as browser:
        page = (await browser.get("/")).text
    assert not NUMBER.search(page)
    assert page.count("503 from pbx.example:8443 at 2026-01-02 03:04:05") == 2 * figures.sources


async def test_a_letter_of_any_bytes_is_shown() -> None:
    figures = Figures()
    async with served(figures) as url, client(url) as browser:
        for figures.body, seen in ((b'["\\ud800"]', "\\ud800"), (b"\xff\x00", "\ufffd"), (b"[" * 200_000, "[[[")):
            answer = await browser.get("/dead-letters/a/b?numbers=shown")
            assert (answer.status_code, seen in answer.text) == (200, True)
            assert len(answer.text) < 50_000


def test_a_long_body_is_not_laid_out() -> None:
    rows = [{"number": number} for number in range(100_000)]
    assert text(json.dumps(rows).encode(), numbers=True).startswith('[{"number": 0}, {')
    assert text(json.dumps(rows[:9]).encode(), numbers=True).startswith("[\n  {\n")


@pytest.mark.parametrize("path", ["/sources/{}", "/journey?id={}", "/dead-letters?source={}", "/dead-letters?sink={}"])
async def test_a_name_from_outside_is_text(path: str) -> None:
    async with served(Figures()) as url, client(url) as browser:
        page = (await browser.get(path.format(quote(EVIL + "\"'&")))).text
        parts = (await browser.get("/journey?id=%ff%00%ed%a0%80")).status_code
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
    assert "style=" not in page
    assert parts == 200


async def test_a_phone_system_has_a_page_of_its_own() -> None:
    async with served(Figures()) as url, client(url) as browser:
        page = (await browser.get("/sources/pbx-0003")).text
        assert (await browser.get("/sources/nobody")).status_code == 404
        assert (await browser.get("/sources/")).status_code == 200
    for said in ("behind by 40 min", "It refuses the credential", "3, up to 1 h late", "Ladder, asked for user 5", "50 % read",
                 "1970-01-01 00:00:10", "4 s behind ours", 'href="/dead-letters?source=pbx-0003"', "1.5 s"):  # fmt: skip
        assert said in page.replace("&nbsp;", " "), said
    assert "<b>" not in page
    assert not NUMBER.search(page)


async def test_the_way_of_a_call() -> None:
    async with served(Figures()) as url, client(url) as browser:
        page = (await browser.get("/journey?id=+1700000000.7+")).text
        shown = (await browser.get("/journey?id=1700000000.7&numbers=shown")).text
        nothing = (await browser.get("/journey?id=nothing")).text
        assert "uniqueid" in (await browser.get("/journey?id=+")).text
    for said in ("The way of 1700000000.7", "topic telephony.calls, partition 3", "attempt 2: dead", "mor.user_calls",
                 "took 2.0 s", "It asked for", 'href="/dead-letters/a/b"', "no longer kept", "The whole log: 9 events."):  # fmt: skip
        assert said in page, said
    assert not NUMBER.search(page)
    assert shown.count("+48 601 234 567") == 2
    assert "<b>" not in shown
    assert "Nothing is known of nothing" in nothing


async def test_dead_letters_of_one_source() -> None:
    figures = Figures()
    async with served(figures) as url, client(url) as browser:
        assert "1 dead letter, source s" in (await browser.get("/dead-letters?source=s&reason=")).text
        assert "0 dead letters, sink crm" in (await browser.get("/dead-letters?sink=crm")).text
        more = (await browser.get("/dead-letters?sink=many")).text
    assert "sink=many&amp;at=100" in more
    assert [one.which for one in figures.listings] == [Which(source="s"), Which(sink="crm"), Which(sink="many")]


async def test_all_of_a_choice_are_tried_again_step_by_step() -> None:
    figures = Figures()
    async with served(figures) as url, client(url) as browser:
        assert 'name="source" value="s"' in (await browser.get("/dead-letters?source=s")).text
        page = (await browser.post("/dead-letters/retry", data={"all": "yes", "source": "s", "sink": ""})).text
        assert "2 tried again" in page
        assert "bad: still no" in page
        steps = 0
        while "Go on" in page:
            fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page.split('<main id="main">')[1]))
            page = (await browser.post("/dead-letters/retry", data=fields)).text
            steps += 1
            assert steps < 20
        assert "Those were all" in page
        broken = await browser.post(
            "/dead-letters/retry", data={"all": "yes", "source": "s", "at": "x", "until": "nan?"}
        )
        await browser.post("/dead-letters/retry", data={"source": "s"})
    assert broken.status_code == 200
    assert figures.retries.pop().ids == ("",), "a form that breaks off does not mean everything"
    assert {one.which for one in figures.retries} == {Which(source="s")}
    assert figures.retries[0].cursor is None
    assert [one.cursor.until for one in figures.retries[1:-1] if one.cursor] == [9.0] * (len(figures.retries) - 2)


async def test_a_head_is_answered_as_a_get() -> None:
    async with served(Figures()) as url, client(url) as browser:
        for path in [*INSIDE, "/login"]:
            assert (await browser.head(path)).status_code == 200


async def test_a_form_that_breaks_off_is_no_defect(caplog: pytest.LogCaptureFixture) -> None:
    async with served(Figures()) as url:
        place = url.removeprefix("http://")
        async with await anyio.connect_tcp("127.0.0.1", int(place.split(":")[1])) as stream:
            await stream.send(
                f"POST /login HTTP/1.1\r\nHost: {place}\r\nOrigin: {url}\r\nContent-Length: 99\r\n\r\nto".encode()
            )
        async with client(url, known=False) as browser:  # one wrong token after the other: it has been dealt with
            await browser.post("/login", data={"token": "guess"}, headers={"origin": url})
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_thousand_phone_systems_take_a_moment() -> None:
    """CPU of the whole process, the least of several: other work of the machine only adds to it."""

    async def least(sources: int) -> float:
        async with served(Figures(sources, down=True)) as url, client(url) as browser:
            took = []
            for _ in range(6):
                began = time.process_time()
                page = (await browser.get("/")).text
                took.append(time.process_time() - began)
        assert page.count("<tr ") > sources
        return min(took)

    few, many = await least(100), await least(1_000)
    print(f"1,000 sources: {many * 1_000:.0f} ms of CPU")
    assert many < 0.3
    assert many < 20 * few, "it grows with their number and no faster"


def test_a_ticket_is_of_one_token_and_ends() -> None:
    access = Access(TOKEN)
    ticket = access.ticket(1_000.0)
    assert access.holds(ticket, 1_000.0 + LASTS - 1)
    assert not access.holds(ticket, 1_000.0 + LASTS + 1)
    assert not Access(TOKEN + "!").holds(ticket, 1_000.0)
    later = f"{int(ticket.split('.')[0]) + 9}.{ticket.split('.')[1]}"
    assert not access.holds(later, 1_000.0)
    assert not access.holds("", 0.0)
    assert not access.holds("x.é", 0.0)


def test_where_a_form_comes_from() -> None:
    assert from_here({"sec-fetch-site": "same-origin"})
    assert from_here({"origin": "http://a:1", "host": "a:1"})
    assert not from_here({"origin": "http://a:2", "host": "a:1"})
    assert not from_here({"host": "a:1"})
    assert not from_here({"origin": "null", "host": ""})
    assert not from_here({"origin": "http://[", "host": "["})
