"""Where webhooks may go: a table of addresses and of spellings, and that nothing denied gets through inside another address."""

import socket
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from poller.addresses import METADATA, NOTHING, Allow, answer_refusal, literal_of, read_allow, refusal, url_refusal

REFUSED = {
    "0.0.0.0": "this_network",
    "0.255.1.2": "this_network",
    "10.0.0.1": "private",
    "10.255.255.255": "private",
    "100.64.0.1": "shared",
    "100.127.255.255": "shared",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "169.254.1.1": "link_local",
    "169.254.169.254": "metadata",
    "169.254.170.2": "metadata",
    "100.100.100.200": "metadata",
    "168.63.129.16": "metadata",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.0.0.1": "reserved",
    "192.0.0.8": "reserved",
    "192.0.2.1": "documentation",
    "192.88.99.1": "relay",
    "192.168.0.1": "private",
    "198.18.0.1": "benchmark",
    "198.19.255.255": "benchmark",
    "198.51.100.1": "documentation",
    "203.0.113.9": "documentation",
    "224.0.0.1": "multicast",
    "239.255.255.255": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "broadcast",
    "::": "unspecified",
    "::1": "loopback",
    "0:0:0:0:0:0:0:1": "loopback",
    "::7f00:1": "ipv4_compatible",
    "::8.8.8.8": "ipv4_compatible",
    "::a9fe:a9fe": "metadata",
    "::ffff:10.0.0.1": "private",
    "::ffff:7f00:1": "loopback",
    "::ffff:169.254.169.254": "metadata",
    "::ffff:0:7f00:1": "ipv4_translated",
    "64:ff9b::8.8.8.8": "nat64",
    "64:ff9b::a00:1": "nat64",
    "64:ff9b::a9fe:a9fe": "metadata",
    "64:ff9b:1::1": "nat64",
    "64:ff9b:1::a9fe:a9fe": "metadata",
    "100::1": "discard",
    "100:0:0:1::1": "reserved",
    "2001::1": "teredo",
    "2001:0:4136:e378:8000:63bf:80ff:fffe": "teredo",
    "2001:2::1": "benchmark",
    "2001:10::1": "reserved",
    "2001:20::1": "reserved",
    "2001:db8::1": "documentation",
    "2002:a00:1::1": "6to4",
    "2002:808:808::1": "6to4",
    "2002:a9fe:a9fe::1": "metadata",
    "3fff::1": "documentation",
    "3fff:fff::1": "documentation",
    "4000::1": "reserved",
    "5f00::1": "segment_routing",
    "fc00::1": "private",
    "fdff::1": "private",
    "fd00:ec2::254": "metadata",
    "fe80::1": "link_local",
    "fe80::1%eth0": "link_local",
    "fe80::a9fe:a9fe%2": "metadata",
    "febf::1": "link_local",
    "fec0::1": "site_local",
    "ff02::1": "multicast",
    "ff0e::1": "multicast",
    "": "no_address",
    "crm.example": "no_address",
    "127.1": "no_address",
    "/run/socket": "no_address",
}
REACHED = [
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
    "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.0.3.0", "192.88.98.255",
    "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
    "2606:4700:4700::1111", "2a00:1450:4001:830::200e", "2001:200::1", "2001:4860:4860::8888", "2003::1", "3ffe::1",
    "::ffff:8.8.8.8", "::ffff:808:808", "2606:4700::1%eth0",
]  # fmt: skip
DENIED4: list[IPv4Network | IPv6Network] = [
    IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
    )
]  # fmt: skip
"""Written a second time: the list of the program is not its own judge."""
DENIED6: list[IPv4Network | IPv6Network] = [
    IPv6Network(text)
    for text in (
        "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
        "4000::/2", "8000::/1", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "::ffff:0:0:0/96",
    )
]  # fmt: skip
FORMS = {
    "mapped": lambda inner: (0xFFFF << 32) | inner,
    "compatible": lambda inner: inner,
    "translated": lambda inner: (0xFFFF << 48) | inner,
    "nat64": lambda inner: (0x64FF9B << 96) | inner,
    "nat64 local": lambda inner: (0x64FF9B0001 << 80) | inner,
    "6to4": lambda inner: (0x2002 << 112) | (inner << 80) | 1,
    "teredo": lambda inner: (0x20010000 << 96) | (0x08080808 << 64) | (inner ^ 0xFFFFFFFF),
    "isatap": lambda inner: (0x20014860 << 96) | (0x00005EFE << 32) | inner,
    "isatap global": lambda inner: (0x20014860 << 96) | (0x02005EFE << 32) | inner,
    "teredo server": lambda inner: (0x20010000 << 96) | (inner << 64) | (0x08080808 ^ 0xFFFFFFFF),
}
"""How an IPv4 address lies within an IPv6 address."""
EMBEDDING = read_allow(["::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"])


