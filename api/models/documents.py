"""Documents, their uploads, pages, pictures and chunks over the wire."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from api.models.base import (
    EXAMPLE_CHUNK_ID,
    EXAMPLE_DOCUMENT_ID,
    EXAMPLE_IMAGE_ID,
    EXAMPLE_SHA256,
    EXAMPLE_TIME,
    Answer,
    Asked,
    BoxModel,
    IssueModel,
    JsonObject,
    PlainText,
    ProblemModel,
    Whole,
)
from api.models.jobs import JOB_EXAMPLE, JobModel

DocumentStatus = Literal["queued", "in_progress", "completed", "completed_with_errors", "failed", "cancelled"]

DOCUMENT_EXAMPLE: dict[str, Any] = {
    "id": EXAMPLE_DOCUMENT_ID,
    "object": "document",
    "filename": "contract.pdf",
    "format": "pdf",
    "media_type": "application/pdf",
    "size_bytes": 183_204,
    "sha256": EXAMPLE_SHA256,
    "title": "Lease of the harbour office",
    "author": "A. Writer",
    "language": "en",
    "page_count": 10,
    "chunk_count": 31,
    "image_count": 2,
    "status": "completed",
    "warnings": [],
    "metadata": {"year": 2024},
    "parent_id": None,
    "children": [],
    "created_at": EXAMPLE_TIME,
    "updated_at": EXAMPLE_TIME,
}
_BOX: list[Any] = [72.0, 96.5, 523.2, 110.0]


class DocumentModel(Answer):
    """An uploaded file and what became of it."""

    model_config = ConfigDict(json_schema_extra={"example": DOCUMENT_EXAMPLE})

    id: str
    object: Literal["document"] = "document"
    filename: str
    format: str
    media_type: str
    size_bytes: int
    sha256: str
    title: str
    author: str
    language: str
    page_count: int
    chunk_count: int
    image_count: int
    status: DocumentStatus
    warnings: list[IssueModel]
    metadata: dict[str, Any]
    parent_id: str | None
    children: list[str] = Field(description="Ids of the documents that lie in this one")
    created_at: str
    updated_at: str


class UploadEntry(Answer):
    """What became of one uploaded file."""

    filename: str
    outcome: Literal["created", "duplicate", "updated", "rejected"]
    document: DocumentModel | None
    job: JobModel | None = Field(description="The job under way; null where there is none")
    error: ProblemModel | None


class UploadAnswer(Answer):
    """One entry per file, in the order of the request."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "data": [
                    {
                        "filename": "contract.pdf",
                        "outcome": "created",
                        "document": {**DOCUMENT_EXAMPLE, "status": "queued", "page_count": 0, "chunk_count": 0},
                        "job": {**JOB_EXAMPLE, "status": "queued", "stage": None, "queue_position": 0},
                        "error": None,
                    }
                ]
            }
        }
    )

    data: list[UploadEntry]


class ProcessAnswer(Answer):
    """The answer of the original design's upload endpoints."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "document_id": DOCUMENT_EXAMPLE["id"],
                "job_id": JOB_EXAMPLE["id"],
                "status": "queued",
                "document": {**DOCUMENT_EXAMPLE, "status": "queued"},
                "job": {**JOB_EXAMPLE, "status": "queued", "stage": None},
            }
        }
    )

    document_id: str
    job_id: str | None
    status: str
    document: DocumentModel
    job: JobModel | None


class OptionsModel(Asked):
    """How a document is read. What is left out has the server's default, or on reprocessing the document's own."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"ocr": "force", "ocr_languages": ["eng"], "pages": "1-3,7"}}
    )

    chunk_size: Whole | None = Field(None, description="Characters of a chunk, at most: 100 to 20,000; default 1000")
    chunk_overlap: Whole | None = Field(None, description="Characters that neighbours share, at most; default 200")
    ocr: Literal["auto", "force", "off"] | None = Field(None, description="Default auto: pages without usable text")
    ocr_languages: list[str] | None = Field(None, description="Tesseract language codes; default eng")
    extract_images: bool | None = Field(None, description="Default true")
    pages: str | None = Field(None, description="Pages to read, such as `1-3,7` or `5-`; default all")
    password: str | None = Field(None, description="Of an encrypted document; never stored, logged or returned")


