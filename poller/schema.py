"""The JSON Schema (2020-12) of the whole configuration, generated from the models of every kind that is found."""

from functools import reduce
from operator import or_
from typing import Annotated, Any

from pydantic import Field, create_model
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import SchemaSerializer, core_schema

from poller.config import Settings
from poller.kinds import KINDS
from poller.options import Name


def config_schema() -> dict[str, Any]:
    """What an editor or a chart checks a configuration file with."""
    types: dict[str, Any] = {
        "store": _any(KINDS.stores),
        "sinks": dict[Name, _any(KINDS.sinks)],  # type: ignore[misc]  # the kinds are known at run time only
        "sources": dict[Name, _any(KINDS.sources)],  # type: ignore[misc]  # as above
    }
    fields: dict[str, Any] = {name: (kind, Settings.model_fields[name]) for name, kind in types.items()}
    model = create_model("Configuration", __base__=Settings, __doc__="The configuration of poller.", **fields)
    schema = model.model_json_schema(schema_generator=Generator)
    for section in ("sinks", "sources"):
        schema["properties"][section]["additionalProperties"] = False  # every name fits the pattern, or it is a fault
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _any(package: str) -> Any:  # noqa: ANN401 a type made at run time
    """One of the models of a package, told apart by `kind`."""
    models = [model for name in KINDS.names(package) if (model := KINDS.model(package, name))]
    union = reduce(or_, models)
    return Annotated[union, Field(discriminator="kind")] if len(models) > 1 else union


class Generator(GenerateJsonSchema):
    """Writes defaults as the configuration does: `1m`, not 60.0."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """The library's own, but for numbers that are written as text."""
        found = super().default_schema(schema)
        default = schema.get("default")
        if isinstance(default, float | int | tuple) and "default" in found:
            found["default"] = SchemaSerializer(schema["schema"]).to_python(default, mode="json")
        return found
