"""Which network addresses a webhook may reach. Pure: names are looked up by whoever connects.

To be asked twice: about the URL as it is written, and about every address at the moment of connecting, because a name can lead
elsewhere by then. The list is written out: `ipaddress.is_global` lets NAT64, 6to4 and multicast through, differently in each Python.
A NAT64 prefix of an operator's own cannot be known here.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias
from urllib.parse import urlsplit

from msgspec import Struct

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

METADATA = frozenset(
    map(
        ip_address,
        (
            "169.254.169.254",  # AWS, Google, Azure and most others
            "169.254.170.2",  # AWS, containers
            "169.254.170.23",  # AWS, pods
            "169.254.42.42",  # Scaleway
            "100.100.100.200",  # Alibaba
            "168.63.129.16",  # Azure's host, a public address
            "192.0.0.192",  # Oracle
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",  # Google
            "fd00:42::42",
            "fe80::a9fe:a9fe",  # OpenStack
        ),
    )
)
"""Whoever reads these gets the machine's credentials, so no `allow` opens them."""

_DENIED: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(text), name)
    for name, texts in {
        "this_network": "0.0.0.0/8",
        "private": "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7",
        "shared": "100.64.0.0/10",
        "loopback": "127.0.0.0/8 ::1/128",
        "link_local": "169.254.0.0/16 fe80::/10",
        "documentation": "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 3fff::/20",
        "relay": "192.88.99.0/24",
        "benchmark": "198.18.0.0/15 2001:2::/48",
        "multicast": "224.0.0.0/4 ff00::/8",
        "broadcast": "255.255.255.255/32",
        "unspecified": "::/128",
        "nat64": "64:ff9b::/96 64:ff9b:1::/48",
        "6to4": "2002::/16",
        "teredo": "2001::/32",
        "ipv4_compatible": "::/96",
        "ipv4_translated": "::ffff:0:0:0/96",
        "discard": "100::/64",
        "segment_routing": "5f00::/16",
        "site_local": "fec0::/10",
        "reserved": "192.0.0.0/24 240.0.0.0/4 2001::/23",  # after the narrower ones: the first that fits gives the name
    }.items()
    for text in texts.split()
)
_UNICAST = IPv6Network("2000::/3")
"""All that is given out to anybody; the rest of IPv6 is reserved."""
_LOW = tuple(map(IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96")))
"""Where the last four bytes are the IPv4 address that a gateway goes on to."""
_ISATAP = 0x5EFE
"""Before the last four bytes, which are the IPv4 address of a host behind a tunnel."""
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_NAME = re.compile(r"[^\s\x00-\x20\x7f/?#@\\%\[\]:<>^|`{}\"]+")


class Refusal(Struct, frozen=True):
    """Why not. `reason`: a name of the list above, `metadata`, `url` (not to be understood in one way) or `no_address`."""

    reason: str
    message: str


class Allow(Struct, frozen=True):
    """What an operator opens: networks, and names whose addresses may be anything but metadata."""

    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()


NOTHING = Allow()


def read_allow(entries: Iterable[str]) -> Allow:
    """`10.1.0.0/16`, `192.168.1.5`, `fd00::/8` and `crm.internal` → what is opened. Raises ValueError with a sentence."""
    networks, hosts = [], set()
    for entry in entries:
        _plainly_written(entry)
        if "/" in entry:
            networks.append(_network(entry))
        elif (literal := literal_of(entry)) is None:
            hosts.add(_plain(entry))
        elif any(face in METADATA for face in _faces(literal)):
            raise ValueError(f"{entry} gives out a machine's credentials: it is never allowed")
        else:
            networks.append(ip_network(_faces(literal)[0]))
    return Allow(tuple(networks), frozenset(hosts))


def _plainly_written(entry: str) -> None:
    """Raises ValueError for what people write who think of a firewall, a proxy or a browser."""
    host, colon, port = entry.rpartition(":")
    if "://" in entry:
        raise ValueError(f"{entry!r} is a URL: write its host alone")
    if "*" in entry:
        raise ValueError(f"{entry!r} has a wildcard: write each name out, or a network such as 10.1.0.0/16")
    if colon and port.isdigit() and (":" not in host or host.endswith("]")):
        raise ValueError(f"{entry!r} has a port: write {host.strip('[]')}, which opens every port of it")


def _network(entry: str) -> Network:
    try:
        network = ip_network(entry)
    except ValueError:
        raise ValueError(
            f"{entry!r} is no network: write its first address and its length, such as 10.1.0.0/16"
        ) from None
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None and network.prefixlen >= 96:
        raise ValueError(f"{entry!r} is a network of IPv4: write it as one, such as 10.1.0.0/16")
    return network


def url_refusal(url: str, allow: Allow = NOTHING) -> Refusal | None:
    """What speaks against a URL as it is written, or None. Where its host is a name, the addresses are still to be asked about."""
    host = _host(url)
    if host is None:
        return Refusal("url", "a webhook's URL is written https://host/path, without user, spaces and backslashes")
    try:
        literal = literal_of(host)
    except ValueError as error:
        return Refusal("url", str(error))
    if literal is not None:
        return refusal(literal, allow)
    name = _plain(host)
    if name == "localhost" or name.endswith(".localhost"):
        return refusal(IPv4Address("127.0.0.1"), allow, host=name)
    return None


def _host(url: str) -> str | None:
    """None where parsers of URLs may disagree. What the parser says is not passed on: it may quote a password."""
    if any(ord(character) <= 32 or character == "\\" for character in url):
        return None
    try:
        parts = urlsplit(url)
        plain = parts.scheme in {"http", "https"} and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        return None
    host = parts.hostname or ""
    return host if plain and ("[" in parts.netloc) is (":" in host) else None  # brackets hold IPv6 and nothing else


def literal_of(host: str) -> Address | None:
    """The address that a URL's host is, or None where it is a name. Raises ValueError where programs read it differently.

    Refused: `127.1`, `0x7f.1`, `017700000001` and the like, scopes (`fe80::1%eth0`), percent signs, digits of other scripts.
    """
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if ":" in bare and "%" not in bare:
        try:
            return IPv6Address(bare)
        except ValueError:
            raise ValueError(f"{host!r} is no IPv6 address") from None
    name = _plain(unicodedata.normalize("NFKC", host).replace("\u3002", "."))  # a full stop of other scripts
    if not _NAME.fullmatch(host) or not host.isprintable() or not name.strip(".") or ".." in name:
        raise ValueError(f"{host!r} is no host: write a name or an address, without scope, percent signs and spaces")
    if not _NUMBER.fullmatch(name.rpartition(".")[2]):
        return None
    try:
        address = IPv4Address(host)
    except ValueError:
        raise ValueError(f"{host!r} is read differently by different programs: write an address as 192.0.2.1") from None
    return address


def answer_refusal(addresses: Sequence[str], allow: Allow = NOTHING, *, host: str) -> Refusal | None:
    """What speaks against what a name was looked up to. One bad address spoils the answer: who mixes them is up to something."""
    if not addresses:
        return Refusal("no_address", f"{host} has no address")
    return next((found for one in addresses if (found := refusal(one, allow, host=host)) is not None), None)


def refusal(address: str | Address, allow: Allow = NOTHING, *, host: str | None = None) -> Refusal | None:
    """What speaks against connecting to an address, or None. `host`: the name that it was looked up for."""
    try:
        faces = _faces(ip_address(address))
    except ValueError:
        return Refusal("no_address", f"{str(address)[:60]!r} is no network address")
    if any(face in METADATA for face in faces):
        return Refusal("metadata", f"{address} gives out a machine's credentials: it is never allowed")
    if host is not None and _plain(host) in allow.hosts:
        return None
    for face in faces:
        reason = _denied(face)
        if reason is not None and not any(face in network for network in allow.networks):
            return Refusal(reason, f"{address} is not public ({reason}): webhooks go there only where `allow` lists it")
    return None


def _denied(face: Address) -> str | None:
    found = next((name for network, name in _DENIED if face in network), None)
    if found is None and isinstance(face, IPv6Address) and face not in _UNICAST:
        return "reserved"
    return found


def _faces(address: Address) -> list[Address]:
    """The address and those that it leads on to. An IPv4 address mapped into IPv6 is that IPv4 address and nothing else."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    plain = IPv6Address(int(address))  # without its scope
    return [plain, *_inner(plain)]


def _inner(address: IPv6Address) -> Iterator[IPv4Address]:
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if (int(address) >> 32) & 0xFDFFFFFF == _ISATAP:
        yield IPv4Address(int(address) & 0xFFFFFFFF)
    if int(address) > 1 and any(address in network for network in _LOW):  # `::` and `::1` lead nowhere
        yield IPv4Address(int(address) & 0xFFFFFFFF)


def _plain(host: str) -> str:
    """Names compare without case and without the dot of the root."""
    return host.lower().removesuffix(".")
