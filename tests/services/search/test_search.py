"""Search over HTTP and its parts: modes, filters, cuts, places, pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from database.jobs import jobs
from database.records import Actor, DocumentFilter
from services.errors import InvalidOption
from services.filters import parse_filters
from services.runtime import Runtime
from services.search.highlights import QueryWords
from services.settings import Settings
from tests.support.api_server import assert_problem, ingest, opened, upload
from tests.support.databases import Databases
from tests.support.paths import DATA
from tests.support.picture_models import NATIVE, write_checkpoint
from tests.support.runtimes import open_runtime

TEXTS = {
    "rent.txt": ("The rent of the boathouse is due on the first day of each month.", {"year": 2020, "kind": "lease"}),
    "harbour.txt": ("The harbour master measures the depth of the water every spring.", {"year": 2022, "kind": "log"}),
    "crane.txt": ("The crane on the quay needs a new cable before the winter.", {"year": 2024, "kind": "log"}),
}


@pytest.fixture(scope="module")
def server(
    module_databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Runtime, httpx.Client]]:
    folder = tmp_path_factory.mktemp("search")
    with opened(module_databases, folder / "data", cache_dir=folder / "cache") as both:
        yield both


@pytest.fixture(scope="module")
def client(server: tuple[Runtime, httpx.Client]) -> httpx.Client:
    return server[1]


@pytest.fixture(scope="module")
def ids(client: httpx.Client) -> dict[str, str]:
    """Document ids of TEXTS and of the report, a PDF with boxes."""
    found = {
        name: ingest(client, name, text.encode(), metadata=str(metadata).replace("'", '"'))
        for name, (text, metadata) in TEXTS.items()
    }
    found["report.pdf"] = ingest(client, "report.pdf", (DATA / "report.pdf").read_bytes())
    return found


def search(client: httpx.Client, **body: Any) -> dict[str, Any]:
    reply = client.post("/v1/search", json=body)
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


def names(answer: dict[str, Any]) -> list[str]:
    return [hit["document"]["filename"] for hit in answer["data"]]


@pytest.mark.parametrize("mode", ["hybrid", "semantic", "keyword"])
def test_every_mode_finds_the_passage(client: httpx.Client, ids: dict[str, str], mode: str) -> None:
    answer = search(client, query="When is the rent of the boathouse due?", mode=mode)
    hit = answer["data"][0]
    assert hit["document"] == {"id": ids["rent.txt"], "filename": "rent.txt", "title": hit["document"]["title"]}
    assert (answer["mode"], answer["recall"], hit["rank"], hit["type"]) == (mode, "exact", 1, "text")
    assert (hit["scores"]["semantic"] is None) == (mode == "keyword")
    assert (hit["scores"]["keyword"] is None) == (mode == "semantic")
    assert answer["took_ms"] > 0


def test_hit_of_a_pdf_has_page_box_and_a_picture_of_the_page(client: httpx.Client, ids: dict[str, str]) -> None:
    answer = search(client, query="dredged in spring", document_ids=[ids["report.pdf"]])
    hit = answer["data"][0]
    assert hit["page"] == 1
    x0, y0, x1, y1 = hit["box"]
    assert x0 < x1
    assert y0 < y1
    assert hit["page_image_url"] == f"/v1/documents/{ids['report.pdf']}/pages/1/image"
    marked = [hit["text"][r["char_start"] : r["char_end"]].lower() for r in hit["highlights"]]
    assert "dredged" in marked
    assert "".join(hit["text"]) == hit["text"]
    assert sum(s["char_end"] - s["char_start"] for s in hit["spans"]) == len(hit["text"])


def test_min_score_cuts_by_cosine_and_keeps_keyword_hits(client: httpx.Client, ids: dict[str, str]) -> None:
    query = "cable"
    everything = search(client, query=query, min_score=0, k=50)["data"]
    assert len(everything) == len(ids)
    semantic = search(client, query=query, mode="semantic", min_score=0.99)["data"]
    assert semantic == []
    kept = search(client, query=query, min_score=0.99)["data"]
    assert {hit["document"]["filename"] for hit in kept} == {"crane.txt", "report.pdf"}
    assert all(hit["scores"]["keyword"] is not None for hit in kept)
    assert search(client, query=query, min_score=None, k=50)["data"] == everything


def test_k_is_filled_when_enough_match(client: httpx.Client, ids: dict[str, str]) -> None:
    for k in (1, 2, len(ids)):
        assert [hit["rank"] for hit in search(client, query="the", k=k, min_score=0)["data"]] == list(range(1, k + 1))


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"metadata.year": {"$gte": 2022}}, {"harbour.txt", "crane.txt"}),
        ({"metadata.year": {"$gte": 2021, "$lte": 2023}}, {"harbour.txt"}),
        ({"metadata.kind": "lease"}, {"rent.txt"}),
        ({"format": {"$in": ["pdf"]}}, {"report.pdf"}),
        ({"format": "text", "metadata.kind": {"$eq": "log"}}, {"harbour.txt", "crane.txt"}),
        ({"filename": {"$eq": None}, "metadata.none": 1}, set()),
        ({"page_count": {"$gte": 2}}, {"report.pdf"}),
        ({"created_at": {"$lte": "2000-01-01"}}, set()),
    ],
)
@pytest.mark.parametrize("mode", ["hybrid", "semantic", "keyword"])
def test_filters_hold_in_every_mode(
    client: httpx.Client, ids: dict[str, str], filters: dict[str, Any], found: set[str], mode: str
) -> None:
    answer = search(client, query="the new spring rent", mode=mode, filters=filters, min_score=0, k=50)
    assert set(names(answer)) == found


def test_document_ids_restrict_and_none_of_them_finds_nothing(client: httpx.Client, ids: dict[str, str]) -> None:
    only = search(client, query="the", document_ids=[ids["crane.txt"], "unknown"], min_score=0)
    assert names(only) == ["crane.txt"]
    assert search(client, query="the", document_ids=[], min_score=0)["data"] == []


@pytest.mark.parametrize(
    ("filters", "pointer"),
    [
        ({"metadata.year": {"$gt": 1}}, "/filters/metadata.year/$gt"),
        ({"colour": 1}, "/filters/colour"),
        ({"a/b~c": 1}, "/filters/a~1b~0c"),
        ({"format": {"$in": []}}, "/filters/format/$in"),
        ({"format": {"$in": [{}]}}, "/filters/format/$in"),
        ({"metadata.a": {"$eq": [1]}}, "/filters/metadata.a/$eq"),
        ({"page_count": {"$gte": True}}, "/filters/page_count/$gte"),
        ({"page_count": 10**20}, "/filters/page_count/$eq"),
        ({"format": {}}, "/filters/format"),
    ],
)
def test_wrong_filter_is_refused_with_its_pointer(client: httpx.Client, filters: dict[str, Any], pointer: str) -> None:
    problem = assert_problem(client.post("/v1/search", json={"query": "x", "filters": filters}), 422, "invalid_filter")
    assert pointer in [error["pointer"] for error in problem["errors"]]
    with pytest.raises(InvalidOption):
        parse_filters(filters)


@pytest.mark.parametrize("filters", [{"page_count": "many"}, {"created_at": "soon"}, {'metadata."': 1}])
def test_value_that_the_field_cannot_be_compared_with_is_422(client: httpx.Client, filters: dict[str, Any]) -> None:
    assert_problem(client.post("/v1/search", json={"query": "x", "filters": filters}), 422, "invalid_filter")


@pytest.mark.parametrize("body", [{}, {"query": "  "}, {"query": "x", "image_id": "y"}])
def test_words_or_a_picture_are_needed(client: httpx.Client, body: dict[str, Any]) -> None:
    assert_problem(client.post("/v1/search", json=body), 422, "invalid_request")


@pytest.mark.parametrize("query", ['"', "AND OR NOT", "a* NEAR(b)", "'; DROP TABLE x; --", "\u0000", "é" * 5000, "🦀"])
@pytest.mark.parametrize("mode", ["hybrid", "keyword"])
def test_any_text_is_a_safe_query(client: httpx.Client, ids: dict[str, str], query: str, mode: str) -> None:
    reply = client.post("/v1/search", json={"query": query, "mode": mode})
    assert reply.status_code == 200, reply.text


def test_text_and_vectors_come_when_asked_for(client: httpx.Client, ids: dict[str, str]) -> None:
    both = search(client, query="rent", include=["text", "vectors"], k=1)["data"][0]
    assert np.linalg.norm(both["vector"]) == pytest.approx(1.0, abs=1e-5)
    assert len(both["vector"]) == 768
    neither = search(client, query="rent", include=[], k=1)["data"][0]
    assert (neither["text"], neither["vector"]) == (None, None)


def test_searches_are_recorded(client: httpx.Client, ids: dict[str, str]) -> None:
    search(client, query="a query to remember", k=3)
    search(client, query="another one", mode="keyword")
    page = client.get("/v1/searches", params={"limit": 1}).json()
    assert [note["query"] for note in page["data"]] == ["another one"]
    older = client.get("/v1/searches", params={"limit": 1, "cursor": page["next_cursor"]}).json()["data"][0]
    assert (older["query"], older["metadata"]["mode"], older["metadata"]["k"]) == ("a query to remember", "hybrid", 3)
    assert older["results_found"] == len(older["metadata"]["hits"])


def test_deleted_document_is_not_found_any_more(client: httpx.Client) -> None:
    document_id = ingest(client, "gone.txt", b"Zeppelins over the estuary.")
    assert names(search(client, query="zeppelins", mode="keyword")) == ["gone.txt"]
    client.delete(f"/v1/documents/{document_id}")
    for mode in ("keyword", "semantic", "hybrid"):
        assert "gone.txt" not in names(search(client, query="zeppelins", mode=mode, min_score=0, k=50))


def test_documents_that_are_still_being_read_are_said_to_be_missing(databases: Databases, tmp_path: Path) -> None:
    with opened(databases, tmp_path / "data", runs_jobs=False) as (runtime, client):
        assert search(client, query="zeppelins")["warnings"] == []
        waiting = upload(client, "waiting.txt", b"Zeppelins over the estuary.")
        answers = [
            search(client, query="zeppelins"),
            search(client, query="zeppelins", document_ids=[waiting["document"]["id"]]),
            search(client, query="zeppelins", filters={"format": "text"}),
            client.post("/v1/context", json={"message": "zeppelins"}).json(),
        ]
        for answer in answers:
            assert [warning["code"] for warning in answer["warnings"]] == ["documents_pending"]
        for elsewhere in ({"document_ids": ["another"]}, {"filters": {"format": "pdf"}}):
            assert search(client, query="zeppelins", **elsewhere)["warnings"] == []
        stranger = Actor("9" * 32)
        with runtime.store.begin(stranger) as tx:
            assert not jobs.has_pending_documents(tx, DocumentFilter())
        client.post(f"/v1/jobs/{waiting['job']['id']}/cancel")
        assert search(client, query="zeppelins")["warnings"] == []


def test_pictures_without_a_model_are_said_to_be_missing(client: httpx.Client, ids: dict[str, str]) -> None:
    alone = client.post("/v1/search", json={"query": "a crane", "modalities": ["image"]})
    problem = assert_problem(alone, 503, "image_model_missing")
    assert "docatlas models pull" in problem["detail"]
    assert problem["retryable"] is False
    assert "retry-after" not in alone.headers
    both = search(client, query="the crane", modalities=["text", "image"])
    assert [warning["code"] for warning in both["warnings"]] == ["image_model_missing"]
    assert both["data"]
    assert search(client, query="the crane")["warnings"] == []
    picture = client.post("/v1/search/image", files={"file": ("a.png", (DATA / "letter.png").read_bytes())})
    assert_problem(picture, 503, "image_model_missing")
    assert_problem(
        client.post("/v1/search", json={"query": "x", "modalities": ["image"], "mode": "keyword"}),
        422,
        "invalid_option",
    )


class _NoModel:
    """An embedder that must not be called."""

    space, max_tokens, tokenizer_path, is_loaded = "none@1", 384, None, False

    def embed(self, texts: Sequence[str], *, urgent: bool = False) -> np.ndarray[Any, np.dtype[np.float32]]:
        raise AssertionError("the model was called")

    def warm_up(self) -> None:
        raise AssertionError("the model was loaded")


def test_keyword_mode_calls_no_model(server: tuple[Runtime, httpx.Client], ids: dict[str, str]) -> None:
    from database.records import LOCAL_ACTOR
    from services.search.search import SearchRequest, find

    runtime = server[0]
    bare = Runtime(runtime.settings, runtime.store, runtime.blobs, _NoModel(), runtime.queue)
    assert find(bare, LOCAL_ACTOR, SearchRequest(query="rent", mode="keyword")).hits


@pytest.fixture(scope="module")
def gallery(
    module_databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[httpx.Client, dict[str, str], Path]]:
    """A server with a small picture model of random weights, three pictures, and the report."""
    folder = tmp_path_factory.mktemp("gallery")
    pictures: dict[str, Path] = {}
    for name, colour in (("red.png", (200, 20, 20)), ("green.png", (20, 180, 40)), ("blue.png", (20, 40, 200))):
        image = Image.new("RGB", (160, 120), colour)
        image.paste((255, 255, 255), (20 + 30 * len(pictures), 20, 60 + 30 * len(pictures), 90))
        image.save(folder / name)
        pictures[name] = folder / name
    checkpoint = write_checkpoint(folder / "clip", NATIVE)
    with opened(module_databases, folder / "data", clip_dir=checkpoint, model_dtype="float32") as (_, client):
        found = {
            name: ingest(client, name, path.read_bytes(), options='{"ocr": "off"}') for name, path in pictures.items()
        }
        found["report.pdf"] = ingest(client, "report.pdf", (DATA / "report.pdf").read_bytes())
        yield client, found, folder


def test_same_picture_comes_first(gallery: tuple[httpx.Client, dict[str, str], Path]) -> None:
    client, ids, folder = gallery
    for name in ("red.png", "blue.png"):
        reply = client.post("/v1/search/image", files={"file": (name, (folder / name).read_bytes())})
        assert reply.status_code == 200, reply.text
        hit = reply.json()["data"][0]
        assert (hit["type"], hit["document"]["id"]) == ("image", ids[name])
        assert hit["scores"]["image"] > 0.99
        assert client.get(hit["image_url"]).status_code == 200


def test_stored_picture_finds_others_and_the_passages_around_them(
    gallery: tuple[httpx.Client, dict[str, str], Path],
) -> None:
    client, ids, _ = gallery
    image = client.get(f"/v1/documents/{ids['red.png']}/images").json()["data"][0]
    assert image["has_vector"] is True
    answer = search(client, image_id=image["id"], k=20)
    images = [hit for hit in answer["data"] if hit["type"] == "image"]
    assert image["id"] not in [hit["image_id"] for hit in images]
    assert {ids["green.png"], ids["blue.png"]} <= {hit["document"]["id"] for hit in images}
    texts = [hit for hit in answer["data"] if hit["type"] == "text"]
    assert {hit["document"]["id"] for hit in texts} == {ids["report.pdf"]}
    beside = next(hit for hit in images if hit["document"]["id"] == ids["report.pdf"])
    for hit in texts:
        assert (hit["scores"]["image"], hit["score"]) == (beside["scores"]["image"], beside["score"])
        assert (hit["page"], hit["rank"] > beside["rank"]) == (beside["page"], True)
    only = search(client, image_id=image["id"], modalities=["image"], k=20)
    assert {hit["type"] for hit in only["data"]} == {"image"}
    assert_problem(client.post("/v1/search", json={"image_id": "none"}), 404, "image_not_found")


def test_words_find_pictures_and_both_lists_are_fused_by_rank(
    gallery: tuple[httpx.Client, dict[str, str], Path],
) -> None:
    client, _, _ = gallery
    images = search(client, query="the harbour", modalities=["image"], k=50)["data"]
    assert len(images) >= 3
    assert all(hit["type"] == "image" and hit["chunk_id"] is None for hit in images)
    fused = search(client, query="the harbour", modalities=["text", "image"], k=50, min_score=0)["data"]
    assert [hit["type"] for hit in fused[:2]] == ["text", "image"]
    assert fused[0]["score"] == fused[1]["score"] == pytest.approx(1 / 61)
    assert "image" in {hit["type"] for hit in search(client, query="the harbour", k=50)["data"]}
    assert {hit["type"] for hit in search(client, query="the harbour", mode="keyword")["data"]} == {"text"}


def test_upload_that_is_no_picture_is_refused(gallery: tuple[httpx.Client, dict[str, str], Path]) -> None:
    client, _, _ = gallery
    text = client.post("/v1/search/image", files={"file": ("a.txt", b"words")})
    assert_problem(text, 415, "unsupported_format")
    broken = (DATA / "letter.png").read_bytes()[:200]
    assert client.post("/v1/search/image", files={"file": ("a.png", broken)}).status_code == 422
    assert_problem(client.post("/v1/search/image", files={"other": ("a.png", b"x")}), 422, "invalid_request")


def test_vectors_of_two_spaces_are_never_compared(databases: Databases, tmp_path: Path) -> None:
    from database.records import LOCAL_ACTOR
    from services.search.search import SearchRequest, find

    data, cache = tmp_path / "data", tmp_path / "cache"
    with opened(databases, data, cache_dir=cache) as (_, client):
        ingest(client, "old.txt", b"Stored in the old space.")

    class Other(_NoModel):
        space = "other@1"

        def embed(self, texts: Sequence[str], *, urgent: bool = False) -> np.ndarray[Any, np.dtype[np.float32]]:
            return np.eye(768, dtype=np.float32)[: len(texts)]

    runtime = open_runtime(Settings(data_dir=data, cache_dir=cache, text_model="hash", **databases.given(data)))
    try:
        changed = Runtime(runtime.settings, runtime.store, runtime.blobs, Other(), runtime.queue)
        assert not find(changed, LOCAL_ACTOR, SearchRequest(query="old", mode="semantic", min_score=0)).hits
        hits = find(changed, LOCAL_ACTOR, SearchRequest(query="old space")).hits
        assert [hit.semantic for hit in hits] == [None]
    finally:
        runtime.close()


@pytest.mark.parametrize(
    ("query", "text", "marked"),
    [
        ("rents", "The rent and the renting.", ["rent", "renting"]),
        ("naïve café", "A naive CAFE.", ["naive", "CAFE"]),
        ("the crane", "The crane.", ["crane"]),
        ("the", "The crane and the quay.", ["The", "the"]),
        ("港口水深", "今年港口的水深", ["港口", "水深"]),
        ("nothing", "at all", []),
    ],
)
def test_words_of_the_query_are_marked(query: str, text: str, marked: list[str]) -> None:
    assert [text[r.char_start : r.char_end] for r in QueryWords(query).ranges(text)] == marked


def test_picture_search_takes_k_and_refuses_other_fields(client: httpx.Client) -> None:
    files = {"file": ("a.png", b"x")}
    for fields, pointer in (({"k": "0"}, "/k"), ({"kk": "3"}, "/kk")):
        problem = assert_problem(client.post("/v1/search/image", files=files, data=fields), 422, "invalid_request")
        assert problem["errors"][0]["pointer"] == pointer
    assert_problem(client.post("/v1/search/image", files=files, data={"k": "many"}), 422, "invalid_option")


def test_keyword_mode_takes_no_picture(client: httpx.Client) -> None:
    reply = client.post("/v1/search", json={"image_id": "x", "mode": "keyword"})
    assert assert_problem(reply, 422, "invalid_option")["errors"][0]["pointer"] == "/mode"


@pytest.mark.parametrize(
    ("filters", "pointer", "message"),
    [
        ({"format": 5}, "/filters/format", "is a string and cannot be compared with 5"),
        ({"page_count": "3"}, "/filters/page_count", 'is a number and cannot be compared with "3"'),
        ({'metadata.a/b~"': 1}, '/filters/metadata.a~1b~0"', "is not a field"),
    ],
)
def test_filter_that_does_not_fit_is_pointed_to(
    client: httpx.Client, filters: dict[str, Any], pointer: str, message: str
) -> None:
    problem = assert_problem(client.post("/v1/search", json={"query": "x", "filters": filters}), 422, "invalid_filter")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert problem["errors"][0]["message"].startswith(message)


def test_cosine_is_never_above_one(client: httpx.Client) -> None:
    texts = [f"Berth {n} of the harbour is free on day {n * 7}." for n in range(40)]
    ids = [ingest(client, f"berth-{n}.txt", text.encode()) for n, text in enumerate(texts)]
    for text, document_id in zip(texts, ids, strict=True):
        for mode in ("semantic", "hybrid"):
            hit = search(client, query=text, mode=mode, document_ids=[document_id])["data"][0]
            assert 0.9 < hit["scores"]["semantic"] <= 1.0
