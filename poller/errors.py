"""Every error of the program on one screen. `reason` is the metric label, the log field and the dead-letter reason."""

from collections.abc import Iterator, Sequence
from typing import ClassVar


class PollerError(Exception):
    """Something failed. The message says what happened, where, what the other side said, and what to do."""

    reason: ClassVar[str] = "error"


def bare(error: PollerError) -> PollerError:
    """The error without its traceback and what led to it: their frames hold whole answers, and an error may be kept for long."""
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error


def causes(error: BaseException) -> Iterator[BaseException]:
    """It, and one after the other what led to it."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


class ConfigError(PollerError):
    """The configuration cannot be used; nothing was started. `faults`: every one of them, as `path (line N): sentence`."""

    reason = "config"

    def __init__(self, message: str, faults: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.faults = list(faults) or [message]


class Transient(PollerError):
    """May work later. `retry_after`: seconds that the other side asked us to wait, if it did."""

    reason = "transient"

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Permanent(PollerError):
    """Will fail again in the same way until somebody changes something."""

    reason = "permanent"


class Unknown(Permanent):
    """Nothing has this name or id."""

    reason = "unknown"


# --- asking a vendor -------------------------------------------------------------------------------------------------


class Unreachable(Transient):
    """No connection: name, network, refused, reset."""

    reason = "unreachable"


class CertificateFault(Transient):
    """TLS could not be agreed: unknown issuer, wrong name, expired."""

    reason = "certificate"


class RateLimited(Transient):
    """The vendor asks for fewer requests (429, or 503 with Retry-After)."""

    reason = "rate_limited"


class VendorFault(Transient):
    """The vendor failed (5xx, 408) or is being repaired."""

    reason = "vendor_fault"


class Redirected(Transient):
    """A redirect that is not followed: to another host, or one that changes the method."""

    reason = "redirect"


class NotTheApi(Transient):
    """200, but not the vendor's API: an HTML page of a proxy or a login form."""

    reason = "not_the_api"


class Denied(Transient):
    """The credential is refused (401, 403, a wrong hash). Retried rarely: somebody may mend it at the vendor."""

    reason = "denied"


class Refused(Permanent):
    """The vendor understood and refuses what is asked (400, 404, a vendor's own sentence)."""

    reason = "refused"


class BadAnswer(Transient):
    """This answer cannot be read; a shorter window may be readable, so the window is halved."""

    reason = "bad_answer"


class TimedOut(BadAnswer):
    """The answer took longer than the endpoint's timeout."""

    reason = "timeout"


class TooLarge(BadAnswer):
    """The answer passed `max_body`, counted after decompression."""

    reason = "too_large"


class Truncated(BadAnswer):
    """The answer ends before its document does."""

    reason = "truncated"


class Malformed(BadAnswer):
    """Not well-formed, not of the documented shape, or with a DOCTYPE or entities."""

    reason = "malformed"


class EmptyAnswer(BadAnswer):
    """200 with no body from a vendor whose empty list has one."""

    reason = "empty"


class Incomplete(BadAnswer):
    """The walk over pages contradicts itself: a key repeats, totals shrink, two walks disagree."""

    reason = "incomplete"


class ClockMoved(Transient):
    """Our wall clock moved, and nothing else tells the time."""

    reason = "clock_moved"


class ClockChange(BadAnswer):
    """The two ends of the window lie on different sides of a clock change of the vendor's zone."""

    reason = "clock_change"


class FilterIgnored(BadAnswer):
    """The vendor shows that it did not use the period that was asked for."""

    reason = "filter_ignored"


class BadRecord(Permanent):
    """One record that cannot be understood. Its page goes on; the record becomes a dead letter."""

    reason = "bad_record"


# --- the store -------------------------------------------------------------------------------------------------------


class StoreFault(Transient):
    """The store cannot be used right now (busy, disk, connection)."""

    reason = "store"


class StoreFull(StoreFault):
    """No room left: polling pauses, nothing is dropped."""

    reason = "store_full"


class StoreRefused(Permanent):
    """The store cannot be opened: in use by another daemon, read-only, damaged, of a newer version."""

    reason = "store_refused"


class Damaged(Permanent):
    """Something that the store holds cannot be read."""

    reason = "damaged"


class Outdated(PollerError):
    """The store is not as the writer believed (epoch, last seq or chain differ): forget what is believed and start again."""

    reason = "outdated"


class Lost(Outdated):
    """The shard is another replica's, or may be: nothing is done for it any more."""


# --- sinks -----------------------------------------------------------------------------------------------------------


class SinkFault(Transient):
    """The sink cannot take events right now."""

    reason = "sink"


class Fenced(SinkFault):
    """Another sender took this shard over, or the transaction took too long: the store says whose the shard is."""

    reason = "fenced"


class SinkRefused(Permanent):
    """The sink's settings are refused by the other side (authorisation, topic, progress topic)."""

    reason = "sink_refused"


class ForeignProgress(Permanent):
    """Another installation uses the same transactional id prefix."""

    reason = "foreign_progress"