def inside(network: IPv4Network | IPv6Network) -> st.SearchStrategy[str]:
    return st.integers(int(network[0]), int(network[-1])).map(lambda number: str(type(network[0])(number)))


DENIED4_ADDRESSES = st.sampled_from(DENIED4).flatmap(inside)
DENIED_ADDRESSES = st.sampled_from(DENIED4 + DENIED6).flatmap(inside)
PUBLIC4 = st.integers(0, 2**32 - 1).map(IPv4Address).filter(
    lambda address: address not in METADATA and not any(address in network for network in DENIED4)
)  # fmt: skip


# --- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", REFUSED)
def test_refused(address: str) -> None:
    found = refusal(address)
    assert found is not None
    assert found.reason == REFUSED[address]
    assert address in found.message


@pytest.mark.parametrize("address", REACHED)
def test_reached(address: str) -> None:
    assert refusal(address) is None


@given(DENIED_ADDRESSES)
def test_no_denied_address_passes(address: str) -> None:
    assert refusal(address) is not None
    assert refusal(ip_address(address)) is not None


@given(PUBLIC4)
def test_public_addresses_pass(address: IPv4Address) -> None:
    assert refusal(address) is None
    assert refusal(f"::ffff:{address}") is None


@given(DENIED4_ADDRESSES, st.sampled_from(sorted(FORMS)))
@example("169.254.169.254", "6to4")
def test_a_denied_address_within_another_one_is_denied(inner: str, form: str) -> None:
    """Even where the outer network is allowed."""
    outer = IPv6Address(FORMS[form](int(IPv4Address(inner))))
    assert refusal(outer) is not None
    if int(outer) > 1:
        assert refusal(outer, EMBEDDING) is not None


@given(PUBLIC4, st.sampled_from(sorted(FORMS)))
def test_an_allowed_gateway_leads_to_public_addresses(inner: IPv4Address, form: str) -> None:
    outer = IPv6Address(FORMS[form](int(inner)))
    assert refusal(outer, EMBEDDING) is None
    assert (refusal(outer) is None) is (form in {"mapped", "isatap", "isatap global"})


@given(st.text(max_size=40))
def test_no_text_crashes_it(text: str) -> None:
    found = refusal(text)
    assert found is None or found.reason


# --- allow -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "address", "reason"),
    [
        ("10.1.0.0/16", "10.1.255.255", None),
        ("10.1.0.0/16", "10.2.0.1", "private"),
        ("10.1.0.0/16", "::ffff:10.1.0.1", None),
        ("192.168.1.5", "192.168.1.5", None),
        ("192.168.1.5", "192.168.1.6", "private"),
        ("::ffff:192.168.1.5", "192.168.1.5", None),
        ("127.0.0.0/8", "127.0.0.1", None),
        ("127.0.0.0/8", "::1", "loopback"),
        ("::1", "::1", None),
        ("[::1]", "::1", None),
        ("::/128", "::", None),
        ("fd00::/8", "fd12::1", None),
        ("fe80::/10", "fe80::1%eth0", None),
        ("2002::/16", "2002:a00:1::1", "private"),
        ("64:ff9b::/96", "64:ff9b::a00:1", "private"),
        ("64:ff9b::/96", "64:ff9b::808:808", None),
        ("crm.internal", "10.0.0.1", "private"),
    ],
)
def test_networks_that_are_allowed(entry: str, address: str, reason: str | None) -> None:
    found = refusal(address, read_allow([entry]), host="hooks.example")
    assert (found.reason if found else None) == reason


