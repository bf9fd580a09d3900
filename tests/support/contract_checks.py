"""Validation of events as strictly as our own output is judged: closed schemas, formats included."""

import re
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, FormatChecker

FORMATS = FormatChecker(formats=())
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z")
_URI = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})*")


@FORMATS.checks("date-time", ValueError)
def _is_time(value: object) -> bool:
    """RFC 3339, and UTC: narrower than the format, since that is what is promised."""
    if not isinstance(value, str):
        return True
    return bool(_TIME.fullmatch(value)) and datetime.fromisoformat(value).utcoffset() is not None


@FORMATS.checks("uri", ValueError)
def _is_uri(value: object) -> bool:
    """RFC 3986, absolute."""
    return not isinstance(value, str) or (bool(_URI.fullmatch(value)) and bool(urlsplit(value).scheme))


def closed(schema: Any) -> Any:
    """The schema without room for what it does not name."""
    if isinstance(schema, list):
        return [closed(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(value) for name, value in schema.items()}
    return {**inner, "additionalProperties": False} if isinstance(schema.get("properties"), dict) else inner


def faults(schema: dict[str, Any], value: object) -> list[str]:
    """What is wrong with a value."""
    validator = Draft202012Validator(schema, format_checker=FORMATS)
    return [f"{fault.json_path}: {fault.message}" for fault in validator.iter_errors(value)]
