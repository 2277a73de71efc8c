"""What the store keeps, as frozen records.

Times are RFC 3339 UTC strings, ids UUIDv7 strings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

Json = dict[str, Any]
Vector = NDArray[np.float32]

LOCAL_USER_ID = "00000000-0000-7000-8000-000000000001"
"""The one owner in mode `none`."""

TERMINAL_STATUSES = ("completed", "completed_with_errors", "failed", "cancelled")

NOTICE_CODES = frozenset(
    {
        "extension_mismatch",
        "image_vectors_pending",
        "low_confidence",
        "decoration_left_out",
        "picture_format",
        "page_without_text",
        "members_left_out",
        "repeats_left_out",
        "converted",
        "frames_left_out",
    }
)
"""Warnings that lose nothing the caller asked for: a document that has only such ones is `completed`."""


def status_with(warnings: Sequence[Json]) -> str:
    """The status of a document that was read with these warnings.

    `completed` or `completed_with_errors`.
    """
    is_whole = all(warning["code"] in NOTICE_CODES for warning in warnings)
    return "completed" if is_whole else "completed_with_errors"


Role = Literal["owner", "worker", "service", "anonymous"]


@dataclass(frozen=True, slots=True)
class Actor:
    """On whose behalf a transaction runs.

    Every statement in it sees the rows of `user_id` only, unless `is_service`. On Postgres an owner's statements run as
    the role `authenticated`, with the owner in `request.jwt.claims`, and row level security refuses other owners' rows
    even where a condition was forgotten. A worker's and the service's run as `service_role`.
    """

    user_id: str
    role: Role = "owner"
    """`worker`: a job on the owner's behalf, which writes what owners may only read. `service`: sees every owner's
    rows. `anonymous`: sees none."""

    @property
    def is_service(self) -> bool:
        return self.role == "service"


def worker_for(user_id: str) -> Actor:
    """The actor of a job of this owner's."""
    return Actor(user_id, "worker")


LOCAL_ACTOR = Actor(LOCAL_USER_ID)
SERVICE_ACTOR = Actor(LOCAL_USER_ID, "service")
"""Claims any owner's jobs, and looks after what belongs to nobody."""


@dataclass(frozen=True, slots=True)
class DocumentRecord:
    document_id: str
    user_id: str
    filename: str
    file_type: str
    """A Format's word, such as `pdf`."""
    media_type: str
    file_size: int
    sha256: str
    title: str
    author: str
    language: str
    page_count: int
    total_chunks: int
    total_chars: int
    image_count: int
    status: str
    warnings: Sequence[Json]
    """`{code, message, page}` each."""
    options: Json
    metadata: Json
    generation: int
    """The generation that readers see; 0 while there is none."""
    parent_id: str | None
    created_at: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class JobRecord:
    job_id: str
    user_id: str
    document_id: str | None
    type: str
    status: str
    stage: str | None
    percent: float
    pages_done: int
    pages_total: int
    attempts: int
    generation: int
    """The generation that this job writes; it survives a restart, so the work already done is found again."""
    options: Json
    warnings: Sequence[Json]
    error: Json | None
    """A services.errors.Problem as JSON."""
    created_at: str
    started_at: str | None
    heartbeat_at: str | None
    finished_at: str | None
    run_after: str | None
    """Not to be claimed before (a retry's back-off)."""
    worker_id: str | None


@dataclass(frozen=True, slots=True)
class PageRecord:
    """A page of one generation.

    `layout` (packed by services.page_json) may be left empty in listings.
    """

    number: int
    char_start: int
    """Offset of the page's text in the document's text."""
    text: str
    width: float
    height: float
    source: str
    reason: str
    rotation: int
    confidence: float
    languages: Sequence[str]
    word_count: int
    elapsed_ms: int
    engine: str = ""
    """Name of the OCR engine that read it; empty for native text."""
    layout: Json = field(default_factory=dict)
    """`{"words": [[text, x0, y0, x1, y1, char_start, char_end, confidence|null]], "blocks": [...]}`."""


@dataclass(frozen=True, slots=True)
class ImageRecord:
    image_id: str
    document_id: str
    generation: int
    ordinal: int
    page: int
    box: Sequence[float] | None
    width: int
    height: int
    media_type: str
    sha256: str
    alt: str
    space: str | None
    """None while its vector is missing."""
    caption: str = ""
    """What stands beside it on its page."""


@dataclass(frozen=True, slots=True)
class ChunkRecord:
    chunk_id: str
    document_id: str
    generation: int
    chunk_index: int
    chunk_text: str
    prefix: str
    spans: Sequence[Json]
    """`{page, char_start, char_end, boxes}` each."""
    content_hash: str
    """SHA-256 (hex) of what is embedded: prefix, newline, text."""
    space: str | None
    embedding: Vector | None
    """float32[768] of unit length; None where no vector was asked for, and in listings that leave it out."""
    metadata: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SearchRecord:
    search_id: str
    user_id: str
    query_text: str
    query_embedding: Vector | None
    results_found: int
    search_timestamp: str
    metadata: Json


@dataclass(frozen=True, slots=True)
class Condition:
    """One filter on a document.

    `field` is `metadata.<key>[.<key>...]` or a column's API name (`format, status, filename, title, author, language,
    created_at, updated_at, size_bytes, page_count`).
    """

    field: str
    operator: Literal["$eq", "$in", "$gte", "$lte"]
    value: Any


@dataclass(frozen=True, slots=True)
class DocumentFilter:
    """Which documents a search or a list looks at; empty means all of the owner's."""

    document_ids: Sequence[str] | None = None
    conditions: Sequence[Condition] = ()

    @property
    def is_empty(self) -> bool:
        return self.document_ids is None and not self.conditions


@dataclass(frozen=True, slots=True)
class RowHit:
    """A chunk or an image that a search found."""

    id: str
    """chunk_id or image_id."""
    document_id: str
    score: float
    """Cosine for vectors; BM25 turned so that more is better for keywords."""


@dataclass(frozen=True, slots=True)
class VectorMatches:
    """The nearest rows, best first."""

    hits: Sequence[RowHit]
    is_exact: bool
    """True where the query was compared with every row that could match; False where an index chose the candidates."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What became of one uploaded file."""

    outcome: Literal["created", "duplicate", "updated"]
    document: DocumentRecord
    job: JobRecord | None
    superseded: Sequence[str] = ()
    """Jobs that were told to stop because this one takes their place."""
    before: DocumentRecord | None = None
    """The document as it was; None where it is new."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ListPage(Generic[T]):
    """One page of a list; `next_cursor` is opaque and None at the end."""

    data: Sequence[T]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class GenerationSummary:
    """The facts of a generation that `publish` writes into its document.

    Readers are switched to it then.
    """

    title: str
    author: str
    language: str
    page_count: int
    total_chunks: int
    total_chars: int
    image_count: int
    status: str
    """`completed` or `completed_with_errors`."""
    warnings: Sequence[Json]
