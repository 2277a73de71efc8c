"""Uploading, listing, changing and deleting documents over HTTP."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.runtime import Runtime
from tests.support.api_server import LIMIT, assert_problem, ingest, opened, upload, wait
from tests.support.databases import Databases
from tests.support.paths import DATA


@pytest.fixture(scope="module")
def server(
    module_databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Runtime, httpx.Client]]:
    given: dict[str, Any] = {"max_upload_bytes": LIMIT, "max_files_per_request": 120}
    with opened(module_databases, tmp_path_factory.mktemp("documents"), **given) as both:
        yield both


@pytest.fixture
def client(server: tuple[Runtime, httpx.Client]) -> httpx.Client:
    return server[1]


def test_upload_creates_a_document_and_a_job(client: httpx.Client) -> None:
    content = b"The harbour office opens at eight."
    reply = client.post("/v1/documents", files=[("files", ("office.txt", content))])
    assert reply.status_code == 202
    entry = reply.json()["data"][0]
    assert (entry["outcome"], entry["error"], entry["filename"]) == ("created", None, "office.txt")
    assert reply.headers["location"] == f"/v1/jobs/{entry['job']['id']}"
    assert wait(client, entry["job"]["id"])["status"] == "completed"
    document = client.get(f"/v1/documents/{entry['document']['id']}").json()
    assert document["status"] == "completed"
    assert document["sha256"] == hashlib.sha256(content).hexdigest()
    assert (document["format"], document["size_bytes"], document["chunk_count"]) == ("text", len(content), 1)
    assert (document["parent_id"], document["children"], document["object"]) == (None, [], "document")


def test_same_bytes_and_options_are_a_duplicate(client: httpx.Client) -> None:
    first = ingest(client, "twice.txt", b"Twice told.")
    again = upload(client, "renamed.txt", b"Twice told.")
    assert (again["outcome"], again["document"]["id"], again["job"]) == ("duplicate", first, None)


def test_a_duplicate_says_that_it_keeps_its_name_and_metadata(client: httpx.Client) -> None:
    content = b"The chandler sells rope by the fathom."
    document_id = ingest(client, "rope.txt", content, metadata='{"year": 2024}')
    again = upload(client, "ropes.txt", content, metadata='{"year": 2025}')
    assert (again["outcome"], again["changed"]) == ("duplicate", [])
    assert again["kept"] == [
        {"member": "filename", "stored": "rope.txt", "given": "ropes.txt"},
        {"member": "metadata", "stored": {"year": 2024}, "given": {"year": 2025}},
    ]
    stored = client.get(f"/v1/documents/{document_id}").json()
    assert (stored["filename"], stored["metadata"]) == ("rope.txt", {"year": 2024})
    same = upload(client, "rope.txt", content)
    assert (same["outcome"], same["changed"], same["kept"]) == ("duplicate", [], [])


def test_an_update_says_what_it_changed(client: httpx.Client) -> None:
    content = b"The pilot boards beyond the bar."
    document_id = ingest(client, "pilot.txt", content, metadata='{"year": 2024}')
    renamed = upload(client, "pilots.txt", content, options='{"chunk_size": 300, "chunk_overlap": 0}')
    assert (renamed["outcome"], renamed["kept"]) == ("updated", [])
    assert renamed["changed"] == [{"member": "filename", "stored": "pilot.txt", "given": "pilots.txt"}]
    wait(client, renamed["job"]["id"])
    stored = client.get(f"/v1/documents/{document_id}").json()
    assert (stored["filename"], stored["metadata"]) == ("pilots.txt", {"year": 2024})
    options = '{"chunk_size": 400, "chunk_overlap": 0}'
    filed = upload(client, "pilots.txt", content, options=options, metadata='{"year": 2025}')
    assert filed["changed"] == [{"member": "metadata", "stored": {"year": 2024}, "given": {"year": 2025}}]
    wait(client, filed["job"]["id"])
    assert client.get(f"/v1/documents/{document_id}").json()["metadata"] == {"year": 2025}


def test_a_new_document_has_no_differences(client: httpx.Client) -> None:
    entry = upload(client, "buoy.txt", b"The buoy rings in the swell.", metadata='{"year": 2024}')
    assert (entry["outcome"], entry["changed"], entry["kept"]) == ("created", [], [])
    assert entry["document"]["job"] == {"id": entry["job"]["id"], "object": "job", "status": "queued"}


def test_a_failed_document_tells_why(client: httpx.Client) -> None:
    entry = upload(client, "locked.pdf", (DATA / "encrypted.pdf").read_bytes())
    job = wait(client, entry["job"]["id"])
    assert job["status"] == "failed"
    document_id = entry["document"]["id"]
    document = client.get(f"/v1/documents/{document_id}").json()
    assert document["status"] == "failed"
    assert document["job"] == {"id": job["id"], "object": "job", "status": "failed"}
    assert document["error"]["code"] == "password_required"
    assert document["error"]["status"] == 422
    assert document["error"]["instance"] == f"/v1/documents/{document_id}"
    assert document["error"]["detail"] == job["error"]["detail"]
    listed = client.get("/v1/documents", params={"status": "failed"}).json()["data"]
    assert next(one for one in listed if one["id"] == document_id)["error"] == document["error"]
    renamed = client.patch(f"/v1/documents/{document_id}", json={"title": "Locked"}).json()
    assert renamed["error"] == document["error"]


def test_a_document_that_was_read_after_a_failure_has_no_error(client: httpx.Client) -> None:
    document_id = upload(client, "locked-again.pdf", (DATA / "encrypted.pdf").read_bytes() + b"\n")["document"]["id"]
    failed = client.get(f"/v1/documents/{document_id}").json()["job"]["id"]
    assert wait(client, failed)["status"] == "failed"
    again = client.post(f"/v1/documents/{document_id}/reprocess", json={"password": "open sesame"}).json()
    assert wait(client, again["id"])["status"].startswith("completed")
    document = client.get(f"/v1/documents/{document_id}").json()
    assert (document["error"], document["job"]["id"]) == (None, again["id"])


def test_same_bytes_with_other_options_are_updated(client: httpx.Client) -> None:
    first = ingest(client, "thrice.txt", b"Thrice told.")
    again = upload(client, "thrice.txt", b"Thrice told.", options='{"chunk_size": 500, "chunk_overlap": 10}')
    assert (again["outcome"], again["document"]["id"]) == ("updated", first)
    assert wait(client, again["job"]["id"])["status"] == "completed"


def test_null_options_are_the_default_ones(client: httpx.Client) -> None:
    first = ingest(client, "null.txt", b"Null and void.")
    again = upload(client, "null.txt", b"Null and void.", options='{"chunk_size": null}', metadata="null")
    assert (again["outcome"], again["document"]["id"]) == ("duplicate", first)


def test_same_file_twice_in_one_request_is_one_document(inbox: httpx.Client) -> None:
    files = [("files", ("a.txt", b"One in two.")), ("files", ("b.txt", b"One in two."))]
    first, second = inbox.post("/v1/documents", files=files).json()["data"]
    assert (first["outcome"], second["outcome"]) == ("created", "duplicate")
    assert first["document"]["id"] == second["document"]["id"]


def test_original_comes_back_with_name_tag_and_ranges(inbox: httpx.Client) -> None:
    content = (DATA / "report.pdf").read_bytes()
    path = f"/v1/documents/{upload(inbox, 'Bericht für März.pdf', content)['document']['id']}/file"
    reply = inbox.get(path)
    assert reply.content == content
    assert reply.headers["content-type"] == "application/pdf"
    assert reply.headers["accept-ranges"] == "bytes"
    assert "filename*=UTF-8''Bericht%20f%C3%BCr%20M%C3%A4rz.pdf" in reply.headers["content-disposition"]
    tag = reply.headers["etag"]
    assert tag == f'"{hashlib.sha256(content).hexdigest()}"'
    assert inbox.get(path, headers={"If-None-Match": tag}).status_code == 304
    part = inbox.get(path, headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, content[5:10])
    assert part.headers["content-range"] == f"bytes 5-9/{len(content)}"
    assert inbox.get(path, headers={"Range": "bytes=-4"}).content == content[-4:]
    assert inbox.get(path, headers={"Range": "bytes=0-1,4-5"}).content == content
    assert inbox.get(path, headers={"Range": "bytes=5-9", "If-Range": '"other"'}).status_code == 200
    outside = inbox.get(path, headers={"Range": f"bytes={len(content)}-"})
    assert_problem(outside, 416, "range_not_satisfiable")
    assert outside.headers["content-range"] == f"bytes */{len(content)}"


def test_html_is_never_shown_by_a_browser(inbox: httpx.Client) -> None:
    document_id = upload(inbox, "page.html", b"<!doctype html><html><body><script>alert(1)</script>Hi</body></html>")[
        "document"
    ]["id"]
    reply = inbox.get(f"/v1/documents/{document_id}/file")
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in reply.headers["content-security-policy"]
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_title_and_metadata_are_edited_apart(client: httpx.Client) -> None:
    document_id = ingest(client, "edit.txt", b"To be edited.", metadata='{"year": 2020}')
    path = f"/v1/documents/{document_id}"
    assert client.patch(path, json={"title": "New", "metadata": None}).json()["metadata"] == {"year": 2020}
    changed = client.patch(path, json={"metadata": {"tags": ["a"]}}).json()
    assert (changed["title"], changed["metadata"]) == ("New", {"tags": ["a"]})
    assert_problem(client.patch(path, json={"filename": "x"}), 422, "invalid_request")
    assert_problem(client.patch("/v1/documents/none", json={"title": "x"}), 404, "document_not_found")


def test_deleted_document_leaves_no_file_and_is_not_found(server: tuple[Runtime, httpx.Client]) -> None:
    runtime, client = server
    content = (DATA / "letter.png").read_bytes()
    document_id = ingest(client, "letter.png", content, options='{"ocr": "off"}')
    image = client.get(f"/v1/documents/{document_id}/images").json()["data"][0]
    assert client.get(f"/v1/documents/{document_id}/pages/1/image", params={"width": 100}).status_code == 200
    cache = runtime.settings.data_dir / "cache" / "pages"
    assert list(cache.glob(f"{document_id}-*"))
    assert client.delete(f"/v1/documents/{document_id}").status_code == 204
    assert not list(cache.glob(f"{document_id}-*"))
    assert not runtime.blobs.exists(hashlib.sha256(content).hexdigest())
    assert not runtime.blobs.exists(image["sha256"])
    assert client.get(f"/v1/images/{image['id']}").status_code == 404
    assert_problem(client.delete(f"/v1/documents/{document_id}"), 404, "document_not_found")
    assert upload(client, "letter.png", content)["outcome"] == "created"


def test_reprocess_keeps_options_that_are_not_given(client: httpx.Client) -> None:
    options = '{"chunk_size": 100, "chunk_overlap": 0}'
    document_id = ingest(client, "again.txt", b"A sentence of some length stands here. " * 20, options=options)
    before = client.get(f"/v1/documents/{document_id}").json()["chunk_count"]
    reply = client.post(f"/v1/documents/{document_id}/reprocess")
    assert reply.status_code == 202
    assert reply.headers["location"] == f"/v1/jobs/{reply.json()['id']}"
    assert wait(client, reply.json()["id"])["status"] == "completed"
    assert client.get(f"/v1/documents/{document_id}").json()["chunk_count"] == before
    wider = client.post(f"/v1/documents/{document_id}/reprocess", json={"chunk_size": 1000}).json()
    wait(client, wider["id"])
    assert client.get(f"/v1/documents/{document_id}").json()["chunk_count"] < before
    wrong = client.post(f"/v1/documents/{document_id}/reprocess", json={"chunk_size": 5})
    assert_problem(wrong, 422, "invalid_option")


def test_password_opens_the_document_and_is_kept_nowhere(
    server: tuple[Runtime, httpx.Client], module_databases: Databases
) -> None:
    runtime, client = server
    content = (DATA / "encrypted.pdf").read_bytes()
    entry = upload(client, "encrypted.pdf", content)
    job = wait(client, entry["job"]["id"])
    assert job["status"] == "failed"
    assert job["error"]["code"].startswith("password")
    assert (job["error"]["status"], job["error"]["retryable"]) == (422, False)
    secret = "a-wrong-password-xyz"
    again = upload(client, "encrypted.pdf", content, options=json.dumps({"password": secret}))
    assert secret not in json.dumps(again)
    wait(client, again["job"]["id"])
    for path in runtime.settings.data_dir.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path
    stored = module_databases.dump(runtime.settings.data_dir)
    assert entry["job"]["id"].encode() in stored
    assert secret.encode() not in stored


def test_list_pages_through_all_and_filters(client: httpx.Client) -> None:
    made = [ingest(client, f"listed-{n}.txt", b"Listed %d." % n, metadata=f'{{"n": {n}}}') for n in range(3)]
    seen, cursor = [], None
    while True:
        params: dict[str, str | int] = {"limit": 2, "q": "LISTED-", **({"cursor": cursor} if cursor else {})}
        page = client.get("/v1/documents", params=params).json()
        seen += [document["id"] for document in page["data"]]
        cursor = page["next_cursor"]
        assert page["has_more"] == (cursor is not None)
        if cursor is None:
            break
    assert seen == made[::-1]

    def found(**params: Any) -> list[str]:
        return [d["id"] for d in client.get("/v1/documents", params={"q": "listed-", **params}).json()["data"]]

    assert found(**{"metadata[n]": "1"}) == [made[1]]
    assert found(**{"metadata.n": "2"}) == [made[2]]
    assert found(format="pdf") == []
    assert len(found(format="text", status=["completed", "failed"])) == 3
    assert found(status="failed") == []
    assert found(created_after="2999-01-01") == []
    assert len(found(created_after="2020-01-01T00:00:00Z")) == 3


@pytest.mark.parametrize(
    "params", [{"cursor": "rubbish"}, {"created_after": "soon"}, {"status": "happy"}, {"format": "exe"}, {"limit": 0}]
)
def test_wrong_list_parameter_is_422(inbox: httpx.Client, params: dict[str, Any]) -> None:
    assert inbox.get("/v1/documents", params=params).status_code == 422


def test_original_design_stores_text_without_vectors(client: httpx.Client) -> None:
    reply = client.post(
        "/process",
        files=[("file", ("old.txt", b"Old ways are kept."))],
        data={"chunk_size": "500", "chunk_overlap": "50"},
    )
    assert reply.status_code == 202
    body = reply.json()
    assert (body["status"], body["job_id"], body["document_id"]) == (
        "queued",
        body["job"]["id"],
        body["document"]["id"],
    )
    wait(client, body["job_id"])
    only = {"query": "Old ways", "document_ids": [body["document_id"]], "min_score": 0}
    assert client.post("/v1/search", json={**only, "mode": "semantic"}).json()["data"] == []
    assert len(client.post("/v1/search", json={**only, "mode": "keyword"}).json()["data"]) == 1
    hybrid = client.post("/v1/search", json=only).json()["data"]
    assert [hit["scores"]["semantic"] for hit in hybrid] == [None]


def test_original_design_stores_vectors(client: httpx.Client) -> None:
    body = client.post("/process-with-embeddings", files=[("file", ("new.txt", b"New ways are found."))]).json()
    wait(client, body["job_id"])
    search = {"query": "New ways", "document_ids": [body["document_id"]], "mode": "semantic"}
    assert len(client.post("/v1/search", json=search).json()["data"]) == 1


@pytest.mark.parametrize("path", ["/process", "/process-with-embeddings"])
def test_original_design_refuses_what_it_cannot_read(inbox: httpx.Client, path: str) -> None:
    assert_problem(inbox.post(path, files=[("file", ("a.txt", b""))]), 422, "empty_file")
    wrong = inbox.post(path, files=[("file", ("a.txt", b"x"))], data={"chunk_size": "many"})
    assert_problem(wrong, 422, "invalid_option")
    two = inbox.post(path, files=[("file", ("a.txt", b"x")), ("file", ("b.txt", b"y"))])
    assert assert_problem(two, 422, "invalid_request")["errors"][0]["pointer"] == "/file"
    small = inbox.post(path, files=[("file", ("a.txt", b"x"))], data={"chunk_size": "50"})
    assert assert_problem(small, 422, "invalid_option")["errors"][0]["pointer"] == "/chunk_size"
    assert_problem(inbox.post(path, data={"chunk_size": "500"}, files={"x": (None, "1")}), 422, "invalid_request")


def test_upload_answer_has_the_places_in_the_queue(databases: Databases, tmp_path: Path) -> None:
    with opened(databases, tmp_path / "data", runs_jobs=False) as (_, inbox):
        upload(inbox, "first.txt", b"first")
        files = [("files", (f"{n}.txt", b"%d" % n)) for n in (1, 2)]
        files.insert(1, ("files", ("again.txt", b"first")))
        entries = inbox.post("/v1/documents", files=files).json()["data"]
        shown = [entry["job"]["queue_position"] for entry in entries]
        assert shown == [1, 0, 2]
        jobs = [inbox.get(f"/v1/jobs/{entry['job']['id']}").json() for entry in entries]
    assert shown == [job["queue_position"] for job in jobs]


def test_failed_reprocess_leaves_options_and_status_of_what_is_read(client: httpx.Client) -> None:
    content = (DATA / "report.pdf").read_bytes()
    document_id = ingest(client, "poisoned.pdf", content)
    before = client.get(f"/v1/documents/{document_id}").json()
    reply = client.post(f"/v1/documents/{document_id}/reprocess", json={"pages": "900"})
    assert reply.status_code == 202
    job = wait(client, reply.json()["id"])
    after = client.get(f"/v1/documents/{document_id}").json()
    assert (job["status"], job["error"]["code"]) == ("failed", "no_such_page")
    assert (before["status"], after["status"], after["page_count"]) == ("completed", "completed", before["page_count"])
    assert upload(client, "poisoned.pdf", content)["outcome"] == "duplicate"


def test_cancelled_reprocess_leaves_the_document_completed(databases: Databases, tmp_path: Path) -> None:
    with opened(databases, tmp_path / "data") as (_, client):
        document_id = ingest(client, "kept.txt", b"What was read stays.")
    with opened(databases, tmp_path / "data", runs_jobs=False) as (_, client):
        body = {"chunk_size": 500}
        job = client.post(f"/v1/documents/{document_id}/reprocess", json=body).json()
        same = upload(client, "kept.txt", b"What was read stays.", options='{"chunk_size": 500}')
        assert (same["outcome"], same["job"]["id"]) == ("duplicate", job["id"])
        client.post(f"/v1/jobs/{job['id']}/cancel")
        assert client.get(f"/v1/documents/{document_id}").json()["status"] == "completed"
        own = upload(client, "kept.txt", b"What was read stays.")
        assert (own["outcome"], own["job"]) == ("duplicate", None)


def test_cancelled_new_document_is_no_duplicate(inbox: httpx.Client) -> None:
    first = upload(inbox, "stopped.txt", b"Stopped before it was read.")
    inbox.post(f"/v1/jobs/{first['job']['id']}/cancel")
    assert inbox.get(f"/v1/documents/{first['document']['id']}").json()["status"] == "cancelled"
    assert upload(inbox, "stopped.txt", b"Stopped before it was read.")["outcome"] == "updated"


def test_password_is_kept_for_the_job_under_way_only(idle: tuple[Runtime, httpx.Client]) -> None:
    runtime, inbox = idle
    content = (DATA / "encrypted.pdf").read_bytes()
    first = upload(inbox, "locked.pdf", content)
    assert runtime.passwords.of(first["job"]["id"]) is None
    again = upload(inbox, "locked.pdf", content, options='{"password": "one"}')
    assert (again["outcome"], again["job"]["id"]) == ("duplicate", first["job"]["id"])
    assert runtime.passwords.of(first["job"]["id"]) == "one"
    path = f"/v1/documents/{first['document']['id']}"
    second = inbox.post(f"{path}/reprocess", json={"password": "two"}).json()["id"]
    assert (runtime.passwords.of(first["job"]["id"]), runtime.passwords.of(second)) == (None, "two")
    assert inbox.delete(path).status_code == 204
    assert runtime.passwords.of(second) is None


@pytest.mark.parametrize(
    ("params", "code", "pointer"),
    [
        ([(f"metadata.k{n}", "1") for n in range(1200)], "invalid_filter", "/query"),
        ([("metadata", "1")], "invalid_filter", "/query/metadata"),
        ([("metadata[a", "1")], "invalid_filter", "/query/metadata[a"),
        ([('metadata."', "1")], "invalid_filter", '/query/metadata."'),
        ([("created_after", "soon")], "invalid_filter", "/query/created_after"),
        ([("cursor", "nonsense")], "invalid_cursor", "/query/cursor"),
    ],
)
def test_wrong_list_filter_is_pointed_to(
    inbox: httpx.Client, params: list[tuple[str, str | int | float | bool | None]], code: str, pointer: str
) -> None:
    problem = assert_problem(inbox.get("/v1/documents", params=params), 422, code)
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


def test_title_with_nul_is_refused(inbox: httpx.Client) -> None:
    document = upload(inbox, "nul.txt", b"Of NUL.")["document"]
    reply = inbox.patch(f"/v1/documents/{document['id']}", json={"title": "a\0b"})
    assert assert_problem(reply, 422, "invalid_request")["errors"][0]["pointer"] == "/title"


def test_reprocess_points_into_its_bare_body(inbox: httpx.Client) -> None:
    document = upload(inbox, "bare.txt", b"Bare options.")["document"]
    reply = inbox.post(f"/v1/documents/{document['id']}/reprocess", json={"chunk_size": 50})
    assert assert_problem(reply, 422, "invalid_option")["errors"][0]["pointer"] == "/chunk_size"


def test_ocr_language_that_is_not_installed_is_told_at_once(idle: tuple[Runtime, httpx.Client]) -> None:
    runtime, inbox = idle
    reply = inbox.post(
        "/v1/documents", files=[("files", ("z.txt", b"zzz"))], data={"options": '{"ocr_languages": ["zzz"]}'}
    )
    assert runtime.tesseract is not None
    assert assert_problem(reply, 503, "ocr_language_missing")["missing"] == ["zzz"]


def test_original_design_keeps_a_document_without_vectors_on_reprocessing(client: httpx.Client) -> None:
    body = client.post("/process", files=[("file", ("plain.txt", b"Plain text without vectors."))]).json()
    wait(client, body["job_id"])
    job = client.post(f"/v1/documents/{body['document_id']}/reprocess", json={"chunk_size": 500}).json()
    assert wait(client, job["id"])["status"] == "completed"
    search = {"query": "Plain text", "document_ids": [body["document_id"]], "mode": "semantic", "min_score": 0}
    assert client.post("/v1/search", json=search).json()["data"] == []


def test_text_original_has_no_charset_that_nobody_knows(inbox: httpx.Client) -> None:
    document = upload(inbox, "latin.txt", "Grüße aus Köln, schöne Küste.".encode("latin-1"))["document"]
    reply = inbox.get(f"/v1/documents/{document['id']}/file")
    assert reply.headers["content-type"] == "text/plain"


def test_upload_path_with_a_slash_is_redirected_whatever_its_size(inbox: httpx.Client) -> None:
    reply = inbox.post("/v1/documents/", files=[("files", ("a.txt", b"x" * 9_000_000))])
    assert (reply.status_code, reply.headers["location"].endswith("/v1/documents")) == (307, True)
