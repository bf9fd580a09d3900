"""mor.user_calls: the calls of all users or of listed ones (`user_calls` up to X3, `user_calls_get` from X4; BEHAVIOUR 1.3)."""

import re
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Raw, Struct

from poller.errors import BadRecord, ClockChange, FilterIgnored, Incomplete, Malformed
from poller.model import (
    DAY,
    Ask,
    CallData,
    Cost,
    Disposition,
    Keys,
    Kind,
    Limits,
    Normal,
    Page,
    Party,
    Request,
    Window,
    utc,
)
from poller.sources.mor.causes import NAMES
from poller.sources.mor.clocks import instant, learn_offset
from poller.sources.mor.config import Config, UserCallsOptions, at_least
from poller.sources.mor.params import compose, hashed_values, sign
from poller.sources.mor.records import read_record
from poller.sources.mor.refusals import refusal
from poller.sources.mor.values import caller, disposition_of, figure, local_second, number, uniqueid_epoch
from poller.sources.mor.xml import Document

EARLY = 16 << 20
"""Bytes of calls that are kept while the period has not been echoed yet; MOR echoes it first."""
_DISPOSITIONS: dict[str, Disposition] = {
    "ANSWERED": "answered",
    "NO ANSWER": "no_answer",
    "BUSY": "busy",
    "FAILED": "failed",
    "CANCEL": "cancelled",
    "CANCELLED": "cancelled",
    "CANCELED": "cancelled",
}
_MONEY = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?\Z")


class _Call(Struct, gc=False):
    """The fields that are read, as X3 to X13 and M2 name them; money is no part of the identity (it is rated again later)."""

    uniqueid: str = ""
    calldate2: str = ""
    calldate: str = ""
    src: str = ""
    dst: str = ""
    clid: str = ""
    dispod: str = ""
    provider_name: str = ""
    provider: str = ""
    server_id: str = ""
    nice_billsec: str = ""
    duration: str = ""
    user_price: str = ""
    user_currency: str = ""


_decoder = msgspec.json.Decoder(_Call)


class UserCalls:
    """One list of calls; see poller.protocols.Endpoint."""

    name = "mor.user_calls"
    kind: Kind = "call"
    version = 1

    def __init__(self, config: Config, options: UserCallsOptions) -> None:
        self._config = config
        self._old = config.version == "8"
        self._day_first = options.day_first
        self._zone = ZoneInfo(config.timezone) if config.timezone else None
        self._unhashed = frozenset(options.unhashed)
        self._path = "user_calls_get" if at_least(config.version, "x4") else "user_calls"
        self._filters = _filters(options, old=self._old)
        self._login = {"u": config.username}
        self.asks = _asks(options.users, self._filters, old=self._old)
        self.limits = Limits(
            max_span=31 * DAY,
            first_span=3600,
            min_span_unknown_zone=3 * 3600,
            zone=config.timezone,
            learns_offset=True,
        )

    def request(self, ask: Ask, window: Window, cursor: str | None) -> Request:
        """Both ends are inclusive and count whole seconds; anything else makes MOR answer for today."""
        params = {"period_start": str(window.begin), "period_end": str(window.end), **dict(ask.fields)}
        secret = self._config.api_secret.reveal()
        signed = sign(hashed_values(params, leave_out=self._unhashed), secret)
        if self._config.password and not at_least(self._config.version, "x3"):
            params["p"] = self._config.password.reveal()
        return compose(self._config.method, self._path, {**self._login, **params, "hash": signed})

    def reading(self, ask: Ask, window: Window, cursor: str | None) -> "UserCallsReading":
        """Reads one answer."""
        return UserCallsReading(window, self._path, day_first=self._day_first, zone_known=self._zone is not None)

    def keys(self, record: bytes, offset: int | None) -> Keys:
        """By uniqueid; by start, numbers and caller id where there is none. Raises BadRecord."""
        call = read_record(record, _decoder, "call")
        start = self._start(call)
        uniqueid = call.uniqueid.strip()
        seen = uniqueid_epoch(uniqueid) if uniqueid else None
        own, precision = instant(start, seen, offset, self._zone)
        near = seen is not None and abs(seen - (start if own is None else own)) <= 2 * DAY
        return Keys(
            uniqueid or composed(start, call),
            (seen if near and seen is not None else start) // DAY,
            state(start, call),
            own if precision == "second" else None,
            not uniqueid,
        )

    def normalise(self, record: bytes, offset: int | None) -> Normal:
        """A call as MOR's administrator, reseller or user sees it. Raises BadRecord."""
        call = read_record(record, _decoder, "call")
        start = self._start(call)
        uniqueid = call.uniqueid.strip()
        at, precision = instant(start, uniqueid_epoch(uniqueid), offset, self._zone)
        words, cause = disposition_of(call.dispod)
        name, calling = caller(call.clid)
        duration = figure(call.duration)
        cause = cause if cause is not None and cause <= 127 else None  # M2 has causes of its own from 300 on
        data = CallData(
            uniqueid=uniqueid or None,
            started_at=None if at is None else utc(at),
            started_at_precision=precision,
            ended_at=None if at is None or duration is None else utc(at + duration),
            disposition=_DISPOSITIONS.get(words, "unknown"),
            hangup_cause=None if cause is None else NAMES.get(cause),
            q850_cause=cause,
            from_=Party(call.src.strip() or calling, name),
            to=Party(call.dst.strip() or None),
            duration_seconds=duration,
            billable_seconds=figure(call.nice_billsec),
            cost=_cost(call),
            vendor=Raw(record),
        )
        subject = uniqueid or composed(start, call)
        return Normal(data=data, subject=subject, time=data.started_at, partition_key=subject)

    def _start(self, call: _Call) -> int:
        text = call.calldate2 or call.calldate
        start = local_second(text, day_first=self._day_first)
        if start is None:
            raise BadRecord(f"calldate2 {text[:40]!r} is no date")
        return start


