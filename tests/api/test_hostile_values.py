"""Values that a database could stumble over, over HTTP: the same answer from either store, and never a 500."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from database.records import LOCAL_ACTOR, DocumentFilter
from services.runtime import Runtime
from tests.support.api_server import ingest, opened, upload
from tests.support.databases import Databases

KNOWN = "00000000-0000-7000-8000-0000000000ab"
"""An id in canonical form that nothing has."""
NO_IDS = (
    KNOWN,
    KNOWN.upper(),
    "{" + KNOWN + "}",
    KNOWN.replace("-", ""),
    "urn:uuid:" + KNOWN,
    "none",
    "1",
    "-1",
    "null",
    "99999999999999999999999999",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "é",
    "\x00",
    "a\x00b",
    "' OR '1'='1",
    "%s",
    ":name",
    "x" * 5000,
)
PATHS = (
    ("GET", "/v1/documents/{id}"),
    ("PATCH", "/v1/documents/{id}"),
    ("DELETE", "/v1/documents/{id}"),
    ("POST", "/v1/documents/{id}/reprocess"),
    ("GET", "/v1/documents/{id}/file"),
    ("GET", "/v1/documents/{id}/content"),
    ("GET", "/v1/documents/{id}/pages"),
    ("GET", "/v1/documents/{id}/pages/1"),
    ("GET", "/v1/documents/{id}/pages/1/image"),
    ("GET", "/v1/documents/{id}/images"),
    ("GET", "/v1/documents/{id}/chunks"),
    ("GET", "/v1/images/{id}"),
    ("GET", "/v1/images/{id}/thumbnail"),
    ("GET", "/v1/images/{id}/content"),
    ("GET", "/v1/jobs/{id}"),
    ("POST", "/v1/jobs/{id}/cancel"),
    ("POST", "/v1/jobs/{id}/retry"),
)


@pytest.fixture(scope="module")
def server(
    module_databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Runtime, httpx.Client]]:
    with opened(module_databases, tmp_path_factory.mktemp("hostile") / "data") as both:
        yield both


@pytest.fixture(scope="module")
def client(server: tuple[Runtime, httpx.Client]) -> httpx.Client:
    return server[1]


@pytest.fixture(scope="module")
def document_id(client: httpx.Client) -> str:
    metadata = {"big": 10**30, "text": "a \\u0000", "tie": 1, "émile": "Ω", "deep": {"er": [1, {"x": None}]}}
    return ingest(client, "straße.txt", b"The harbour opens at dawn.", metadata=json.dumps(metadata))


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_an_id_that_nothing_has_is_404_however_it_is_written(client: httpx.Client, method: str, path: str) -> None:
    for value in NO_IDS:
        body = {"json": {"title": "x"}} if method == "PATCH" else {"json": {}} if path.endswith("reprocess") else {}
        reply = client.request(method, path.format(id=quote(value, safe="")), **body)  # type: ignore[arg-type]
        assert reply.status_code == 404, (value[:40], reply.status_code, reply.text[:300])
        assert reply.json()["code"].endswith("not_found"), (value[:40], reply.text[:300])


def test_an_id_is_matched_as_it_is_written(client: httpx.Client, document_id: str) -> None:
    assert client.get(f"/v1/documents/{document_id}").status_code == 200
    for other in (document_id.upper(), document_id.replace("-", ""), "{" + document_id + "}", f" {document_id}"):
        assert client.get(f"/v1/documents/{quote(other)}").status_code == 404, other


@pytest.mark.parametrize("field", ["parent_id", "document_id"])
def test_lists_by_an_id_that_nothing_has_are_empty(client: httpx.Client, document_id: str, field: str) -> None:
    path = "/v1/documents" if field == "parent_id" else "/v1/jobs"
    for value in NO_IDS:
        reply = client.get(path, params={field: value})
        assert reply.status_code in (200, 422), (value[:40], reply.text[:300])
        assert reply.status_code == 422 or reply.json()["data"] == []


@pytest.mark.parametrize("path", ["/v1/documents", "/v1/jobs", "/v1/searches", "/v1/documents/{id}/chunks"])
def test_a_cursor_that_nobody_gave_out_is_422(client: httpx.Client, document_id: str, path: str) -> None:
    import base64

    def packed(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    wrong = ["", "x", "é", "\x00", "a" * 5000, packed([]), packed([1]), packed(["x", "y"]), packed({"a": 1})]
    wrong += [packed(["2026-01-01T00:00:00.000000Z", "x"]), packed(["x", KNOWN]), packed([10**30]), packed(["\x00"])]
    for cursor in wrong:
        reply = client.get(path.format(id=document_id), params={"cursor": cursor})
        assert reply.status_code in (200, 422), (cursor[:60], reply.text[:300])
        assert reply.status_code != 422 or reply.json()["code"] in ("invalid_cursor", "invalid_request"), reply.text


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"metadata.tie": 1}, 1),
        ({"metadata.tie": 1.0}, 1),
        ({"metadata.tie": True}, 0),
        ({"metadata.tie": "1"}, 0),
        ({"metadata.big": 1e30}, 1),
        ({"metadata.big": {"$gte": 1e29}}, 1),
        ({"metadata.tie": {"$lte": 1e300}}, 1),
        ({"metadata.tie": {"$gte": -1e18}}, 1),
        ({"metadata.tie": {"$in": list(range(1000))}}, 1),
        ({"metadata.tie": {"$in": [float(n) + 0.5 for n in range(1000)]}}, 0),
        ({"metadata.émile": "Ω"}, 1),
        ({"metadata.deep.er": 1}, 0),
        ({"filename": "straße.txt"}, 1),
        ({"filename": "STRASSE.TXT"}, 0),
        ({"filename": {"$in": ["%", "'", "straße.txt"]}}, 1),
        ({"metadata.'; DROP TABLE users; --": 1}, 0),
        ({"metadata.%s": 1}, 0),
        ({"metadata.:x": 1}, 0),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_filters_mean_the_same_on_either_store(
    client: httpx.Client, document_id: str, filters: dict[str, Any], count: int
) -> None:
    for mode in ("semantic", "keyword", "hybrid"):
        body = {"query": "harbour opens dawn", "filters": filters, "mode": mode, "min_score": 0, "modalities": ["text"]}
        body["document_ids"] = [document_id]
        reply = client.post("/v1/search", json=body)
        assert reply.status_code == 200, (mode, reply.text[:300])
        assert len(reply.json()["data"]) == count, (mode, reply.text[:300])


@pytest.mark.parametrize(
    "filters",
    [
        {"metadata.big": 10**30},
        {"metadata.tie": {"$lte": 10**300}},
        {"metadata.tie": {"$gte": -(10**300)}},
        {"metadata.émile": {"$gte": None, "$near": 1}},
        {"metadata.text": "\x00"},
        {"filename": {"$in": ["\x00"]}},
        {"metadata.tie": {"$in": list(range(1001))}},
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_filters_that_no_store_takes_are_422(client: httpx.Client, filters: dict[str, Any]) -> None:
    for mode in ("semantic", "keyword"):
        reply = client.post("/v1/search", json={"query": "harbour", "filters": filters, "mode": mode})
        assert reply.status_code == 422, reply.text[:300]


def test_ten_thousand_ids_are_a_filter(client: httpx.Client, document_id: str) -> None:
    ids = [f"00000000-0000-7000-8000-{n:012x}" for n in range(9_998)] + ["none", document_id]
    for mode in ("semantic", "keyword"):
        body = {"query": "harbour", "document_ids": ids, "mode": mode, "min_score": 0, "modalities": ["text"]}
        reply = client.post("/v1/search", json=body)
        assert reply.status_code == 200, reply.text[:300]
        assert {hit["document"]["id"] for hit in reply.json()["data"]} == {document_id}


def test_text_that_no_database_takes_is_refused_or_harmless(client: httpx.Client, document_id: str) -> None:
    kept = client.get(f"/v1/documents/{document_id}").json()["metadata"]
    assert kept["text"] == "a \\u0000"
    assert (kept["big"], kept["deep"]) == (10**30, {"er": [1, {"x": None}]})
    for query in ("\x00", "a\x00b", "'", "\\", "%", "$1", ":x"):
        reply = client.post("/v1/search", json={"query": query + " harbour"})
        assert reply.status_code in (200, 422), (query, reply.text[:300])
    lone = client.post(
        "/v1/search", content=b'{"query": "harbour \\ud800"}', headers={"Content-Type": "application/json"}
    )
    assert lone.status_code in (200, 422), lone.text[:300]


def test_the_same_bytes_sent_at_once_are_one_document(server: tuple[Runtime, httpx.Client]) -> None:
    runtime, client = server

    def send(_: int) -> dict[str, Any]:
        with httpx.Client(base_url=client.base_url, timeout=60) as own:
            return upload(own, "twin.txt", b"Sent by many at the same time.")

    with ThreadPoolExecutor(8) as pool:
        entries = list(pool.map(send, range(16)))
    assert len({entry["document"]["id"] for entry in entries}) == 1
    assert sorted(entry["outcome"] for entry in entries) == ["created"] + ["duplicate"] * 15
    from database.documents import documents

    with runtime.store.begin(LOCAL_ACTOR) as tx:
        listed = documents.list_page(tx, only=DocumentFilter(), limit=200, cursor=None).data
    assert [document.filename for document in listed].count("twin.txt") == 1


def test_documents_of_one_instant_are_listed_once_each(client: httpx.Client) -> None:
    files = [("files", (f"tie-{n}.txt", b"Tie %d." % n)) for n in range(25)]
    made = [entry["document"]["id"] for entry in client.post("/v1/documents", files=files).json()["data"]]
    seen: list[str] = []
    cursor = None
    while True:
        page = client.get("/v1/documents", params={"limit": 4, "q": "tie-", **({"cursor": cursor} if cursor else {})})
        seen += [document["id"] for document in page.json()["data"]]
        cursor = page.json()["next_cursor"]
        if cursor is None:
            break
    assert seen == made[::-1]


def test_times_are_written_alike(client: httpx.Client, document_id: str) -> None:
    import re

    document = client.get(f"/v1/documents/{document_id}").json()
    times = {name: value for name, value in document.items() if name.endswith("_at") and value is not None}
    assert times
    for name, value in times.items():
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", value), (name, value)
