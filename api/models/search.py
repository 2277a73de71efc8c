"""Search over the wire."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from api.models.base import (
    EXAMPLE_CHUNK_ID,
    EXAMPLE_DOCUMENT_ID,
    EXAMPLE_TIME,
    SIGNED_NOTE,
    Answer,
    Asked,
    BoxModel,
    Fraction,
    JsonObject,
    Whole,
    partial_field,
)
from api.models.documents import SpanModel
from database.filters import FIELDS, MAX_VALUES
from services.filters import MAX_CONDITIONS
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
FILTERS = (
    "Only documents that match every condition: `{field: value}` or `{field: {operator: value}}`. Operators: `$eq`, "
    f"`$gte`, `$lte`, and `$in` with a list of 1 to {MAX_VALUES:,} values. Fields: `metadata.<key>` (nested: "
    f"`metadata.<key>.<key>`), {', '.join(f'`{name}`' for name in FIELDS)}. At most {MAX_CONDITIONS} conditions"
)


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

    query: str | None = Field(
        None, max_length=MAX_QUERY_CHARS, description="Words to look for. Give either `query` or `image_id`"
    )
    image_id: str | None = Field(
        None, max_length=64, description="Id of a stored picture: find pictures like it, and the passages around them"
    )
    modalities: list[Literal["text", "image"]] | None = Field(
        None, min_length=1, max_length=2, description="Default: text, and pictures where there is a model for them"
    )
    mode: Literal["hybrid", "semantic", "keyword"] = Field(
        "hybrid",
        description="`semantic` compares vectors (meaning), `keyword` compares words (BM25), `hybrid` does both",
    )
    k: Whole = Field(8, ge=1, le=MAX_K, description="Hits, at most")
    min_score: Fraction | None = Field(
        0.3,
        description="Least cosine of a passage; 0 or null for no limit. Keyword hits and pictures are never cut",
    )
    document_ids: DocumentIds | None = Field(None, description="Only in these documents and in what lies inside them")
    filters: JsonObject | None = Field(None, description=FILTERS)
    include: list[Literal["text", "vectors"]] = Field(
        ["text"],
        max_length=2,
        description="`text`: the text of each passage. `vectors`: the stored vector of each hit (768 numbers)",
    )
    exact: bool = Field(False, description="Compare with every vector, also where an index could choose the candidates")


class HitDocument(Answer):
    """The document that a hit lies in."""

    id: str = Field(description="UUID of the document")
    filename: str = Field(description="Name of the file")
    title: str = Field(description="Title of the document")


class HitScores(Answer):
    """What each list said; null where a list does not hold the hit."""

    semantic: float | None = Field(description="Cosine of the text vectors")
    keyword: float | None = Field(description="BM25, more is better")
    image: float | None = Field(description="Cosine of the picture vectors")


class HighlightModel(Answer):
    """Where a word of the query stands: code points of the hit's `text`."""

    char_start: int = Field(description="Offset of the word's first character")
    char_end: int = Field(description="Offset behind the word's last character")


class HitModel(Answer):
    """A passage or a picture that was found."""

    rank: int = Field(description="Place in the list, from 1")
    type: Literal["text", "image"] = Field(description="`text`: a passage. `image`: a picture")
    score: float = Field(description="What the list is ordered by; comparable within one answer only")
    scores: HitScores = Field(description="The scores that `score` was made from")
    document: HitDocument = Field(description="The document that holds the hit")
    page: int = Field(description="Page number, from 1, of the hit's best span")
    box: BoxModel | None = Field(
        description="Where that span, or the picture, stands on the page; null where the format has no layout"
    )
    chunk_id: str | None = Field(description="Id of the passage; null for a picture")
    text: str | None = Field(description="Text of the passage; null for a picture, and without `text` in `include`")
    spans: list[SpanModel] = Field(
        description="All slices of the document's text that the passage is made of; empty for a picture"
    )
    highlights: list[HighlightModel] = Field(description="The words of the query in `text`")
    image_id: str | None = Field(description="Id of the picture; null for a passage")
    image_url: str | None = Field(description=f"Address of the picture's bytes; null for a passage. {SIGNED_NOTE}")
    page_image_url: str | None = Field(
        description=f"Address of the page as a picture; null where the format has no layout. {SIGNED_NOTE}"
    )
    vector: list[float] | None = Field(
        None, description="The stored vector (768 numbers) where `include` asks for it; else null"
    )


class ShortfallModel(Answer):
    """Something that the answer lacks, while the rest is there."""

    code: str = Field(description="Stable word for programs, `image_model_missing` or `documents_pending`")
    message: str = Field(description="What is missing and what to do")


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
                "partial": False,
            }
        }
    )

    data: list[HitModel] = Field(description="The hits, best first")
    took_ms: float = Field(description="Milliseconds that the search took")
    mode: Literal["hybrid", "semantic", "keyword"] = Field(description="The mode that was used")
    recall: Literal["exact", "approximate"] = Field(
        description="`exact`: every vector was compared. `approximate`: an index chose the candidates"
    )
    warnings: list[ShortfallModel] = Field(
        description="What the answer lacks: pictures without their model, or documents that are still being read"
    )
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

    id: str = Field(description="UUID of the search")
    object: Literal["search"] = Field("search", description="Always `search`")
    query: str = Field(description="The words that were looked for; empty for a search by picture")
    results_found: int = Field(description="Hits that were answered")
    created_at: str = Field(description="Time of the search (RFC 3339, UTC)")
    metadata: dict[str, Any] = Field(description="How it was searched: mode, k, time and more")
