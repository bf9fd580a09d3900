"""Pure: telephone numbers in the texts of an event, masked but for their last three digits.

Vendors build ids and file names from numbers (Thulium: the caller's; MOR's internal calls: the channel's), so each text is looked through. What
becomes of a text depends on the text and the call's own numbers alone: a call and its recordings go on to fit together.
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

import msgspec
from msgspec import Raw

KEPT = 3
"""Digits that are shown."""
_FULL = 7
"""Digits from which on a run looks like a telephone number, whosever it is."""
_OWN = 4
"""Digits from which on a number of the call itself is masked."""
_SURE = 9
"""Digits that do not meet by chance within a longer run."""

_PARTY = re.compile(r"\d(?:(?:[^\w@]|_){0,3}\d){3,}")
_ESCAPE = r"%[0-9A-Fa-f]{2}"
_APART = rf"(?:{_ESCAPE}|[^\w@%]|_){{0,3}}"
"""What may stand between two digits of a number."""
_FRONT = rf"(?:(?<!\d)|(?<={_ESCAPE}))"
_NO_WORD_BEFORE = rf"(?:(?<![0-9A-Za-z])|(?<={_ESCAPE}))"
_NO_WORD_AFTER = "(?![0-9A-Za-z])"
_DAY = r"(?:19|20)\d\d(?P<dash>-?)(?:0[1-9]|1[0-2])(?P=dash)(?:0[1-9]|[12]\d|3[01])"
_TIME = r"[ _T-]?[0-2]\d[.:_-]?[0-5]\d(?:[.:_-]?[0-5]\d)?(?!\d)"
_NO_NUMBERS = "|".join((
    _ESCAPE,
    rf"{_NO_WORD_BEFORE}[0-9A-Fa-f]{{8}}(?:-[0-9A-Fa-f]{{4}}){{3}}-[0-9A-Fa-f]{{12}}{_NO_WORD_AFTER}",  # a UUID
    rf"{_NO_WORD_BEFORE}(?=\d*[A-Fa-f])[0-9A-Fa-f]{{16,}}{_NO_WORD_AFTER}",  # a hash
    rf"{_FRONT}1\d{{9}}\.\d+",  # Asterisk's uniqueid: an instant and a counter
    rf"{_FRONT}{_DAY}(?:{_TIME}|(?!\d))",
    r"-[0-9A-Fa-f]{8}(?=(?:;\d)?\|)",  # the counter of an Asterisk channel within a composed id
))  # fmt: skip
_GROUPS = rf"{_FRONT}\d{{1,4}}(?:[ -]\d{{2,4}}(?!\d)){{2,}}+(?P<more>(?=[ -]?\d))?"
"""Taken whole where more follows, too: to look again from each of its groups on would take hours in a long text."""
_NUMBERS = re.compile(rf"(?P<other>{_NO_NUMBERS})|\d{{{_FULL},}}|{_GROUPS}")
_SHORT = re.compile(rf"(?P<other>{_NO_NUMBERS})|{_FRONT}\d{{4,6}}(?!\d)")
_ANY_DIGIT = re.compile(r"\d")
_OPAQUE = re.compile(r"\d+(?:\.\d+)?")
_NO_DIGITS = re.compile(rf"{_ESCAPE}|\D")
_AUTHORITY = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#]*", re.IGNORECASE)

_IDS = ("uniqueid", "connection_id", "call_id", "cdr_id", "interaction_id")
_ATTRIBUTES = ("subject", "partitionkey", "dataref")
_NAMED = {*_IDS, "recording_id", "subject", "partitionkey"}
"""Where digits alone, or Asterisk's two numbers, are the vendor's own count and nobody's telephone."""
_PARTIES = ("from", "to")
_LEFT = {"started_at", "created_at", "ended_at", "started_at_precision", "direction", "disposition", "cost"}
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def masked(text: str) -> str:
    """All but the last three digits of every number of four digits and more become `*`: for the fields that hold numbers and names."""
    return _PARTY.sub(lambda match: _stars(match[0]), text)


def quoted(text: str) -> str:
    """A sentence that quotes what others said: only what looks like a telephone number, so that ports, codes and instants stay."""
    return _NUMBERS.sub(_found, text)


