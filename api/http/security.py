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
ALLOWED_HEADERS = (
    "Accept, Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, If-Range, Last-Event-ID, Range, "
    "X-API-Key, X-Request-Id, X-Requested-With, baggage, traceparent, tracestate"
)
"""The last three are what OpenTelemetry adds to each request of a page that it watches. Source: W3C Trace Context."""
EXPOSED_HEADERS = (
    "Accept-Ranges, Content-Disposition, Content-Encoding, Content-Range, ETag, Location, RateLimit, RateLimit-Policy, "
    "Retry-After, WWW-Authenticate, X-Docatlas-Store, X-Request-Id"
)
PREFLIGHT_AGE_S = 600
"""Source: Chromium caps a preflight's life at two hours, Firefox at a day; ten minutes notices a changed setting."""

SECURITY_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""Source: OWASP REST Security Cheat Sheet, "Security Headers"."""


_ANY_PORT = ":*"
"""At the end of an origin. Source: Content Security Policy Level 3, section 2.3.1, writes it the same way."""
_LOOPBACK_PAGES = tuple(f"{scheme}://{host}:*" for scheme in ("http", "https") for host in ("localhost", "127.0.0.1"))


@dataclass(frozen=True, slots=True)
class Access:
    """The hosts and origins that are let in."""

    hosts: frozenset[str]
    origins: frozenset[str]
    any_port: frozenset[str]
    """Origins without their port, such as `http://10.0.2.2`, of which every port is let in."""
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
        host = _host_of(parts[1])
        if is_loopback(host) or parts[1] == host_header.casefold():
            return True
        return f"{parts[0]}://{f'[{host}]' if ':' in host else host}" in self.any_port

    def resource_policy(self, page: str | None, host_header: str) -> str:
        """The Cross-Origin-Resource-Policy of a file or picture: `cross-origin` for a page that CORS lets in.

        `page` is the address of the page that shows it, where the browser tells it. A page that keeps it to itself
        (`Referrer-Policy: no-referrer`) gets what the settings say: `cross-origin` where they allow other origins.
        """
        if page is None:
            return "cross-origin" if self.origins or self.any_port else "same-origin"
        parts = _split(page)
        is_allowed = parts is not None and self.allows_origin(f"{parts[0]}://{parts[1]}", host_header)
        return "cross-origin" if is_allowed else "same-origin"


def access_of(settings: Settings) -> Access:
    """Who may talk to a server with these settings."""
    origins = _origins(settings)
    return Access(
        hosts=frozenset(_clean((settings.host, *settings.allowed_hosts))),
        origins=frozenset(origin for origin in origins if not origin.endswith(_ANY_PORT)),
        any_port=frozenset(origin.removesuffix(_ANY_PORT) for origin in origins if origin.endswith(_ANY_PORT)),
        any_address=not is_loopback(settings.host),
    )


def frame_ancestors(settings: Settings) -> str:
    """The pages that may show a PDF in a frame, as a directive of a Content-Security-Policy: those of `access_of`.

    An origin with a character that would begin another directive is left out.
    """
    ours = [origin for origin in _origins(settings) if not set(origin) & set("; ,'\"\r\n")]
    return " ".join(["frame-ancestors 'self'", *_LOOPBACK_PAGES, *ours])


def _origins(settings: Settings) -> list[str]:
    return [origin.casefold().rstrip("/") for origin in settings.cors_origins if origin != "*"]


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
