"""Writes a curl command for each call from the examples in the OpenAPI document.

They are shown on /docs and in docs/api.md, and a test runs them.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from api.models.base import EXAMPLE_DOCUMENT_ID, EXAMPLE_IMAGE_ID, EXAMPLE_REFRESH_TOKEN

BASE = "http://127.0.0.1:8000"

PATH_VALUES: Mapping[str, str] = {
    "document_id": "$DOCUMENT",
    "image_id": "$IMAGE",
    "job_id": "$JOB",
    "key_id": "$KEY_ID",
    "number": "1",
}
"""What stands for each parameter of a path: a shell variable with an id of an earlier answer."""

_VARIABLES: Mapping[str, str] = {
    EXAMPLE_DOCUMENT_ID: "$DOCUMENT",
    EXAMPLE_IMAGE_ID: "$IMAGE",
    EXAMPLE_REFRESH_TOKEN: "$REFRESH_TOKEN",
}
"""What stands for a value of an example that only the reader's own server gives out."""

QUERIES: Mapping[str, str] = {
    "list_documents": "status=completed&format=pdf&metadata.year=2024&limit=10",
    "get_content": "format=markdown",
    "get_page_image": "width=800",
    "get_thumbnail": "width=128",
    "list_pages": "limit=10",
    "list_images": "limit=10",
    "list_chunks": "limit=10",
    "list_jobs": "status=completed&status=failed&limit=10",
    "list_searches": "limit=10",
    "list_api_keys": "limit=10",
    "get_job": "wait=20",
}
"""The query string of a call's example."""

SAVED: Mapping[str, str] = {
    "get_file": "original.pdf",
    "get_page_image": "page.webp",
    "get_thumbnail": "thumbnail.webp",
    "get_image_content": "picture.png",
}
"""The file that curl writes where a call answers with bytes."""

MORE: Mapping[str, Sequence[tuple[str, Any]]] = {
    "upload_documents": (
        (
            "Read pages 1 to 3 by OCR, in chunks of at most 500 characters",
            {
                "files": ["(bytes of scan.pdf)"],
                "options": {
                    "ocr": "force",
                    "ocr_languages": ["eng"],
                    "pages": "1-3",
                    "chunk_size": 500,
                    "chunk_overlap": 50,
                },
            },
        ),
    ),
    "search_documents": (
        (
            "By words alone, in one document",
            {"query": "rent", "mode": "keyword", "document_ids": [EXAMPLE_DOCUMENT_ID]},
        ),
        (
            "Filters: equal, one of, a range",
            {
                "query": "rent",
                "filters": {
                    "metadata.year": 2024,
                    "format": {"$in": ["pdf", "docx"]},
                    "created_at": {"$gte": "2024-01-01"},
                    "page_count": {"$gte": 1, "$lte": 500},
                },
            },
        ),
        ("Pictures like a stored one", {"image_id": EXAMPLE_IMAGE_ID, "modalities": ["image"], "k": 3}),
    ),
}
"""Further examples of a call: a title and the body."""

_FILE = re.compile(r"\(bytes of (.+)\)")


def code_samples(method: str, path: str, operation: Mapping[str, Any]) -> list[dict[str, str]]:
    """The commands of a call, for the OpenAPI extension `x-codeSamples`.

    The extension is Redoc's, and most viewers read it.
    """
    body = operation.get("requestBody", {}).get("content", {})
    kind = next(iter(body), "")
    name = operation["operationId"]
    samples = [("", body[kind]["example"] if kind else None), *MORE.get(name, ())]
    return [
        {
            "lang": "Shell",
            "label": title or operation["summary"],
            "source": " \\\n  ".join(_command(method, path, operation, kind, example)),
        }
        for title, example in samples
    ]


def _command(method: str, path: str, operation: Mapping[str, Any], kind: str, body: Any) -> Iterator[str]:
    name = operation["operationId"]
    filled = re.sub(r"\{(\w+)\}", lambda found: PATH_VALUES[found[1]], path)
    query = QUERIES.get(name, "")
    address = f"{BASE}{filled}?{query}" if query else BASE + filled
    address = f'"{address}"' if re.search(r"[?&$]", address) else address
    verb = "" if method == "get" or (method == "post" and kind) else f" -X {method.upper()}"
    saved = f" -o {SAVED[name]}" if name in SAVED else ""
    yield f"curl -sS{verb}{saved} {address}"
    if "accounts" in operation.get("tags", ()) and operation.get("security"):
        yield '-H "Authorization: Bearer $ACCESS_TOKEN"'
    if kind == "application/json":
        yield "-H 'Content-Type: application/json'"
        yield f"-d {_quoted(json.dumps(body, ensure_ascii=False))}"
    elif kind:
        yield from _form(body)


def _form(body: Mapping[str, Any]) -> Iterator[str]:
    for field, value in body.items():
        for item in value if isinstance(value, list) else [value]:
            file = _FILE.fullmatch(item) if isinstance(item, str) else None
            if file:
                yield f"-F {field}=@{file[1]}"
            else:
                yield f"-F {shlex.quote(f'{field}={item if isinstance(item, str) else json.dumps(item)}')}"


def _quoted(text: str) -> str:
    """`text` for the shell, with variables where it holds a value of the reader's own."""
    quoted = shlex.quote(text)
    for value, variable in _VARIABLES.items():
        quoted = quoted.replace(value, f"'{variable}'")
    return quoted