class DocumentPatch(Asked):
    """What may be edited; a field that is left out stays."""

    model_config = ConfigDict(json_schema_extra={"example": {"title": "Lease 2024", "metadata": {"year": 2024}}})

    title: PlainText | None = Field(None, max_length=500)
    metadata: JsonObject | None = Field(None, description="Takes the place of the whole object")


class PageModel(Answer):
    """What is known of a page without its words."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "number": 1,
                "width": 595.0,
                "height": 842.0,
                "source": "ocr",
                "reason": "empty",
                "rotation": 0,
                "confidence": 0.93,
                "languages": ["eng"],
                "engine": "tesseract",
                "chars": 2214,
                "words": 371,
                "elapsed_ms": 1840,
            }
        }
    )

    number: int
    width: float = Field(description="Points; 0 where the format has no layout")
    height: float
    source: Literal["native", "ocr", "hybrid"]
    reason: str = Field(description="Why: empty for plain native text, else `empty`, `garbled`, `forced`, `picture`")
    rotation: int
    confidence: float = Field(description="0 to 1")
    languages: list[str]
    engine: str = Field(description="The OCR engine that read the page or a part of it; empty for native text")
    chars: int
    words: int
    elapsed_ms: int


class WordModel(Answer):
    """A word with its box; its offsets slice the page's text."""

    text: str
    box: BoxModel
    char_start: int
    char_end: int
    confidence: float | None


class PageDetail(Answer):
    """A page with its text and its words."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "number": 1,
                "width": 595.0,
                "height": 842.0,
                "source": "native",
                "reason": "",
                "rotation": 0,
                "confidence": 1.0,
                "languages": [],
                "engine": "",
                "chars": 5,
                "elapsed_ms": 12,
                "char_start": 0,
                "text": "Lease",
                "words": [{"text": "Lease", "box": _BOX, "char_start": 0, "char_end": 5, "confidence": None}],
                "blocks": [{"kind": "heading", "char_start": 0, "char_end": 5, "level": 1, "box": _BOX}],
            }
        }
    )

    number: int
    width: float
    height: float
    source: Literal["native", "ocr", "hybrid"]
    reason: str
    rotation: int
    confidence: float
    languages: list[str]
    engine: str = Field(description="The OCR engine that read the page or a part of it; empty for native text")
    chars: int
    elapsed_ms: int
    char_start: int = Field(description="Offset of the page's text in the document's text")
    text: str
    words: list[WordModel]
    blocks: list[dict[str, Any]] = Field(description="Headings, paragraphs, lists and tables, in order")


class ImageModel(Answer):
    """A picture cut out of a document, or an uploaded picture itself."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": EXAMPLE_IMAGE_ID,
                "object": "image",
                "document_id": EXAMPLE_DOCUMENT_ID,
                "page": 3,
                "box": _BOX,
                "width": 640,
                "height": 480,
                "media_type": "image/png",
                "sha256": EXAMPLE_SHA256,
                "alt": "",
                "caption": "Figure 2: the harbour at low water",
                "has_vector": True,
                "url": f"/v1/images/{EXAMPLE_IMAGE_ID}/content",
                "thumbnail_url": f"/v1/images/{EXAMPLE_IMAGE_ID}/thumbnail",
            }
        }
    )

    id: str
    object: Literal["image"] = "image"
    document_id: str
    page: int
    box: BoxModel | None
    width: int = Field(description="Pixels")
    height: int = Field(description="Pixels")
    media_type: str
    sha256: str
    alt: str = Field(description="What the file says that it shows")
    caption: str = Field(description="What stands beside it on the page")
    has_vector: bool = Field(description="False while it waits for the picture model")
    url: str
    thumbnail_url: str


class SpanModel(Answer):
    """A slice of the document's text that lies on one page; offsets count code points of `content?format=text`."""

    page: int
    char_start: int
    char_end: int
    boxes: list[BoxModel]


class ChunkModel(Answer):
    """A passage; the joined slices of its spans equal `text`."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": EXAMPLE_CHUNK_ID,
                "object": "chunk",
                "document_id": EXAMPLE_DOCUMENT_ID,
                "ordinal": 0,
                "text": "The rent is due on the first day of each month.",
                "prefix": "Lease > 3 Rent",
                "spans": [{"page": 2, "char_start": 2216, "char_end": 2263, "boxes": [_BOX]}],
            }
        }
    )

    id: str
    object: Literal["chunk"] = "chunk"
    document_id: str
    ordinal: int
    text: str
    prefix: str = Field(description="Heading path or header row; embedded with the text, but no slice of it")
    spans: list[SpanModel]
