"""Pure: what is wrong with a URL, in words that do not repeat it: it may hold a token, or be a password in the wrong place."""

from ipaddress import IPv6Address
from urllib.parse import urlsplit


def url_fault(url: str) -> str | None:
    """A sentence about the URL of an HTTP server, or None. It may have a path and a query."""
    if not url.lower().startswith(("https://", "http://")):
        return "begins with neither https:// nor http://"
    if any(character.isspace() or ord(character) < 32 for character in url):
        return "holds a space or a line break: write %20 where one is meant"
    if "\\" in url:
        return "holds a backslash: write / instead"
    netloc = url.split("://", 1)[1].replace("?", "/").replace("#", "/").partition("/")[0]
    if "@" in netloc:
        return "holds a user or a password before the host"
    return (
        _host_fault(netloc)
        or _port_fault(url)
        or ("holds a fragment (`#`): it would not be sent" if "#" in url else None)
    )


def _host_fault(netloc: str) -> str | None:
    host = netloc.partition(":")[0]
    if "[" in netloc or "]" in netloc:
        inner, _, rest = netloc[1:].partition("]")
        well = netloc.startswith("[") and "]" in netloc and _is_ipv6(inner) and rest[:1] in {"", ":"}
        return None if well else "has brackets, but not just an IPv6 address between them"
    if netloc.count(":") > 1:
        advice = f": write [{netloc}]" if _is_ipv6(netloc) else ""
        return f"has more than one colon in its host: an IPv6 address stands in brackets{advice}"
    return None if host else "has no host"


def letters_fault(host: str) -> str | None:
    """A sentence about a host with letters that a name service does not know, or None."""
    if host.isascii():
        return None
    return f"has a host with letters beyond ASCII: write it in its form with xn--{_ascii(host)}"


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _ascii(host: str) -> str:
    """The form that a name service knows, unless the two standards for it differ."""
    try:
        found = host.encode("idna")
        same = found.decode("idna") == host.lower()
    except UnicodeError:
        return ""
    return f": {found.decode('ascii')}" if same else ""


def _port_fault(url: str) -> str | None:
    try:
        port = urlsplit(url).port
    except ValueError:
        return "has no valid port: it is a number from 1 to 65535"
    return "has port 0, which nobody can listen at: write another one, or none" if port == 0 else None
