"""The URL of a webhook. Whoever knows the path or the query of one can often call it, so only scheme, host and port are ever shown."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from poller.options import Secret, find_secret

_PORTS = {"http": 80, "https": 443}
_REST = "/…"
_LEAST = 5
"""Characters of a part of a URL that may be a secret: `v1`, `api` and `in` are none."""
_PLAIN = "".join(chr(code) for code in range(0x21, 0x7F))


class HookUrl(Secret):
    """Written as text, or as `{env: NAME}` or `{file: PATH}`. A Secret, so that it is taken out of every log."""

    __slots__ = ("host", "port", "scheme", "target")

    def __init__(self, value: str, origin: dict[str, str]) -> None:
        """Raises ValueError with a sentence that does not hold the URL."""
        super().__init__(value, origin)
        try:
            parts = urlsplit(value)
            self.scheme, self.host = parts.scheme, parts.hostname or ""
            self.port = parts.port if parts.port is not None else _PORTS.get(parts.scheme, 0)
        except ValueError:
            raise ValueError("is no URL: write one such as https://crm.example/hooks/calls") from None
        if not self.host.isascii():
            raise ValueError("has a host with letters beyond ASCII: write it in its form with xn--")
        if value.endswith(_REST):
            raise ValueError(f"ends with {_REST!r}, which stands for what was not shown: write the whole URL")
        if "#" in value:
            raise ValueError("must not hold a fragment (`#`): it would not be sent")
        self.target = quote(parts.path or "/", safe=_PLAIN) + (
            f"?{quote(parts.query, safe=_PLAIN)}" if parts.query else ""
        )

    @property
    def authority(self) -> str:
        """Host and port as the `Host` header has them: without the port that the scheme implies."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS.get(self.scheme) else f"{host}:{self.port}"

    @property
    def place(self) -> str:
        """What may be shown: scheme, host and port."""
        return f"{self.scheme}://{self.authority}"

    def shown(self) -> str:
        """As `poller config show` has it."""
        return self.place if self.target == "/" else f"{self.place}{_REST}"

    def parts(self) -> Iterator[str]:
        """What a receiver may repeat of the path and the query, whole and in parts, as far as it may be a secret."""
        path, _, query = self.target.partition("?")
        values = [pair.partition("=")[2] or pair for pair in query.split("&")]
        for text in (self.target, path, query, *path.split("/"), *values):
            if len(text) >= _LEAST:
                yield text
                yield unquote(text)

    def __repr__(self) -> str:
        """Without path and query."""
        return f"<HookUrl {self.place}>"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, inner: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401 the library's own signature
        """Validation by `_read`; serialised by where it comes from, or without path and query."""
        return core_schema.with_info_plain_validator_function(
            _read, serialization=core_schema.plain_serializer_function_ser_schema(lambda url: url.origin or url.shown())
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, inner: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Text, or where it is."""
        place = super().__get_pydantic_json_schema__(schema, inner)
        return {"anyOf": [{"type": "string", "examples": ["https://crm.example/hooks/calls"]}, place]}


def _read(value: object, info: ValidationInfo) -> HookUrl:
    if isinstance(value, str):
        return HookUrl(value, {})
    context = info.context or {}
    if not isinstance(value, dict) or len(value) != 1 or next(iter(value)) not in {"env", "file"}:
        raise ValueError("must be a URL such as https://crm.example/hooks/calls, or {env: NAME} or {file: PATH}")
    ((kind, place),) = value.items()
    if not isinstance(place, str):
        raise ValueError(f"{kind} takes a name")  # noqa: TRY004 the model library collects ValueErrors
    found = find_secret(kind, place, context.get("env", {}), Path(context.get("folder", ".")))
    return HookUrl(found.reveal(), found.origin)
