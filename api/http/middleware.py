"""Middleware that every request passes, as pure ASGI.

No thread, no buffering, and the same headers on errors as on answers.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.addresses import is_shown
from api.http.body_memory import BodyMemory, HeldBody, no_room
from api.http.client_address import address_key, client_address
from api.http.errors import (
    IS_HEAD,
    BodyTooLarge,
    RefusedWhileReading,
    error_response,
    http_problem,
    request_id_of,
)
from api.http.request_limits import BodyTooSlow, is_upload_request
from api.http.security import SECURITY_HEADERS, Access, cors_headers, preflight_headers
from database.ids import new_id
from services.errors import Forbidden, InternalError

_log = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

MAX_BODY_BYTES = 8 * 1024**2
"""Of a request that is not an upload. 10,000 document ids take 400 kB; the rest is room for a long chat history."""

MAX_OPEN_BODY_BYTES = 64 * 1024
"""Of what is sent to log in or to make an account, by anybody: an address, a password or a token."""
_OPEN_PREFIXES = ("/v1/auth/", "/auth/")

MAX_DRAINED_BYTES = 256 * 1024**2
"""Of a refused body that are still read, so that the client gets the answer; a second or so on loopback."""


_GZIP_LEVEL = 4
"""Source: of openapi.json (344 kB) level 4 leaves 39 kB in 2 ms, level 9 34 kB in 13 ms; of 200 vectors (3.4 MB) they
leave 1.48 MB in 145 ms and 1.42 MB in 980 ms (one core). Starlette compresses large answers in a thread."""
_SECRET_PATHS = ("/v1/auth", "/auth/", "/v1/api-keys")


class RequestIdentity:
    """Gives each request an id and sends it back.

    It is the client's `X-Request-Id`, or a new one where that is absent or malformed.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else new_id()
        scope.setdefault("state", {})["request_id"] = request_id
        await self._app(scope, receive, _adding(send, {"X-Request-Id": request_id, **SECURITY_HEADERS}))


class Failures:
    """Answers unexpected exceptions with a 500.

    It tells nothing but the request's id; the log has the rest.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            _log.debug("request %s: the client went away", request_id_of(scope))
        except Exception:
            # The outermost boundary: whatever a defect raises must become an answer and a line in the log.
            _log.exception("request %s failed: %s %s", request_id_of(scope), scope["method"], scope["path"])
            if started:
                raise  # the answer is cut off; closing the connection is the only way left to say so
            error = InternalError(
                "An internal error occurred. Give the operator the request_id: the log has the details."
            )
            await error_response(error, scope)(scope, receive, send)


class AccessControl:
    """Refuses foreign hosts and origins, and answers preflights.

    Adds the CORS headers to whatever else is answered.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._access.allows_host(host):
            refusal = Forbidden(
                "The Host header names another server. Use the server's own address, or add the name to "
                "DOCATLAS_ALLOWED_HOSTS.",
                code="host_not_allowed",
            )
            await error_response(refusal, scope)(scope, receive, send)
            return
        send = _varying(send)
        if is_shown(scope["path"]):
            policy = self._access.resource_policy(origin or headers.get("referer"), host)
            send = _adding(send, {"Cross-Origin-Resource-Policy": policy})
        if origin is None:
            await self._app(scope, receive, send)
            return
        if not self._access.allows_origin(origin, host):
            refusal = Forbidden(
                "This web origin may not use the server. The operator can add it to DOCATLAS_CORS_ORIGINS.",
                code="origin_not_allowed",
            )
            await error_response(refusal, scope)(scope, receive, send)
            return
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await Response(status_code=204, headers=preflight_headers(origin))(scope, receive, send)
            return
        await self._app(scope, receive, _adding(send, cors_headers(origin)))


class Compression(GZipMiddleware):
    """Compresses texts with gzip for clients that take it.

    Files, pictures, ranges and event streams stay as they are. Answers with tokens are never compressed: their length
    would tell of the secret what a request can make repeat (BREACH). Signed addresses do not matter here: asking for
    them takes a token, which no other page can borrow.
    """

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app, compresslevel=_GZIP_LEVEL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_shown(scope["path"]) or scope["path"].startswith(_SECRET_PATHS):
            await self.app(scope, receive, send)
            return

        async def weakening(message: Message) -> None:
            """`send` that makes a tag weak where the bytes are not those it was made for. RFC 9110, section 8.8.1."""
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                tag = headers.get("etag", "")
                if headers.get("content-encoding") == "gzip" and tag.startswith('"'):
                    headers["ETag"] = f"W/{tag}"
            await send(message)

        await super().__call__(scope, receive, weakening)


class HeadAsGet:
    """Answers a HEAD as a GET without its body, on every path that has a GET."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app({**scope, "method": "GET", IS_HEAD: True}, receive, without_body)


class BodyLimit:
    """Refuses bodies over their limit, and those for which `memory` has no room.

    Uploads have limits of their own.
    """

    def __init__(self, app: ASGIApp, upload_paths: frozenset[str], memory: BodyMemory) -> None:
        self._app, self._upload_paths, self._memory = app, upload_paths, memory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_upload_request(scope, self._upload_paths):
            await self._app(scope, receive, send)
            return
        with self._memory.hold(address_key(client_address(scope))) as held:
            await self._limited(scope, receive, send, held)

    async def _limited(self, scope: Scope, receive: Receive, send: Send, held: HeldBody) -> None:
        limit = MAX_OPEN_BODY_BYTES if scope["path"].startswith(_OPEN_PREFIXES) else MAX_BODY_BYTES
        too_large = BodyTooLarge(limit)
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdecimal() or int(declared[:20]) > limit:
            await drain(receive)
            await http_problem(scope, 413, too_large.detail, limit=limit)(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b"")) if message["type"] == "http.request" else 0
            if seen > limit:
                # An HTTPException is the one error that FastAPI lets through while it reads a body.
                await drain(receive)
                raise too_large
            if not held.set_bytes(seen):
                # Not drained here: what was read so far would be held meanwhile. The connection forgets the rest.
                raise RefusedWhileReading(no_room())
            return message

        await self._app(scope, counted, send)


async def drain(receive: Receive, limit: int = MAX_DRAINED_BYTES) -> bool:
    """Reads and forgets what is left of a body; True when it came to its end.

    At most `limit` bytes, and for as long as a body may take. A connection that is closed while the client still sends
    is reset, and the client never sees the answer. Source: RFC 9112, section 9.6.
    """
    while limit > 0:
        try:
            message = await receive()
        except BodyTooSlow:
            return False
        if message["type"] != "http.request":
            return False
        limit -= len(message.get("body", b""))
        if not message.get("more_body", False):
            return True
    return False


def _adding(send: Send, extra: Mapping[str, str]) -> Send:
    """`send`, with headers added where the answer does not set them itself."""

    async def adding(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in extra.items():
                headers.setdefault(name, value)
        await send(message)

    return adding


def _varying(send: Send) -> Send:
    """`send`, telling caches that an answer depends on the Origin."""

    async def varying(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).add_vary_header("Origin")
        await send(message)

    return varying
