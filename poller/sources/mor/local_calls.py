"""mor.local_calls: calls between users of one MOR, for listed users (`local_calls_get`, X13 and newer; BEHAVIOUR 1.5).

There is no id, no duration and no outcome, and the tags of the originating side are misspelt: both spellings are read.
"""

import re
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Raw, Struct

from poller.errors import BadRecord, Malformed
from poller.model import DAY, Ask, CallData, Keys, Kind, Limits, Normal, Page, Party, Precision, Request, Window, utc
from poller.sources.mor.clocks import instant
from poller.sources.mor.config import Config, LocalCallsOptions
from poller.sources.mor.params import compose, sign
from poller.sources.mor.records import read_record
from poller.sources.mor.refusals import refusal
from poller.sources.mor.values import dated, offset_of
from poller.sources.mor.xml import Document

PATH = "local_calls_get"
HASHED = {"from_till_user": ("from", "till", "s_user"), "secret": (), "user": ("s_user",)}
"""What each variant hashes before the secret. The vendor's page and its own example disagree (BEHAVIOUR 1.2)."""
_HALF = re.compile(r";[12]\Z")


class _When(Struct, gc=False):
    date: str = ""
    timezone: str = ""


class _LocalCall(Struct, gc=False):
    calldate: _When | str = ""
    originator_device: str = ""
    orignator_device: str = ""
    originator_caller_id: str = ""
    orignator_caller_id: str = ""
    originator_ip: str = ""
    orignator_ip: str = ""
    originator_channel: str = ""
    orignator_channel: str = ""
    terminator_user: str = ""
    terminator_device: str = ""
    terminator_ip: str = ""


_decoder = msgspec.json.Decoder(_LocalCall)


class LocalCalls:
    """One list of local calls for each user; see poller.protocols.Endpoint."""

    name = "mor.local_calls"
    kind: Kind = "call"
    version = 1

    def __init__(self, config: Config, options: LocalCallsOptions, *, variant: str | None = None) -> None:
        self._config, self._options = config, options
        self._hashed = HASHED[variant or options.hash]
        self._zone = ZoneInfo(config.timezone) if config.timezone else None
        self.asks = tuple(Ask((("s_user", str(user)),)) for user in dict.fromkeys(options.users))
        self.limits = Limits(max_span=31 * DAY, first_span=3600, zone=config.timezone)

    def variants(self) -> dict[str, "LocalCalls"]:
        """This list by each setting of `hash`, the configured one first: `poller check` asks until one is not refused."""
        names = sorted(HASHED, key=lambda name: name != self._options.hash)
        return {f"hash: {name}": LocalCalls(self._config, self._options, variant=name) for name in names}

    def request(self, ask: Ask, window: Window, cursor: str | None) -> Request:
        """Without both ends MOR would answer for today."""
        params = {"from": str(window.begin), "till": str(window.end), **dict(ask.fields)}
        signed = sign([params[name] for name in self._hashed], self._config.api_secret.reveal())
        return compose(self._config.method, PATH, {"u": self._config.username, **params, "hash": signed})

    def reading(self, ask: Ask, window: Window, cursor: str | None) -> "LocalCallsReading":
        """Reads one answer."""
        return LocalCallsReading()

    def keys(self, record: bytes, offset: int | None) -> Keys:
        """By start, originating channel without its half, and terminating device. Raises BadRecord."""
        call = read_record(record, _decoder, "local call")
        local, _ = _when(call)
        own, precision = self._instant(call)
        identity, counted = _identity(local, call)
        return Keys(identity, local // DAY, "", own if precision == "second" else None, counted)

    def normalise(self, record: bytes, offset: int | None) -> Normal:
        """A local call; MOR says neither its outcome nor its length. Raises BadRecord."""
        call = read_record(record, _decoder, "local call")
        at, precision = self._instant(call)
        subject, _ = _identity(_when(call)[0], call)
        data = CallData(
            started_at=None if at is None else utc(at),
            started_at_precision=precision,
            direction="internal",
            from_=Party(
                (call.originator_caller_id or call.orignator_caller_id).strip() or None,
                (call.originator_device or call.orignator_device).strip() or None,
            ),
            to=Party(None, (call.terminator_device or call.terminator_user).strip() or None),
            vendor=Raw(record),
        )
        return Normal(data=data, subject=subject, time=data.started_at, partition_key=subject)

    def _instant(self, call: _LocalCall) -> tuple[int | None, Precision]:
        """The configured zone is surer than the shown offset, which may be today's and not the call's."""
        local, shown = _when(call)
        return instant(local, None, None if self._zone else shown, self._zone)


class LocalCallsReading:
    """One answer."""

    def __init__(self) -> None:
        self.offset: int | None = None
        self._document = Document("call", "local_calls")

    def feed(self, data: bytes) -> list[bytes]:
        """The calls that are whole now."""
        return self._document.feed(data)

    def close(self) -> Page:
        """Raises Denied or Refused in MOR's words, and BadAnswer."""
        rest = self._document.close()
        words = self._document.error or (self._document.facts.get("error_msg") if not self._document.count else None)
        if words:
            raise refusal(words, PATH)
        if not self._document.listed and not self._document.bare:
            raise Malformed("the answer holds no list of local calls")
        return Page(records=rest)


def _when(call: _LocalCall) -> tuple[int, int | None]:
    """(local second, the UTC offset that is shown beside it)."""
    text, zone = (call.calldate, "") if isinstance(call.calldate, str) else (call.calldate.date, call.calldate.timezone)
    found = dated(text)
    if found is None:
        raise BadRecord(f"calldate {text[:40]!r} is no date")
    return found[0], found[1] if found[1] is not None else offset_of(zone)


def _identity(local: int, call: _LocalCall) -> tuple[str, bool]:
    """The composed id, and whether equal ones are counted: not where a channel names the call, whose two halves are one call."""
    when = utc(local).strftime("%Y-%m-%dT%H:%M:%S")
    channel = _HALF.sub("", (call.originator_channel or call.orignator_channel).strip())
    terminator = call.terminator_device.strip()
    if channel:
        return f"{when}|{channel}|{terminator}", False
    device = (call.originator_device or call.orignator_device).strip()
    number = (call.originator_caller_id or call.orignator_caller_id).strip()
    return f"{when}|{device}|{number}|{call.terminator_user.strip()}|{terminator}", True
