"""What a client is told over HTTP while Postgres is away, and where an id leads that was given out meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.api_server import assert_problem, ingest, upload, wait
from tests.support.fallback_cases import Node, eventually, open_node
from tests.support.postgres_server import DatabaseUrls

STORE = "x-docatlas-store"
NOTE = b"# Harbour\n\nThe quay wall was built of basalt in 1893.\n"
OTHER = b"# Station\n\nThe clock tower has four faces.\n"


@pytest.fixture
def node(postgres: DatabaseUrls, tmp_path: Path) -> Iterator[Node]:
    with open_node(postgres, tmp_path / "data") as opened:
        yield opened


def test_what_this_node_lacks_is_503_and_never_404(node: Node) -> None:
    document_id = ingest(node.client, "harbour.md", NOTE)
    job_id = node.client.get("/v1/jobs").json()["data"][0]["id"]
    node.take_away()
    for path in (
        f"/v1/documents/{document_id}",
        f"/v1/documents/{document_id}/pages/1",
        f"/v1/documents/{document_id}/chunks",
        f"/v1/documents/{document_id}/file",
        f"/v1/jobs/{job_id}",
        f"/v1/jobs/{job_id}?wait=1",
        f"/v1/images/{document_id}",
    ):
        answer = node.client.get(path)
        assert_problem(answer, 503, "primary_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert answer.headers[STORE] == "fallback"
    assert_problem(node.client.delete(f"/v1/documents/{document_id}"), 503, "primary_unavailable")
    changed = node.client.patch(f"/v1/documents/{document_id}", json={"title": "x"})
    assert_problem(changed, 503, "primary_unavailable")
    node.give_back()
    assert node.client.get(f"/v1/documents/{document_id}").status_code == 200
    assert_problem(node.client.get(f"/v1/documents/{job_id}"), 404, "document_not_found")


def test_a_page_that_a_document_of_this_node_lacks_is_404(node: Node) -> None:
    node.take_away()
    document_id = ingest(node.client, "harbour.md", NOTE)
    assert_problem(node.client.get(f"/v1/documents/{document_id}/pages/99"), 404, "page_not_found")


def test_lists_and_searches_say_that_they_are_partial(node: Node) -> None:
    ingest(node.client, "station.md", OTHER)
    assert node.client.get("/v1/documents").json()["partial"] is False
    node.take_away()
    document_id = ingest(node.client, "harbour.md", NOTE)
    answer = node.found("basalt")
    assert answer.json()["partial"] is True
    assert answer.headers[STORE] == "fallback"
    assert [hit["document"]["id"] for hit in answer.json()["data"]] == [document_id]
    for path in ("/v1/documents", "/v1/jobs", "/v1/searches"):
        assert node.client.get(path).json()["partial"] is True
    health = node.health()
    assert health["status"] == "degraded"
    assert health["fallback"]["since"]
    assert health["fallback"]["waiting"]["documents"] == 1
    node.give_back()
    answer = node.found("basalt")
    assert answer.json()["partial"] is False
    assert STORE not in answer.headers
    assert [hit["document"]["id"] for hit in answer.json()["data"]] == [document_id]
    assert len(node.client.get("/v1/documents").json()["data"]) == 2


def test_what_was_uploaded_here_can_be_changed_and_deleted_here(node: Node) -> None:
    node.take_away()
    kept, removed = ingest(node.client, "harbour.md", NOTE), ingest(node.client, "station.md", OTHER)
    assert node.client.patch(f"/v1/documents/{kept}", json={"title": "Quays"}).status_code == 200
    assert node.client.delete(f"/v1/documents/{removed}").status_code == 204
    node.give_back()
    assert node.client.get(f"/v1/documents/{kept}").json()["title"] == "Quays"
    assert_problem(node.client.get(f"/v1/documents/{removed}"), 404, "document_not_found")


def test_files_that_postgres_refers_to_outlive_a_deletion_here(node: Node) -> None:
    there = ingest(node.client, "harbour.md", NOTE)
    node.take_away()
    here = ingest(node.client, "harbour.md", NOTE)
    assert here != there
    assert node.client.delete(f"/v1/documents/{here}").status_code == 204
    node.give_back()
    assert node.client.get(f"/v1/documents/{there}/file").content == NOTE


def test_an_id_given_out_for_known_content_leads_to_the_document(node: Node) -> None:
    there = ingest(node.client, "harbour.md", NOTE)
    node.take_away()
    entry = upload(node.client, "harbour.md", NOTE)
    here = entry["document"]["id"]
    wait(node.client, entry["job"]["id"])
    node.give_back()
    moved = node.client.get(f"/v1/documents/{here}/chunks?limit=1")
    assert moved.status_code == 308
    assert moved.headers["location"] == f"/v1/documents/{there}/chunks?limit=1"
    shown = node.client.get(f"/v1/documents/{here}", follow_redirects=True)
    assert shown.json()["id"] == there
    job = node.client.get(f"/v1/jobs/{entry['job']['id']}").json()
    assert (job["status"], job["document_id"]) == ("completed", there)
    assert node.client.delete(f"/v1/documents/{here}", follow_redirects=True).status_code == 204
    assert_problem(node.client.get(f"/v1/documents/{here}"), 404, "document_not_found")


def test_the_same_upload_repeated_through_both_switches_is_one_document(node: Node) -> None:
    stop, ids, wrong = threading.Event(), set(), list[str]()

    def repeat() -> None:
        with httpx.Client(base_url=node.client.base_url, timeout=60) as client:
            while not stop.is_set():
                reply = client.post("/v1/documents", files=[("files", ("harbour.md", NOTE))])
                if reply.status_code == 202:
                    ids.add(reply.json()["data"][0]["document"]["id"])
                elif reply.status_code != 503 or "retry-after" not in reply.headers:
                    wrong.append(reply.text)

    uploaders = [threading.Thread(target=repeat) for _ in range(2)]
    for uploader in uploaders:
        uploader.start()
    try:
        for _ in range(2):
            node.take_away()
            eventually(lambda: node.health()["fallback"]["waiting"]["documents"] > 0)
            node.give_back()
    finally:
        stop.set()
        for uploader in uploaders:
            uploader.join()
    assert wrong == []
    eventually(lambda: not any(node.health()["fallback"]["waiting"].values()))
    listed = [item["id"] for item in node.client.get("/v1/documents").json()["data"]]
    assert len(listed) == 1
    for document_id in ids:
        shown = node.client.get(f"/v1/documents/{document_id}", follow_redirects=True)
        assert shown.json()["id"] == listed[0]


def test_metrics_tell_the_state_and_what_waits(node: Node) -> None:
    text = node.client.get("/metrics").text
    assert 'docatlas_breaker_state{state="closed"} 1.0' in text
    node.take_away()
    upload(node.client, "harbour.md", NOTE)
    answer = node.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'docatlas_breaker_state{state="open"} 1.0' in answer.text
    assert 'docatlas_fallback_events_total{event="opened"} 1.0' in answer.text
    assert 'docatlas_fallback_waiting{kind="documents"} 1.0' in answer.text
    assert 'docatlas_http_requests_total{method="POST",status="202"} 1.0' in answer.text
    node.give_back()
    eventually(lambda: 'docatlas_fallback_events_total{event="replayed"} 1.0' in node.client.get("/metrics").text)
    eventually(lambda: 'docatlas_jobs{status="completed"} 1.0' in node.client.get("/metrics").text)


def test_what_waits_is_told_by_doctor(node: Node) -> None:
    from services.admin.doctor import examine

    node.take_away()
    upload(node.client, "harbour.md", NOTE)
    found = {check.name: check for check in examine(node.runtime.settings)}
    assert found["fallback"].status == "warning"
    assert "1 documents" in found["fallback"].summary
