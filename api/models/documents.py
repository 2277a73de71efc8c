"""Documents, their uploads, pages, pictures and chunks over the wire."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from api.models.base import (
    EXAMPLE_CHUNK_ID,
    EXAMPLE_DOCUMENT_ID,
    EXAMPLE_IMAGE_ID,
    EXAMPLE_JOB_ID,
    EXAMPLE_SHA256,
    EXAMPLE_TIME,
    SIGNED_NOTE,
    Answer,
    Asked,
    BoxModel,
    IssueModel,
    JsonObject,
    PlainText,
    ProblemModel,
    Whole,
)
from api.models.jobs import QUEUED_JOB_EXAMPLE, JobModel, JobReference
from services.options import MAX_CHUNK_SIZE, MIN_CHUNK_SIZE

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
    "error": None,
    "job": {"id": EXAMPLE_JOB_ID, "object": "job", "status": "completed"},
    "warnings": [],
    "metadata": {"year": 2024},
    "parent_id": None,
    "children": [],
    "file_url": f"/v1/documents/{EXAMPLE_DOCUMENT_ID}/file",
    "created_at": EXAMPLE_TIME,
    "updated_at": EXAMPLE_TIME,
}
_BOX: list[Any] = [72.0, 96.5, 523.2, 110.0]
_REASON = (
    "Why OCR was used: empty for plain native text, else `empty`, `garbled`, `partly_image`, `forced` or `picture`"
)


class DocumentModel(Answer):
    """An uploaded file and what became of it."""

    model_config = ConfigDict(json_schema_extra={"example": DOCUMENT_EXAMPLE})

    id: str = Field(description="UUID of the document")
    object: Literal["document"] = Field("document", description="Always `document`")
    filename: str = Field(description="Name of the uploaded file, cleaned for display")
    format: str = Field(description="The format that the content shows, such as `pdf`; see docs/formats.md")
    media_type: str = Field(description="Media type of the format")
    size_bytes: int = Field(description="Bytes of the original file")
    sha256: str = Field(description="SHA-256 of the original file, in hex")
    title: str = Field(description="Title from the file or from PATCH; else the file name")
    author: str = Field(description="Author from the file; may be empty")
    language: str = Field(description="Language that the file names (BCP 47); may be empty")
    page_count: int = Field(description="Pages, slides, sheets or frames; 0 until they have been read")
    chunk_count: int = Field(description="Passages that can be searched")
    image_count: int = Field(description="Pictures that were extracted")
    status: DocumentStatus = Field(
        description="`completed_with_errors`: parts could not be read (see `warnings`), and the rest can be searched"
    )
    error: ProblemModel | None = Field(description="Why a `failed` document failed; null otherwise")
    job: JobReference | None = Field(
        description="Its newest job. Null where there is none, and in the entry of a `duplicate` upload that waits for "
        "none"
    )
    warnings: list[IssueModel] = Field(description="What went wrong with parts of the document")
    metadata: dict[str, Any] = Field(description="Your own JSON object from the upload or from PATCH")
    parent_id: str | None = Field(description="Document of the mail or archive that holds this one; null for an upload")
    children: list[str] = Field(description="Ids of the documents that lie in this one")
    file_url: str = Field(description=f"Address of the original. {SIGNED_NOTE}")
    created_at: str = Field(description="Time of the upload (RFC 3339, UTC)")
    updated_at: str = Field(description="Time of the last change (RFC 3339, UTC)")


class DifferenceModel(Answer):
    """What an upload says otherwise than the document that holds the same bytes."""

    member: Literal["filename", "metadata"] = Field(description="Member of the document")
    stored: Any = Field(description="What the document had before the upload")
    given: Any = Field(description="What the upload says")


class UploadEntry(Answer):
    """What became of one uploaded file."""

    filename: str = Field(description="Name of the file as it was uploaded, cleaned for display")
    outcome: Literal["created", "duplicate", "updated", "rejected"] = Field(
        description="`created`: a new document. `duplicate`: the same bytes were read with the same options before, so "
        "nothing is done again, and its name and metadata stay: see `kept`. `updated`: the same bytes with other "
        "options, or after a failure: the same document with a new job, the new name and, where given, the new "
        "metadata: see `changed`. `rejected`: see `error`"
    )
    document: DocumentModel | None = Field(description="The document; null when the file was rejected")
    job: JobModel | None = Field(description="The job under way; null where there is none")
    error: ProblemModel | None = Field(description="Why the file was rejected; else null")
    changed: list[DifferenceModel] = Field(
        default_factory=list, description="What an `updated` document has from this upload now, and what it had before"
    )
    kept: list[DifferenceModel] = Field(
        default_factory=list,
        description="What a `duplicate` document keeps although the upload says otherwise. PATCH changes its metadata",
    )


class UploadAnswer(Answer):
    """One entry per file, in the order of the request."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "data": [
                    {
                        "filename": "contract.pdf",
                        "outcome": "created",
                        "document": {
                            **DOCUMENT_EXAMPLE,
                            "status": "queued",
                            "job": {"id": EXAMPLE_JOB_ID, "object": "job", "status": "queued"},
                            "page_count": 0,
                            "chunk_count": 0,
                            "image_count": 0,
                        },
                        "job": QUEUED_JOB_EXAMPLE,
                        "error": None,
                        "changed": [],
                        "kept": [],
                    }
                ]
            }
        }
    )

    data: list[UploadEntry] = Field(description="One entry per file, in the order of the request")


