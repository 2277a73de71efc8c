"""Search over the wire."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from api.models.base import (
    EXAMPLE_CHUNK_ID,
    EXAMPLE_DOCUMENT_ID,
    EXAMPLE_TIME,
    Answer,
    Asked,
    BoxModel,
    JsonObject,
    Number,
    Whole,
    partial_field,
)
from api.models.documents import SpanModel
from services.search.search import MAX_DOCUMENT_IDS, MAX_K

MAX_QUERY_CHARS = 8192

_BOX: list[Any] = [72.0, 96.5, 523.2, 110.0]
DOCUMENT_EXAMPLE: dict[str, Any] = {
    "id": EXAMPLE_DOCUMENT_ID,
    "filename": "contract.pdf",
    "title": "Lease of the harbour office",
}
TEXT_EXAMPLE = "The rent is due on the first day of each month."

DocumentIds = Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=MAX_DOCUMENT_IDS)]
Score = Annotated[Number, Field(allow_inf_nan=False)]


class SearchQuery(Asked):
    """What to look for: words in `query`, or the stored picture `image_id`."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "query": "When is the rent due?",
                "modalities": ["text"],
                "mode": "hybrid",
                "k": 8,
                "min_score": 0.3,
                "filters": {"metadata.year": {"$gte": 2020}, "format": {"$in": ["pdf"]}},
                "include": ["text"],
            }
        }
    )
    nullable: ClassVar[frozenset[str]] = frozenset({"min_score"})

    query: str | None = Field(None, max_length=MAX_QUERY_CHARS)
    image_id: str | None = Field(None, max_length=64)
    modalities: list[Literal["text", "image"]] | None = Field(
        None, min_length=1, max_length=2, description="Default: text, and pictures where there is a model for them"
    )
    mode: Literal["hybrid", "semantic", "keyword"] = "hybrid"
    k: Whole = Field(8, ge=1, le=MAX_K)
    min_score: Score | None = Field(
        0.3, ge=0, le=1, description="Cut on the cosine of text; 0 or null for none. Keyword hits and pictures stay"
    )
    document_ids: DocumentIds | None = None
    filters: JsonObject | None = Field(
        None,
        description="`{field: value}` or `{field: {$eq|$in|$gte|$lte: value}}`; fields: metadata.<key>, format, ...",
    )
    include: list[Literal["text", "vectors"]] = Field(["text"], max_length=2)
    exact: bool = Field(False, description="Compare with every vector, also where an index could choose the candidates")


class HitDocument(Answer):
    """The document that a hit lies in."""

    id: str
    filename: str
    title: str


class HitScores(Answer):
    """What each list said; null where a list does not hold the hit."""

    semantic: float | None = Field(description="Cosine of the text vectors")
    keyword: float | None = Field(description="BM25, more is better")
    image: float | None = Field(description="Cosine of the picture vectors")


class HighlightModel(Answer):
    """Where a word of the query stands: code points of the hit's `text`."""

    char_start: int
    char_end: int


class HitModel(Answer):
    """A passage or a picture that was found."""

    rank: int
    type: Literal["text", "image"]
    score: float = Field(description="What the list is ordered by; comparable within one answer only")
    scores: HitScores
    document: HitDocument
    page: int
    box: BoxModel | None
    chunk_id: str | None
    text: str | None
    spans: list[SpanModel]
    highlights: list[HighlightModel]
    image_id: str | None
    image_url: str | None
    page_image_url: str | None
    vector: list[float] | None = None


class ShortfallModel(Answer):
    """Something that was asked for and could not be done, while the rest could."""

    code: str
    message: str


class SearchAnswer(Answer):
    """The hits, best first."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "data": [
                    {
                        "rank": 1,
                        "type": "text",
                        "score": 0.91,
                        "scores": {"semantic": 0.62, "keyword": 7.1, "image": None},
                        "document": DOCUMENT_EXAMPLE,
                        "page": 2,
                        "box": _BOX,
                        "chunk_id": EXAMPLE_CHUNK_ID,
                        "text": TEXT_EXAMPLE,
                        "spans": [{"page": 2, "char_start": 2216, "char_end": 2263, "boxes": [_BOX]}],
                        "highlights": [{"char_start": 4, "char_end": 8}, {"char_start": 12, "char_end": 15}],
                        "image_id": None,
                        "image_url": None,
                        "page_image_url": f"/v1/documents/{EXAMPLE_DOCUMENT_ID}/pages/2/image",
                        "vector": None,
                    }
                ],
                "took_ms": 12.4,
                "mode": "hybrid",
                "recall": "exact",
                "warnings": [],
            }
        }
    )

    data: list[HitModel]
    took_ms: float
    mode: Literal["hybrid", "semantic", "keyword"]
    recall: Literal["exact", "approximate"]
    warnings: list[ShortfallModel]
    partial: bool = partial_field("The database was out of reach: only what this node holds was searched")


class SearchNote(Answer):
    """A search that was made."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": EXAMPLE_CHUNK_ID,
                "object": "search",
                "query": "When is the rent due?",
                "results_found": 8,
                "created_at": EXAMPLE_TIME,
                "metadata": {"mode": "hybrid", "k": 8, "took_ms": 12.4},
            }
        }
    )

    id: str
    object: Literal["search"] = "search"
    query: str
    results_found: int
    created_at: str
    metadata: dict[str, Any]
