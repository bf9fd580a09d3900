"""Pure: a MOR document, in pieces of any size, to records as JSON bytes. Memory stays bounded however long the list is.

MOR answers with status 200, as `text/html` and without paging whatever happens (BEHAVIOUR 1.1, 1.3), so only the body counts.
"""

import codecs
import re
from typing import cast

import msgspec
from lxml import etree

from poller.errors import EmptyAnswer, Malformed, NotTheApi, PollerError, Truncated

SLICE = 1 << 16
QUIET = 16 << 20
"""Bytes without one whole record after which an answer is given up: what is not a record stays in memory."""
PROLOG = 1 << 16

_CONTROLS = bytes(set(range(0x20)) - {0x09, 0x0A, 0x0D})
_NONCHARACTERS = str.maketrans(dict.fromkeys((0xFFFE, 0xFFFF), 0xFFFD))
_REFERENCE = re.compile(rb"&#(?:x([0-9a-fA-F]{1,8})|([0-9]{1,8}));")
_OPEN_REFERENCE = re.compile(rb"&#?[0-9a-zA-Z]{0,10}\Z")
_BEFORE_ROOT = re.compile(rb"(?:\s+|<\?.*?\?>|<!--.*?-->)*", re.DOTALL)
_ROOT = re.compile(rb"<([A-Za-z_][^\s/>]*)[\s/>]")
_encode = msgspec.json.Encoder().encode


