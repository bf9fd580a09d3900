"""FonoUC's login and its configuration."""

import json
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from source_case import load_module

from poller.errors import Denied, Malformed, NotTheApi, PollerError
from poller.sources.fonouc import build

cases = load_module(Path(__file__).parent / "fonouc_cases.py")
NOW = 1_709_251_200.0


def login(**changes: Any) -> Any:
    """The login of a system."""
    return build("f", cases.config(**changes)).login


def jwt(claims: object) -> str:
    """A token with these claims."""
    return ".".join(
        urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in ({"alg": "HS256"}, claims, "sig")
    )


def test_request_posts_the_credentials_to_the_configured_path() -> None:
    request = login().request()
    assert (request.method, request.path) == ("POST", "/login")
    assert json.loads(request.json) == {"username": "api", "password": "pass-word", "domain": "acme"}
    assert login(login_path="/config/login/oauth").request().path == "/config/login/oauth"
    assert "pass-word" not in repr(request)


@pytest.mark.parametrize("name", ["access_token", "accessToken"])
def test_token_under_both_spellings_until_a_minute_before_its_end(name: str) -> None:
    text = jwt({"type": "access", "exp": NOW + 3600})
    token = login().token(json.dumps({"user": {}, name: text, "refresh_token": "r"}).encode(), NOW)
    assert token.headers == (("Authorization", f"Bearer {text}"),)
    assert token.expires == NOW + 3600 - 60
    assert text not in repr(token)


@pytest.mark.parametrize(
    "text",
    [
        "opaque",
        "a.b.c",
        jwt({}),
        jwt([]),
        jwt({"exp": "soon"}),
        jwt({"exp": NOW - 5}),
        jwt({"exp": 10**30}),
        "..",
        "a.é.c",
    ],
)
def test_token_without_a_readable_end_lasts_fifty_minutes(text: str) -> None:
    body = json.dumps({"access_token": text}).encode()
    if text.isascii():
        assert login().token(body, NOW).expires == NOW + 50 * 60 - 60
    else:
        with pytest.raises(Malformed):
            login().token(body, NOW)


def test_no_token_is_denied_and_pages_are_not_the_api() -> None:
    for body in (b"{}", b'{"access_token":""}', b'{"access_token":null}'):
        with pytest.raises(Denied):
            login().token(body, NOW)
    with pytest.raises(NotTheApi, match="login_path"):
        login().token(b"<html>sign in</html>", NOW)
    with pytest.raises(Malformed):
        login().token(b'{"access_token":"a\\r\\nX-Evil: 1"}', NOW)


@given(st.binary(max_size=100))
def test_random_answers_never_escape_and_never_show_up_in_the_error(body: bytes) -> None:
    secret = "eyJhbGciOi-secret"
    for noise in (body, f'{{"access_token":"{secret}"'.encode() + body, b"[" + secret.encode()):
        shown = ""
        try:
            login().token(noise, NOW)
        except PollerError as error:
            shown = f"{error!r} {error}"
        assert secret not in shown


def test_configuration_takes_a_login_or_a_key() -> None:
    with pytest.raises(ValidationError, match="not both"):
        cases.config(api_key="k")
    with pytest.raises(ValidationError, match="username, password and domain"):
        cases.config(domain=None)
    with pytest.raises(ValidationError, match="max_page_size"):
        cases.config(endpoints={"cdrs": {"page_size": 500, "max_page_size": 100}})


def test_only_configured_lists_are_asked() -> None:
    assert list(build("f", cases.config(endpoints={"recordings": {}})).endpoints) == ["recordings"]
    assert (
        build("f", cases.config(endpoints={"cdrs": {"path": "/reports/cdrs/all"}}))
        .endpoints["cdrs"]
        .request(cases.CASES[0].ask, cases.WINDOW, None)
        .path
        == "/reports/cdrs/all"
    )
