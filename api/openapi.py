"""Completes the OpenAPI document: form bodies, binary answers, the errors of each call, and an example everywhere."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.http.authentication import required_scope
from api.http.errors import ERROR_TABLE, PROBLEM_TYPE, type_uri
from api.http.fallback import MOVED
from api.models.base import ProblemModel

_PDF_EXAMPLE = "(bytes of contract.pdf)"


def _form(properties: dict[str, Any], required: list[str], example: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": required}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema, "example": example}}}


_BYTES = {"type": "string", "format": "binary"}

UPLOAD_FORM = _form(
    {
        "files": {"type": "array", "items": _BYTES, "minItems": 1, "description": "One or many files"},
        "options": {"$ref": "#/components/schemas/OptionsModel"},
        "metadata": {"type": "object", "description": "Any JSON object of at most 64 kB"},
    },
    ["files"],
    {"files": [_PDF_EXAMPLE], "options": {"ocr": "auto"}, "metadata": {"year": 2024}},
)
"""POST /v1/documents."""

PROCESS_FORM = _form(
    {"file": _BYTES, "chunk_size": {"type": "integer"}, "chunk_overlap": {"type": "integer"}},
    ["file"],
    {"file": _PDF_EXAMPLE, "chunk_size": 1000, "chunk_overlap": 200},
)
"""The original design's uploads."""

PICTURE_FORM = _form(
    {"file": _BYTES, "k": {"type": "integer", "minimum": 1, "maximum": 200, "description": "Hits, at most"}},
    ["file"],
    {"file": "(bytes of photo.jpg)", "k": 8},
)
"""POST /v1/search/image."""

BINARY: dict[str, Any] = {
    "description": "The bytes",
    "content": {"application/octet-stream": {"schema": _BYTES, "example": _PDF_EXAMPLE}},
}

REDIRECTED: dict[str, Any] = {
    "description": "With `redirect=true`, where the file lies in Supabase Storage: its signed address",
    "headers": {
        "Location": {
            "schema": {"type": "string", "format": "uri"},
            "example": "https://project.supabase.co/storage/v1/object/sign/docatlas/ab/cd/abcd?token=eyJhbGciOi",
        }
    },
}

METRICS: dict[str, Any] = {
    "description": "Prometheus' text format",
    "content": {"text/plain": {"schema": {"type": "string"}, "example": 'docatlas_breaker_state{state="closed"} 1.0'}},
}

PAGE_IMAGE: dict[str, Any] = {
    "description": "The page as a picture",
    "content": {
        "image/png": {"schema": _BYTES, "example": "(bytes of a PNG)"},
        "image/webp": {"schema": _BYTES, "example": "(bytes of a WebP)"},
    },
}

CONTENT_FORMS: dict[str, Any] = {
    "description": "The extracted document",
    "content": {
        "text/markdown": {"schema": {"type": "string"}, "example": "# Lease\n\nThe rent is due on the first."},
        "text/plain": {"schema": {"type": "string"}, "example": "Lease\nThe rent is due on the first."},
        "application/json": {
            "schema": {"type": "object"},
            "example": {
                "document_id": "019aa5d2-6f1e-7c3a-9d55-0c1f0f6b7e21",
                "title": "Lease",
                "page_separator": "\n\n",
                "pages": [{"number": 1, "char_start": 0, "text": "Lease", "blocks": []}],
            },
        },
    },
}

SECURITY_SCHEMES: dict[str, Any] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An access token of POST /v1/auth/login, or an API key.",
    },
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key."},
}

_STATUS_EXAMPLES: dict[int, tuple[str, str, str]] = {
    400: ("malformed-request", "malformed_request", "The body is not valid JSON."),
    401: (ERROR_TABLE["Unauthenticated"].slug, "token_expired", "The token has expired. Use the refresh token."),
    403: (ERROR_TABLE["Forbidden"].slug, "origin_not_allowed", "This web origin may not use the server."),
    404: (ERROR_TABLE["NotFound"].slug, "document_not_found", "There is no document '019aa5d2'."),
    409: (
        ERROR_TABLE["Conflict"].slug,
        "not_ready",
        "The document has no content yet: it is queued. Wait for its job.",
    ),
    413: (ERROR_TABLE["TooLarge"].slug, "file_too_large", "The file is larger than the limit of 209,715,200 bytes."),
    415: (ERROR_TABLE["UnsupportedFormat"].slug, "unsupported_format", "The content is of no format that is read."),
    416: ("range-not-satisfiable", "range_not_satisfiable", "The range lies outside the file's 1,024 bytes."),
    422: (ERROR_TABLE["InvalidOption"].slug, "invalid_request", "/k must be less than or equal to 200."),
    429: (ERROR_TABLE["RateLimited"].slug, "rate_limited", "You have sent too many requests in a minute."),
    500: (ERROR_TABLE["InternalError"].slug, "internal_error", "An internal error occurred."),
    503: (ERROR_TABLE["TransientError"].slug, "store_busy", "The database is busy. Try again in a moment."),
}