@pytest.mark.parametrize("host", ["crm.internal", "CRM.Internal", "crm.internal."])
@pytest.mark.parametrize("entry", ["crm.internal", "Crm.Internal", "crm.internal."])
def test_hosts_that_are_allowed(host: str, entry: str) -> None:
    allow = read_allow([entry])
    assert refusal("10.0.0.1", allow, host=host) is None
    assert refusal("::1", allow, host=host) is None
    assert refusal("10.0.0.1", allow, host=f"x{host}") is not None
    assert refusal("10.0.0.1", allow) is not None


EVERYTHING = read_allow(["0.0.0.0/0", "::/0", "crm.internal"])


@given(DENIED_ADDRESSES)
def test_an_operator_may_open_all_but_metadata(address: str) -> None:
    found = refusal(address, EVERYTHING)
    assert found is None or found.reason == "metadata"


@pytest.mark.parametrize("form", [None, *FORMS])
@pytest.mark.parametrize("metadata", sorted(map(str, METADATA)))
def test_metadata_are_never_allowed(metadata: str, form: str | None) -> None:
    address = ip_address(metadata)
    if form is not None:
        address = IPv6Address(FORMS[form](int(address))) if isinstance(address, IPv4Address) else address
    found = refusal(address, EVERYTHING, host="crm.internal")
    assert found is not None
    assert found.reason == "metadata"


@pytest.mark.parametrize("entry", ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"])
def test_metadata_cannot_be_listed(entry: str) -> None:
    with pytest.raises(ValueError, match="never allowed"):
        read_allow([entry])


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("10.1.2.3/16", "is no network"),
        ("10.0.0.0/33", "is no network"),
        ("crm.internal/8", "is no network"),
        ("::ffff:10.0.0.0/104", "is a network of IPv4"),
        ("127.1", "read differently"),
        ("", "is no host"),
        ("https://crm.internal", "is a URL: write its host alone"),
        ("*.internal", "has a wildcard: write each name out"),
        ("crm.internal:443", "has a port: write crm.internal,"),
        ("10.1.2.3:443", "has a port: write 10.1.2.3,"),
        ("[fd00::1]:443", "has a port: write fd00::1,"),
        ("a b", "is no host"),
    ],
)
def test_entries_that_are_refused(entry: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_allow(["10.0.0.0/8", entry])


def test_nothing_is_allowed_unless_it_is_listed() -> None:
    assert read_allow([]) == NOTHING == Allow()


# --- answers of a look-up --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("addresses", "reason"),
    [
        (["8.8.8.8", "2606:4700:4700::1111"], None),
        (["8.8.8.8", "10.0.0.1"], "private"),
        (["127.0.0.1"], "loopback"),
        ([], "no_address"),
    ],
)
def test_one_bad_address_spoils_an_answer(addresses: list[str], reason: str | None) -> None:
    found = answer_refusal(addresses, host="hooks.example")
    assert (found.reason if found else None) == reason


def test_an_answer_for_an_allowed_host() -> None:
    allow = read_allow(["crm.internal"])
    assert answer_refusal(["10.0.0.1", "8.8.8.8"], allow, host="crm.internal") is None
    found = answer_refusal(["10.0.0.1", "169.254.169.254"], allow, host="crm.internal")
    assert found is not None
    assert found.reason == "metadata"


# --- URLs ------------------------------------------------------------------------------------------------------------

