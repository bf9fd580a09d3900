"""`poller webhook status`, `enable` and `disable`: how webhooks stand, and switching them off and on."""

from typing import Annotated

import typer

from poller.cli.print import DEFAULT_CONFIG, ConfigPath, Json, say, say_json, say_table, when
from poller.commands import ask
from poller.operations import WebhookStatus

Name = Annotated[str, typer.Argument(help="As in the configuration.")]


def register(app: typer.Typer) -> None:
    """Adds these commands to `poller webhook`."""
    for command in (status, enable, disable):
        app.command()(command)


def status(
    name: Annotated[str | None, typer.Argument(help="Only this one, in full.")] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Show how webhooks stand: what waits for each, what it said last, when something is tried next."""
    found = ask(config, lambda operations: operations.webhooks(name), looking=True)
    if as_json:
        say_json(found)
    elif name is None:
        _show_all(found)
    else:
        _show(found[0])


def enable(name: Name, config: ConfigPath = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Let a disabled webhook be called again: with one event first, and with the others once that is taken."""
    done = ask(config, lambda operations: operations.enable_webhook(name))
    if as_json:
        say_json(done)
    elif done.before == "disabled":
        say(f"{name} is enabled: one event is tried, the others follow once it is taken")
    elif done.before == "down":
        say(f"{name} is not disabled but down: one event is tried at once")
    elif done.before == "slowed":
        say(f"{name} is not disabled: it asked for fewer calls. One event is tried at once all the same")
    else:
        say(f"{name} is not disabled: nothing to do")


def disable(
    name: Name,
    why: Annotated[str, typer.Option(help="The reason, for whoever looks at its status or at the log.")] = "",
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Call a webhook no more, restarts included. Its events are kept up to its max_pending."""
    done = ask(config, lambda operations: operations.disable_webhook(name, why))
    if as_json:
        say_json(done)
    elif done.before == "disabled":
        say(f"{name} is disabled already, since {when(done.since)}: {done.why}")
    else:
        say(f"{name} is disabled; once it may be called again: poller webhook enable {name}")


def _show_all(found: list[WebhookStatus]) -> None:
    heads = [
        "webhook",
        "url",
        "state",
        "failures",
        "waiting",
        "to be tried again",
        "next try",
        "oldest",
        "dead letters",
    ]
    say_table("Webhooks", heads, [
        (each.sink, each.url, each.state, each.failures, each.waiting, each.retrying, when(each.next_try),
         when(each.oldest_pending), each.dead_letters)
        for each in found
    ])  # fmt: skip
    for each in found:
        if each.why or each.heard not in {None, "delivered"}:
            say(f"{each.sink}: {_said(each)}")


def _said(each: WebhookStatus) -> str:
    """What holds a webhook up, else what it said last."""
    return f"{each.state} since {when(each.since)}: {each.why}" if each.why else f"said last: {each.heard}"


def _show(each: WebhookStatus) -> None:
    since = f" since {when(each.since)}" if each.since else ""
    heard = f"{each.heard} ({when(each.heard_at)})" if each.heard_at else each.heard
    for title, value in {
        "url": each.url,
        "state": f"{each.state}{since}",
        "why": each.why,
        "said last": heard,
        "failed in a row": _dash(each.failures),
        "next try": _dash(when(each.next_try)),
        "waiting": each.waiting,
        "to be tried again": f"{each.retrying}{f', the next one at {when(each.next_retry)}' if each.next_retry else ''}",
        "oldest": _dash(when(each.oldest_pending)),
        "dead letters": each.dead_letters,
    }.items():
        if value is not None:
            say(f"{title + ':':<19}{value}")


def _dash(value: object) -> object:
    return "-" if value is None else value
