"""Documents as the JSON that the HTTP API answers with and `--json` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from database.records import DocumentRecord, JobRecord


def document_json(
    document: DocumentRecord, children: Sequence[str] = (), job: JobRecord | None = None
) -> dict[str, Any]:
    """The document in the words of `GET /v1/documents/{id}`.

    `children` are the ids of the documents inside it, `job` is its newest one. `error` is `Problem.as_json`, to which
    HTTP adds members of its own.
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
        "error": job.error if job is not None and document.status == "failed" else None,
        "job": None if job is None else {"id": job.job_id, "object": "job", "status": job.status},
        "warnings": list(document.warnings),
        "metadata": dict(document.metadata),
        "parent_id": document.parent_id,
        "children": list(children),
        "created_at": document.created_at,
        "updated_at": document.updated_at,
    }
