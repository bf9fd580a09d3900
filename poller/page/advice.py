"""Pure: why a phone system cannot be read, in plain words, and what to do about it. By the reason of the error."""

from msgspec import Struct


class Advice(Struct, frozen=True):
    """`what` goes on after the name of a phone system: `pbx-1 does not answer`."""

    what: str
    do: str


_WAIT = "Nothing is lost meanwhile: what was missed is read once it works again."
_SHORTER = "It is asked for shorter spans by itself. "
OF = {
    "unreachable": Advice("does not answer", f"Check that it runs, base_url, and the network in between. {_WAIT}"),
    "certificate": Advice("shows a certificate that is not trusted", "Renew the certificate there, or set tls.ca_file to its issuer."),
    "rate_limited": Advice("wants fewer requests", "If it lasts, raise interval, or set max_requests_per_second."),
    "vendor_fault": Advice("answers that it has failed", f"Ask whoever runs it. {_WAIT}"),
    "redirect": Advice("sends us to another address", "Set base_url to that address, if it is the vendor's."),
    "not_the_api": Advice("answers with a web page instead of data", "Check base_url; a proxy or a log-in page may be in between."),
    "denied": Advice("refuses the credential", "Check the user, the key and their rights there, then the source's secrets here."),
    "refused": Advice("refuses what it is asked", "Check version and the options of this list; poller check shows what is asked."),
    "timeout": Advice("answers too slowly", f"{_SHORTER}If it lasts, raise timeout."),
    "too_large": Advice("gives answers that are too large", f"{_SHORTER}If it lasts, raise max_body."),
    "truncated": Advice("breaks its answers off", f"{_SHORTER}If it lasts, look at a proxy in between."),
    "malformed": Advice("gives answers that cannot be read", f"{_SHORTER}If it lasts, poller check shows what comes back."),
    "empty": Advice("gives empty answers", f"{_SHORTER}If it lasts, ask whoever runs it."),
    "incomplete": Advice("gives lists that contradict themselves", f"{_SHORTER}If it lasts, poller check shows what comes back."),
    "bad_answer": Advice("gives answers that cannot be read", f"{_SHORTER}If it lasts, poller check shows what comes back."),
    "clock_moved": Advice("waits for our clock", "Our clock was set. It goes on by itself once the clock is steady."),
    "clock_change": Advice("is at a clock change", "The window is split there by itself."),
    "filter_ignored": Advice("ignores the period that it is asked for", "Check version and timezone; poller check shows what comes back."),
    "store": Advice("waits for our store", "The store does not do what is asked of it: see its log, disk or database."),
    "store_full": Advice("waits for room in our store", "Free some disk, or raise store.max_bytes. The phone system keeps what is not read."),
    "damaged": Advice("waits: our store cannot be read where it stands", "Put a backup of the store in its place, or forget the source; the error says how."),
    "outdated": Advice("waits for our store", "The store was exchanged, or another replica took over. It goes on by itself."),
}  # fmt: skip
OTHER = Advice("cannot be read", "The log of the program says more.")


def advice(reason: str | None) -> Advice | None:
    """None where nothing is wrong."""
    return None if reason is None else OF.get(reason, OTHER)
