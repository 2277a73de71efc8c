"""Turns records into the models that the API answers with.

Adds the addresses that only HTTP knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api.http.addresses import Addresses
from api.http.errors import error_json, stored_problem_json
from api.models.context import ContextAnswer
from api.models.documents import (
    ChunkModel,
    DocumentModel,
    ImageModel,
    PageDetail,
    PageModel,
    UploadEntry,
    WordModel,
)
from api.models.jobs import job_model
from api.models.search import HitModel, SearchAnswer, SearchNote
from database.records import ChunkRecord, DocumentRecord, ImageRecord, JobRecord, PageRecord, SearchRecord
from services.chat.context import Context
from services.documents.documents import Accepted
from services.documents.json import document_json
from services.page_json import unpack_words
from services.search.search import Hit, SearchResult


def document_model(
    document: DocumentRecord, addresses: Addresses, children: Sequence[str] = (), job: JobRecord | None = None
) -> DocumentModel:
    """The document as a client sees it; `job` is its newest one."""
    members = document_json(document, children, job)
    error = stored_problem_json(members["error"], instance=f"/v1/documents/{document.document_id}")
    members |= {"error": error, "file_url": addresses.file(document.document_id)}
    return DocumentModel.model_validate(members)


def upload_entry(entry: Accepted, addresses: Addresses, *, instance: str, request_id: str | None) -> UploadEntry:
    """What became of one uploaded file."""
    error = None if entry.error is None else error_json(entry.error, instance=instance, request_id=request_id)
    return UploadEntry.model_validate(
        {
            "filename": entry.filename,
            "outcome": entry.outcome,
            "document": None
            if entry.document is None
            else document_model(entry.document, addresses, job=None if entry.job is None else entry.job.job),
            "job": None if entry.job is None else job_model(entry.job),
            "error": error,
            "changed": [one.as_json() for one in entry.changed],
            "kept": [one.as_json() for one in entry.kept],
        }
    )


def page_model(page: PageRecord, document: DocumentRecord, addresses: Addresses) -> PageModel:
    """A page of `document`, without its text."""
    return PageModel.model_validate({**_page_facts(page, document, addresses), "words": page.word_count})


def page_detail(page: PageRecord, document: DocumentRecord, addresses: Addresses) -> PageDetail:
    """A page of `document`, with its text and words."""
    words = [
        WordModel(
            text=word.text,
            box=list(word.box),
            char_start=word.char_start,
            char_end=word.char_end,
            confidence=word.confidence,
        )
        for word in unpack_words(page.layout)
    ]
    return PageDetail.model_validate(
        {
            **_page_facts(page, document, addresses),
            "char_start": page.char_start,
            "text": page.text,
            "words": words,
            "blocks": page.layout.get("blocks", []),
        }
    )


def _page_facts(page: PageRecord, document: DocumentRecord, addresses: Addresses) -> dict[str, Any]:
    return {
        "number": page.number,
        "width": page.width,
        "height": page.height,
        "source": page.source,
        "reason": page.reason,
        "rotation": page.rotation,
        "confidence": page.confidence,
        "languages": list(page.languages),
        "engine": page.engine,
        "chars": len(page.text),
        "elapsed_ms": page.elapsed_ms,
        "page_image_url": addresses.page_image(document, page.number),
    }


def image_model(image: ImageRecord, addresses: Addresses) -> ImageModel:
    """The picture with the addresses of its bytes."""
    return ImageModel(
        id=image.image_id,
        document_id=image.document_id,
        page=image.page,
        box=None if image.box is None else list(image.box),
        width=image.width,
        height=image.height,
        media_type=image.media_type,
        sha256=image.sha256,
        alt=image.alt,
        caption=image.caption,
        has_vector=image.space is not None,
        url=addresses.picture(image.image_id),
        thumbnail_url=addresses.thumbnail(image.image_id),
    )


def chunk_model(chunk: ChunkRecord) -> ChunkModel:
    """The chunk without its vector."""
    return ChunkModel.model_validate(
        {
            "id": chunk.chunk_id,
            "document_id": chunk.document_id,
            "ordinal": chunk.chunk_index,
            "text": chunk.chunk_text,
            "prefix": chunk.prefix,
            "spans": list(chunk.spans),
        }
    )


def search_answer(result: SearchResult, addresses: Addresses, *, with_text: bool) -> SearchAnswer:
    """The hits as a client sees them."""
    return SearchAnswer.model_validate(
        {
            "data": [hit_model(hit, addresses, with_text=with_text) for hit in result.hits],
            "took_ms": result.took_ms,
            "mode": result.mode,
            "recall": "exact" if result.is_exact else "approximate",
            "warnings": [{"code": item.code, "message": item.message} for item in result.warnings],
        }
    )


def hit_model(hit: Hit, addresses: Addresses, *, with_text: bool) -> HitModel:
    """One hit with its addresses."""
    chunk, image = hit.chunk, hit.image
    return HitModel.model_validate(
        {
            "rank": hit.rank,
            "type": hit.type,
            "score": hit.score,
            "scores": {"semantic": hit.semantic, "keyword": hit.keyword, "image": hit.image_score},
            "document": _hit_document(hit),
            "page": hit.page,
            "box": None if hit.box is None else list(hit.box),
            "chunk_id": None if chunk is None else chunk.chunk_id,
            "text": chunk.chunk_text if chunk is not None and with_text else None,
            "spans": [] if chunk is None else list(chunk.spans),
            "highlights": [{"char_start": r.char_start, "char_end": r.char_end} for r in hit.highlights],
            "image_id": None if image is None else image.image_id,
            "image_url": None if image is None else addresses.picture(image.image_id),
            "page_image_url": addresses.page_image(hit.document, hit.page),
            "vector": None if hit.vector is None else [float(x) for x in hit.vector],
        }
    )


def context_members(context: Context, addresses: Addresses) -> dict[str, Any]:
    """The members of a ContextAnswer."""
    answer = {
        "prompt": context.prompt,
        "messages": [{"role": turn.role, "content": turn.content} for turn in context.messages],
        "sources": [
            {
                "n": source.n,
                "document": _hit_document(source.hit),
                "page": source.hit.page,
                "box": None if source.hit.box is None else list(source.hit.box),
                "chunk_id": source.hit.id,
                "text": source.text,
                "score": source.hit.score,
                "url": addresses.page_image(source.hit.document, source.hit.page)
                or addresses.page(source.hit.document.document_id, source.hit.page),
            }
            for source in context.sources
        ],
        "images": [image_model(image, addresses) for image in context.images],
        "summary": context.summary,
        "tokens": context.tokens,
        "truncated": context.truncated,
        "warnings": [{"code": item.code, "message": item.message} for item in context.warnings],
    }
    return ContextAnswer.model_validate(answer).model_dump()


def search_note(record: SearchRecord) -> SearchNote:
    """A recorded search without its vector."""
    return SearchNote(
        id=record.search_id,
        query=record.query_text,
        results_found=record.results_found,
        created_at=record.search_timestamp,
        metadata=record.metadata,
    )


def _hit_document(hit: Hit) -> dict[str, str]:
    document = hit.document
    return {"id": document.document_id, "filename": document.filename, "title": document.title}
