"""A YAML file as plain values, with the line of every key, so that each fault can be shown where it stands."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct, field

from poller.errors import ConfigError
from poller.rules import Place

MAX_BYTES = 4 << 20
MAX_VALUES = 200_000
"""Counted after aliases are followed, which is what a bomb of aliases cannot pass."""
MAX_DEPTH = 50
_BITS = 64
"""Of a whole number: printing a very long one takes forever."""
_DIGITS = 100
"""Characters of a number: reading `1:1:1…` takes time that grows with the square of its length."""


class Document(Struct):
    """What the file says. `lines` count from 1; `faults` are those that leave the rest of the file readable.

    `unread`: places whose value could not be understood, and is None instead.
    """

    value: dict[str, Any]
    lines: dict[Place, int] = field(default_factory=dict)
    faults: list[tuple[Place, str]] = field(default_factory=list)
    unread: set[Place] = field(default_factory=set)

    def line(self, place: Place) -> int:
        """The line of a place, or of the nearest one above it that the file has."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


def read(path: Path) -> Document:
    """Reads one YAML mapping. Raises ConfigError where the file as a whole cannot be understood."""
    text = _text(path)
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            raise ConfigError(f"{path}: the file is empty")
        if not isinstance(root, yaml.MappingNode):
            raise ConfigError(f"{path} (line {_line(root)}): the file must be a map of keys (`store:`, `sources:`, …)")
        return _Builder(loader).document(root)
    except yaml.YAMLError as error:
        raise ConfigError(_syntax(path, error)) from None
    except (ValueError, OverflowError):  # the library's own: of `"\\U00110000"`, and of a larger one
        raise ConfigError(f"{path}: has an escape (`\\U…`) of a character that does not exist") from None
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply") from None
    except _TooMuch as error:
        raise ConfigError(f"{path}: {error}") from None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or type(error).__name__}") from None
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_BYTES >> 20} MiB: this is no configuration file")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path} (line {line}): not UTF-8: save the file in that encoding") from None


_WORDS = (
    ("'\\t'", "a tab: YAML is indented with spaces only"),
    ("expected <block end>", "is indented otherwise than the lines that it belongs to"),
    (
        "mapping values are not allowed",
        "a colon where none may be: is this line indented too far? Text with a colon goes into quotes",
    ),
    ("could not find expected ':'", "a colon is missing, here or in the line before"),
    ("unexpected end of stream", "the file ends before a quote is closed"),
    ("expected ',' or", "a bracket is not closed before this, or a comma is missing"),
    ("that cannot start any token", "text that begins with a sign such as @ or % goes into quotes"),
    ("expected alphabetic or numeric character", "text that begins with * or & goes into quotes"),
    ("found another document", "a second document begins here (`---`): a file holds one"),
    ("second occurrence", "this anchor (`&`) was given a value before: give it another name"),
    ("unknown escape character", "a backslash in double quotes begins an escape: put the text into single quotes"),
)
"""What the parser says, in part, and what people understand."""


def _syntax(path: Path, error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        return f"{path}: has a control character (code {error.character}) that YAML does not allow"
    mark, begun = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", None) or "cannot be understood")
    problem = next((words for said, words in _WORDS if said in problem), problem)
    if mark is None:
        return f"{path}: {problem}"
    since = f" (what it belongs to begins in line {begun.line + 1})" if begun and begun.line < mark.line else ""
    return f"{path} (line {mark.line + 1}, column {mark.column + 1}): {problem}{since}"


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


_NUMBERS = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}


class _TooMuch(Exception):
    pass


class _Mark(Struct, frozen=True):
    """What is used of the library's marks. Theirs are most of the memory that a file of 10,000 sources takes."""

    line: int


