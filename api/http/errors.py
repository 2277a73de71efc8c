"""Maps the tree of errors to HTTP, and answers with RFC 9457 problems."""

from __future__ import annotations

import difflib
import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from anyio import to_thread
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match

from database.errors import RowRefused, StoreError
from services import errors
from services.accounts.principal import Principal
from services.errors import DocatlasError, FieldError, InternalError, Problem, TransientError
from services.options import pointer_step
from services.storage import translate_store_error

_log = logging.getLogger(__name__)

PROBLEM_TYPE = "application/problem+json"
IS_HEAD = "docatlas.is_head"
"""Set in the scope of a HEAD request, which is handled as a GET (see api.http.middleware.HeadAsGet)."""
_FASTAPI_UNPARSED = "There was an error parsing the body"
"""What FastAPI says of a body whose bytes are no text."""
_TOKEN_CODES = frozenset({"invalid_token", "token_expired", "invalid_api_key", "account_deleted", "account_disabled"})


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """How a class of errors is told over HTTP."""

    status: int
    slug: str
    """Last part of the problem's type URI."""
    title: str


ERROR_TABLE: Mapping[str, ErrorRow] = {
    "DocatlasError": ErrorRow(500, "internal-error", "Internal error"),
    "InputError": ErrorRow(422, "invalid-input", "The input cannot be used"),
    "UnsupportedFormat": ErrorRow(415, "unsupported-format", "The file format is not supported"),
    "TooLarge": ErrorRow(413, "too-large", "A limit was passed"),
    "UnreadableDocument": ErrorRow(422, "unreadable-document", "The document cannot be read"),
    "EncryptedDocument": ErrorRow(422, "encrypted-document", "The document is encrypted"),
    "InvalidOption": ErrorRow(422, "invalid-request", "The request is not valid"),
    "Unauthenticated": ErrorRow(401, "unauthenticated", "Who is asking is not known"),
    "Forbidden": ErrorRow(403, "forbidden", "Not allowed"),
    "NotFound": ErrorRow(404, "not-found", "Not found"),
    "Conflict": ErrorRow(409, "conflict", "The state does not allow it"),
    "QuotaExceeded": ErrorRow(429, "quota-exceeded", "Too much was asked for"),
    "RateLimited": ErrorRow(429, "rate-limited", "Too many requests"),
    "CapabilityMissing": ErrorRow(503, "capability-missing", "Something has to be installed"),
    "TransientError": ErrorRow(503, "temporarily-unavailable", "Temporarily unavailable"),
    "InternalError": ErrorRow(500, "internal-error", "Internal error"),
}
"""One row for each class of services.errors, by its name."""

HTTP_CODES = {
    400: ("malformed_request", "malformed-request"),
    404: ("route_not_found", "not-found"),
    405: ("method_not_allowed", "method-not-allowed"),
    408: ("request_timeout", "request-timeout"),
    413: ("body_too_large", "too-large"),
    415: ("unsupported_media_type", "unsupported-media-type"),
    416: ("range_not_satisfiable", "range-not-satisfiable"),
    431: ("headers_too_large", "headers-too-large"),
}
"""Code and slug of each status that HTTP itself, and no class of services.errors, has a meaning for."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_RESERVED = frozenset({"type", "title", "status", "detail", "instance", "code", "request_id", "retryable", "errors"})


def type_uri(slug: str) -> str:
    """The problem's type: a name, not an address."""
    return f"urn:docatlas:problem:{slug}"


