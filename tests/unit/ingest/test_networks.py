"""Whose network a request comes from: the socket's, or what trusted proxies say, read from the right."""

import pytest

from services.ingest.networks import ForwardedHeader, Networks, Sender, network_text

pytestmark = pytest.mark.unit

PROXIES = "10.0.0.0/8, fd00::/16,192.0.2.1"
V4 = bytes([203, 0, 113])
V6 = bytes.fromhex("20010db80001")


def sender(
    peer: str | None, *lines: str, trusted: str = PROXIES, header: ForwardedHeader = "x-forwarded-for"
) -> Sender:
    headers = [(b"x-other", b"1.2.3.4"), *((header.encode(), line.encode("latin-1")) for line in lines)]
    scope = {"client": None if peer is None else (peer, 4711), "headers": headers}
    return Networks(trusted, header).sender(scope)


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        ("203.0.113.77", V4),
        ("::ffff:203.0.113.77", V4),
        ("2001:db8:1:2:3:4:5:6", V6),
        ("2001:db8:1::%eth0", V6),
        ("nonsense", b""),
        ("\x00", b""),
        (None, b""),
    ],
)
def test_the_socket_says_who_it_is(peer: str | None, network: bytes) -> None:
    assert sender(peer) == Sender(network, vouched=False)
    # Nobody who is not trusted speaks for somebody else.
    assert sender(peer, "198.51.100.9") == Sender(network, vouched=False)
    assert sender(peer, "198.51.100.9", trusted="") == Sender(network, vouched=False)


@pytest.mark.parametrize(
    ("lines", "network"),
    [
        (["203.0.113.77"], V4),
        (["203.0.113.77:5123"], V4),
        (["[2001:db8:1::9]:443"], V6),
        (["2001:db8:1::9"], V6),
        # What the visitor wrote itself stands on the left.
        (["198.51.100.9, 203.0.113.77"], V4),
        (["198.51.100.9", "203.0.113.77"], V4),
        # A second proxy of ours, in the same line and in a line of its own.
        (["198.51.100.9, 203.0.113.77, 10.1.1.1"], V4),
        (["203.0.113.77", "fd00::7"], V4),
        # All are ours, or nobody said anything: the furthest that is known.
        (["10.2.2.2"], bytes([10, 2, 2])),
        ([], bytes([10, 0, 0])),
        # What cannot be read ends the search, even if something readable stands left of it.
        (["203.0.113.77, unknown"], bytes([10, 0, 0])),
        (["203.0.113.77, , 10.3.3.3"], bytes([10, 3, 3])),
    ],
)
def test_a_trusted_proxy_says_for_whom_it_speaks(lines: list[str], network: bytes) -> None:
    assert sender("10.0.0.1", *lines) == Sender(network, vouched=True)


@pytest.mark.parametrize(
    ("lines", "network"),
    [
        (["for=203.0.113.77;proto=https;by=10.0.0.1"], V4),
        (['proto=https; For="[2001:db8:1::9]:4711"'], V6),
        (['for=198.51.100.9, for="203.0.113.77:80"'], V4),
        (["for=198.51.100.9", "for=203.0.113.77, for=10.1.1.1"], V4),
        (["for=203.0.113.77, for=_hidden"], bytes([10, 0, 0])),
        (["for=203.0.113.77, proto=https"], bytes([10, 0, 0])),
    ],
)
def test_forwarded_is_read_as_the_rfc_has_it(lines: list[str], network: bytes) -> None:
    assert sender("10.0.0.1", *lines, header="forwarded") == Sender(network, vouched=True)


def test_only_the_header_that_the_proxy_sets_is_read() -> None:
    scope = {"client": ("10.0.0.1", 1), "headers": [(b"forwarded", b"for=198.51.100.9")]}
    assert Networks(PROXIES, "x-forwarded-for").sender(scope).network == bytes([10, 0, 0])


def test_a_network_as_a_record_holds_it() -> None:
    assert network_text(V4) == "203.0.113.0/24"
    assert network_text(V6) == "2001:db8:1::/48"
    assert network_text(b"") is None


@pytest.mark.parametrize("trusted", ["10.0.0.0/8,", " ", "10.0.0.1"])
def test_lists_of_proxies_that_are_taken(trusted: str) -> None:
    Networks(trusted, "forwarded")


@pytest.mark.parametrize("trusted", ["10.0.0.1/8", "proxy.example", "10.0.0.0/33"])
def test_lists_of_proxies_that_are_not(trusted: str) -> None:
    with pytest.raises(ValueError, match=r"host bits|does not appear"):
        Networks(trusted, "forwarded")
