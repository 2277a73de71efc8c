"""Rows of every table with the values that a copy is most likely to lose."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np

from database.copying.rows import tables
from database.ids import new_id, now
from tests.support.store_cases import SPACE, unit

ODD_TEXTS = (
    "",
    " ",
    "\u202ex\ufeff",
    "a\tb\r\n\\N\\.",
    "😀 e\u0301 ß İ",
    "\x01\x7f",
    "NUL\x00here",
    "{}'\"%s$1",
    "x" * 70_000,
)
ODD_JSON: Sequence[Any] = (
    {},
    {"": "", "b": [None, True, False, {}], "a": {"ß": "\x00", "z": "\ud800"}},
    {"n": [0, -0.0, 1.0, 1e16, 1e308, 5e-324, 0.1, 2**53 + 1, 12345678901234567890, -1e-7, 1.5e300]},
    {"deep": json.loads("[" * 400 + "]" * 400)},
    {"text": "\\u0000 \\ud800 \u2028"},
)


def odd_rows(rng: np.random.Generator, texts: Sequence[str], trees: Sequence[Any]) -> dict[str, list[dict[str, Any]]]:
    """Rows of every table with the values that are most likely to be lost; other ones for another generator."""

    def one_of(values: Sequence[Any]) -> Any:
        return values[int(rng.integers(len(values)))]

    def moment() -> str:
        return str(
            one_of(("1970-01-01T00:00:00.000000Z", "2024-02-29T23:59:59.999999Z", "9998-12-31T00:00:00.000001Z", now()))
        )

    def an_id() -> str:
        return str(uuid.UUID(bytes=rng.bytes(16)))

    def vector() -> Any:
        return unit(int(rng.integers(2**31)))

    def sha() -> str:
        return hashlib.sha256(rng.bytes(8)).hexdigest()

    owners = [new_id() for _ in range(2)]
    rows: dict[str, list[dict[str, Any]]] = {table.name: [] for table in tables()}
    rows["users"] = [{"user_id": owner, "display_name": one_of(texts), "created_at": moment()} for owner in owners]
    parents: dict[str, list[str | None]] = {owner: [None] for owner in owners}
    for number in range(12):
        owner = owners[number % 2]
        # Random ids: a child may sort before its parent.
        document = an_id()
        rows["documents_metadata"].append(
            {
                "document_id": document,
                "user_id": owner,
                "parent_id": one_of(parents[owner]),
                **{name: one_of(texts) for name in ("filename", "file_type", "media_type", "title", "author")},
                "language": "",
                "file_size": one_of((0, 2**31, 2**62)),
                "sha256": sha(),
                **{
                    name: one_of((0, 2**31 - 1))
                    for name in ("page_count", "total_chunks", "total_chars", "image_count")
                },
                "status": ("queued", "in_progress", "completed", "completed_with_errors", "failed", "cancelled")[
                    number % 6
                ],
                "generation": 2,
                "last_generation": 2 + number,
                "parent_generation": number,
                "change": number * 7,
                "created_at": moment(),
                "updated_at": moment(),
                "metadata": one_of(trees),
                "options": one_of(trees),
                "warnings": [one_of(trees)],
            }
        )
        parents[owner].append(document)
        for generation in (1, 2):
            rows["document_pages"].append(
                {
                    "document_id": document,
                    "generation": generation,
                    "page_number": 1 + number,
                    "user_id": owner,
                    "char_start": 0,
                    "width": one_of((0.0, -0.0, 1e-300, 1.7976931348623157e308, 0.1 + 0.2)),
                    "height": 792.0,
                    "source": one_of(("native", "ocr", "hybrid")),
                    "reason": "",
                    "rotation": 270,
                    "confidence": 1 / 3,
                    "languages": ["eng", "\u4e2d"],
                    "word_count": 0,
                    "elapsed_ms": 1,
                    "engine": "",
                    "page_text": one_of(texts),
                    "layout": one_of(trees),
                }
            )
            has_vector = bool(rng.integers(2))
            rows["document_embeddings"].append(
                {
                    "row_id": len(rows["document_embeddings"]) * 3 + 5,
                    "chunk_id": an_id(),
                    "document_id": document,
                    "user_id": owner,
                    "generation": generation,
                    "chunk_index": 0,
                    "first_page": 1,
                    "last_page": 2,
                    "content_hash": sha(),
                    "space": SPACE if has_vector else None,
                    "created_at": moment(),
                    "chunk_text": one_of(texts),
                    "prefix": one_of(texts)[:1000],
                    "spans": [one_of(trees)],
                    "metadata": one_of(trees),
                    "embedding": vector() if has_vector else None,
                }
            )
            rows["document_images"].append(
                {
                    "row_id": len(rows["document_images"]) + 1,
                    "image_id": an_id(),
                    "document_id": document,
                    "user_id": owner,
                    "generation": generation,
                    "ordinal": number,
                    "page_number": 1,
                    "box": one_of((None, [0.5, 1, 612.0, 1e-9])),
                    "width": 1,
                    "height": 1,
                    "media_type": "image/png",
                    "sha256": sha(),
                    "alt": one_of(texts),
                    "caption": one_of(texts),
                    "space": None if has_vector else "clip@1",
                    "embedding": None if has_vector else vector(),
                }
            )
    for number, status in enumerate(
        ("queued", "in_progress", "completed", "completed_with_errors", "failed", "cancelling", "cancelled")
    ):
        worked_on = rows["documents_metadata"][number]
        rows["jobs"].append(
            {
                "job_id": an_id(),
                "user_id": worked_on["user_id"],
                "document_id": one_of((None, worked_on["document_id"])),
                "type": "ingest",
                "status": status,
                "stage": one_of((None, "ocr")),
                "percent": 100 / 3,
                "pages_done": 0,
                "pages_total": 1,
                "attempts": 2,
                "generation": number,
                "options": one_of(trees),
                "warnings": [],
                "error": one_of((None, {"code": "x"})),
                "created_at": moment(),
                **{name: one_of((None, "2020-01-01T00:00:00.000000Z")) for name in ("started_at", "heartbeat_at")},
                **{name: one_of((None, moment())) for name in ("finished_at", "run_after")},
                "worker_id": one_of((None, "node.run")),
            }
        )
    for owner in owners:
        rows["similarity_searches"].append(
            {
                "search_id": an_id(),
                "user_id": owner,
                "query_text": one_of(texts),
                "results_found": 0,
                "search_timestamp": moment(),
                "metadata": one_of(trees),
                "query_embedding": one_of((None, vector())),
            }
        )
        rows["local_accounts"].append(
            {
                "user_id": owner,
                "email": f"{owner}@example.org",
                "password_hash": "$argon2id$v=19$x",
                "is_offline": bool(rng.integers(2)),
                "created_at": moment(),
                "password_changed_at": moment(),
            }
        )
        used = one_of((None, moment()))
        rows["refresh_tokens"].append(
            {
                "token_hash": sha(),
                "user_id": owner,
                "family_id": new_id(),
                "created_at": moment(),
                "expires_at": moment(),
                "used_at": used,
                "successor": None if used is None else "sealed",
            }
        )
        rows["api_keys"].append(
            {
                "key_id": new_id(),
                "user_id": owner,
                "name": one_of(texts),
                "prefix": "da_",
                "key_hash": sha(),
                "scopes": ["read", "write"],
                "created_at": moment(),
                "expires_at": None,
                "last_used_at": one_of((None, moment())),
            }
        )
    rows["blocked_users"].append({"user_id": new_id(), "reason": "deleted", "blocked_at": moment()})
    aliased = rows["documents_metadata"][0]
    rows["document_aliases"].append(
        {
            "alias_id": an_id(),
            "user_id": aliased["user_id"],
            "document_id": aliased["document_id"],
            "created_at": moment(),
        }
    )
    return rows
