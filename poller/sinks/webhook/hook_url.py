"""The URL of a webhook. Whoever knows the path or the query of one can often call it, so only scheme, host and port are ever shown."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from poller.options import Secret, secret_at
from poller.web_url import letters_fault, url_fault

_PORTS = {"http": 80, "https": 443}
_REST = "/…"
_STANDS_IN = "https://not-known.invalid"
_LEAST = 5
"""Characters of a part of a URL that may be a secret: `v1`, `api` and `in` are none."""
_PLAIN = "".join(chr(code) for code in range(0x21, 0x7F))


class HookUrl(Secret):
    """Written as text, or as `{env: NAME}` or `{file: PATH}`. A Secret, so that it is taken out of every log."""

    __slots__ = ("host", "port", "scheme", "target")

    def __init__(self, value: str, origin: Mapping[str, str], *, known: bool = True) -> None:
        """Raises ValueError with a sentence that does not hold the URL."""
        super().__init__(value, origin, known=known)
        if value.endswith(_REST):
            raise ValueError(f"ends with {_REST!r}, which stands for what was not shown: write the whole URL")
        fault = url_fault(value)
        if fault is not None:
            raise ValueError(f"{fault}. A webhook's URL is written like https://crm.example/hooks/calls")
        parts = urlsplit(value)
        self.scheme, self.host = parts.scheme, parts.hostname or ""
        self.port = parts.port or _PORTS[parts.scheme]
        if (letters := letters_fault(self.host)) is not None:
            raise ValueError(letters)
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
        if not self.known:
            return f"(as {' '.join(map(' '.join, self.origin.items()))} says, which cannot be read here)"
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
    found = secret_at(
        value, info, "must be a URL such as https://crm.example/hooks/calls, or {env: NAME} or {file: PATH}"
    )
    text = found.reveal().strip() if found.known else _STANDS_IN
    return HookUrl(text, found.origin, known=found.known)
