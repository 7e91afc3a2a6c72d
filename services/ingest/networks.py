"""From which network a request comes; an address is cut to it here (IPv4 /24, IPv6 /48) and leaves this module nowhere.

Whom a proxy speaks for is believed of trusted proxies alone, and read from the right (RFC 7239, X-Forwarded-For): what
stands left of the first address that is not a trusted proxy's was written by whoever liked to.
"""

import re
import socket
from collections.abc import Iterable
from ipaddress import ip_network
from typing import Final, Literal, NamedTuple

from starlette.types import Scope

ForwardedHeader = Literal["x-forwarded-for", "forwarded"]

_V4_BYTES: Final = 4
_V4_KEPT: Final = 3
_V6_BYTES: Final = 16
_V6_KEPT: Final = 6
_V4_IN_V6: Final = bytes(10) + b"\xff\xff"
# The `for` of one element of a Forwarded header (RFC 7239, 4); quoted where the node holds a colon.
_FOR: Final = re.compile(r'(?:^|;)\s*for\s*=\s*(?:"([^"]*)"|([^;,"\s]*))', re.IGNORECASE)


class Sender(NamedTuple):
    """`network`: the first 3 bytes of an IPv4 address or 6 of an IPv6 one, empty where none is known.

    `vouched`: the request came through a trusted proxy, so what that proxy says of the visitor counts.
    """

    network: bytes
    vouched: bool


class Networks:
    """Senders of requests, behind the proxies that the operator trusts."""

    def __init__(self, trusted_proxies: str, header: ForwardedHeader) -> None:
        """`trusted_proxies`: CIDRs, separated by commas; empty trusts none. Raises ValueError."""
        self._trusted = [_range(text.strip()) for text in trusted_proxies.split(",") if text.strip()]
        self._header = header.encode()
        self._is_rfc7239 = header == "forwarded"

    def sender(self, scope: Scope) -> Sender:
        """Who sent the request.

        1. The socket says who is at its other end; 2. a trusted proxy says for whom it speaks, and so on leftwards;
        3. where it says nothing readable, it is itself the last that is known.
        """
        peer = scope.get("client")
        address = None if peer is None else _packed(peer[0])
        if address is None or not self._trusted or not self._trusts(address):
            return Sender(_cut(address), vouched=False)
        for node in reversed(self._forwarded(scope["headers"])):
            stated = _packed(node)
            if stated is None:
                break
            address = stated
            if not self._trusts(stated):
                break
        return Sender(_cut(address), vouched=True)

    def _trusts(self, address: bytes) -> bool:
        number, size = int.from_bytes(address), len(address)
        return any(size == of and number >> shift == prefix for of, prefix, shift in self._trusted)

    def _forwarded(self, headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
        """The nodes of every such header, in their order: a proxy may add a line of its own."""
        lines = [value.decode("latin-1") for name, value in headers if name == self._header]
        elements = [element for line in lines for element in line.split(",")]
        if not self._is_rfc7239:
            return [_bare(element.strip()) for element in elements]
        found = [_FOR.search(element) for element in elements]
        return ["" if match is None else _bare(match[1] or match[2] or "") for match in found]


def network_text(network: bytes) -> str | None:
    """The network as a record may hold it: 203.0.113.0/24 or 2001:db8:1::/48; None where none is known."""
    if len(network) == _V4_KEPT:
        return f"{socket.inet_ntop(socket.AF_INET, network + bytes(_V4_BYTES - _V4_KEPT))}/{_V4_KEPT * 8}"
    if len(network) == _V6_KEPT:
        return f"{socket.inet_ntop(socket.AF_INET6, network + bytes(_V6_BYTES - _V6_KEPT))}/{_V6_KEPT * 8}"
    return None


def _range(text: str) -> tuple[int, int, int]:
    """Bytes of an address, its leading bits, and how many bits follow them."""
    network = ip_network(text)
    shift = network.max_prefixlen - network.prefixlen
    return network.max_prefixlen // 8, int(network.network_address) >> shift, shift


def _packed(text: str) -> bytes | None:
    """The 4 or 16 bytes of an address; an IPv4 address mapped into IPv6 is the IPv4 address."""
    try:
        if ":" not in text:
            return socket.inet_pton(socket.AF_INET, text)
        address = socket.inet_pton(socket.AF_INET6, text.partition("%")[0])
    except (OSError, ValueError):
        return None
    return address.removeprefix(_V4_IN_V6)


def _cut(address: bytes | None) -> bytes:
    if address is None:
        return b""
    return address[:_V4_KEPT] if len(address) == _V4_BYTES else address[:_V6_KEPT]


def _bare(node: str) -> str:
    """A node without brackets and port."""
    if node.startswith("["):
        return node[1:].partition("]")[0]
    return node.partition(":")[0] if node.count(":") == 1 else node