class ProcessAnswer(Answer):
    """The answer of the original design's upload endpoints."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "document_id": DOCUMENT_EXAMPLE["id"],
                "job_id": QUEUED_JOB_EXAMPLE["id"],
                "status": "queued",
                "document": {
                    **DOCUMENT_EXAMPLE,
                    "status": "queued",
                    "job": {"id": EXAMPLE_JOB_ID, "object": "job", "status": "queued"},
                },
                "job": QUEUED_JOB_EXAMPLE,
            }
        }
    )

    document_id: str = Field(description="Id of the document")
    job_id: str | None = Field(description="Id of the job under way; null where there is none")
    status: str = Field(description="Status of the job, or of the document where there is no job")
    document: DocumentModel = Field(description="The document")
    job: JobModel | None = Field(description="The job under way; null where there is none")


class OptionsModel(Asked):
    """How a document is read. What is left out has the server's default, or on reprocessing the document's own."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"ocr": "force", "ocr_languages": ["eng"], "pages": "1-3,7"}}
    )

    chunk_size: Whole | None = Field(
        None,
        description=f"Characters of a chunk, at most: {MIN_CHUNK_SIZE:,} to {MAX_CHUNK_SIZE:,}. Default: "
        "`DOCATLAS_CHUNK_SIZE`, 1,000",
    )
    chunk_overlap: Whole | None = Field(
        None,
        description="Characters that neighbouring chunks share, at most; less than `chunk_size`. Default: "
        "`DOCATLAS_CHUNK_OVERLAP`, 200",
    )
    ocr: Literal["auto", "force", "off"] | None = Field(
        None,
        description="OCR of pages without usable text (`auto`), of all (`force`) or of none (`off`). Default: `auto`",
    )
    ocr_languages: list[str] | None = Field(
        None,
        description="1 to 8 Tesseract language codes, such as `eng`; `auto` finds out. Default: "
        "`DOCATLAS_OCR_LANGUAGES`, `eng`",
    )
    extract_images: bool | None = Field(None, description="Whether pictures are cut out and stored. Default: true")
    pages: str | None = Field(None, description="Pages to read, such as `1-3,7` or `5-`. Default: all")
    password: str | None = Field(
        None,
        description="Of an encrypted document, at most 1,024 characters; never stored, logged or returned",
    )


class DocumentPatch(Asked):
    """What may be edited; a field that is left out stays."""

    model_config = ConfigDict(json_schema_extra={"example": {"title": "Lease 2024", "metadata": {"year": 2024}}})

    title: PlainText | None = Field(None, max_length=500, description="The new title")
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
                "page_image_url": f"/v1/documents/{EXAMPLE_DOCUMENT_ID}/pages/1/image",
            }
        }
    )

    number: int = Field(description="Page number, from 1")
    width: float = Field(description="Points; 0 where the format has no layout")
    height: float = Field(description="Points; 0 where the format has no layout")
    source: Literal["native", "ocr", "hybrid"] = Field(
        description="`native`: the file's own text. `ocr`: read from the picture of the page. `hybrid`: both"
    )
    reason: str = Field(description=_REASON)
    rotation: int = Field(description="Degrees clockwise by which the page was turned to be upright: 0, 90, 180 or 270")
    confidence: float = Field(description="0 to 1: mean word confidence of OCR; 1 for native text")
    languages: list[str] = Field(description="Languages that OCR used; empty for native text")
    engine: str = Field(description="The OCR engine that read the page or a part of it; empty for native text")
    chars: int = Field(description="Characters of the page's text")
    words: int = Field(description="Words of the page's text")
    elapsed_ms: int = Field(description="Milliseconds that reading the page took")
    page_image_url: str | None = Field(
        description=f"Address of the page as a picture; null where the format has no layout. {SIGNED_NOTE}"
    )