class Clean:
    """Bytes to UTF-8 that XML allows, the same however they are cut: control characters, references to them and broken bytes go."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._held = b""
        self._plain = True

    def feed(self, data: bytes, *, final: bool = False) -> bytes:
        """What is certain now; the begin of a character or of a reference waits for the rest."""
        if not (self._plain and data.isascii()):
            text = self._decode(data, final)
            self._plain = final  # the decoder may hold the begin of a character
            data = text.translate(_NONCHARACTERS).encode() if "\ufffe" in text or "\uffff" in text else text.encode()
        data = self._held + data.translate(None, _CONTROLS)
        self._held = b""
        if not final and (start := _OPEN_REFERENCE.search(data, max(0, len(data) - 12))):
            self._held, data = data[start.start() :], data[: start.start()]
        return _REFERENCE.sub(_allowed, data) if b"&#" in data else data


def _allowed(match: re.Match[bytes]) -> bytes:
    code = int(match[1], 16) if match[1] else int(match[2])
    legal = code in {0x9, 0xA, 0xD} or 0x20 <= code < 0xD800 or 0xE000 <= code < 0xFFFE or 0x10000 <= code < 0x110000
    return match[0] if legal else b""


class Document:
    """One answer while it is read. `record`: the tag of a record; `listed`: the tag of the list around it; `facts`: tags to note."""

    def __init__(self, record: str, listed: str, facts: tuple[str, ...] = (), *, may_lack_end: bool = False) -> None:
        self.facts: dict[str, str] = {}
        self.count = 0
        self.listed = False
        """Whether the list ended."""
        self.error: str | None = None
        """The text of the first element named `error`, at whatever depth."""
        self.bare = False
        """Whether the document had no element below its root."""
        self._record, self._list, self._may_lack_end = record, listed, may_lack_end
        self._names = {*facts, "error_msg"}
        self._parser = etree.XMLPullParser(
            events=("end",),
            tag=(record, listed, "page", "error", *self._names),
            no_network=True,
            remove_comments=True,
            remove_pis=True,
        )
        self._clean = Clean()
        self._prolog: bytes | None = b""
        self._root = ""
        self._ended = False
        self._quiet = 0
        self._fault: PollerError | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """The records that are whole now. Raises BadAnswer or NotTheApi, but never before the records in front of the fault."""
        if self._fault is not None:
            raise self._fault
        records: list[bytes] = []
        try:
            for start in range(0, len(data), SLICE):
                self._read(self._clean.feed(data[start : start + SLICE]), records)
        except (PollerError, etree.XMLSyntaxError) as error:
            self._fault = error if isinstance(error, PollerError) else Malformed(f"the XML cannot be read: {error.msg}")
            if not records:
                raise self._fault from None
        return records

    def close(self) -> list[bytes]:
        """The last records. Raises EmptyAnswer, Truncated, NotTheApi, or the fault that `feed` has kept."""
        if self._fault is not None:
            raise self._fault
        records: list[bytes] = []
        try:
            self._read(self._clean.feed(b"", final=True), records)
            self._end(records)
        except etree.XMLSyntaxError as error:
            raise Truncated(f"the answer ends before its document does: {error.msg}") from None
        return records

    def _end(self, records: list[bytes]) -> None:
        if self._prolog is not None:
            if not self._prolog.strip():
                raise EmptyAnswer("the answer is empty; MOR's empty list is a document")
            raise Truncated(f"the answer ends before its document begins: {show(self._prolog)}")
        if self._may_lack_end and self._root == "page" and not self._ended:
            self._parser.feed(b"</page>")  # a fault where anything else is open
        self._parser.close()
        self._drain(records)

    def _read(self, data: bytes, records: list[bytes]) -> None:
        if self._prolog is not None:
            data = self._find_root(self._prolog + data)
        if not data:
            return
        try:
            self._parser.feed(data)
        finally:
            self._quiet += len(data)
            self._drain(records)
        if self._quiet > QUIET:
            raise Malformed(f"{QUIET >> 20} MiB went by without one <{self._record}>")

    def _find_root(self, data: bytes) -> bytes:
        """What follows the prolog, once the root's name is known. Nothing may stand before it but comments and declarations."""
        data = data.removeprefix(codecs.BOM_UTF8)
        before = _BEFORE_ROOT.match(data)
        rest = data[before.end() :] if before else data
        root = _ROOT.match(rest)
        if root is None:
            self._prolog = data
            self._refuse_early(rest)
        if len(data) - len(rest) + (root.end() if root else len(rest)) > PROLOG:
            raise Malformed(f"no document began within {PROLOG >> 10} KiB: {show(data)}")
        if root is None:
            return b""
        self._prolog, self._root = None, root[1].decode()
        if self._root.lower() in {"html", "head", "body"}:
            raise NotTheApi(
                f"an HTML page came instead of the API's answer: {show(rest)}. Check base_url and what stands between"
            )
        return rest

    def _refuse_early(self, rest: bytes) -> None:
        start = rest[:14].upper()
        if start.startswith(b"<!DOCTYPE HTML"):
            raise NotTheApi(
                f"an HTML page came instead of the API's answer: {show(rest)}. Check base_url and what stands between"
            )
        if start.startswith(b"<!DOCTYPE") and len(start) == 14:
            raise Malformed("the answer declares a document type, which is refused unread")
        if rest and not rest.startswith(b"<"):
            raise NotTheApi(f"the answer is no XML: {show(rest)}")

    def _drain(self, records: list[bytes]) -> None:
        for _, found in self._parser.read_events():
            element = cast("etree._Element", found)  # noqa: SLF001 its public name; only ends of elements are asked for
            parent = element.getparent()
            if element.tag == self._record and parent is not None and parent.tag == self._list:
                records.append(_encode(fields(element)))
                self.count += 1
                self._quiet = 0
                del element[:]  # itself and its tail stay: they may still be in the making
                while element.getprevious() is not None:
                    del parent[0]
            elif parent is None or parent.tag != self._record:
                if parent is None:
                    self._ended, self.bare = True, not len(element)
                self._note(element)

    def _note(self, element: etree._Element) -> None:
        if element.tag == self._list:
            self.listed = True
            del element[:]
        elif element.tag == "error":
            self.error = self.error or _words(element) or "(no words)"
        elif element.tag in self._names and (text := _words(element)):
            self.facts.setdefault(str(element.tag), text)


def _words(element: etree._Element) -> str:
    return " ".join(str(part).strip() for part in element.itertext() if part.strip())


def fields(element: etree._Element) -> dict[str, object]:
    """All fields of a record as text, an empty element as ""; an element with elements inside is an object, a repeated one a list."""
    found: dict[str, object] = {}
    for child in element:
        text = child.text
        if text is None or text.isspace():
            found[child.tag] = fields(child) if len(child) else text or ""
        else:
            found[child.tag] = text
    return found if len(found) == len(element) else _repeated(element)


def _repeated(element: etree._Element) -> dict[str, object]:
    found: dict[str, list[object]] = {}
    for child in element:
        found.setdefault(str(child.tag), []).append(fields(child) if len(child) else child.text or "")
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def show(data: bytes | str) -> str:
    """The first characters of what the vendor said, for people; anything that looks like a hash is blotted out."""
    text = data[:300].decode("utf-8", "replace") if isinstance(data, bytes) else data[:300]
    return repr(re.sub(r"[0-9a-fA-F]{32,}", "…", text)[:160])
