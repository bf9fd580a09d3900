"""`poller webhook`: keys are shown once and nowhere else, and a call is judged by its first failing check."""

import json
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import NamedTuple

import pytest
import standardwebhooks

from poller.cli.program import main
from poller.errors import ConfigError
from poller.received import headers_of, judge, keys_of, parts_of
from poller.signing import HmacKey, PrivateKey, PublicKey, ed25519_texts, hmac_text, read_key, read_signing_key, sign


class Told(NamedTuple):
    """What a command answered."""

    code: str | int | None
    out: str
    err: str


Run = Callable[..., Told]

SECRET = hmac_text(bytes(range(32)))
OLDER = hmac_text(bytes(range(1, 33)))
PRIVATE, PUBLIC = ed25519_texts(bytes(range(32)))
BODY = b'{"type": "telephony.call.new"}'
ENV = {"OURS": SECRET, "OLDER": OLDER, "PRIVATE": PRIVATE, "PUBLIC": PUBLIC, "BROKEN": SECRET[:9] + "-"}


@pytest.fixture
def poller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`poller webhook …` in a folder of its own; none of the keys may be in what it says."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, said: bytes = b"") -> Told:
        monkeypatch.setattr(sys, "argv", ["poller", "webhook", *arguments])
        monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(said)))
        for name, key in ENV.items():
            monkeypatch.setenv(name, key)
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        for secret in (SECRET, OLDER, PRIVATE):
            assert secret.partition("_")[2][:20] not in out + err
        return Told(ended.value.code, out, err)

    return run


def written(folder: Path, *keys: str, at: float = 0.0) -> None:
    """`headers.txt` and `body` of a call that was signed `at` seconds from now, as a receiver may have kept them."""
    headers = sign([read_signing_key(key) for key in keys], "evt1", round(time.time() + at), BODY)
    lines = [
        "POST /hooks HTTP/1.1",
        "Host: crm.example:8080",
        *(f"{name.title()}: {headers[name]}" for name in headers),
    ]
    (folder / "headers.txt").write_bytes("\r\n".join([*lines, "", ""]).encode())
    (folder / "body").write_bytes(BODY)


FILES = ("--headers", "headers.txt", "--body", "body")


# --- keygen ----------------------------------------------------------------------------------------------------------


def test_keygen_gives_a_key_that_a_library_takes(poller: Run) -> None:
    first, second = poller("keygen"), poller("keygen")
    assert first.code == 0
    assert first.out != second.out
    (secret,) = first.out.split()
    headers = sign([read_signing_key(secret)], "evt1", int(time.time()), BODY)
    standardwebhooks.Webhook(secret).verify(BODY, headers)
    assert secret not in first.err
    assert "Shown once" in first.err
    assert "{env: NAME}" in first.err


def test_keygen_of_a_pair(poller: Run) -> None:
    done = poller("keygen", "--kind", "ed25519")
    secret, public = done.out.split()
    key = read_signing_key(secret)
    assert isinstance(key, PrivateKey)
    assert f"{key.public!r}" == f"<PublicKey {public}>"
    assert secret not in done.err


def test_the_program_itself_refuses_a_key_in_plain_sight() -> None:
    command = [sys.executable, "-m", "poller.cli", "webhook", "verify", "--key", SECRET, "--headers", "-"]
    done = subprocess.run(command, input="", capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("poller: --key is written env:NAME or file:PATH")
    assert SECRET[6:20] not in done.stderr


@pytest.mark.parametrize(("kind", "kinds"), [("hmac", [HmacKey]), ("ed25519", [PrivateKey, PublicKey])])
def test_keygen_for_programs(poller: Run, kind: str, kinds: list[type]) -> None:
    done = poller("keygen", "--kind", kind, "--json")
    told = json.loads(done.out)
    assert done.err == ""
    assert list(told) == ["kind", "secret", "public"]
    assert [type(read_key(told[name])) for name in ("secret", "public") if told[name]] == kinds


def test_a_made_key_works_from_a_file(poller: Run, tmp_path: Path) -> None:
    """Standard output alone makes the file of a secret."""
    secret = tmp_path / "key"
    secret.write_text(poller("keygen").out)
    secret.chmod(stat.S_IRUSR)
    written(tmp_path, secret.read_text())
    assert poller("verify", "--key", "file:key", *FILES).code == 0


# --- verify ----------------------------------------------------------------------------------------------------------


def test_a_valid_call(poller: Run, tmp_path: Path) -> None:
    written(tmp_path, OLDER, PRIVATE)
    done = poller("verify", "--key", "env:OURS", "--key", "env:OLDER", *FILES)
    assert (done.code, done.out) == (0, "valid: a v1 signature by key 2 of 2 (env:OLDER)\n")
    told = poller("verify", "--key", "env:PUBLIC", "--headers", "headers.txt", "--json", said=BODY)
    assert told.code == 0
    assert json.loads(told.out) == {
        "valid": True, "failed": None, "message": "valid: a v1a signature by key 1 of 1", "key": "env:PUBLIC",
    }  # fmt: skip


def test_headers_from_standard_input(poller: Run, tmp_path: Path) -> None:
    written(tmp_path, SECRET)
    headers = (tmp_path / "headers.txt").read_bytes()
    assert poller("verify", "--key", "env:OURS", "--headers", "-", "--body", "body", said=headers).code == 0


def test_a_call_that_fails_a_check(poller: Run, tmp_path: Path) -> None:
    written(tmp_path, SECRET)
    (tmp_path / "body").write_bytes(BODY.replace(b"new", b"old"))
    done = poller("verify", "--key", "env:OURS", *FILES)
    assert (done.code, done.err) == (1, "")
    assert done.out.startswith("not valid (signature_wrong): no signature fits a key")
    told = json.loads(poller("verify", "--key", "env:OURS", "--json", *FILES).out)
    assert (told["valid"], told["failed"], told["key"]) == (False, "signature_wrong", None)


def test_an_old_call_and_more_tolerance(poller: Run, tmp_path: Path) -> None:
    written(tmp_path, SECRET, at=-86_400)
    done = poller("verify", "--key", "env:OURS", *FILES)
    assert (done.code, done.out[:19]) == (1, "not valid (too_old)")
    assert poller("verify", "--key", "env:OURS", "--tolerance", "2d", *FILES).code == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--key", SECRET, *FILES], "never as the key itself"),
        (["--key", f"env:{SECRET}", *FILES], "never as the key itself"),
        (["--key", "env:OURS", "--headers", "-", "--body", "-"], "cannot both come from standard input"),
        (["--key", "env:OURS", "--headers", "nowhere"], "--headers: nowhere cannot be read: No such file or directory"),
        (["--key", "env:OURS", "--tolerance", "5", *FILES], "--tolerance: '5' is no duration"),
        (["--key", "env:OURS"], "--headers"),
        (FILES, "--key"),
    ],
    ids=lambda value: None if isinstance(value, str) else " ".join(value).replace(SECRET, "literal"),
)
def test_bad_usage(poller: Run, tmp_path: Path, arguments: list[str], sentence: str) -> None:
    written(tmp_path, SECRET)
    done = poller("verify", *arguments)
    assert (done.code, done.out) == (2, "")
    assert sentence in done.err


