"""Mails and archives over HTTP: one entry for the upload, and the documents inside it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.data.build_mail import zip_of
from tests.support.api_server import assert_problem, ingest, opened, upload, wait
from tests.support.child_cases import NOTE, OTHER, mail_with
from tests.support.databases import Databases
from tests.support.paths import DATA
from tests.support.server_process import Server
from tests.support.waiting import wait_for

SEED = 20261121


@pytest.fixture(scope="module")
def client(module_databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with opened(module_databases, tmp_path_factory.mktemp("children"), worker_threads=1) as (_, found):
        yield found


def inside(client: httpx.Client, document_id: str) -> dict[str, dict[str, Any]]:
    """The children by name."""
    listed = client.get("/v1/documents", params={"parent_id": document_id, "limit": 200}).json()["data"]
    ids = client.get(f"/v1/documents/{document_id}").json()["children"]
    assert sorted(ids) == sorted(child["id"] for child in listed)
    assert {child["parent_id"] for child in listed} <= {document_id}
    return {child["filename"]: child for child in listed}


def test_a_mail_is_one_entry_with_children_that_can_be_searched(client: httpx.Client) -> None:
    mail = mail_with(report_pdf=(DATA / "report.pdf").read_bytes(), note_txt=NOTE)
    document_id = ingest(client, "papers.eml", mail, options='{"ocr": "off"}', metadata='{"year": 2026}')
    listed = client.get("/v1/documents").json()["data"]
    assert [d["id"] for d in listed if d["format"] in ("eml", "pdf", "text")] == [document_id]
    found = inside(client, document_id)
    assert {(d["filename"], d["format"], d["status"]) for d in found.values()} == {
        ("report.pdf", "pdf", "completed"),
        ("note.txt", "text", "completed"),
    }
    asked = {"query": "harbour opens at dawn", "mode": "keyword", "filters": {"metadata.year": {"$in": [2026]}}}
    hits = client.post("/v1/search", json=asked).json()["data"]
    assert found["note.txt"]["id"] in {hit["document"]["id"] for hit in hits}
    # Who asks for the mail asks for what is in it.
    scoped = client.post("/v1/search", json={**asked, "document_ids": [document_id]}).json()["data"]
    assert found["note.txt"]["id"] in {hit["document"]["id"] for hit in scoped}
    elsewhere = client.post("/v1/search", json={**asked, "document_ids": [found["report.pdf"]["id"]]}).json()["data"]
    assert found["note.txt"]["id"] not in {hit["document"]["id"] for hit in elsewhere}
    original = client.get(f"/v1/documents/{found['note.txt']['id']}/file")
    assert original.content == NOTE
    assert client.delete(f"/v1/documents/{document_id}").status_code == 204
    for child in found.values():
        assert_problem(client.get(f"/v1/documents/{child['id']}"), 404, "document_not_found")
    assert client.post("/v1/search", json=asked).json()["data"] == []


def test_the_name_of_a_child_with_folders_is_safe_to_download(client: httpx.Client) -> None:
    document_id = ingest(client, "batch.zip", zip_of({"../../a/evil\\note.txt": OTHER}))
    (child,) = inside(client, document_id).values()
    assert child["filename"] == "a/evil/note.txt"
    disposition = client.get(f"/v1/documents/{child['id']}/file").headers["content-disposition"]
    assert "note.txt" in disposition
    assert "/" not in disposition.replace("UTF-8''", "")


def test_a_child_that_fails_and_is_read_after_all_clears_the_parents_warning(client: httpx.Client) -> None:
    packed = zip_of({"locked.pdf": (DATA / "encrypted.pdf").read_bytes()})
    entry = upload(client, "locked.zip", packed)
    job = wait(client, entry["job"]["id"])
    assert job["status"] == "completed_with_errors"
    assert [warning["code"] for warning in job["warnings"]] == ["child_failed"]
    document_id = entry["document"]["id"]
    (child,) = inside(client, document_id).values()
    assert child["status"] == "failed"
    again = client.post(f"/v1/documents/{child['id']}/reprocess", json={"password": "open sesame"}).json()
    assert wait(client, again["id"])["status"] == "completed"
    parent = client.get(f"/v1/documents/{document_id}").json()
    assert (parent["status"], parent["warnings"]) == ("completed", [])


def test_progress_and_pages_name_what_is_new(client: httpx.Client) -> None:
    document_id = ingest(client, "letters.zip", zip_of({"a.txt": NOTE, "b.txt": OTHER}))
    jobs = client.get("/v1/jobs", params={"document_id": document_id}).json()["data"]
    assert jobs[0]["progress"] == {"percent": 100.0, "pages_done": 3, "pages_total": 3}
    page = client.get(f"/v1/documents/{document_id}/pages").json()["data"][0]
    assert page["engine"] == ""
    assert client.get(f"/v1/documents/{document_id}/pages/1").json()["engine"] == ""


def test_a_server_killed_at_any_instant_doubles_no_child(start_server: Callable[..., Server], tmp_path: Path) -> None:
    dice = random.Random(SEED)
    server = start_server(tmp_path / "data", DOCATLAS_WORKER_THREADS="2")
    names = {f"{n}.txt": f"Note {n} of the harbour.\n".encode() * 40 for n in range(8)}
    packed = zip_of({**names, "inner.zip": zip_of({"deep.txt": OTHER})})
    with server.client() as client:
        entry = upload(client, "batch.zip", packed)
    for _ in range(4):
        time.sleep(dice.uniform(0.05, 0.8))
        server.kill()
        server.start()
    job_id, document_id = entry["job"]["id"], entry["document"]["id"]
    with server.client() as client:
        wait_for(lambda: client.get(f"/v1/jobs/{job_id}").json()["status"].startswith("completed"))
        found = inside(client, document_id)
        assert set(found) == {*names, "inner.zip"}
        assert {child["status"] for child in found.values()} == {"completed"}
        assert set(inside(client, found["inner.zip"]["id"])) == {"deep.txt"}
        jobs = client.get("/v1/jobs", params={"limit": 200}).json()["data"]
    assert len(jobs) == 11
    ended = {job["id"]: job["finished_at"] for job in jobs}
    assert ended[job_id] == max(ended.values())
