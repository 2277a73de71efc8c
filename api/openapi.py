"""Completes the OpenAPI document.

Form bodies, binary answers, the errors of each call, and an example everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from api.examples import code_samples
from api.http.addresses import is_signed
from api.http.authentication import required_scope
from api.http.error_codes import ERROR_CODES, OPENS_FILES, REFUSALS_NOTE, ErrorCode, codes_of
from api.http.errors import PROBLEM_TYPE
from api.http.fallback import MOVED
from api.models.base import EXAMPLE_DOCUMENT_ID, MAX_METADATA_BYTES, Answer, Asked, ProblemModel
from services.options import MAX_CHUNK_SIZE, MIN_CHUNK_SIZE
from services.search.search import MAX_K

_PDF_EXAMPLE = "(bytes of contract.pdf)"
"""Stands for the bytes of a file of this name, which have no place in JSON."""


def _form(properties: dict[str, Any], required: list[str], example: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": required}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema, "example": example}}}


_BYTES = {"type": "string", "format": "binary"}

UPLOAD_FORM = _form(
    {
        "files": {
            "type": "array",
            "items": _BYTES,
            "minItems": 1,
            "description": "One or many files, each in a part named `files`, `file` or `files[]`",
        },
        "options": {
            "$ref": "#/components/schemas/OptionsModel",
            "description": "How the files are read, as JSON; see OptionsModel",
        },
        "metadata": {
            "type": "object",
            "description": f"A JSON object of your own, at most {MAX_METADATA_BYTES // 1024} kB; stored with each file",
        },
    },
    ["files"],
    {"files": [_PDF_EXAMPLE], "options": {"ocr": "auto"}, "metadata": {"year": 2024}},
)
"""POST /v1/documents."""

PROCESS_FORM = _form(
    {
        "file": {**_BYTES, "description": "The file"},
        "chunk_size": {
            "type": "integer",
            "minimum": MIN_CHUNK_SIZE,
            "maximum": MAX_CHUNK_SIZE,
            "description": "Characters of a chunk, at most; default `DOCATLAS_CHUNK_SIZE` (1000)",
        },
        "chunk_overlap": {
            "type": "integer",
            "minimum": 0,
            "description": "Characters that neighbouring chunks share, at most; default `DOCATLAS_CHUNK_OVERLAP` (200)",
        },
    },
    ["file"],
    {"file": _PDF_EXAMPLE, "chunk_size": 1000, "chunk_overlap": 200},
)
"""The original design's uploads."""

PICTURE_FORM = _form(
    {
        "file": {
            **_BYTES,
            "description": "A picture: PNG, JPEG, WebP or another format of docs/formats.md; at most 32 MB",
        },
        "k": {"type": "integer", "minimum": 1, "maximum": MAX_K, "default": 8, "description": "Hits, at most"},
    },
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
    "description": "The picture, as WebP",
    "content": {"image/webp": {"schema": _BYTES, "example": "(bytes of page.webp)"}},
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
    "signed_url": {
        "type": "apiKey",
        "in": "query",
        "name": "signature",
        "description": "With `expires`, as it stands in the addresses that answers hold. It opens this one path.",
    },
}

STATUS_TITLES: dict[int, str] = {
    400: "Bad request",
    401: "Not logged in",
    403: "Forbidden",
    404: "Not found",
    408: "Request timeout",
    409: "Conflict",
    413: "Too large",
    415: "Not supported",
    416: "Range not satisfiable",
    422: "Cannot be processed",
    429: "Too many requests",
    500: "Internal error",
    503: "Unavailable",
}
"""An error's status in words; the errors of one status have titles of their own."""

_PARAMETER_EXAMPLES: dict[str, Any] = {
    "document_id": EXAMPLE_DOCUMENT_ID,
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
    document["components"]["x-error-codes"] = [
        {"status": one.status, "code": one.code, "meaning": one.meaning} for one in ERROR_CODES.values()
    ]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for model in (ProblemModel,):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
    _keep_order_of_examples(schemas)
    if "OptionsModel" not in schemas:
        raise RuntimeError("OptionsModel is referred to by the upload form and has to be among the schemas")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _complete(method, path, operation, schemas)
            _secure(method, path, operation)
            operation["x-codeSamples"] = code_samples(method, path, operation)
    return document


def _keep_order_of_examples(schemas: dict[str, Any]) -> None:
    """Puts each model's own example into its schema.

    pydantic sorts the members of schemas, and of examples too.
    """
    todo: list[type[BaseModel]] = [Answer, Asked]
    while todo:
        model = todo.pop()
        todo += model.__subclasses__()
        extra = model.model_config.get("json_schema_extra")
        if isinstance(extra, dict) and "example" in schemas.get(model.__name__, {}):
            schemas[model.__name__]["example"] = extra["example"]


def _complete(method: str, path: str, operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    codes = [ERROR_CODES[key] for key in codes_of(method, path, operation)]
    may_refuse = operation["operationId"] in OPENS_FILES
    for status in dict.fromkeys(code.status for code in codes):
        answered = [code for code in codes if code.status == status]
        responses[str(status)] = _problem_answer(path, answered, may_refuse=may_refuse and status in (413, 422, 503))
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
    if method == "get" and is_signed(path):
        operation["security"].append({"signed_url": []})
    operation["x-required-scope"] = scope


def _problem_answer(path: str, codes: Sequence[ErrorCode], *, may_refuse: bool) -> dict[str, Any]:
    """The answer for errors of one status; its example is the first of them."""
    first = codes[0]
    example = {
        "type": first.type,
        "title": first.title,
        "status": first.status,
        "detail": first.meaning,
        "instance": path.replace("{document_id}", EXAMPLE_DOCUMENT_ID),
        "code": first.code,
        "request_id": "019aa5d2-8d0f-7b32-9f11-6a5b4c3d2e1f",
        "retryable": first.is_retryable,
    }
    example["errors"] = []
    if first.kind == "InvalidOption":
        example["errors"] = [{"pointer": "/k", "message": "must be less than or equal to 200"}]
    schema = {"$ref": "#/components/schemas/ProblemModel"}
    named = ", ".join(f"`{code.code}`" for code in codes)
    return {
        "description": f"{STATUS_TITLES[first.status]}: {named}" + (f" {REFUSALS_NOTE}" if may_refuse else ""),
        "content": {PROBLEM_TYPE: {"schema": schema, "example": example}},
        "x-error-codes": [code.code for code in codes],
    }


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
    return None if item is None else {"data": [item], "has_more": False, "next_cursor": None, "partial": False}
