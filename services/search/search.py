"""Searches passages and pictures: by meaning, by words, by both, or by picture.

`search` finds ranked lists of passages and of pictures, puts them in one order, reads the rows of the best, and
records the search.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

from database.documents import contents, documents, images, searches
from database.errors import StoreBusy, StoreUnavailable
from database.jobs import jobs
from database.records import (
    Actor,
    ChunkRecord,
    Condition,
    DocumentFilter,
    DocumentRecord,
    ImageRecord,
    Json,
    ListPage,
    RowHit,
    SearchRecord,
    Vector,
    VectorMatches,
)
from database.store import Transaction
from services.content import Box, Received
from services.embedding.base import ImageEmbedder
from services.errors import CapabilityMissing, FieldError, InvalidOption
from services.filters import check_conditions, refusing_bad_queries
from services.missing import no_image
from services.runtime import Runtime
from services.search.highlights import QueryWords, Range, best_place, union_box
from services.storage import blob_path

_log = logging.getLogger(__name__)

Mode = Literal["hybrid", "semantic", "keyword"]
Modality = Literal["text", "image"]

MAX_K = 200
MAX_DOCUMENT_IDS = 10_000
MIN_CANDIDATES = 200
"""Passages that each of the two text searches hands to the fusion, at least."""
PASSAGES_PER_PICTURE = 2
"""Passages that are shown for the page of a similar picture."""

SEMANTIC_WEIGHT = 0.7
"""Share of the cosine, the rest is BM25's; both scaled to 0..1 over the candidates.

Source: nDCG@10 over chunks of at most 1000 characters, all-mpnet-base-v2 and FTS5, 200 candidates of each list.

=====================  =========  ======
ranking                Cranfield  CISI
=====================  =========  ======
semantic alone         .387       .351
keyword alone          .380       .322
by rank (RRF)          .448       .400
by value, weight .5    .442       .388
by value, weight .6    .451       .413
by value, weight .7    .452       .422
by value, weight .8    .442       .414
=====================  =========  ======

Scaled by standard deviations instead, weight .6 gave .453 and .429: no more than the noise of 152 queries, and its
score has no bounds. Looking up the BM25 of candidates beyond the keyword list's end, instead of taking 0, changed less
than .002.
The shape follows Bruch, Gai, Ingber, An Analysis of Fusion Functions for Hybrid Retrieval, ACM TOIS 2023.
"""

RRF_K = 60
"""Source: Cormack, Clarke, Buettcher, Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning
Methods, SIGIR 2009."""

_MODALITIES: frozenset[Modality] = frozenset({"text", "image"})

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What to search for: either `query` or `image_id`.

    Neither of them where a picture is handed to `search` beside it.
    """

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
    """Something that an answer lacks, while the rest is there."""

    code: str
    message: str