_PARAMETER_EXAMPLES: dict[str, Any] = {
    "document_id": "019aa5d2-6f1e-7c3a-9d55-0c1f0f6b7e21",
    "image_id": "019aa5d2-9a02-7d13-b0e7-7c8f9a1b2c3d",
    "job_id": "019aa5d2-6f24-7a10-8e4b-5b2a9c3d1f02",
    "key_id": "019aa5d1-77aa-7c02-8e15-6f3b2a1c0d9e",
    "number": 1,
}


def make_openapi(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of `app`."""
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
    document["components"]["securitySchemes"] = SECURITY_SCHEMES
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for model in (ProblemModel,):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
    if "OptionsModel" not in schemas:
        raise RuntimeError("OptionsModel is referred to by the upload form and has to be among the schemas")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _complete(path, operation, schemas)
            _secure(method, path, operation)
    return document


def _complete(path: str, operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    for status in _errors_of(path, operation):
        responses[str(status)] = _problem_answer(status)
    if path.startswith("/v1/documents/{document_id}"):
        responses["308"] = MOVED
    if path == "/metrics":
        responses["200"] = METRICS
    for answer in responses.values():
        for media in answer.get("content", {}).values():
            _add_example(media, schemas)
    for media in operation.get("requestBody", {}).get("content", {}).values():
        _add_example(media, schemas)
    for parameter in operation.get("parameters", []):
        examples = parameter.get("schema", {}).get("examples")
        known = examples[0] if examples else _PARAMETER_EXAMPLES.get(parameter["name"])
        if known is not None:
            parameter.setdefault("example", known)


def _secure(method: str, path: str, operation: dict[str, Any]) -> None:
    """Says who may call it, where the server has accounts."""
    scope = required_scope(method.upper(), path)
    if scope is None:
        operation["security"] = []
        return
    operation["security"] = [{"bearer": []}, {"api_key": []}]
    operation["x-required-scope"] = scope
    for status in (401, 429):
        operation["responses"][str(status)] = _problem_answer(status)


def _errors_of(path: str, operation: dict[str, Any]) -> list[int]:
    if path in ("/livez", "/health", "/readyz"):
        return [403, 500, 503] if path != "/livez" else [403]
    found = [403, 422, 500, 503]
    if "{" in path or path.startswith("/v1/search"):
        found.append(404)
    body = operation.get("requestBody", {}).get("content", {})
    if body:
        found += [400, 413, 415]
    if path.endswith(("/login", "/refresh")):
        found.append(401)
    if path.endswith(("/login", "/register")):
        found.append(429)
    if path.endswith(
        ("/content", "/cancel", "/retry", "/register", "/login", "/refresh", "/logout", "-keys")
    ) and not path.startswith("/v1/images"):
        found.append(409)
    if path.endswith("/file") or (path.startswith("/v1/images") and path.endswith("/content")):
        found.append(416)
    return sorted(found)


def _problem_answer(status: int) -> dict[str, Any]:
    slug, code, detail = _STATUS_EXAMPLES[status]
    example = {
        "type": type_uri(slug),
        "title": next(
            (row.title for row in ERROR_TABLE.values() if row.slug == slug), slug.replace("-", " ").capitalize()
        ),
        "status": status,
        "detail": detail,
        "instance": "/v1/documents",
        "code": code,
        "request_id": "019aa5d2-8d0f-7b32-9f11-6a5b4c3d2e1f",
        "retryable": status in (429, 503),
    }
    example["errors"] = []
    if status == 422:
        example["errors"] = [{"pointer": "/k", "message": "must be less than or equal to 200"}]
    schema = {"$ref": "#/components/schemas/ProblemModel"}
    return {"description": str(example["title"]), "content": {PROBLEM_TYPE: {"schema": schema, "example": example}}}


def _add_example(media: dict[str, Any], schemas: dict[str, Any]) -> None:
    if "example" in media or "examples" in media:
        return
    example = _example_of(media.get("schema", {}), schemas)
    if example is not None:
        media["example"] = example


def _example_of(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """The example of a schema, of what it refers to, or of a list's items."""
    if "example" in schema:
        return schema["example"]
    for option in (schema, *schema.get("anyOf", [])):
        name = option.get("$ref", "").rpartition("/")[2]
        if name:
            return _example_of(schemas[name], schemas)
    data = schema.get("properties", {}).get("data", {})
    item = _example_of(data["items"], schemas) if "items" in data else None
    return None if item is None else {"data": [item], "has_more": False, "next_cursor": None}