class UserCallsReading:
    """One answer: the period that MOR understood comes first and is checked before any call is believed."""

    def __init__(self, window: Window, path: str, *, day_first: bool, zone_known: bool) -> None:
        self.offset: int | None = None
        self._window, self._path = window, path
        self._day_first, self._zone_known = day_first, zone_known
        self._document = Document("call", "calls", ("total_calls", "period_start", "period_end"))
        self._early: list[bytes] = []
        self._early_bytes = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The calls that are whole now, once the period is known to be the one that was asked for."""
        return self._release(self._document.feed(data))

    def close(self) -> Page:
        """Raises Denied or Refused in MOR's words, FilterIgnored, ClockChange, Truncated, Incomplete."""
        rest = self._document.close()
        facts = self._document.facts
        words = self._document.error or (facts.get("error_msg") if not self._document.count else None)
        if words:
            raise refusal(words, self._path)
        if self.offset is None and "period_start" not in facts and "period_end" not in facts:
            self._do_without_echo()
            records, self._early = self._early + rest, []
        else:
            self._learn()
            records = self._release(rest)
        total, suspicions = self._total()
        if "error_msg" in facts:
            suspicions += ("error_message",)
        return Page(records=records, total=total, suspicions=suspicions)

    def _release(self, records: list[bytes]) -> list[bytes]:
        if self.offset is None and {"period_start", "period_end"} <= self._document.facts.keys():
            self._learn()
        if self.offset is None:
            self._early += records
            self._early_bytes += sum(map(len, records))
            if self._early_bytes > EARLY:
                raise Malformed("calls came before the period that they were looked for in; MOR echoes it first")
            return []
        records, self._early = self._early + records, []
        return records

    def _learn(self) -> None:
        facts = self._document.facts
        begin, end = (
            local_second(facts.get(name, ""), day_first=self._day_first) for name in ("period_start", "period_end")
        )
        try:
            self.offset = learn_offset(self._window, begin, end)
        except ClockChange:
            if end is not None:
                self.offset = (
                    end - self._window.end
                )  # once one is known, windows may be short enough to avoid the change
            raise

    def _do_without_echo(self) -> None:
        if not self._zone_known:
            raise FilterIgnored(
                "MOR does not say which period it looked at, so its time zone is unknown: give the source a `timezone`"
            )

    def _total(self) -> tuple[int | None, tuple[str, ...]]:
        text, count = self._document.facts.get("total_calls", ""), self._document.count
        if not text.isascii() or not text.isdecimal() or len(text) > 12:
            if not self._document.listed and self.offset is None:
                raise Malformed("the answer holds neither calls nor their number")
            return None, ("no_total",)
        total = int(text)
        if count < total:
            raise Incomplete(f"MOR counts {total} calls and sent {count}")
        return total, ("more_than_total",) if count > total else ()


def composed(start: int, call: _Call) -> str:
    """The id of a call without a uniqueid: local start, numbers and caller id."""
    when = utc(start).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{when}|{call.src.strip()}|{call.dst.strip()}|{call.clid.strip()}"


def state(start: int, call: _Call) -> str:
    """The normal form of the declared fields."""
    provider = call.provider_name or call.provider
    return (
        f"{start}\x1f{call.src.strip()}\x1f{call.dst.strip()}\x1f{call.dispod.strip().upper()}\x1f"
        f"{provider.strip()}\x1f{number(call.server_id)}\x1f{number(call.nice_billsec)}"
    )


def _cost(call: _Call) -> Cost | None:
    amount = call.user_price.strip()
    return Cost(amount, call.user_currency.strip() or None) if _MONEY.match(amount) else None


def _filters(options: UserCallsOptions, *, old: bool) -> dict[str, str]:
    prefix = "" if old else "s_"
    values = {
        "calltype" if old else "s_call_type": options.call_type,
        f"{prefix}device": options.device,
        "s_provider": options.provider,
        "s_hgc": options.hgc,
        "s_did": options.did,
        "s_destination": options.destination,
        "only_did": None if options.only_did is None else int(options.only_did),
        "s_reseller_did": options.reseller_did,
        "s_did_pattern": options.did_pattern,
        "s_reseller": options.reseller,
    }
    return {name: str(value) for name, value in values.items() if value is not None}


def _asks(users: tuple[int, ...] | None, filters: dict[str, str], *, old: bool) -> tuple[Ask, ...]:
    """One for each user (and direction, in MOR 8), or one for all of them. The name `s_user=all` is never sent: it is not hashed."""
    rest = tuple(filters.items())
    if users is None:
        return (Ask(rest),)
    if not old:
        return tuple(Ask((("s_user", str(user)), *rest)) for user in dict.fromkeys(users))
    return tuple(
        Ask((("user_id", str(user)), ("direction", direction), *rest))
        for user in dict.fromkeys(users)
        for direction in ("outgoing", "incoming")
    )