DOCUMENTS_PENDING = Shortfall(
    "documents_pending",
    "Documents are still being read, and what is in them may be missing. Search again when their jobs have ended.",
)


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The hits, best first, and how they were found."""

    hits: Sequence[Hit]
    mode: Mode
    took_ms: float
    warnings: Sequence[Shortfall] = ()
    is_exact: bool = True
    """False where an index chose the candidates of a vector search."""


@dataclass(frozen=True, slots=True)
class FusedScore:
    """A candidate of the text search."""

    id: str
    score: float
    """0 to 1 when two lists were fused."""
    semantic: float | None
    """Cosine; None where the candidate has no vector."""
    keyword: float | None
    """BM25; None where the keyword list does not hold it."""


@dataclass(frozen=True, slots=True)
class _TextMatches:
    """Passages that words found, best first."""

    scores: Sequence[FusedScore] = ()
    query: Vector | None = None
    """The vector of the query, which is recorded."""
    is_exact: bool = True


@dataclass(frozen=True, slots=True)
class _Beside:
    """The best similar picture that a passage stands beside."""

    picture: RowHit
    page: int


@dataclass(frozen=True, slots=True)
class _Matches:
    """What one search found, before passages and pictures are put in one order."""

    texts: Sequence[FusedScore] = ()
    pictures: Sequence[RowHit] = ()
    beside: Mapping[str, _Beside] = field(default_factory=dict)
    """By chunk id, of a search by picture; in the order of the pictures."""
    query: Vector | None = None
    is_exact: bool = True
    warnings: Sequence[Shortfall] = ()


@dataclass(frozen=True, slots=True)
class _Row:
    """A stored passage or picture with what is shown of it."""

    record: ChunkRecord | ImageRecord
    document: DocumentRecord
    vector: Vector | None


def search(runtime: Runtime, actor: Actor, request: SearchRequest, *, picture: Path | None = None) -> SearchResult:
    """Returns the best passages and pictures, and records the search.

    `picture` is an uploaded file to find similar pictures to; it is decoded in a child.
    Raises InvalidOption, NotFound (an unknown `image_id`), CapabilityMissing and what decoding the picture raises.
    """
    result, vector = _find(runtime, actor, request, picture)
    _record(runtime, actor, request, result, vector, by_picture=picture is not None)
    return result


def search_by_picture(runtime: Runtime, actor: Actor, received: Received, *, k: int) -> SearchResult:
    """Searches for pictures like the uploaded one, and the passages around them.

    It is decoded in a child process: the caller bounds how many run at a time, and removes the file. Raises as
    `search`.
    """
    if received.upload is None:
        raise received.error or InvalidOption("The picture could not be read.")
    return search(runtime, actor, SearchRequest(k=k), picture=received.upload.path)


def find(runtime: Runtime, actor: Actor, request: SearchRequest) -> SearchResult:
    """As `search`, but not recorded: for a search that is one step of another call."""
    return _find(runtime, actor, request, None)[0]


def list_searches(runtime: Runtime, actor: Actor, *, limit: int, cursor: str | None) -> ListPage[SearchRecord]:
    """The recorded searches, newest first.

    Raises InvalidOption for a malformed cursor.
    """
    with runtime.store.begin(actor) as tx, refusing_bad_queries():
        return searches.list_page(tx, limit, cursor)


def record_search(
    runtime: Runtime, actor: Actor, *, text: str, vector: Vector | None, results: int, facts: Json
) -> None:
    """Records a search; only logs it where the database cannot be written to now."""
    try:
        with runtime.store.begin(actor, write=True) as tx:
            searches.record(tx, query_text=text, query_embedding=vector, results_found=results, metadata=facts)
    except (StoreBusy, StoreUnavailable):
        # The answer is there; a note that cannot be written now must not take it away.
        _log.warning("a search could not be recorded: the database did not take it")


def _find(
    runtime: Runtime, actor: Actor, request: SearchRequest, picture: Path | None
) -> tuple[SearchResult, Vector | None]:
    began = time.perf_counter()
    by_picture = picture is not None or request.image_id is not None
    if by_picture == bool(request.query and request.query.strip()):
        raise InvalidOption(
            "Give either `query` (words) or `image_id` (a picture that is stored), and not both.",
            code="invalid_request",
            errors=(FieldError("/query", "either this or image_id"),),
        )
    # Checked apart, so that no other ValueError can pass for a wrong filter.
    check_conditions(request.conditions)
    if by_picture and request.mode == "keyword":
        raise _keyword_mode_has_no_pictures()
    if by_picture:
        found = _match_picture(runtime, actor, request, picture)
    else:
        found = _match_words(runtime, actor, request, (request.query or "").strip())
    hits, pending = _read_hits(runtime, actor, request, found)
    warnings = (*found.warnings, DOCUMENTS_PENDING) if pending else found.warnings
    took_ms = round(1000 * (time.perf_counter() - began), 3)
    return SearchResult(hits, request.mode, took_ms, warnings, found.is_exact), found.query


def _keyword_mode_has_no_pictures() -> InvalidOption:
    return InvalidOption(
        "Keyword mode looks at text only; use mode hybrid or semantic for pictures.",
        errors=(FieldError("/mode", "must be hybrid or semantic for pictures"),),
    )


def image_model_missing() -> CapabilityMissing:
    """The error where pictures are asked for and there are no weights."""
    return CapabilityMissing(
        "The picture model is not installed, so pictures cannot be searched. The operator can run "
        "`docatlas models pull`, or set DOCATLAS_CLIP_DIR to a folder with an open_clip checkpoint.",
        code="image_model_missing",
    )


# Finding candidates


def _match_words(runtime: Runtime, actor: Actor, request: SearchRequest, query: str) -> _Matches:
    wanted = request.modalities or _MODALITIES
    texts = _find_texts(runtime, actor, request, query) if "text" in wanted else _TextMatches()
    found = _Matches(texts.scores, query=texts.query, is_exact=texts.is_exact)
    if "image" not in wanted:
        return found
    if request.mode == "keyword":
        if "text" not in wanted:
            raise _keyword_mode_has_no_pictures()
        return found
    embedder = runtime.image_embedder
    if embedder is not None:
        pictures = _find_pictures(runtime, actor, request, embedder.embed_words([query])[0], embedder.space)
        return replace(found, pictures=pictures.hits, is_exact=found.is_exact and pictures.is_exact)
    missing = image_model_missing()
    if "text" not in wanted:
        raise missing
    is_asked_for = request.modalities is not None
    return replace(found, warnings=(Shortfall(missing.code, missing.detail),)) if is_asked_for else found


def _find_texts(runtime: Runtime, actor: Actor, request: SearchRequest, query: str) -> _TextMatches:
    wanted = max(MIN_CANDIDATES, 2 * request.k)
    store, only = runtime.store, request.only
    if request.mode == "keyword":
        found = store.search_keywords(actor, query, k=wanted, only=only)
        return _TextMatches([FusedScore(hit.id, hit.score, None, hit.score) for hit in found])
    vector: Vector = runtime.text_embedder.embed([query], urgent=True)[0]
    space = runtime.text_embedder.space
    semantic = store.search_vectors(actor, vector, space=space, kind="text", k=wanted, only=only, exact=request.exact)
    near = {hit.id: _cosine(hit.score) for hit in semantic.hits}
    if request.mode == "semantic":
        cut = request.min_score if request.min_score > 0 else -1.0
        kept = [FusedScore(id, score, score, None) for id, score in near.items() if score >= cut]
        return _TextMatches(kept, vector, semantic.is_exact)
    keyword = {hit.id: hit.score for hit in store.search_keywords(actor, query, k=wanted, only=only)}
    near.update(_cosines(runtime, actor, vector, space, [id for id in keyword if id not in near]))
    fused = fuse_by_value(near, keyword)
    if request.min_score > 0:
        fused = [
            item
            for item in fused
            if item.keyword is not None or (item.semantic is not None and item.semantic >= request.min_score)
        ]
    return _TextMatches(fused, vector, semantic.is_exact)


def _cosines(runtime: Runtime, actor: Actor, query: Vector, space: str, chunk_ids: Sequence[str]) -> dict[str, float]:
    """Exact cosines of chunks that only the keyword search found.

    Those without a vector of `space` are left out.
    """
    if not chunk_ids:
        return {}
    with runtime.store.begin(actor) as tx:
        mine = [id for id, chunk in contents.get_chunks(tx, chunk_ids).items() if chunk.space == space]
        vectors = contents.chunk_vectors(tx, mine)
    return {id: _cosine(float(vector @ query)) for id, vector in vectors.items()}


def _cosine(product: float) -> float:
    """The product of two unit vectors, clipped to -1 to 1.

    Rounding puts it up to a few millionths outside.
    """
    return min(1.0, max(-1.0, product))


def _match_picture(runtime: Runtime, actor: Actor, request: SearchRequest, picture: Path | None) -> _Matches:
    wanted = request.modalities or _MODALITIES
    query, space = _picture_vector(runtime, actor, request.image_id or "", picture)
    found = _find_pictures(runtime, actor, request, query, space)
    similar = [hit for hit in found.hits if hit.id != request.image_id]
    beside = _passages_beside(runtime, actor, similar[: request.k]) if "text" in wanted else {}
    return _Matches(
        texts=[FusedScore(id, place.picture.score, None, None) for id, place in beside.items()],
        pictures=similar if "image" in wanted else (),
        beside=beside,
        query=query,
        is_exact=found.is_exact,
    )


def _picture_vector(runtime: Runtime, actor: Actor, image_id: str, picture: Path | None) -> tuple[Vector, str]:
    """The vector of the uploaded picture, or else of the stored one, and its space."""
    if picture is None:
        return _stored_vector(runtime, actor, image_id)
    embedder = _require_image_embedder(runtime)
    with runtime.extract_query_picture(picture) as safe:
        return embedder.embed_pictures([safe])[0], embedder.space


def _stored_vector(runtime: Runtime, actor: Actor, image_id: str) -> tuple[Vector, str]:
    with runtime.store.begin(actor) as tx:
        image = images.get_image(tx, image_id)
        stored = images.image_vectors(tx, [image_id])
    if image is None:
        raise no_image(image_id)
    if image.space is not None and image_id in stored:
        return stored[image_id], image.space
    embedder = _require_image_embedder(runtime)
    return embedder.embed_pictures([blob_path(runtime.blobs, image.sha256)])[0], embedder.space


def _require_image_embedder(runtime: Runtime) -> ImageEmbedder:
    embedder = runtime.image_embedder
    if embedder is None:
        raise image_model_missing()
    return embedder


def _find_pictures(runtime: Runtime, actor: Actor, request: SearchRequest, vector: Vector, space: str) -> VectorMatches:
    k = max(MIN_CANDIDATES, 2 * request.k)
    found = runtime.store.search_vectors(
        actor, vector, space=space, kind="image", k=k, only=request.only, exact=request.exact
    )
    return replace(found, hits=[replace(hit, score=_cosine(hit.score)) for hit in found.hits])


def _passages_beside(runtime: Runtime, actor: Actor, similar: Sequence[RowHit]) -> dict[str, _Beside]:
    """The passages on the pages of similar pictures, by chunk id.

    Each with the first of the pictures that it stands beside.
    """
    beside: dict[str, _Beside] = {}
    with runtime.store.begin(actor) as tx:
        shown = images.get_images(tx, [hit.id for hit in similar])
        for hit in similar:
            image = shown.get(hit.id)
            if image is None:
                continue
            for chunk in contents.chunks_on_page(tx, image.document_id, image.page, PASSAGES_PER_PICTURE):
                beside.setdefault(chunk.chunk_id, _Beside(hit, image.page))
    return beside


# Putting lists together: by value where two scores judge the same thing, by rank where they do not


def fuse_by_value(semantic: Mapping[str, float], keyword: Mapping[str, float]) -> list[FusedScore]:
    """Joins two lists by the weighted mean of their scaled scores, best first.

    Ties are ordered by id. `semantic` has the exact cosine of every candidate that has a vector, also of those that
    only the keyword list found: a cosine that is missing counts as the lowest. A BM25 that is missing counts as 0,
    which it is where no word occurs.
    """
    cosines, scores = _scaled(semantic), _scaled(keyword, lowest=0.0)
    fused = [
        FusedScore(
            id,
            SEMANTIC_WEIGHT * cosines.get(id, 0.0) + (1.0 - SEMANTIC_WEIGHT) * scores.get(id, 0.0),
            semantic.get(id),
            keyword.get(id),
        )
        for id in {**semantic, **keyword}
    ]
    return sorted(fused, key=lambda item: (-item.score, item.id))


def fuse_by_rank(lists: Sequence[Sequence[K]]) -> list[tuple[K, float]]:
    """Joins lists by the sum of 1 / (60 + rank), best first.

    Of equal entries the one that was met first comes first.
    """
    scores: dict[K, float] = {}
    for entries in lists:
        for rank, entry in enumerate(entries, 1):
            scores[entry] = scores.get(entry, 0.0) + 1.0 / (RRF_K + rank)
    return sorted(scores.items(), key=lambda item: -item[1])


def _scaled(scores: Mapping[str, float], lowest: float | None = None) -> dict[str, float]:
    """`scores` scaled to 0..1.

    0 is `lowest`, or the least score where that is None; 1 is the greatest.
    """
    if not scores:
        return {}
    low = min(scores.values()) if lowest is None else lowest
    span = max(scores.values()) - low
    return {id: (score - low) / span if span > 0 else 1.0 for id, score in scores.items()}


def _order(found: _Matches) -> list[tuple[tuple[Modality, str], float]]:
    """Kind and id of everything that was found with its score, best first.

    Texts and pictures that words found are fused by rank. A passage around a similar picture has that picture's rank.
    """
    texts: list[tuple[Modality, str]] = [("text", item.id) for item in found.texts]
    pictures: list[tuple[Modality, str]] = [("image", hit.id) for hit in found.pictures]
    if found.beside:
        ranks: dict[str, int] = {hit.id: rank for rank, hit in enumerate(found.pictures, 1)}
        for place in found.beside.values():
            ranks.setdefault(place.picture.id, len(ranks) + 1)
        ranked = [(key, ranks[key[1]]) for key in pictures]
        ranked += [(key, ranks[found.beside[key[1]].picture.id]) for key in texts]
        return [(key, 1.0 / (RRF_K + rank)) for key, rank in sorted(ranked, key=lambda item: item[1])]
    if texts and pictures:
        return fuse_by_rank([texts, pictures])
    scores = [item.score for item in found.texts] + [hit.score for hit in found.pictures]
    return list(zip(texts + pictures, scores, strict=True))


# Reading the rows of the best


def _read_hits(runtime: Runtime, actor: Actor, request: SearchRequest, found: _Matches) -> tuple[list[Hit], bool]:
    """The k best as hits, and whether documents that were to be searched are still being read.

    What was deleted since it was found is passed over, and the next one takes its place.
    """
    texts = {item.id: item for item in found.texts}
    similar = {hit.id: hit for hit in found.pictures}
    order = _order(found)
    words = QueryWords(request.query) if request.query else None
    hits: list[Hit] = []
    step = max(16, request.k + 4)
    with runtime.store.begin(actor) as tx:
        pending = jobs.has_pending_documents(tx, request.only)
        for start in range(0, len(order), step):
            if len(hits) >= request.k:
                break
            batch = order[start : start + step]
            rows = _read_rows(tx, [key for key, _ in batch], with_vectors=request.with_vectors)
            for (kind, id), score in batch:
                row = rows.get((kind, id))
                if row is None or len(hits) >= request.k:
                    continue
                if kind == "text":
                    hits.append(_text_hit(len(hits) + 1, score, texts[id], row, words, found.beside.get(id)))
                else:
                    hits.append(_image_hit(len(hits) + 1, score, similar[id], row))
    return hits, pending


def _read_rows(
    tx: Transaction, keys: Sequence[tuple[Modality, str]], *, with_vectors: bool
) -> dict[tuple[Modality, str], _Row]:
    """The rows that are still there, with their documents."""
    chunk_ids = [id for kind, id in keys if kind == "text"]
    image_ids = [id for kind, id in keys if kind == "image"]
    records: dict[tuple[Modality, str], ChunkRecord | ImageRecord] = {}
    if chunk_ids:
        records |= {("text", id): chunk for id, chunk in contents.get_chunks(tx, chunk_ids).items()}
    if image_ids:
        records |= {("image", id): image for id, image in images.get_images(tx, image_ids).items()}
    owners = documents.get_many(tx, sorted({record.document_id for record in records.values()}))
    vectors: dict[str, Vector] = {}
    if with_vectors:
        vectors = {**contents.chunk_vectors(tx, chunk_ids), **images.image_vectors(tx, image_ids)}
    return {
        key: _Row(record, owners[record.document_id], vectors.get(key[1]))
        for key, record in records.items()
        if record.document_id in owners
    }


def _text_hit(
    rank: int, score: float, found: FusedScore, row: _Row, words: QueryWords | None, beside: _Beside | None
) -> Hit:
    chunk = row.record
    assert isinstance(chunk, ChunkRecord)
    place = best_place(chunk.chunk_text, chunk.spans, words, page=None if beside is None else beside.page)
    return Hit(
        rank=rank,
        type="text",
        score=score,
        semantic=found.semantic,
        keyword=found.keyword,
        image_score=None if beside is None else beside.picture.score,
        document=row.document,
        page=1 if place is None else place.page,
        box=None if place is None else place.box,
        chunk=chunk,
        highlights=() if words is None else words.ranges(chunk.chunk_text),
        vector=row.vector,
    )


def _image_hit(rank: int, score: float, found: RowHit, row: _Row) -> Hit:
    image = row.record
    assert isinstance(image, ImageRecord)
    return Hit(
        rank=rank,
        type="image",
        score=score,
        semantic=None,
        keyword=None,
        image_score=found.score,
        document=row.document,
        page=image.page,
        box=None if image.box is None else union_box([image.box]),
        image=image,
        vector=row.vector,
    )


def _record(
    runtime: Runtime,
    actor: Actor,
    request: SearchRequest,
    result: SearchResult,
    vector: Vector | None,
    *,
    by_picture: bool,
) -> None:
    facts: Json = {
        "mode": request.mode,
        "modalities": sorted(request.modalities or ("text", "image")),
        "k": request.k,
        "took_ms": result.took_ms,
        "by": "picture" if by_picture else "image_id" if request.image_id else "query",
        "hits": [
            {"type": hit.type, "id": hit.id, "document_id": hit.document.document_id, "score": hit.score}
            for hit in result.hits
        ],
    }
    record_search(runtime, actor, text=request.query or "", vector=vector, results=len(result.hits), facts=facts)
