"""Very many records at next to no cost: computed from their number, never held. For benchmarks."""

from collections.abc import Iterator
from dataclasses import dataclass

from poller.simulate.fonouc_feed import GREGORIAN, month
from poller.simulate.mor_feed import local

_FONO = (
    '{"id":"%s-%012x@198.51.100.9","call_id":"%012x@198.51.100.9","datetime":"2024-02-29 23:58:11 +0000 UTC","timestamp":%d,'
    '"direction":"Inbound","caller_id_name":"Jane Example","caller_id_number":"1604555%04d","callee_id_name":"Front Desk",'
    '"callee_id_number":"12%02d","to":"12%02d@acme.example","from":"1604555%04d@198.51.100.9","duration_seconds":%d,'
    '"billing_seconds":"%d","ringing_seconds":4,"hangup_cause":"NORMAL_CLEARING","media_recording_id":"","recording_filename":"",'
    '"interaction_id":"%d-%08x"}'
)
_MOR = (
    "      <call><calldate2>%s</calldate2><timezone>GMT +02:00</timezone><clid>&quot;Shop &lt;%d&gt;</clid><destination>Latvia mobile"
    "</destination><did></did><did_inc_price>0.0</did_inc_price><did_price>0.0</did_price><did_prov_price>0.0</did_prov_price>"
    "<dispod>ANSWERED(16)</dispod><dst>3712%07d</dst><nice_billsec>%d</nice_billsec><nice_reseller></nice_reseller><prefix>3712"
    "</prefix><profit>0.0</profit><provider_name>carrier-a</provider_name><provider_price>0.01</provider_price><provider_rate>0.02"
    "</provider_rate><reseller_price>0.0</reseller_price><reseller_rate>0.0</reseller_rate><server_id>1</server_id><src>37060%06d"
    "</src><user>Shop One</user><user_price>0.084</user_price><user_rate>0.08</user_rate><uniqueid>%s</uniqueid></call>\n"
)


@dataclass(frozen=True, slots=True)
class Bulk:
    """`records` spread evenly over [begin, end) seconds of own time; record `n` is the same whenever it is asked for."""

    records: int
    begin: int
    end: int

    def own_time(self, n: int) -> int:
        """Epoch second of record `n`."""
        return self.begin + n * (self.end - self.begin) // self.records

    def between(self, begin: float, end: float) -> range:
        """The numbers of the records with own time in [begin, end]."""
        span = self.end - self.begin
        first = -(-(max(int(begin), self.begin) - self.begin) * self.records // span)
        last = -(-(min(int(end) + 1, self.end) - self.begin) * self.records // span)
        return range(max(0, first), min(self.records, max(first, last)))

    def call_id(self, n: int) -> str:
        """The call_id of FonoUC's record `n`."""
        return f"{n:012x}@198.51.100.9"

    def uniqueid(self, n: int) -> str:
        """The uniqueid of MOR's record `n`."""
        return f"{self.own_time(n)}.{n}"

    def fonouc(self, n: int) -> str:
        """FonoUC's record `n` as JSON, about 550 bytes."""
        at, seconds = self.own_time(n), n % 600
        return _FONO % (
            month(self.begin), n, n, at - seconds + GREGORIAN, n % 10_000, n % 100, n % 100, n % 10_000, seconds + 4, seconds,
            at - seconds + GREGORIAN, n,
        )  # fmt: skip

    def mor_page(self, head: str, span: range) -> Iterator[str]:
        """A user_calls answer of any length, piece by piece, about 700 bytes a call."""
        yield head + "    <calls>\n"
        second, shown = -1, ""
        for n in span:
            at = self.own_time(n)
            if at != second:
                second, shown = at, local(at)
            yield _MOR % (shown, n, n, n % 600, n % 1_000_000, f"{at}.{n}")
        yield "    </calls>\n  </calls_stat>\n</page>\n"