class _Loader(yaml.SafeLoader):
    """Knows where aliases stand: the node of one is its anchor's, and so is the line of that."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.aliases: dict[tuple[int, int], int] = {}
        """Lines, by the node that an alias stands in and its index there, or its key's node."""
        self._nodes = 0
        self._texts: dict[str, str] = {}
        """Each text once: 10,000 sources have the same keys."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401 as the library has it
        self._nodes += 1
        if self._nodes > 2 * MAX_VALUES:  # keys are nodes, too; to read millions of them takes minutes
            raise _TooMuch(f"more than {MAX_VALUES} values")
        if parent is not None and self.check_event(yaml.AliasEvent):
            self.aliases[id(parent), _which(index)] = int(self.peek_event().start_mark.line) + 1  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        if node is not None:
            node.start_mark, node.end_mark = _Mark(node.start_mark.line), None
        if isinstance(node, yaml.ScalarNode):
            node.value = self._texts.setdefault(node.value, node.value)
        return node


def _which(index: yaml.Node | int | None) -> int:
    return index if isinstance(index, int) else id(index)


class _Builder:
    """Turns nodes into values. Keys are their text as written, whatever YAML takes them for (`on`, `8`)."""

    def __init__(self, loader: _Loader) -> None:
        self._loader = loader
        self._document = Document({})
        self._values = 0
        self._alias: int | None = None
        """The line of the alias that is followed: what stands at its anchor is wrong here, too."""

    def document(self, root: yaml.MappingNode) -> Document:
        self._document.value = self._mapping(root, ())
        return self._document

    def _value(self, node: yaml.Node, place: Place) -> Any:  # noqa: ANN401 YAML holds any type
        self._values += 1
        if self._values > MAX_VALUES:
            raise _TooMuch(f"more than {MAX_VALUES} values once aliases are followed")
        if len(place) > MAX_DEPTH:
            raise _TooMuch("nested too deeply, or an alias within itself")
        self._document.lines.setdefault(place, self._alias or _line(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self._followed(node, index, item, (*place, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, place)

    def _followed(self, parent: yaml.Node, which: yaml.Node | int, node: yaml.Node, place: Place) -> Any:  # noqa: ANN401 YAML holds any type
        before = self._alias
        self._alias = before or self._loader.aliases.get((id(parent), _which(which)))
        value = self._value(node, place)
        self._alias = before
        return value

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key, key_node, value in self._pairs(node, place):
            inner = (*place, key)
            if key in found:
                self._fault(inner, f"is given twice (lines {first[key]} and {_line(key_node)})")
                continue
            first[key] = _line(key_node)
            self._document.lines[inner] = self._alias or _line(key_node)
            found[key] = self._followed(node, key_node, value, inner)
        return found

    def _pairs(self, node: yaml.MappingNode, place: Place) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._fault(place, f"the key in line {_line(key)} is no plain text")
            elif key.tag == "tag:yaml.org,2002:merge":
                self._fault(place, f"merge keys (`<<`, line {_line(key)}) are not supported: write the keys out")
            else:
                yield key.value, key, value

    def _scalar(self, node: yaml.Node, place: Place) -> Any:  # noqa: ANN401 YAML holds any type
        if node.tag in _NUMBERS and len(node.value) > _DIGITS:
            self._fault(place, "is a number of too many digits: put text into quotes")
        else:
            try:
                value = self._loader.construct_object(node)
                if isinstance(value, str):
                    value.encode()
                if not isinstance(value, int) or value.bit_length() <= _BITS:
                    return value
                self._fault(place, "is a number of too many digits: put text into quotes")
            except yaml.YAMLError:
                self._fault(place, f"the tag {node.tag} is not supported")
            except UnicodeEncodeError:
                self._fault(place, "has an escape (`\\u…`) that is half of a character")
            except (ValueError, LookupError, ArithmeticError, AttributeError):  # what a tag such as `!!int` meets
                self._fault(place, "is no valid date or number: put text into quotes")
        self._document.unread.add(place)
        return None

    def _fault(self, place: Place, sentence: str) -> None:
        self._document.faults.append((place, sentence))
