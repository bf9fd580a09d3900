"""The command line: parse arguments, print, exit code. 0: done; 1: it ran and failed; 2: bad usage or configuration."""

import sys
from typing import Annotated

import anyio
import typer
import yaml

from poller import __version__, commands
from poller.cli import daemon, source_state, state, webhook_state
from poller.cli.check import check
from poller.cli.demo import demo_command
from poller.cli.journey import journey
from poller.cli.letters import dead_letters
from poller.cli.media import recording
from poller.cli.print import DEFAULT_CONFIG, ConfigPath, Json, say, say_json, told
from poller.cli.reconcile import reconcile
from poller.cli.replay import replay
from poller.cli.run import run
from poller.cli.simulate import simulate_command
from poller.cli.webhook import webhook
from poller.contract import document
from poller.crosscheck import endpoints_of
from poller.errors import ConfigError, PollerError
from poller.kinds import kind_of
from poller.schema import config_schema

WholeEvent = Annotated[bool, typer.Option("--event", help="Of the whole event instead: its attributes and its `data`.")]
app = typer.Typer(
    name="poller",
    help="Polls phone systems for new calls and recordings and publishes each exactly once.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # it prints local variables, and secrets live in some
)
schema = typer.Typer(help="The shapes of what poller reads and writes.", no_args_is_help=True)
config = typer.Typer(help="The configuration as poller understands it.", no_args_is_help=True)
app.add_typer(schema, name="schema")
app.add_typer(config, name="config")
app.command()(run)
app.command()(check)
app.command()(replay)
app.command()(reconcile)
app.command()(journey)
app.command("demo")(demo_command)
app.command("simulate")(simulate_command)
app.add_typer(recording, name="recording")
app.add_typer(dead_letters, name="dead-letters")
webhook_state.register(webhook)
app.add_typer(webhook, name="webhook")
daemon.register(app)
state.register(daemon.state)
source_state.register(daemon.sources)


def main() -> None:
    """The entry point; turns errors into one readable block and an exit code."""
    try:
        app()
    except (PollerError, BaseExceptionGroup) as error:
        sys.exit(told(error))
    except UnicodeEncodeError:
        odd = next((word for word in sys.argv if word != word.encode(errors="replace").decode()), None)
        if odd is None:
            raise
        sys.exit(told(PollerError(f"{odd!r} is no text in UTF-8, so nothing has that name")))


def _version(asked: bool) -> None:
    if asked:
        say(f"poller {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    pass


@app.command()
def validate(config: ConfigPath = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Check a configuration file without asking anybody."""
    try:
        settings = commands.settings_of(config, to_run=True)
    except ConfigError as error:
        if not as_json:
            raise
        say_json({"valid": False, "faults": error.faults})
        raise typer.Exit(2) from None
    counts = {
        "sources": len(settings.sources),
        "endpoints": sum(len(endpoints_of(source)) for source in settings.sources.values()),
        "sinks": len(settings.sinks),
    }
    obstacles, doubts = commands.obstacles(settings), commands.doubts(settings)
    if as_json:
        say_json({"valid": True, "faults": [], "warnings": [*doubts, *obstacles], **counts})
        return
    say(f"{config}: no faults; " + ", ".join(f"{name}: {count}" for name, count in counts.items()))
    for doubt in doubts:
        say(f"warning: {doubt}")
    for warning in obstacles:
        say(f"warning: {warning} (if the daemon is to run here, as this user)")


@app.command()
def migrate(config: ConfigPath = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Bring the store's schema up to date; `run` does so too when it starts."""
    settings = commands.settings_of(config, stand_ins=True)
    facts = anyio.run(commands.migrate, settings)
    kind = kind_of(settings.store)
    if as_json:
        say_json({"store": kind, "facts": facts})
    else:
        say(f"The {kind} store is up to date: {facts.bytes} bytes, {facts.seen_ids} ids seen.")


@schema.command("config")
def schema_config() -> None:
    """Print the JSON Schema of the configuration file."""
    say_json(config_schema())


@schema.command("call")
def schema_call(event: WholeEvent = False) -> None:
    """Print the JSON Schema of `data` in call events, new and updated alike."""
    say(document("call-event" if event else "call").rstrip())


@schema.command("recording")
def schema_recording(event: WholeEvent = False) -> None:
    """Print the JSON Schema of `data` in recording events, new and updated alike."""
    say(document("recording-event" if event else "recording").rstrip())


@schema.command("window")
def schema_window(event: WholeEvent = False) -> None:
    """Print the JSON Schema of `data` in window events, which say that an hour of a list is whole."""
    say(document("window-event" if event else "window").rstrip())


@schema.command("asyncapi")
def schema_asyncapi() -> None:
    """Print an AsyncAPI 3 document of topics and webhooks: keys, headers, values."""
    say(document("asyncapi").rstrip())


@config.command("show")
def config_show(config: ConfigPath = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Print the effective configuration: every default written out, secrets by where they come from."""
    effective = commands.settings_of(config).model_dump(mode="json", by_alias=True)
    if as_json:
        say_json(effective)
    else:
        say(yaml.safe_dump(effective, sort_keys=False, allow_unicode=True, width=120).rstrip())
