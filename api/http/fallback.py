"""What a client is told while the main database is out of reach, and afterwards.

See docs/fallback.md.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from anyio import to_thread
from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.errors import error_response
from api.models.base import partial_answers
from database.fallback.base import Fallback
from services.accounts.principal import Principal
from services.accounts.signed_urls import SIGNATURE_PARAMETERS, UrlSigner
from services.documents.documents import moved_to
from services.errors import NotFound, Retry, TransientError

STORE_HEADER = "X-Docatlas-Store"
_HERE_OR_THERE = frozenset({"document_not_found", "image_not_found", "job_not_found"})
"""What may be in the database that cannot be asked. A page that a document here lacks is nowhere."""
_DOCUMENTS = "/v1/documents/"
_IS_PARTIAL = "is_partial"
"""Set in the state of a request: a function that says whether its answer is made from what this node has."""
PERMANENT_REDIRECT = 308
"""Keeps the method and the body. Source: RFC 9110, section 15.4.9."""

MOVED: dict[str, Any] = {
    "description": "The id was given out while the database was out of reach, and the same content had one already",
    "headers": {
        "Location": {
            "schema": {"type": "string"},
            "example": "/v1/documents/019aa5d2-6f1e-7c3a-9d55-0c1f0f6b7e21",
        }
    },
}
"""Any path below /v1/documents/{document_id}."""


class FallbackNotice:
    """Marks what is answered from this node while the main database is out of reach.

    Adds `X-Docatlas-Store: fallback`, and makes lists and searches say that they are partial.
    """

    def __init__(self, app: ASGIApp, fallback: Fallback) -> None:
        self._app, self._fallback = app, fallback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._fallback.recorded_answers() as answered:

            def is_partial() -> bool:
                # Who waited for a job has asked nothing in the request itself: then it is the fallback that counts.
                return answered.local or (answered.is_empty and self._fallback.is_partial)

            async def noticing(message: Message) -> None:
                if message["type"] == "http.response.start" and is_partial():
                    MutableHeaders(scope=message)[STORE_HEADER] = "fallback"
                await send(message)

            scope.setdefault("state", {})[_IS_PARTIAL] = is_partial
            with partial_answers(lambda: answered.local):
                await self._app(scope, receive, noticing)


async def on_not_found(request: Request, error: Exception) -> JSONResponse:
    """Answers a NotFound, with 308 or 503 where the fallback has to do with it.

    308: the document has another id now. 503: only the main database could tell.
    """
    assert isinstance(error, NotFound)
    moved = await _moved_answer(request, error)
    return moved or error_response(_primary_unavailable(request, error) or error, request.scope)


def _primary_unavailable(request: Request, error: NotFound) -> TransientError | None:
    """The error where the main database may have what was not found here."""
    is_partial = getattr(request.state, _IS_PARTIAL, None)
    if error.code not in _HERE_OR_THERE or is_partial is None or not is_partial():
        return None
    return TransientError(
        "The database is out of reach, and this node does not have what you asked for. Try again later; `/health` "
        "tells since when.",
        code="primary_unavailable",
        retry=Retry(10.0),
    )


def _signed_again(signer: UrlSigner, path: str, principal: Principal, request: Request) -> str:
    """The address of the document's new id, as long valid as the one that was asked for."""
    kept = [(name, value) for name, value in request.query_params.multi_items() if name not in SIGNATURE_PARAMETERS]
    signed = signer.sign(path, principal.user_id, expires_at=principal.expires_at)
    return f"{signed}&{urlencode(kept)}" if kept else signed


async def _moved_answer(request: Request, error: NotFound) -> JSONResponse | None:
    """The redirect of an id that another document has now; None where there is none."""
    path: str = request.scope["path"]
    principal = getattr(request.state, "principal", None)
    runtime = getattr(request.app.state, "runtime", None)
    if error.code != "document_not_found" or runtime is None or not path.startswith(_DOCUMENTS):
        return None
    document_id, slash, rest = path.removeprefix(_DOCUMENTS).partition("/")
    if not isinstance(principal, Principal):
        return None
    found = await to_thread.run_sync(moved_to, runtime, principal.actor, document_id)
    if found is None:
        return None
    query = request.url.query
    location = f"{_DOCUMENTS}{found}{slash}{rest}"
    if principal.kind == "signed_url":
        location = _signed_again(runtime.accounts.signer, location, principal, request)
    elif query:
        location += f"?{query}"
    body = {"id": found, "moved_from": document_id}
    return JSONResponse(body, status_code=PERMANENT_REDIRECT, headers={"Location": location})
