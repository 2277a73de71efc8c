"""Authenticates requests before any route: who asks, whether they may, how often.

Pure ASGI. Every path is closed but those in `OPEN_PATHS`, even one that does not exist: a new route is closed until
it is named.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.addresses import is_signed
from api.http.errors import error_response
from api.http.middleware import drain
from database.errors import StoreError
from services.accounts.buckets import Allowance
from services.accounts.gate import Gate, too_many_requests
from services.accounts.principal import NOBODY, Principal
from services.accounts.principal import Scope as AccessScope
from services.accounts.signed_urls import UrlSigner, invalid_signature
from services.errors import DocatlasError, TransientError, Unauthenticated

_log = logging.getLogger(__name__)

OPEN_PATHS = frozenset(
    {
        "/livez",
        "/readyz",
        "/openapi.json",
        "/docs",
        "/v1/auth/login",
        "/v1/auth/register",
        "/v1/auth/refresh",
        "/auth/login",
    }
)
"""What nobody has to log in for."""
READING_POSTS = frozenset({"/v1/search", "/v1/search/image", "/v1/context", "/chat/prepare-context"})
ADMIN_PREFIXES = ("/v1/api-keys", "/v1/auth")
READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

MAX_CREDENTIAL_CHARS = 8192
"""A token of Supabase's with a few roles and providers has about 1,000."""
MAX_REFUSED_BYTES = 8 * 1024**2
"""Of the body of somebody who is not let in, read so that the answer arrives; see `drain`."""


T = TypeVar("T")
R = TypeVar("R")


def required_scope(method: str, path: str) -> AccessScope | None:
    """What a request needs; None where nobody has to log in."""
    # The router's patterns end in `$`, which lets a line feed at the end of the path go.
    path = path.removesuffix("\n").rstrip("/") or "/"
    if path in OPEN_PATHS:
        return None
    if path == "/v1/auth/me" and method in READ_METHODS:
        return "read"
    if any(path == prefix or path.startswith(f"{prefix}/") for prefix in ADMIN_PREFIXES):
        return "admin"
    return "read" if method in READ_METHODS or path in READING_POSTS else "write"


class Authentication:
    """Puts the principal into the request's state, or refuses the request.

    Without a gate everybody is the local user. A signed address takes the place of a token where the request shows
    none, for that path alone.
    """

    def __init__(self, app: ASGIApp, gate: Gate | None, signer: UrlSigner | None = None) -> None:
        self._app, self._gate, self._signer = app, gate, signer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._gate is None:
            scope.setdefault("state", {})["principal"] = NOBODY
            await self._app(scope, receive, send)
            return
        needed = required_scope(scope["method"], scope["path"])
        if needed is None:
            await self._app(scope, receive, send)
            return
        send = _private(send)
        try:
            principal = await self._principal(self._gate, scope)
            allowance = self._gate.count_request(principal)
            if allowance is not None:
                send = _telling(send, allowance, self._gate.requests_per_minute)
                if not allowance.is_granted:
                    raise too_many_requests(allowance)
            principal.require(needed)
        except DocatlasError as error:
            await drain(receive, MAX_REFUSED_BYTES)
            await error_response(error, scope)(scope, receive, send)
            return
        scope.setdefault("state", {})["principal"] = principal
        await self._app(scope, receive, send)

    async def _principal(self, gate: Gate, scope: Scope) -> Principal:
        headers = Headers(scope=scope)
        signed = None if _shows_credential(headers) else self._signed_by(scope)
        if signed is not None:
            await self._ask(gate.admit_signed, signed, scope)
            return signed
        credential = credential_of(headers)
        known = gate.recall(credential)
        if known is not None:
            return known
        return await self._ask(gate.look_up, credential, scope)

    def _signed_by(self, scope: Scope) -> Principal | None:
        """Who signed the address of the request; None where it has no signature. Raises Unauthenticated."""
        query = QueryParams(scope["query_string"])
        expires, signatures = query.getlist("expires"), query.getlist("signature")
        if self._signer is None or not signatures:
            return None
        path = scope["path"]
        if scope["method"] not in ("GET", "HEAD") or not is_signed(path) or len(expires) != 1 or len(signatures) != 1:
            raise invalid_signature()
        return self._signer.verify(path, expires[0], signatures[0])

    async def _ask(self, look: Callable[[T], R], shown: T, scope: Scope) -> R:
        limiter = scope["app"].state.gatekeepers
        assert isinstance(limiter, CapacityLimiter)
        try:
            # Threads of its own: who is let in does not wait behind searches.
            return await to_thread.run_sync(look, shown, limiter=limiter)
        except StoreError as error:
            _log.warning("an account could not be looked up: %s", error)
            raise TransientError(
                "The database does not answer. Try again in a moment.", code="database_unavailable"
            ) from error


def _shows_credential(headers: Headers) -> bool:
    return "authorization" in headers or "x-api-key" in headers


def credential_of(headers: Headers) -> str:
    """The token or API key that the request carries.

    Raises Unauthenticated: `unauthenticated` where there is none, `invalid_token` where it can be none.
    """
    shown = [value for name, value in headers.items() if name == "authorization"]
    keys = [value.strip() for name, value in headers.items() if name == "x-api-key"]
    if len(shown) + len(keys) > 1:
        raise Unauthenticated(
            "The request shows more than one credential. Send either `Authorization` or `X-API-Key`, once.",
            code="invalid_token",
        )
    if keys and keys[0]:
        credential = keys[0]
    elif shown:
        scheme, _, credential = shown[0].strip().partition(" ")
        credential = credential.strip()
        if scheme.lower() != "bearer" or not credential:
            raise Unauthenticated(
                "The Authorization header is not `Bearer <token>`. Send an access token or an API key in it.",
                code="invalid_token",
            )
    else:
        raise Unauthenticated(
            "Log in with POST /v1/auth/login and send `Authorization: Bearer <access_token>`, or send an API key in "
            "`X-API-Key`."
        )
    if len(credential) > MAX_CREDENTIAL_CHARS or not credential.isascii():
        raise Unauthenticated("The token is not valid here. Log in again.", code="invalid_token")
    return credential


def _private(send: Send) -> Send:
    """`send` that marks answers as private to one user, where a route says nothing.

    A shared cache keeps answers to requests with `Authorization` to itself, but knows nothing of `X-API-Key`.
    Source: RFC 9111, section 3.5.
    """

    async def private(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.setdefault("Cache-Control", "private, no-cache")
        await send(message)

    return private


def _telling(send: Send, allowance: Allowance, limit: int) -> Send:
    """`send` that adds what is left of the minute's requests.

    Source: draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4.
    """
    told = [
        (b"ratelimit-policy", f'"requests";q={limit};w=60'.encode()),
        (b"ratelimit", f'"requests";r={allowance.remaining};t={allowance.reset_s}'.encode()),
    ]

    async def telling(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *told]}
        await send(message)

    return telling
