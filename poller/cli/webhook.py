"""`poller webhook keygen` and `poller webhook verify`: keys for signed calls, and whether a call is what was signed."""

import os
import secrets
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from poller import commands, received
from poller.cli.print import Json, say, say_json
from poller.clock import SystemClock
from poller.signing import ed25519_texts, hmac_text

webhook = typer.Typer(help="Webhooks: how they stand, keys, signatures.", no_args_is_help=True)

TELL = """\
Shown once and kept nowhere. {which} signs: give it to poller as a secret, in an environment variable ({{env: NAME}})
or in a file that only its user may read ({{file: PATH}}).
{other}"""
SAME = "The receiver verifies with the same key: send it on a way that nobody else reads."
PUBLIC = "The receiver verifies with the whpk_ key, which is no secret."


class Kind(StrEnum):
    """`hmac`: one key that both sides know, signature v1. `ed25519`: a pair, signature v1a."""

    hmac = "hmac"
    ed25519 = "ed25519"


@webhook.command()
def keygen(
    kind: Annotated[
        Kind, typer.Option(help="hmac: one key for both sides, which every library verifies. ed25519: a key pair.")
    ] = Kind.hmac,
    as_json: Json = False,
) -> None:
    """Make a key to sign calls with and print it, once. What to do with it goes to standard error."""
    random = secrets.token_bytes(32)
    secret, public = (hmac_text(random), None) if kind is Kind.hmac else ed25519_texts(random)
    if as_json:
        say_json({"kind": kind.value, "secret": secret, "public": public})
        return
    say(secret)
    if public is not None:
        say(public)
    which, other = ("It", SAME) if public is None else ("The whsk_ key", PUBLIC)
    typer.echo(TELL.format(which=which, other=other), err=True)


@webhook.command()
def verify(
    headers: Annotated[
        Path, typer.Option(help="A file with the call's headers, one `Name: value` a line; `-`: standard input.")
    ],
    key: Annotated[
        list[str], typer.Option(help="Where a key is: env:NAME or file:PATH. May be given again; one must fit.")
    ],
    body: Annotated[
        Path, typer.Option(help="A file with the body's bytes as they came; `-`: standard input.")
    ] = received.STANDARD_INPUT,
    tolerance: Annotated[
        str, typer.Option(help="How far webhook-timestamp may be from this clock, such as 3d for an old call.")
    ] = "5m",
    as_json: Json = False,
) -> None:
    """Say whether a call is signed with one of the keys, or which check failed. Exit code 1 when one failed."""
    seconds = commands.duration(tolerance, "--tolerance")
    keys = received.keys_of(key, os.environ)
    found, content = received.parts_of(headers, body)
    verdict = received.judge(keys, found, content, now=SystemClock().now(), tolerance=seconds)
    place = None if verdict.key is None else key[verdict.key]
    if as_json:
        say_json({"valid": bool(verdict), "failed": verdict.failed, "message": verdict.message, "key": place})
    elif verdict:
        say(f"{verdict.message} ({place})")
    else:
        say(f"not valid ({verdict.failed}): {verdict.message}")
    raise typer.Exit(0 if verdict else 1)