def problem_json(
    problem: Problem,
    *,
    instance: str | None = None,
    request_id: str | None = None,
    fields: tuple[FieldError, ...] = (),
    facts: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The problem as RFC 9457 JSON with our members, in HTTP errors and jobs alike."""
    row = ERROR_TABLE.get(problem.kind, ERROR_TABLE["InternalError"])
    body: dict[str, Any] = {
        "type": type_uri(row.slug),
        "title": row.title,
        "status": row.status,
        "detail": problem.detail,
        "instance": instance,
        "code": problem.code,
        "request_id": request_id,
        "retryable": problem.retryable,
    }
    body["errors"] = [{"pointer": field.pointer, "message": field.message} for field in fields]
    body.update({name: value for name, value in (facts or {}).items() if name not in _RESERVED})
    return body


def error_json(error: DocatlasError, *, instance: str | None = None, request_id: str | None = None) -> dict[str, Any]:
    """As `problem_json`, of an error that was raised."""
    return problem_json(error.problem, instance=instance, request_id=request_id, fields=error.errors, facts=error.facts)


def stored_problem_json(stored: Mapping[str, Any] | None, *, instance: str) -> dict[str, Any] | None:
    """A problem that a job recorded, as an HTTP error is written."""
    if stored is None:
        return None
    problem = Problem(
        kind=str(stored.get("kind", "InternalError")),
        code=str(stored.get("code", "internal_error")),
        detail=str(stored.get("detail", "")),
        retryable=bool(stored.get("retryable", False)),
    )
    return problem_json(problem, instance=instance)


def method_of(scope: Mapping[str, Any]) -> str:
    """The method as the client sent it."""
    return "HEAD" if scope.get(IS_HEAD) else str(scope["method"])


def request_id_of(scope: Mapping[str, Any]) -> str | None:
    """The request's id, once the middleware has given it one."""
    found = scope.get("state", {}).get("request_id")
    return found if isinstance(found, str) else None


def error_response(error: DocatlasError, scope: Mapping[str, Any]) -> JSONResponse:
    """The HTTP answer to `error`."""
    body = error_json(error, instance=scope["path"], request_id=request_id_of(scope))
    return _response(body, _retry_headers(error))


def _retry_headers(error: DocatlasError) -> dict[str, str]:
    """`Retry-After` where the error is `retryable`, and only there: clients send again by themselves what has it.

    A full quota waits for somebody to delete, a missing model for somebody to install.
    """
    if isinstance(error, (TransientError, errors.RateLimited)):
        return {"Retry-After": str(max(1, math.ceil(error.retry.after_s)))}
    if isinstance(error, errors.Unauthenticated):
        return {"WWW-Authenticate": _challenge(error)}
    if isinstance(error, errors.Forbidden) and error.code == "scope_missing":
        return {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{error.facts["scope"]}"'}
    return {}


def _challenge(error: errors.Unauthenticated) -> str:
    """Source: RFC 6750, section 3.1: no error code where nothing was shown."""
    return 'Bearer error="invalid_token"' if error.code in _TOKEN_CODES else "Bearer"


def _response(body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(
        _encodable(body), status_code=body["status"], headers=dict(headers or {}), media_type=PROBLEM_TYPE
    )


def _encodable(value: Any) -> Any:
    """`value` with U+FFFD for what UTF-8 cannot encode.

    A problem may quote half of a surrogate pair from the request.
    """
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {_encodable(name): _encodable(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encodable(item) for item in value]
    return value


def http_problem_json(
    status: int, detail: str, *, instance: str | None = None, request_id: str | None = None, **facts: Any
) -> dict[str, Any]:
    """The problem of a status that HTTP itself has a meaning for, as RFC 9457 JSON with our members."""
    title = HTTPStatus(status).phrase
    code, slug = HTTP_CODES.get(status, (title.lower().replace(" ", "_"), title.lower().replace(" ", "-")))
    return {
        "type": type_uri(slug),
        "title": title,
        "status": status,
        "detail": detail,
        "instance": instance,
        "code": code,
        "request_id": request_id,
        "retryable": status in (408, 503),
        "errors": [],
        **facts,
    }


def http_problem(
    scope: Mapping[str, Any], status: int, detail: str, headers: Mapping[str, str] | None = None, **facts: Any
) -> JSONResponse:
    """A problem that HTTP itself has a status for, such as 404 for an unknown path."""
    body = http_problem_json(status, detail, instance=scope["path"], request_id=request_id_of(scope), **facts)
    return _response(body, headers)


async def _on_domain_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, DocatlasError)
    if isinstance(error, InternalError):
        _log.error("request %s failed: %s", request_id_of(request.scope), error.code, exc_info=error)
    return error_response(error, request.scope)


async def _on_store_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StoreError)
    _log.warning("request %s: the store refused: %s", request_id_of(request.scope), error)
    return error_response(translate_store_error(error), request.scope)


async def _on_refused_row(request: Request, error: Exception) -> JSONResponse:
    """Answers a write of a user who was deleted since the gate let them in.

    Their row is refused; any other refused row is a defect and is raised again.
    """
    principal = getattr(request.state, "principal", None)
    if isinstance(principal, Principal) and principal.kind != "nobody":
        gate = request.app.state.runtime.accounts.gate
        refusal = await to_thread.run_sync(gate.refusal_of, principal.user_id)
        if refusal is not None:
            return error_response(refusal, request.scope)
    raise error


async def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if isinstance(error, RefusedWhileReading):
        return error_response(error.error, request.scope)
    detail = str(error.detail)
    if error.status_code == 404:
        path = request.scope["path"]
        hint = " An id in the path is empty." if "//" in path else ""
        detail = f"There is nothing at {path[:200]}.{hint} `/docs` lists what there is."
    elif error.status_code == 400 and detail == _FASTAPI_UNPARSED:
        detail = "The body is not valid JSON."
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_allowed_methods(request))
        detail = f"{method_of(request.scope)} is not allowed here; {headers['Allow']} are."
    facts = {"limit": error.limit} if isinstance(error, BodyTooLarge) else {}
    return http_problem(request.scope, error.status_code, detail, headers, **facts)


def _allowed_methods(request: Request) -> list[str]:
    """The methods of every route at the request's path.

    The router itself tells those of the first one only.
    """
    found: set[str] = set()
    for route in (*request.app.routes, *request.app.state.routes):
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= set(getattr(route, "methods", None) or ())
    return sorted(found | {"HEAD"} if "GET" in found else found)


async def _on_invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if any(item.get("type") == "json_invalid" for item in found):
        return http_problem(request.scope, 400, "The body is not valid JSON.")
    content_type = request.headers.get("content-type", "")
    if any(tuple(item["loc"]) == ("body",) for item in found) and "json" not in content_type:
        return http_problem(
            request.scope, 415, "Send the body as JSON, with the header `Content-Type: application/json`."
        )
    known = _fields_of_body(request)
    fields = tuple(FieldError(_pointer(item["loc"]), _message(item, known)) for item in found)
    detail = "; ".join(f"{field.pointer or 'the body'} {field.message}" for field in fields[:5])
    detail = detail[:1].upper() + detail[1:] + ("" if detail.endswith("?") else ".")
    invalid = errors.InvalidOption(detail, code="invalid_request", errors=fields)
    return error_response(invalid, request.scope)


def _pointer(location: tuple[Any, ...]) -> str:
    """A JSON pointer into the body.

    It begins with `/query`, `/path` or `/header` for what stands elsewhere.
    """
    steps = location[1:] if location and location[0] == "body" else location
    return "".join(f"/{pointer_step(str(step))}" for step in steps)


def _fields_of_body(request: Request) -> Sequence[str]:
    """The names that a JSON body of the request may have at its top."""
    body = getattr(request.scope.get("route"), "body_field", None)
    model = None if body is None else body.field_info.annotation
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _message(item: Mapping[str, Any], known: Sequence[str] = ()) -> str:
    if item.get("type") == "extra_forbidden":
        location = tuple(item["loc"])
        name = str(location[-1])
        at_top = location[:-1] == ("body",)
        begun = [field for field in known if field.startswith(name)]
        close = (begun or difflib.get_close_matches(name, known, n=1))[:1] if at_top else []
        return f"is no field of this request: did you mean {close[0]!r}?" if close else "is no field of this request"
    message = str(item.get("msg", "is not valid")).removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


class BodyTooLarge(HTTPException):
    """A body passed `limit` bytes while it was read."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"The body is larger than the limit of {limit:,} bytes.")
        self.limit = limit


class RefusedWhileReading(HTTPException):
    """An error of ours, raised while FastAPI reads a body: HTTPException is the one class that it lets through."""

    def __init__(self, error: DocatlasError) -> None:
        super().__init__(ERROR_TABLE[type(error).__name__].status, error.detail)
        self.error = error


def add_error_handlers(app: FastAPI, routes: Sequence[BaseRoute] = ()) -> None:
    """Makes `app` answer every error that has a row, and HTTP's own, as a problem.

    `routes` are those of its routers, of which an answer about a wrong method names the right ones.
    """
    app.state.routes = tuple(routes)
    app.add_exception_handler(DocatlasError, _on_domain_error)
    app.add_exception_handler(StoreError, _on_store_error)
    app.add_exception_handler(RowRefused, _on_refused_row)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
