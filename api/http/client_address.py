"""Tells who sent a request where proxies stand between, and limits count by what.

`X-Forwarded-For` and `X-Forwarded-Proto` are believed only when the connection comes from one of
`DOCATLAS_TRUSTED_PROXIES`: anybody else can write into them what they like.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from starlette.types import ASGIApp, Receive, Scope, Send

_log = logging.getLogger(__name__)

IPV6_PREFIX = 64
"""Bits of an IPv6 address that name one customer. Source: RFC 6177, section 2; RFC 4291, section 2.5.1."""
UNKNOWN_ADDRESS = ""
"""What stands for the address of a client whose connection has none."""
_SCHEMES = frozenset({"http", "https"})


@dataclass(frozen=True, slots=True)
class Client:
    """Who sent a request. `address` is in the canonical form, an IPv4 address never as a mapped IPv6 one."""

    address: str
    scheme: str


class TrustedProxies:
    """The addresses whose `X-Forwarded-*` headers are believed. Immutable, so thread-safe."""

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        self._networks = tuple(networks)

    def trusts(self, address: str) -> bool:
        """True where `address` is one of a trusted proxy."""
        found = parse_address(address)
        return found is not None and any(found in network for network in self._networks)

    def client_of(self, peer: str, scheme: str, headers: Sequence[tuple[bytes, bytes]]) -> Client:
        """The client of a request that came over a connection from `peer`; `headers` as ASGI has them.

        The right-most address that is no trusted proxy's: each proxy appends the one that it saw, and what stands
        left of it was written by the client. Where a proxy wrote no address (`unknown`), it is the proxy's own.
        """
        if not self.trusts(peer):
            return Client(_canonical(peer), scheme)
        address, hops = _canonical(peer), 0
        for hop in reversed(_items(headers, b"x-forwarded-for")):
            found = parse_address(_without_port(hop))
            if found is None:
                break
            address, hops = str(found), hops + 1
            if not self.trusts(address):
                break
        schemes = [item.lower() for item in _items(headers, b"x-forwarded-proto")]
        # Proxies that append write one scheme for each address; those that overwrite write one in all.
        named = schemes[-min(max(1, hops), len(schemes))] if schemes else ""
        return Client(address, named if named in _SCHEMES else scheme)


class ForwardedClient:
    """Puts the client's address and scheme into the scope of each request, as trusted proxies tell them.

    `request.client.host`, `request.url` and redirects are then the client's, not the proxy's.
    """

    def __init__(self, app: ASGIApp, proxies: TrustedProxies) -> None:
        self._app, self._proxies = app, proxies
        self._has_warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        peer = client_address(scope)
        if self._proxies.trusts(peer):
            is_socket = scope["type"] == "websocket"
            given = scope["scheme"].replace("ws", "http") if is_socket else scope["scheme"]
            client = self._proxies.client_of(peer, given, scope["headers"])
            scope["client"] = (client.address, 0)
            scope["scheme"] = client.scheme.replace("http", "ws") if is_socket else client.scheme
        elif not self._has_warned and _items(scope["headers"], b"x-forwarded-for"):
            self._has_warned = True
            _log.warning(
                "A request from %s has X-Forwarded-For, which is ignored: add the address to DOCATLAS_TRUSTED_PROXIES "
                "if it is your proxy's. This is said once.",
                peer,
            )
        await self._app(scope, receive, send)


def client_address(scope: Scope) -> str:
    """The address of the client of a request or connection; empty where it has none.

    Behind `ForwardedClient` it is the one that trusted proxies tell.
    """
    client = scope.get("client")
    return UNKNOWN_ADDRESS if client is None else str(client[0])


def address_key(address: str) -> str:
    """What limits count by: an IPv4 address, or the /64 network of an IPv6 address.

    One customer has all addresses of such a network, so a limit on each of them would be none.
    """
    found = parse_address(address)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((int(found) >> (128 - IPV6_PREFIX) << (128 - IPV6_PREFIX), IPV6_PREFIX)))
    return address if found is None else str(found)


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """The address in `text`, a mapped IPv4 address as itself; None where it is none."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return found.ipv4_mapped
        return IPv6Address(int(found))  # without a zone, which has a meaning on one machine only
    return found


def _canonical(address: str) -> str:
    found = parse_address(address)
    return address if found is None else str(found)


def _items(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> list[str]:
    """The items of a list header that may come several times, in their order."""
    values = (value.decode("latin-1") for given, value in headers if given == name)
    return [item.strip() for value in values for item in value.split(",") if item.strip()]


def _without_port(hop: str) -> str:
    """The address in `1.2.3.4:5678`, `[2001:db8::1]:443`, `[2001:db8::1]` or an address alone."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
