"""Strict schemas of what Kubernetes takes, by its version, and of those kinds of the operators that the chart makes."""

import json
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from cached_wheels import kept_wheel
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

PACKAGE = ("kubernetes-validate", "1.37.0", "85136d018a27b50ec7fc049d902bfa5193f5976807e6c0f408e3ab6fe078cad9")
OPERATORS = Path(__file__).resolve().parents[1] / "helm" / "operators.yaml"


def faults(thing: dict[str, Any], version: str) -> list[str]:
    """What Kubernetes of this version (`1.28`) would refuse, or not know."""
    kind = f"{thing['apiVersion']}/{thing['kind']}"
    own = _operators().get(kind)
    checker = Draft202012Validator(own) if own else _kubernetes(thing["kind"].lower(), thing["apiVersion"], version)
    return [f"{kind} {error.json_path}: {error.message}" for error in checker.iter_errors(thing)]


@cache
def _operators() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(OPERATORS.read_text(encoding="utf-8"))
    return read


@cache
def _kubernetes(kind: str, api_version: str, version: str) -> Draft202012Validator:
    group, _, release = api_version.rpartition("/")
    name = f"{kind}-{group.partition('.')[0]}-{release}" if group else f"{kind}-{release}"
    return Draft202012Validator(_member(f"{name}.json", version), registry=_registry(version))


@cache
def _registry(version: str) -> Registry[Any]:
    definitions: Resource[Any] = Resource.from_contents(_member("_definitions.json", version))
    return definitions @ Registry()


def _member(name: str, version: str) -> Any:
    with zipfile.ZipFile(kept_wheel(*PACKAGE)) as package:
        return json.loads(package.read(f"kubernetes_validate/kubernetes-json-schema/v{version}.0-local-strict/{name}"))
