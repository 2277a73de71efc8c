"""Search over passages and pictures: by meaning, by words, by both, and by picture."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from database.documents import contents, documents, images
from database.records import (
    Actor,
    ChunkRecord,
    DocumentRecord,
    ImageRecord,
    Json,
    RowHit,
    Vector,
)
from services.content import Received
from services.embedding.base import ImageEmbedder
from services.errors import CapabilityMissing, FieldError, InvalidOption, NotFound
from services.runtime import Runtime
from services.search.filters import check_conditions
from services.search.fusion import RRF_K, FusedScore, fuse_by_rank, fuse_by_value
from services.search.highlights import QueryWords, best_place, union_box
from services.search.hits import Hit, Modality, SearchRequest, SearchResult, Shortfall
from services.search.search_log import note_search
from services.storage import blob_path

MAX_K = 200
MAX_DOCUMENT_IDS = 10_000
MIN_CANDIDATES = 200
"""Passages that each of the two text searches hands to the fusion, at least."""
PASSAGES_PER_PICTURE = 2
"""Passages that are shown for the page of a similar picture."""


@dataclass(slots=True)
class _Lists:
    """The ranked lists before they are joined; `query` is the vector that is recorded."""

    text: list[FusedScore] = field(default_factory=list)
    images: list[RowHit] = field(default_factory=list)
    passages: dict[str, RowHit] = field(default_factory=dict)
    """Chunk ids around similar pictures, each with the best picture that it stands beside."""
    pages: dict[str, int] = field(default_factory=dict)
    """Of the pictures in `passages`."""
    query: Vector | None = None
    warnings: list[Shortfall] = field(default_factory=list)
    is_exact: bool = True


def search(runtime: Runtime, actor: Actor, request: SearchRequest, *, picture: Path | None = None) -> SearchResult:
    """The best passages and pictures; the search is recorded.

    `picture` is an uploaded file to find similar pictures to; it is decoded in a child.
    Raises InvalidOption, NotFound (an unknown `image_id`), CapabilityMissing and what decoding the picture raises.
    """
    result, vector = _find(runtime, actor, request, picture)
    _record(runtime, actor, request, result, vector, by_picture=picture is not None)
    return result


def search_by_picture(runtime: Runtime, actor: Actor, received: Received, *, k: int) -> SearchResult:
    """Pictures like the uploaded one and the passages around them; the caller removes the file.

    It is decoded in a child process: the caller bounds how many run at a time. Raises as `search`.
    """
    if received.upload is None:
        raise received.error or InvalidOption("The picture could not be read.")
    return search(runtime, actor, SearchRequest(k=k), picture=received.upload.path)


def find(runtime: Runtime, actor: Actor, request: SearchRequest) -> SearchResult:
    """As `search`, but not recorded: for a search that is one step of another call."""
    return _find(runtime, actor, request, None)[0]


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
        lists = _lists_by_picture(runtime, actor, request, picture)
    else:
        lists = _lists_by_words(runtime, actor, request, (request.query or "").strip())
    hits = _resolve(runtime, actor, request, lists)
    took_ms = round(1000 * (time.perf_counter() - began), 3)
    return SearchResult(hits, request.mode, took_ms, tuple(lists.warnings), lists.is_exact), lists.query


def _lists_by_words(runtime: Runtime, actor: Actor, request: SearchRequest, query: str) -> _Lists:
    lists = _Lists()
    wanted: frozenset[Modality] = request.modalities or frozenset({"text", "image"})
    if "text" in wanted:
        lists.text, lists.query = _text_list(runtime, actor, request, query, lists)
    if "image" in wanted:
        embedder = None
        if request.mode != "keyword":
            embedder = _image_embedder(runtime, request, lists)
        elif request.modalities == frozenset({"image"}):
            raise _keyword_mode_has_no_pictures()
        if embedder is not None:
            vector = embedder.embed_words([query])[0]
            lists.images = _similar(runtime, actor, request, vector, embedder.space, lists)
    return lists


def _keyword_mode_has_no_pictures() -> InvalidOption:
    return InvalidOption(
        "Keyword mode looks at text only; use mode hybrid or semantic for pictures.",
        errors=(FieldError("/mode", "must be hybrid or semantic for pictures"),),
    )


def _image_embedder(runtime: Runtime, request: SearchRequest, lists: _Lists) -> ImageEmbedder | None:
    embedder = runtime.image_embedder
    if embedder is not None:
        return embedder
    missing = image_model_missing()
    if request.modalities is not None:
        if "text" not in request.modalities:
            raise missing
        lists.warnings.append(Shortfall(missing.code, missing.detail))
    return None


def image_model_missing() -> CapabilityMissing:
    """What to say where pictures are asked for and there are no weights."""
    return CapabilityMissing(
        "The picture model is not installed, so pictures cannot be searched. The operator can run "
        "`docatlas models pull`, or set DOCATLAS_CLIP_DIR to a folder with an open_clip checkpoint.",
        code="image_model_missing",
    )


def _text_list(
    runtime: Runtime, actor: Actor, request: SearchRequest, query: str, lists: _Lists
) -> tuple[list[FusedScore], Vector | None]:
    wanted = max(MIN_CANDIDATES, 2 * request.k)
    store, only = runtime.store, request.only
    if request.mode == "keyword":
        found = store.search_keywords(actor, query, k=wanted, only=only)
        return [FusedScore(hit.id, hit.score, None, hit.score) for hit in found], None
    vector: Vector = runtime.text_embedder.embed([query], urgent=True)[0]
    space = runtime.text_embedder.space
    semantic = store.search_vectors(actor, vector, space=space, kind="text", k=wanted, only=only, exact=request.exact)
    lists.is_exact &= semantic.is_exact
    near = {hit.id: _cosine(hit.score) for hit in semantic.hits}
    if request.mode == "semantic":
        cut = request.min_score if request.min_score > 0 else -1.0
        return [FusedScore(id, score, score, None) for id, score in near.items() if score >= cut], vector
    keyword = {hit.id: hit.score for hit in store.search_keywords(actor, query, k=wanted, only=only)}
    near.update(_cosines(runtime, actor, vector, space, [id for id in keyword if id not in near]))
    fused = fuse_by_value(near, keyword)
    if request.min_score > 0:
        fused = [
            item
            for item in fused
            if item.keyword is not None or (item.semantic is not None and item.semantic >= request.min_score)
        ]
    return fused, vector


def _cosines(runtime: Runtime, actor: Actor, query: Vector, space: str, chunk_ids: Sequence[str]) -> dict[str, float]:
    """Exact cosines of chunks that only the keyword search found; those without a vector of `space` are left out."""
    if not chunk_ids:
        return {}
    with runtime.store.begin(actor) as tx:
        mine = [id for id, chunk in contents.get_chunks(tx, chunk_ids).items() if chunk.space == space]
        vectors = contents.chunk_vectors(tx, mine)
    return {id: _cosine(float(vector @ query)) for id, vector in vectors.items()}


def _cosine(product: float) -> float:
    """The product of two unit vectors as a cosine: rounding puts it up to a few millionths outside -1 to 1."""
    return min(1.0, max(-1.0, product))


def _lists_by_picture(runtime: Runtime, actor: Actor, request: SearchRequest, picture: Path | None) -> _Lists:
    lists = _Lists()
    wanted: frozenset[Modality] = request.modalities or frozenset({"text", "image"})
    if picture is not None:
        embedder = runtime.image_embedder
        if embedder is None:
            raise image_model_missing()
        with runtime.extract_query_picture(picture) as safe:
            lists.query = embedder.embed_pictures([safe])[0]
        space = embedder.space
    else:
        lists.query, space = _stored_vector(runtime, actor, request.image_id or "")
    found = _similar(runtime, actor, request, lists.query, space, lists)
    similar = [hit for hit in found if hit.id != request.image_id]
    if "text" in wanted:
        with runtime.store.begin(actor) as tx:
            shown = images.get_images(tx, [hit.id for hit in similar[: request.k]])
            for hit in similar[: request.k]:
                image = shown.get(hit.id)
                if image is None:
                    continue
                lists.pages[hit.id] = image.page
                for chunk in contents.chunks_on_page(tx, image.document_id, image.page, PASSAGES_PER_PICTURE):
                    lists.passages.setdefault(chunk.chunk_id, hit)
    lists.images = similar if "image" in wanted else []
    lists.text = [FusedScore(id, hit.score, None, None) for id, hit in lists.passages.items()]
    return lists


def _stored_vector(runtime: Runtime, actor: Actor, image_id: str) -> tuple[Vector, str]:
    with runtime.store.begin(actor) as tx:
        image = images.get_image(tx, image_id)
        stored = images.image_vectors(tx, [image_id])
    if image is None:
        raise NotFound(f"There is no image {image_id[:64]!r}.", code="image_not_found")
    if image.space is not None and image_id in stored:
        return stored[image_id], image.space
    embedder = runtime.image_embedder
    if embedder is None:
        raise image_model_missing()
    return embedder.embed_pictures([blob_path(runtime.blobs, image.sha256)])[0], embedder.space


def _similar(
    runtime: Runtime, actor: Actor, request: SearchRequest, vector: Vector, space: str, lists: _Lists
) -> list[RowHit]:
    k = max(MIN_CANDIDATES, 2 * request.k)
    found = runtime.store.search_vectors(
        actor, vector, space=space, kind="image", k=k, only=request.only, exact=request.exact
    )
    lists.is_exact &= found.is_exact
    return [replace(hit, score=_cosine(hit.score)) for hit in found.hits]


def _order(lists: _Lists) -> list[tuple[tuple[Modality, str], float]]:
    """Kind and id of everything that was found with its score, best first.

    Texts and pictures that words found are fused by rank. A passage around a similar picture has that picture's rank.
    """
    if lists.passages:
        ranks: dict[str, int] = {hit.id: rank for rank, hit in enumerate(lists.images, 1)}
        for hit in lists.passages.values():
            ranks.setdefault(hit.id, len(ranks) + 1)
        ranked: list[tuple[tuple[Modality, str], int]] = [(("image", hit.id), ranks[hit.id]) for hit in lists.images]
        ranked += [(("text", id), ranks[hit.id]) for id, hit in lists.passages.items()]
        return [(key, 1.0 / (RRF_K + rank)) for key, rank in sorted(ranked, key=lambda item: item[1])]
    texts: list[tuple[Modality, str]] = [("text", item.id) for item in lists.text]
    pictures: list[tuple[Modality, str]] = [("image", hit.id) for hit in lists.images]
    if texts and pictures:
        return fuse_by_rank([texts, pictures])
    scores = [item.score for item in lists.text] + [hit.score for hit in lists.images]
    return list(zip(texts + pictures, scores, strict=True))


def _resolve(runtime: Runtime, actor: Actor, request: SearchRequest, lists: _Lists) -> list[Hit]:
    """The k best as hits. What was deleted since it was found is passed over, and the next one takes its place."""
    texts = {item.id: item for item in lists.text}
    similar = {hit.id: hit for hit in lists.images}
    order = _order(lists)
    words = QueryWords(request.query) if request.query else None
    hits: list[Hit] = []
    step = max(16, request.k + 4)
    with runtime.store.begin(actor) as tx:
        for start in range(0, len(order), step):
            if len(hits) >= request.k:
                break
            batch = order[start : start + step]
            chunk_ids = [id for (kind, id), _ in batch if kind == "text"]
            image_ids = [id for (kind, id), _ in batch if kind == "image"]
            chunks = contents.get_chunks(tx, chunk_ids) if chunk_ids else {}
            pictures = images.get_images(tx, image_ids) if image_ids else {}
            owner_ids = {chunk.document_id for chunk in chunks.values()}
            owner_ids.update(picture.document_id for picture in pictures.values())
            owners = documents.get_many(tx, sorted(owner_ids))
            vectors = {}
            if request.with_vectors:
                vectors = {**contents.chunk_vectors(tx, chunk_ids), **images.image_vectors(tx, image_ids)}
            for (kind, id), score in batch:
                record = chunks.get(id) if kind == "text" else pictures.get(id)
                document = None if record is None else owners.get(record.document_id)
                if record is None or document is None or len(hits) >= request.k:
                    continue
                rank, vector = len(hits) + 1, vectors.get(id)
                if isinstance(record, ChunkRecord):
                    hits.append(_text_hit(rank, score, texts[id], record, document, words, vector, lists))
                else:
                    hits.append(_image_hit(rank, score, similar[id], record, document, vector))
    return hits


def _text_hit(
    rank: int,
    score: float,
    found: FusedScore,
    chunk: ChunkRecord,
    document: DocumentRecord,
    words: QueryWords | None,
    vector: Vector | None,
    lists: _Lists,
) -> Hit:
    beside = lists.passages.get(chunk.chunk_id)
    on_page = None if beside is None else lists.pages[beside.id]
    place = best_place(chunk.chunk_text, chunk.spans, words, page=on_page)
    return Hit(
        rank=rank,
        type="text",
        score=score,
        semantic=found.semantic,
        keyword=found.keyword,
        image_score=None if beside is None else beside.score,
        document=document,
        page=1 if place is None else place.page,
        box=None if place is None else place.box,
        chunk=chunk,
        highlights=() if words is None else words.ranges(chunk.chunk_text),
        vector=vector,
    )


def _image_hit(
    rank: int, score: float, found: RowHit, image: ImageRecord, document: DocumentRecord, vector: Vector | None
) -> Hit:
    return Hit(
        rank=rank,
        type="image",
        score=score,
        semantic=None,
        keyword=None,
        image_score=found.score,
        document=document,
        page=image.page,
        box=None if image.box is None else union_box([image.box]),
        image=image,
        vector=vector,
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
    note_search(runtime, actor, text=request.query or "", vector=vector, results=len(result.hits), facts=facts)
