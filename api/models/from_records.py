"""Turns records into the models that the API answers with.

Adds the addresses that only HTTP knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api.http.errors import error_json
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
from database.records import ChunkRecord, DocumentRecord, ImageRecord, PageRecord, SearchRecord
from services.chat.context import Context
from services.documents.documents import Accepted
from services.documents.json import document_json
from services.formats.registry import RENDERED_FORMATS
from services.page_json import unpack_words
from services.search.search import Hit, SearchResult


def document_model(document: DocumentRecord, children: Sequence[str] = ()) -> DocumentModel:
    """The document as a client sees it."""
    return DocumentModel.model_validate(document_json(document, children))


def upload_entry(entry: Accepted, *, instance: str, request_id: str | None) -> UploadEntry:
    """What became of one uploaded file."""
    error = None if entry.error is None else error_json(entry.error, instance=instance, request_id=request_id)
    return UploadEntry.model_validate(
        {
            "filename": entry.filename,
            "outcome": entry.outcome,
            "document": None if entry.document is None else document_model(entry.document),
            "job": None if entry.job is None else job_model(entry.job),
            "error": error,
        }
    )


def page_model(page: PageRecord) -> PageModel:
    """The page without its text."""
    return PageModel.model_validate({**_page_facts(page), "words": page.word_count})


def page_detail(page: PageRecord) -> PageDetail:
    """The page with its text and words."""
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
            **_page_facts(page),
            "char_start": page.char_start,
            "text": page.text,
            "words": words,
            "blocks": page.layout.get("blocks", []),
        }
    )


def _page_facts(page: PageRecord) -> dict[str, Any]:
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
    }


def image_model(image: ImageRecord) -> ImageModel:
    """The picture with the address of its bytes."""
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
        url=image_url(image.image_id),
        thumbnail_url=f"/v1/images/{image.image_id}/thumbnail",
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


def search_answer(result: SearchResult, *, with_text: bool) -> SearchAnswer:
    """The hits as a client sees them."""
    return SearchAnswer.model_validate(
        {
            "data": [hit_model(hit, with_text=with_text) for hit in result.hits],
            "took_ms": result.took_ms,
            "mode": result.mode,
            "recall": "exact" if result.is_exact else "approximate",
            "warnings": [{"code": item.code, "message": item.message} for item in result.warnings],
        }
    )


def hit_model(hit: Hit, *, with_text: bool) -> HitModel:
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
            "image_url": None if image is None else image_url(image.image_id),
            "page_image_url": page_image_url(hit.document, hit.page),
            "vector": None if hit.vector is None else [float(x) for x in hit.vector],
        }
    )


def context_members(context: Context) -> dict[str, Any]:
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
                "url": page_image_url(source.hit.document, source.hit.page)
                or f"/v1/documents/{source.hit.document.document_id}/pages/{source.hit.page}",
            }
            for source in context.sources
        ],
        "images": [image_model(image) for image in context.images],
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


def image_url(image_id: str) -> str:
    return f"/v1/images/{image_id}/content"


def page_image_url(document: DocumentRecord, page: int) -> str | None:
    """Where the page can be seen; None where the format has no layout."""
    if document.file_type not in RENDERED_FORMATS:
        return None
    return f"/v1/documents/{document.document_id}/pages/{page}/image"


def _hit_document(hit: Hit) -> dict[str, str]:
    document = hit.document
    return {"id": document.document_id, "filename": document.filename, "title": document.title}
