"""What a client is told while the main database is out of reach, and afterwards.

See docs/fallback.md.
"""

from __future__ import annotations

from typing import Any

from anyio import to_thread
from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from database.fallback.answered_from import StoreUse, recorded_use, use_of_store
from services.accounts.principal import Principal
from services.documents.documents import moved_to
from services.errors import DocatlasError, NotFound, Retry, TransientError
from services.runtime import Runtime

STORE_HEADER = "X-Docatlas-Store"
_HERE_OR_THERE = frozenset({"document_not_found", "image_not_found", "job_not_found"})
"""What may be in the database that cannot be asked. A page that a document here lacks is nowhere."""
_DOCUMENTS = "/v1/documents/"
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


class StoreNotice:
    """Adds `X-Docatlas-Store: fallback` to answers that this node's own store gave.

    That is while the database is out of reach.
    """

    def __init__(self, app: ASGIApp, runtime: Runtime) -> None:
        self._app, self._store = app, runtime.store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with recorded_use() as use:

            async def noticing(message: Message) -> None:
                if message["type"] == "http.response.start" and _is_partial(use, self._store.is_partial):
                    MutableHeaders(scope=message)[STORE_HEADER] = "fallback"
                await send(message)

            await self._app(scope, receive, noticing)


def _is_partial(use: StoreUse, is_partial: bool) -> bool:
    """True where an answer may lack what the main database has.

    Who waited for a job has asked nothing in the request itself: then it is the store that counts.
    """
    return use.fallback or (use.is_unused and is_partial)


def admitting_ignorance(error: DocatlasError, runtime: Runtime | None) -> DocatlasError:
    """`error`, or that the main database is out of reach.

    The latter where the main database may have what was not found here.
    """
    if not isinstance(error, NotFound) or error.code not in _HERE_OR_THERE or runtime is None:
        return error
    if not _is_partial(use_of_store(), runtime.store.is_partial):
        return error
    return TransientError(
        "The database is out of reach, and this node does not have what you asked for. Try again later; `/health` "
        "tells since when.",
        code="primary_unavailable",
        retry=Retry(10.0),
    )


async def moved_answer(request: Request, error: DocatlasError, runtime: Runtime | None) -> JSONResponse | None:
    """The answer that says where a document is now that had an id of this node.

    None where the id means nothing.
    """
    path: str = request.scope["path"]
    principal = getattr(request.state, "principal", None)
    if error.code != "document_not_found" or runtime is None or not path.startswith(_DOCUMENTS):
        return None
    document_id, slash, rest = path.removeprefix(_DOCUMENTS).partition("/")
    if not isinstance(principal, Principal):
        return None
    found = await to_thread.run_sync(moved_to, runtime, principal.actor, document_id)
    if found is None:
        return None
    query = request.url.query
    location = f"{_DOCUMENTS}{found}{slash}{rest}" + (f"?{query}" if query else "")
    body = {"id": found, "moved_from": document_id}
    return JSONResponse(body, status_code=PERMANENT_REDIRECT, headers={"Location": location})