class WordModel(Answer):
    """A word with its box; its offsets slice the page's text."""

    text: str = Field(description="The word")
    box: BoxModel
    char_start: int = Field(description="Offset of its first character in the page's `text`")
    char_end: int = Field(description="Offset behind its last character in the page's `text`")
    confidence: float | None = Field(description="0 to 1 from the OCR engine; null for native text")


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
                "page_image_url": f"/v1/documents/{EXAMPLE_DOCUMENT_ID}/pages/1/image",
                "char_start": 0,
                "text": "Lease",
                "words": [{"text": "Lease", "box": _BOX, "char_start": 0, "char_end": 5, "confidence": None}],
                "blocks": [{"kind": "heading", "char_start": 0, "char_end": 5, "level": 1, "box": _BOX}],
            }
        }
    )

    number: int = Field(description="Page number, from 1")
    width: float = Field(description="Points; 0 where the format has no layout")
    height: float = Field(description="Points; 0 where the format has no layout")
    source: Literal["native", "ocr", "hybrid"] = Field(
        description="`native`: the file's own text. `ocr`: read from the picture of the page. `hybrid`: both"
    )
    reason: str = Field(description=_REASON)
    rotation: int = Field(description="Degrees clockwise by which the page was turned to be upright: 0, 90, 180 or 270")
    confidence: float = Field(description="0 to 1: mean word confidence of OCR; 1 for native text")
    languages: list[str] = Field(description="Languages that OCR used; empty for native text")
    engine: str = Field(description="The OCR engine that read the page or a part of it; empty for native text")
    chars: int = Field(description="Characters of `text`")
    elapsed_ms: int = Field(description="Milliseconds that reading the page took")
    page_image_url: str | None = Field(
        description=f"Address of the page as a picture; null where the format has no layout. {SIGNED_NOTE}"
    )
    char_start: int = Field(description="Offset of the page's text in the document's text")
    text: str = Field(description="The page's text, in reading order")
    words: list[WordModel] = Field(description="Each word with its box; empty where the format has no layout")
    blocks: list[dict[str, Any]] = Field(
        description="Headings, paragraphs, list items, tables and so on, in order: `kind`, `char_start` and `char_end` "
        "in `text`, and where they apply `level`, `box`, `rows` (a table's cells), `ordered`, `language`, `hidden`, "
        "`continues`"
    )


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

    id: str = Field(description="UUID of the picture")
    object: Literal["image"] = Field("image", description="Always `image`")
    document_id: str = Field(description="The document that holds the picture")
    page: int = Field(description="Page number, from 1")
    box: BoxModel | None = Field(
        description="Where the picture stands on the page; null where the format has no layout"
    )
    width: int = Field(description="Pixels")
    height: int = Field(description="Pixels")
    media_type: str = Field(description="`image/png`, `image/jpeg` or `image/webp`")
    sha256: str = Field(description="SHA-256 of the picture's bytes, in hex")
    alt: str = Field(description="What the file says that it shows")
    caption: str = Field(description="What stands beside it on the page")
    has_vector: bool = Field(description="False while it waits for the picture model")
    url: str = Field(description=f"Address of the picture's bytes. {SIGNED_NOTE}")
    thumbnail_url: str = Field(description=f"Address of a small WebP of it. {SIGNED_NOTE}")


class SpanModel(Answer):
    """A slice of the document's text that lies on one page; offsets count code points of `content?format=text`."""

    page: int = Field(description="Page number, from 1")
    char_start: int = Field(description="Offset of the first character in `content?format=text`")
    char_end: int = Field(description="Offset behind the last character in `content?format=text`")
    boxes: list[BoxModel] = Field(
        description="One box for each line or block, in reading order; empty where the format has no layout"
    )


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

    id: str = Field(description="UUID of the chunk; it changes when the document is read again")
    object: Literal["chunk"] = Field("chunk", description="Always `chunk`")
    document_id: str = Field(description="The document that holds the chunk")
    ordinal: int = Field(description="Place in the document, from 0")
    text: str = Field(description="The passage: a slice of the document's text")
    prefix: str = Field(description="Heading path or header row; embedded with the text, but no slice of it")
    spans: list[SpanModel] = Field(description="The slices that `text` is made of, with pages and boxes")