# --- keys and parts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["", "env:", "file:", ":", "OURS", "vault:x", SECRET, PRIVATE, f"file:{PRIVATE}"])
def test_a_key_that_is_no_place(place: str) -> None:
    with pytest.raises(ConfigError, match="written env:NAME or file:PATH") as failed:
        keys_of([place], ENV)
    shown = str(failed.value)
    assert not any(secret.partition("_")[2][:20] in shown for secret in (SECRET, PRIVATE))


def test_every_fault_of_the_keys_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(ConfigError) as failed:
        keys_of(["env:GONE", "env:OURS", "env:BROKEN", f"file:{tmp_path / 'empty'}"], ENV)
    assert failed.value.faults == [
        "--key env:GONE: the environment variable GONE is not set",
        "--key env:BROKEN: this whsec_ key is not base64 in its standard alphabet (A-Z, a-z, 0-9, + and /), or is cut off",
        f"--key file:{tmp_path / 'empty'}: the secret file {tmp_path / 'empty'} is empty",
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", {}),
        (b"webhook-id: a\n", {"webhook-id": "a"}),
        (b"POST / HTTP/1.1\r\nA:  b:c \r\nX-Y:\r\n\r\n", {"a": "b:c", "x-y": ""}),
        (b"Accept: a\nAccept: b\n\n\n", {"accept": "b"}),
        (b"a: \xe9\xff", {"a": "éÿ"}),
    ],
)
def test_headers_as_they_are_kept(text: bytes, found: dict[str, str]) -> None:
    assert headers_of(text) == found


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"a: b\nsecret-line\n", r"line 2\): this is no header"),
        (b": b\n", r"line 1\): this is no header"),
        (b"a: b\n\n{}", r"line 2\): it goes on after an empty line"),
        (b"Webhook-Id: a\nwebhook-id: b\n", r"line 2\): webhook-id is given twice"),
    ],
)
def test_headers_that_are_none(text: bytes, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as failed:
        headers_of(text)
    assert "secret-line" not in str(failed.value)


def test_files_that_are_too_long_or_none(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(bytes((1 << 20) + 1))
    for path, sentence in ((tmp_path / "long", "longer than 1 MiB"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigError, match=sentence):
            parts_of(path, tmp_path / "long")


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_line_end_after_the_body_is_named(end: bytes) -> None:
    key = read_signing_key(SECRET)
    headers = sign([key], "evt1", 1_700_000_000, BODY)
    verdict = judge([key], headers, BODY + end, now=1_700_000_000, tolerance=300)
    assert verdict.failed == "signature_wrong"
    assert verdict.message == "the body ends with a line end that was not sent; without it the signature fits"
    other = judge([read_key(OLDER)], headers, BODY + end, now=1_700_000_000, tolerance=300)
    assert other.message.startswith("no signature fits a key")


def test_a_line_end_that_was_sent_is_none_of_our_business() -> None:
    key = read_signing_key(SECRET)
    headers = sign([key], "evt1", 1_700_000_000, BODY + b"\n")
    assert judge([key], headers, BODY + b"\n", now=1_700_000_000, tolerance=300)
    assert not judge([key], headers, BODY, now=1_700_000_000, tolerance=300)
