"""The example that ships is whole: it loads, and it says what its comments say."""

from pathlib import Path

import jsonschema
import pytest
import yaml

from poller.config import Settings, load
from poller.crosscheck import endpoints_of
from poller.kinds import KINDS, kind_of, load_sink_kind, load_source_kind, load_store_kind
from poller.schema import config_schema
from poller.signing import hmac_text

EXAMPLE = Path(__file__).parents[2] / "config/poller.yaml"
ENV = {
    "KAFKA_PASSWORD": "k",
    "MOR_API_SECRET": "m",
    "MOR_PASSWORD": "p",
    "FONO_PASSWORD": "f",
    "CRM_KEY": hmac_text(bytes(32)),
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The example with its one secret file in a temporary folder."""
    (tmp_path / "thulium").write_text("t")
    path = tmp_path / "poller.yaml"
    path.write_text(EXAMPLE.read_text(encoding="utf-8").replace("/run/secrets/thulium", "thulium"))
    return load(path, ENV, to_run=True)


def test_the_example_loads_and_has_work(settings: Settings) -> None:
    assert kind_of(settings.store) == "sqlite"
    assert {name: sorted(endpoints_of(source)) for name, source in settings.sources.items()} == {
        "mor-main": ["local_calls", "recordings", "user_calls"],
        "thulium-pl": ["connections", "recordings"],
        "fono-1": ["cdrs", "recordings"],
    }


def test_every_source_of_the_example_can_be_built(settings: Settings) -> None:
    for name, config in settings.sources.items():
        source = load_source_kind(kind_of(config)).build(name, config)
        assert sorted(source.endpoints) == sorted(endpoints_of(config))


def test_every_kind_that_is_found_has_what_a_folder_must_export() -> None:
    assert {"fonouc", "mor", "thulium"} <= set(KINDS.names(KINDS.sources))
    assert {"kafka", "ndjson", "webhook"} <= set(KINDS.names(KINDS.sinks))
    assert {"memory", "postgres", "sqlite"} <= set(KINDS.names(KINDS.stores))
    for kind in KINDS.names(KINDS.sources):
        assert callable(load_source_kind(kind).build)
    for kind in KINDS.names(KINDS.sinks):
        assert callable(load_sink_kind(kind).build)
    for kind in KINDS.names(KINDS.stores):
        assert callable(load_store_kind(kind).open_store)


def test_the_schema_is_a_schema_and_knows_the_example() -> None:
    schema = config_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    example = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    assert [error.message for error in validator.iter_errors(example)] == []
    wrongs: tuple[dict[str, object], ...] = (
        {"retention": 7},
        {"sinks": {"a b": {}}},
        {"sources": {"x": {"kind": "none"}}},
        {"admin": {"listens": "127.0.0.1:9465"}},
    )
    for wrong in wrongs:
        assert not validator.is_valid({**example, **wrong})


def test_the_effective_configuration_fits_the_schema(settings: Settings) -> None:
    validator = jsonschema.Draft202012Validator(config_schema())
    assert [error.message for error in validator.iter_errors(settings.model_dump(mode="json"))] == []


def test_the_defaults_that_the_comments_name(settings: Settings) -> None:
    """A default that is written out in the example must be the default."""
    defaults = Settings(store=settings.store)
    for name in ("retention", "seen_ttl", "dead_letter_retention", "shutdown_grace", "server", "admin", "log"):
        assert getattr(settings, name) == getattr(defaults, name)
    crm = settings.sinks["crm"].model_dump()
    fields = type(settings.sinks["crm"]).model_fields
    assert {name: crm[name] for name in ("format", "vendor", "order")} == {
        name: fields[name].default for name in ("format", "vendor", "order")
    }
    cdrs = endpoints_of(settings.sources["fono-1"])["cdrs"]
    assert cdrs == type(cdrs)()
