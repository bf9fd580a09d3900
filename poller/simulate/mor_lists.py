"""MOR's three lists: which rows a request sees, and what of each."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from poller.simulate import mor_xml
from poller.simulate.bulk import Bulk
from poller.simulate.mor_feed import ZONE, local
from poller.simulate.mor_settings import Login, MorOptions
from poller.simulate.site import Shape, Site, spoil
from poller.simulate.things import Raw, Row

_FAR = 4_102_444_800
"""2100: later dates are 'incorrect format'."""
_SIMPLE = ("calldate2", "timezone", "clid", "destination", "dispod", "dst", "nice_billsec", "src", "prefix", "user_price", "uniqueid")  # fmt: skip
_CALL = Shape(
    names=("user", "destination"),
    optional=("did", "did_price", "profit", "user", "user_price", "prefix", "reseller_rate"),
    bad={"calldate2": "no date at all", "dispod": "ANSWERED(16)", "uniqueid": ""},
    absurd={"calldate2": "0000-00-00 00:00:00", "src": "1", "dst": "2", "clid": "3", "dispod": "FAILED(34)", "nice_billsec": "0", "uniqueid": ""},
)  # fmt: skip
_RECORDING = Shape(
    names=("comment",),
    optional=("comment", "src_device_id", "mp3_url"),
    bad={"id": "", "date": "yesterday"},
    absurd={"id": "999999999999", "date": "9999-12-31 23:59:59 +0200", "duration": "99:99:99", "size": "-1", "source": "", "destination": ""},
)  # fmt: skip
_LOCAL = Shape(
    names=("originator_caller_id", "terminator_user"),
    optional=("orignator_ip", "terminator_ip"),
    bad={"calldate": {"date": "?", "timezone": ""}},
    absurd={"calldate": {"date": "2024-13-45 25:61:00", "timezone": "GMT +0000"}, "orignator_channel": "SIP/x", "terminator_device": "x"},
)  # fmt: skip


class MorLists:
    """Reads the world as the server's database queries do."""

    def __init__(self, site: Site, options: MorOptions) -> None:
        self._site = site
        self._options = options

    def _period(self, parameters: Mapping[str, str], first: str, last: str) -> tuple[int, int]:
        """What is no integer is as if it had not been sent: then it is today, server time."""
        midnight = datetime.fromtimestamp(self._site.world.now(), ZONE).replace(
            hour=0, minute=0, second=0, microsecond=0
        )
        today = (int(midnight.timestamp()), int((midnight + timedelta(hours=23, minutes=59, seconds=59)).timestamp()))
        sent = (parameters.get(first, ""), parameters.get(last, ""))
        begin, end = (int(text) if re.fullmatch("[0-9]{1,12}", text) else 0 for text in sent)
        return min(begin, _FAR) or today[0], min(end, _FAR) or today[1]

    def _rows(self, endpoint: str, begin: int, end: int) -> Iterator[tuple[Row, Raw]]:
        """The database knows local time alone: rows are compared as local text, doubled hour and all."""
        if self._site.faults.fires("filter_ignored"):
            end = int(self._site.world.now())
            begin = end - 86_400
        low, high = local(begin), local(end)
        for row, state in self._site.world.between(endpoint, begin - 7200, end + 7200):
            if low <= row.place["local"] <= high:
                yield row, state.fields

    def calls(self, parameters: Mapping[str, str]) -> str:
        """The whole window in one document, each call as this version shows it to this login."""
        login = self._options.logins[parameters["u"]]
        begin, end = self._period(parameters, "period_start", "period_end")
        found = [
            self._call(fields, login)
            for row, fields in self._rows("mor.user_calls", begin, end)
            if self._in_scope(row, login, parameters) and _matches(fields, parameters)
        ]
        calls = spoil(found, _CALL, self._site.faults)
        calls.sort(key=lambda call: str(call["calldate2"]), reverse=parameters.get("order_desc") == "1")
        wrong = 1020 if self._site.faults.fires("echo_wrong") else 0
        head = mor_xml.calls_head(
            total=len(calls), echo=(local(begin + wrong), local(end)), username=parameters["u"], userid=login.id,
            everything=login.kind == "admin",
        )  # fmt: skip
        return "".join(mor_xml.calls_page(head, calls))

    def _in_scope(self, row: Row, login: Login, parameters: Mapping[str, str]) -> bool:
        sides: tuple[int, int] = (row.place["user"], row.place["callee"])
        if self._options.version == "8":
            side = sides[1] if parameters.get("direction") == "incoming" else sides[0]
            return side == int(parameters["user_id"])
        wanted = parameters.get("s_user", "")
        if login.kind == "user":
            return login.id in sides
        if wanted not in {"", "all"}:
            return int(wanted) in sides
        return login.kind == "admin" or sides[0] in (login.id, *login.owns)

    def _call(self, fields: Raw, login: Login) -> Raw:
        """The fields that this version shows to this login."""
        now = datetime.fromtimestamp(self._site.world.clock.now(), ZONE).strftime("%z")
        shown = {"calldate2": fields["calldate2"], "timezone": f"GMT {now[:3]}:{now[3:]}", **fields}
        if not self._options.since("x5"):
            del shown["uniqueid"]
        if self._options.since("x11"):
            shown["user_currency"] = "EUR"
        if login.kind == "user":
            shown = {name: shown[name] for name in _SIMPLE if name in shown}
            shown["dispod"] = str(shown["dispod"]).partition("(")[0]
        return shown

    def recordings(self, base_url: str, parameters: Mapping[str, str]) -> str:
        """Recordings by their call's start, or all of one uniqueid; none is an error."""
        for name in ("date_from", "date_till"):
            text = parameters.get(name, "")
            if re.fullmatch("[0-9]+", text) and int(text) > _FAR:
                return mor_xml.error(f"{name.replace('_', ' ').capitalize()} is incorrect format", "page", "status")
        begin, end = self._period(parameters, "date_from", "date_till")
        if end <= begin and "uniqueid" not in parameters:
            return mor_xml.error("Date from is greater than date till", "page", "status")
        records = [self._recording(base_url, fields) for fields in self._find_recordings(parameters, begin, end)]
        records = spoil(records, _RECORDING, self._site.faults)
        if not records:
            return mor_xml.error("No Recordings found", "page", "status")
        return mor_xml.recordings_page(records, closed=not self._site.faults.fires("unclosed_page"))

    def _find_recordings(self, parameters: Mapping[str, str], begin: int, end: int) -> list[Raw]:
        if "uniqueid" in parameters:
            rows = self._site.world.all("mor.recordings")
            return [state.fields for row, state in rows if row.place["uniqueid"] == parameters["uniqueid"]]
        login = self._options.logins[parameters["u"]]
        scope = None if login.kind == "admin" else (login.id, *login.owns)
        asked = {
            "source": parameters.get("source"),
            "destination": parameters.get("destination"),
            "user_id": parameters.get("user"),
        }
        return [
            fields
            for row, fields in self._rows("mor.recordings", begin, end)
            if (scope is None or row.place["user"] in scope)
            and all(value in {None, "", fields[name]} for name, value in asked.items())
        ]

    def _recording(self, base_url: str, fields: Raw) -> Raw:
        place, _, name = fields["mp3_url"].partition(":")
        roots = {
            "": "",
            "relative": "/billing/recordings/",
            "absolute": f"{base_url}billing/recordings/",
            "other": "http://10.9.8.7/recordings/",
        }
        shown = {**fields, "mp3_url": roots[place] + name}
        if not self._options.since("x9"):
            del shown["mp3_url"]
        return shown

    def local_calls(self, parameters: Mapping[str, str]) -> str:
        """Calls of one user, both sides; a window without calls is an empty list."""
        begin, end = self._period(parameters, "from", "till")
        login = self._options.logins[parameters["u"]]
        wanted = login.id if login.kind == "user" else int(parameters["s_user"])
        zone = datetime.fromtimestamp(self._site.world.clock.now(), ZONE).strftime("GMT %z")
        calls = [
            {**fields, "calldate": {**fields["calldate"], "timezone": zone}}
            for row, fields in self._rows("mor.local_calls", begin, end)
            if wanted in (row.place["user"], row.place["callee"])
        ]
        return mor_xml.local_calls_page(spoil(calls, _LOCAL, self._site.faults))

    def bulk(self, bulk: Bulk, parameters: Mapping[str, str]) -> Iterator[str]:
        """As `calls`, computed and streamed."""
        begin, end = self._period(parameters, "period_start", "period_end")
        span = bulk.between(begin, end)
        head = mor_xml.calls_head(
            total=len(span), echo=(local(begin), local(end)), username=parameters["u"], userid=0, everything=True
        )
        return mor_xml.calls_page(head, ()) if not span else bulk.mor_page(head, span)


def _matches(fields: Raw, parameters: Mapping[str, str]) -> bool:
    """The documented filters that the simulated rows can tell apart."""
    wanted = (parameters.get("s_call_type") or parameters.get("calltype") or "all").replace("_", " ").lower()
    disposition = str(fields["dispod"]).partition("(")[0].lower()
    prefix = parameters.get("s_destination", "")
    did = parameters.get("only_did") != "1" or bool(fields["did"])
    called = str(fields["dst"]).startswith(prefix.rstrip("%"))
    return wanted in {"all", disposition} and called and did
