"""Names of downstream systems, looked up in threads of their own.

Invariant: a name server that does not answer delays the systems whose names it holds. Signing and erasing, which use
the process's other threads, never wait for one. Of a name there is one look-up at a time. An address that the operator
does not let webhooks go to is never connected to, whatever name leads there.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import httpcore2
import httpx2

THREADS_MAX: Final = 16
KEPT_CONNECTIONS_MAX: Final = 64
KEPT_S: Final = 5.0

_Options = Iterable[tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]]


class Resolving(httpcore2.AsyncNetworkBackend):
    """Connects to the first address of a name that takes the connection."""

    def __init__(self, *, inside: bool) -> None:
        """`inside`: also to private, loopback and link-local addresses (RFC 6890)."""
        self._inside = inside
        self._threads = ThreadPoolExecutor(THREADS_MAX, "resolving")
        self._sockets = httpcore2.AnyIOBackend()
        self._under_way: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: _Options | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Raises httpcore2.ConnectError, ConnectTimeout."""
        failed = httpcore2.ConnectError("no address that webhooks may go to")
        for address in await self._addresses(host, port):
            if not self._inside and not is_outside(address):
                continue
            try:
                return await self._sockets.connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore2.ConnectError as error:
                failed = error
        raise failed

    async def _addresses(self, host: str, port: int) -> list[str]:
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            pass
        name = host, port
        if name not in self._under_way:
            found = asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host, port)
            self._under_way[name] = found
            found.add_done_callback(lambda _: self._under_way.pop(name, None))
        # Whoever gives up waiting takes nothing away from the others.
        return await asyncio.shield(self._under_way[name])

    def close(self) -> None:
        """No further look-up; what is under way ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class Transport(httpx2.AsyncHTTPTransport):
    """HTTP over connections that `resolving` makes. As many as are asked for: what bounds them is the caller's, system
    by system, so that those that hang leave the others theirs.
    """

    def __init__(self, resolving: Resolving, context: ssl.SSLContext) -> None:
        super().__init__(verify=context, trust_env=False)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=context,
            max_connections=None,
            max_keepalive_connections=KEPT_CONNECTIONS_MAX,
            keepalive_expiry=KEPT_S,
            network_backend=resolving,
        )


def is_outside(address: str) -> bool:
    """Whether it is an address of the Internet, also where it is an IPv4 address in the form of IPv6."""
    found = ipaddress.ip_address(address)
    mapped = found.ipv4_mapped or found.sixtofour if isinstance(found, ipaddress.IPv6Address) else None
    return (found if mapped is None else mapped).is_global


def _look_up(host: str, port: int) -> list[str]:
    """Addresses, in the system's order; none if there is no such name."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