def mask(envelope: dict[str, Raw], data: dict[str, Raw]) -> None:
    """Masks the texts of an event's attributes and of its `data`, which has no `vendor` any more."""
    parties = {side: _decode(data[side]) for side in _PARTIES if side in data}
    mine = Numbers(text for party in parties.values() for text in _texts(party))
    ids = {value for name in _IDS if name in data and isinstance(value := _decode(data[name]), str)}

    def changed(name: str, text: str) -> str:
        if name in _NAMED and _OPAQUE.fullmatch(text):
            return text
        return mine.identity(text) if text in ids else mine.text(text)

    for name, raw in data.items():
        if name in parties:
            data[name] = Raw(_encode(_each(name, parties[name], lambda _, text: masked(text))))
        elif name not in _LEFT and bytes(raw)[:1] in {b'"', b"[", b"{"}:
            data[name] = Raw(_encode(_each(name, _decode(raw), changed)))
    for name in _ATTRIBUTES:
        if name in envelope:
            envelope[name] = Raw(_encode(changed(name, _decode(envelope[name]))))


class Numbers:
    """The numbers of one call, longest first, and what is masked because of them."""

    def __init__(self, texts: Iterable[str]) -> None:
        found = {_digits(match[0]) for text in texts for match in _PARTY.finditer(text)}
        found |= {each.removeprefix("00") for each in found if len(each) >= _OWN + 2}
        self._full = sorted((each for each in found if len(each) >= _FULL), key=lambda each: (-len(each), each))
        short = {each for each in found if len(each) < _FULL}
        self._short = short | {f"00{each}" for each in short}
        self._known: dict[str, str] = {}  # an event says the same name up to five times

    def text(self, text: str) -> str:
        """A file name, an address, anything: numbers of the call, and what looks like one of somebody else."""
        found = self._known.get(text)
        if found is None:
            found = self._known[text] = self._masked(text) if _ANY_DIGIT.search(text) else text
        return found

    def _masked(self, text: str) -> str:
        authority = _AUTHORITY.match(text)
        begin = authority.end() if authority else 0
        rest = _NUMBERS.sub(_found, text[begin:])
        if self._short:
            rest = _SHORT.sub(self._own, rest)
        return text[:begin] + self.identity(rest)

    def identity(self, text: str) -> str:
        """An id that the vendor made: the call's own full numbers only."""
        for number in self._full:
            if number[-_FULL:] in _digits(text):
                text = _spellings(number).sub(lambda match: _stars(match[0]), text)
        return text

    def _own(self, match: re.Match[str]) -> str:
        return _stars(match[0]) if match[0] in self._short else match[0]


def _found(match: re.Match[str]) -> str:
    run = match[0]
    left = match["other"] or match["more"] is not None
    return run if left or len(_digits(run)) < _FULL else _stars(run)


@lru_cache(maxsize=1024)
def _spellings(number: str) -> re.Pattern[str]:
    """Spaced, dashed, with or without the codes in front of its last seven digits."""
    front = ""
    for digit in number[:-_FULL]:
        front = f"(?:{front}{digit}{_APART})?"
    end = "" if len(number) >= _SURE else r"(?!\d)"
    return re.compile(front + _APART.join(number[-_FULL:]) + end)


def _digits(text: str) -> str:
    return _NO_DIGITS.sub("", text)


def _stars(number: str) -> str:
    """Its digits but the last ones become `*`; percent-encoded characters stay whole."""
    if number.isdigit():
        return "*" * (len(number) - KEPT) + number[-KEPT:]
    parts = re.split(f"({_ESCAPE})", number)
    hidden = sum(char.isdigit() for part in parts[::2] for char in part) - KEPT
    for place in range(0, len(parts), 2):
        out = ""
        for char in parts[place]:
            out += "*" if char.isdigit() and hidden > 0 else char
            hidden -= char.isdigit()
        parts[place] = out
    return "".join(parts)


def _texts(value: object) -> list[str]:
    return [each for each in value.values() if isinstance(each, str)] if isinstance(value, dict) else []


def _each(name: str, value: object, change: Callable[[str, str], str]) -> object:
    """A value with its texts changed, each by the name of its field."""
    if isinstance(value, str):
        return change(name, value)
    if isinstance(value, list):
        return [_each(name, inner, change) for inner in value]
    return {key: _each(key, inner, change) for key, inner in value.items()} if isinstance(value, dict) else value
