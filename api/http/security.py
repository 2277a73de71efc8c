"""Decides which hosts and origins may talk to the server; security headers.

Nobody logs in, so a page on the internet must not reach the server through the user's browser: the Host header has to
be one of ours (against DNS rebinding), and an Origin, where a browser sends one, has to be allowed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from services.settings import Settings, is_loopback

ALLOWED_METHODS = "GET, HEAD, POST, PATCH, DELETE, OPTIONS"
ALLOWED_HEADERS = "Accept, Authorization, Content-Type, Idempotency-Key, If-None-Match, Range, X-API-Key, X-Request-Id"
EXPOSED_HEADERS = (
    "Content-Disposition, Content-Range, ETag, Location, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, "
    "X-Docatlas-Store, X-Request-Id"
)
PREFLIGHT_AGE_S = 600
"""Source: Chromium caps a preflight's life at two hours, Firefox at a day; ten minutes notices a changed setting."""

SECURITY_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-site",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""Source: OWASP REST Security Cheat Sheet, "Security Headers"."""


@dataclass(frozen=True, slots=True)
class Access:
    """The hosts and origins that are let in."""

    hosts: frozenset[str]
    origins: frozenset[str]
    any_address: bool
    """True where the server listens beyond loopback: then an IP address as Host is fine: a rebound name is none."""

    def allows_host(self, header: str) -> bool:
        """True for a Host header that names this server; the port does not matter."""
        host = _host_of(header)
        if not host:
            return False
        if is_loopback(host) or host in self.hosts:
            return True
        return self.any_address and _is_address(host)

    def allows_origin(self, origin: str, host_header: str) -> bool:
        """True for an origin that may talk to the server.

        A loopback origin on any port, one of the settings', and the server's own.
        """
        normal = origin.casefold().rstrip("/")
        if normal in self.origins:
            return True
        parts = _split(normal)
        if parts is None or parts[0] not in ("http", "https"):
            return False
        return is_loopback(_host_of(parts[1])) or parts[1] == host_header.casefold()


def access_of(settings: Settings) -> Access:
    """Who may talk to a server with these settings."""
    return Access(
        hosts=frozenset(_clean((settings.host, *settings.allowed_hosts))),
        origins=frozenset(origin.casefold().rstrip("/") for origin in settings.cors_origins if origin != "*"),
        any_address=not is_loopback(settings.host),
    )


def cors_headers(origin: str) -> dict[str, str]:
    """The headers that let the page at `origin`, which is allowed, read the answer."""
    return {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": EXPOSED_HEADERS}


def preflight_headers(origin: str) -> dict[str, str]:
    """The headers that answer a CORS preflight.

    Source: Fetch Standard, CORS-preflight fetch.
    """
    return {
        **cors_headers(origin),
        "Access-Control-Allow-Methods": ALLOWED_METHODS,
        "Access-Control-Allow-Headers": ALLOWED_HEADERS,
        "Access-Control-Max-Age": str(PREFLIGHT_AGE_S),
    }


def _clean(names: Iterable[str]) -> Iterable[str]:
    return (name.casefold().strip("[]").rstrip(".") for name in names if name and name not in ("0.0.0.0", "::", "*"))


def _host_of(header: str) -> str:
    """The name or address in `name[:port]`, lower-case, without brackets.

    Empty when it is malformed.
    """
    parts = _split(f"http://{header}")
    if parts is None:
        return ""
    try:
        found = urlsplit(f"http://{header}")
        _ = found.port
    except ValueError:
        return ""
    if found.username is not None or found.path or found.query or found.fragment:
        return ""
    return (found.hostname or "").rstrip(".")


def _split(address: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    return (parts.scheme, parts.netloc) if parts.netloc else None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