URLS = {
    "https://crm.example/hooks": None,
    "https://crm.example:8443/hooks?x=1": None,
    "HTTPS://CRM.example./": None,
    "https://żółw.example/": None,
    "https://3com.example/": None,
    "https://8.8.8.8/": None,
    "https://[2606:4700:4700::1111]:8443/": None,
    "https://10.0.0.1/": "private",
    "https://127.0.0.1:9464/": "loopback",
    "https://[::1]/": "loopback",
    "https://[::ffff:127.0.0.1]/": "loopback",
    "https://[::FFFF:a9fe:A9FE]/": "metadata",
    "https://[64:ff9b::a9fe:a9fe]/": "metadata",
    "https://169.254.169.254/latest/": "metadata",
    "https://localhost/": "loopback",
    "https://LOCALHOST./": "loopback",
    "https://x.localhost/": "loopback",
    "https://127.1/": "url",
    "https://127.0.1/": "url",
    "https://0x7f.1/": "url",
    "https://0x7f000001/": "url",
    "https://0X7F.0.0.1/": "url",
    "https://2130706433/": "url",
    "https://017700000001/": "url",
    "https://0177.0.0.1/": "url",
    "https://127.0.0.01/": "url",
    "https://127.0.0.1./": "url",
    "https://0/": "url",
    "https://0x/": "url",
    "https://999.1.1.1/": "url",
    "https://1.2.3.4.5/": "url",
    "https://crm.example.0x1/": "url",
    "https://127.0.0.%31/": "url",
    "https://\uff11\uff12\uff17.0.0.1/": "url",
    "https://127\u30020\u30020\u30021/": "url",
    "https://127.0.0.①/": "url",
    "https://127.0.0.1\u00ad/": "url",
    "https://[fe80::1%25eth0]/": "url",
    "https://[fe80::1%eth0]/": "url",
    "https://[2606:4700::1%251]/": "url",
    "https://[127.0.0.1]/": "url",
    "https://[v1.x]/": "url",
    "https://[::1/": "url",
    "https://::1/": "url",
    "https://crm.example@127.0.0.1/": "url",
    "https://user:word@crm.example/": "url",
    "https://crm.example\\@127.0.0.1/": "url",
    "https://127.0.0.1\t.example/": "url",
    "https://crm.example /": "url",
    "https://crm.example/a\\\\@b": "url",
    " https://crm.example/": "url",
    "https://crm.example:0/": "url",
    "https://crm.example:99999/": "url",
    "https://a..b/": "url",
    "https://./": "url",
    "https:///path": "url",
    "https:crm.example": "url",
    "//crm.example/": "url",
    "ftp://crm.example/": "url",
    "file:///etc/passwd": "url",
    "": "url",
}


@pytest.mark.parametrize("url", URLS)
def test_urls(url: str) -> None:
    found = url_refusal(url)
    assert (found.reason if found else None) == URLS[url]


@pytest.mark.parametrize(
    "url", ["https://me:geheim@crm.example/", "https://me:geheim@℀.example/", "https://me:geheim@x:y/"]
)
def test_a_password_in_a_url_is_not_repeated(url: str) -> None:
    found = url_refusal(url)
    assert found is not None
    assert "geheim" not in found.message


def test_urls_that_are_allowed() -> None:
    allow = read_allow(["127.0.0.0/8", "10.0.0.1", "crm.internal"])
    for url in ("https://127.0.0.1/", "https://localhost/", "https://10.0.0.1/", "https://crm.internal/"):
        assert url_refusal(url, allow) is None
    assert url_refusal("https://localhost/", read_allow(["localhost"])) is None
    assert url_refusal("https://10.0.0.2/", allow) is not None
    assert url_refusal("https://127.1/", allow) is not None


PARTS = st.integers(0, 2**32 - 1).flatmap(
    lambda number: st.sampled_from(
        [f"{number}", f"{number % 256}", f"0{number % 256:o}", f"{number % 256:#x}", f"{number:#X}"]
    )
)


@given(st.lists(PARTS, min_size=1, max_size=4).map(".".join))
@example("127.1")
def test_whatever_the_system_takes_for_an_address_is_never_taken_for_a_name(host: str) -> None:
    try:
        system = socket.inet_aton(host)
    except OSError:
        system = None
    try:
        literal = literal_of(host)
    except ValueError:
        return
    assert literal is not None
    assert literal.packed == system


@given(st.text(max_size=30))
@example("\ud800")
def test_no_host_or_url_crashes_it(text: str) -> None:
    for url in (text, f"https://{text}/", f"https://[{text}]:1/"):
        found = url_refusal(url)
        assert found is None or found.reason
    with suppress(ValueError):
        literal_of(text)


@given(DENIED_ADDRESSES)
def test_a_denied_address_as_the_host_of_a_url_is_refused(address: str) -> None:
    assert url_refusal(f"https://[{address}]/" if ":" in address else f"https://{address}/") is not None


def test_the_tables_agree_with_each_other() -> None:
    """Each network that is written here a second time is denied whole: from its first to its last address."""
    for network in DENIED4 + DENIED6:
        for address in (network[0], network[-1]):
            assert refusal(address) is not None, address
