"""Documents as the JSON that the HTTP API answers with and `--json` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from database.records import DocumentRecord


def document_json(document: DocumentRecord, children: Sequence[str] = ()) -> dict[str, Any]:
    """The document in the words of `GET /v1/documents/{id}`.

    `children` are the ids of the documents inside it.
    """
    return {
        "id": document.document_id,
        "object": "document",
        "filename": document.filename,
        "format": document.file_type,
        "media_type": document.media_type,
        "size_bytes": document.file_size,
        "sha256": document.sha256,
        "title": document.title,
        "author": document.author,
        "language": document.language,
        "page_count": document.page_count,
        "chunk_count": document.total_chunks,
        "image_count": document.image_count,
        # A job may be `cancelling`; its document is in progress until that has happened.
        "status": "in_progress" if document.status == "cancelling" else document.status,
        "warnings": list(document.warnings),
        "metadata": dict(document.metadata),
        "parent_id": document.parent_id,
        "children": list(children),
        "created_at": document.created_at,
        "updated_at": document.updated_at,
    }
