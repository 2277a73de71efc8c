"""What is asked of a search and what it finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from database.records import ChunkRecord, Condition, DocumentFilter, DocumentRecord, ImageRecord, Vector
from services.content import Box
from services.search.highlights import Range

Mode = Literal["hybrid", "semantic", "keyword"]
Modality = Literal["text", "image"]


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What is looked for: either `query` or `image_id` (or a picture handed to `search` beside it)."""

    query: str | None = None
    image_id: str | None = None
    modalities: frozenset[Modality] | None = None
    """None: text, and pictures where there is a model for them."""
    mode: Mode = "hybrid"
    k: int = 8
    min_score: float = 0.3
    """Cut on the cosine of text; 0 for none."""
    document_ids: Sequence[str] | None = None
    conditions: Sequence[Condition] = ()
    with_vectors: bool = False
    exact: bool = False
    """Compare with every vector, also where an index could choose the candidates."""

    @property
    def only(self) -> DocumentFilter:
        return DocumentFilter(self.document_ids, self.conditions)


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage (`chunk`) or a picture (`image`) that was found."""

    rank: int
    type: Modality
    score: float
    """What the list is ordered by; only comparable within one answer."""
    semantic: float | None
    keyword: float | None
    image_score: float | None
    document: DocumentRecord
    page: int
    box: Box | None
    chunk: ChunkRecord | None = None
    highlights: Sequence[Range] = ()
    image: ImageRecord | None = None
    vector: Vector | None = None

    @property
    def id(self) -> str:
        """Of the chunk or the picture."""
        if self.chunk is not None:
            return self.chunk.chunk_id
        assert self.image is not None
        return self.image.image_id


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Something that was asked for and could not be done, while the rest could."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The hits, best first, and how they were found."""

    hits: Sequence[Hit]
    mode: Mode
    took_ms: float
    warnings: Sequence[Shortfall] = ()
    is_exact: bool = True
    """False where an index chose the candidates of a vector search."""
