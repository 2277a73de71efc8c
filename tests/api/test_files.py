"""Files in Supabase Storage as a client of the API meets them, and what the worker does for them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.jobs.worker import Worker
from services.runtime import Runtime
from services.settings import Settings
from tests.support.api_server import ingest, serving, upload
from tests.support.runtimes import open_runtime
from tests.support.storage_server import SERVICE_KEY, Faults, Storage, storage_server
from tests.support.waiting import wait_for

CONTENT = b"The harbour opens at dawn. " * 40

Opener = Callable[..., Runtime]


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    with storage_server(tmp_path / "bucket") as running:
        yield running


@pytest.fixture
def open_node(storage: Storage, tmp_path: Path) -> Iterator[Opener]:
    """A function that opens a runtime whose files lie in Storage."""
    opened: list[Runtime] = []

    def open_one() -> Runtime:
        settings = Settings(
            data_dir=tmp_path / "data",
            text_model="hash",
            sweep_s=0.2,
            blob_storage="supabase",
            supabase_url=storage.url,
            supabase_service_key=SERVICE_KEY,
            storage_bucket="files",
        )
        opened.append(open_runtime(settings))
        return opened[-1]

    yield open_one
    for runtime in opened:
        runtime.close()


def files_check(client: httpx.Client) -> dict[str, Any]:
    checks = client.get("/health").json()["checks"]
    found = checks["files"] if isinstance(checks, dict) else next(c for c in checks if c["name"] == "files")
    return dict(found)


def forget_copies(runtime: Runtime) -> None:
    """Leaves the node without copies of files, as one that never had them."""
    for path in (runtime.settings.data_dir / "blobs" / "cache").glob("[0-9a-f][0-9a-f]/*"):
        path.unlink()


def test_a_client_that_asks_is_sent_to_the_signed_address(open_node: Opener, storage: Storage) -> None:
    with serving(open_node()) as client:
        document_id = upload(client, "harbour.txt", CONTENT)["document"]["id"]
        assert len(storage.objects("files")) == 1
        sent = client.get(f"/v1/documents/{document_id}/file", params={"redirect": "true"})
        assert sent.status_code == 307
        assert sent.headers["Cache-Control"] == "no-store"
        address = sent.headers["Location"]
        assert address.startswith(f"{storage.url}/storage/v1/object/sign/files/")
        assert httpx.URL(address).params["download"] == "harbour.txt"
        assert httpx.get(address).content == CONTENT
        assert client.get(f"/v1/documents/{document_id}/file").content == CONTENT
        part = client.get(f"/v1/documents/{document_id}/file", headers={"Range": "bytes=4-10"})
        assert (part.status_code, part.content) == (206, b"harbour")


def test_a_file_that_waits_on_this_node_is_sent_from_here(open_node: Opener, storage: Storage) -> None:
    with serving(open_node()) as client:
        storage.faults = Faults(status=500)
        document_id = upload(client, "harbour.txt", CONTENT)["document"]["id"]
        reply = client.get(f"/v1/documents/{document_id}/file", params={"redirect": "true"})
        assert (reply.status_code, reply.content) == (200, CONTENT)
        health = files_check(client)
        assert health["status"] == "degraded"
        assert "1 files wait on this node" in health["detail"]


def test_a_file_that_cannot_be_fetched_is_503_and_a_damaged_one_is_told(open_node: Opener, storage: Storage) -> None:
    runtime = open_node()
    with serving(runtime) as client:
        document_id = upload(client, "harbour.txt", CONTENT)["document"]["id"]
        forget_copies(runtime)
        storage.faults = Faults(damage=True, only="authenticated")
        damaged = client.get(f"/v1/documents/{document_id}/file")
        assert (damaged.status_code, damaged.json()["code"]) == (500, "file_damaged")
        storage.faults = Faults(status=500)
        reply = client.get(f"/v1/documents/{document_id}/file")
        assert (reply.status_code, reply.json()["code"], reply.json()["retryable"]) == (503, "files_unavailable", True)
        assert int(reply.headers["Retry-After"]) > 0
        assert "Fault" not in reply.text


def test_an_upload_while_storage_is_down_is_read_and_its_files_are_stored_later(
    open_node: Opener, storage: Storage
) -> None:
    runtime = open_node()
    storage.faults = Faults(status=500)
    with Worker(runtime), serving(runtime) as client:
        document_id = ingest(client, "harbour.txt", CONTENT)
        assert client.get(f"/v1/documents/{document_id}").json()["status"] == "completed"
    runtime.close()
    assert storage.objects("files") == []
    waiting = next((runtime.settings.data_dir / "blobs" / "pending").iterdir())
    long_ago = time.time() - 3600
    os.utime(waiting, (long_ago, long_ago))
    storage.faults = Faults(times=0)
    with Worker(open_node()):
        wait_for(lambda: storage.objects("files"))


def test_a_deleted_document_leaves_the_bucket_and_so_do_files_that_nobody_refers_to(
    open_node: Opener, storage: Storage
) -> None:
    runtime = open_node()
    with serving(runtime) as client:
        kept = upload(client, "kept.txt", b"The library is closed." * 9)["document"]["sha256"]
        gone = upload(client, "gone.txt", CONTENT)["document"]
        assert client.delete(f"/v1/documents/{gone['id']}").status_code == 204
    assert not runtime.blobs.exists(gone["sha256"])
    orphan = storage.folder / "files" / "aa" / "aa" / ("a" * 64)
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"nobody's")
    os.utime(orphan, (0, 0))
    with Worker(runtime):
        wait_for(lambda: [name.rpartition("/")[2] for name in storage.objects("files")] == [kept])
    assert storage.count("authenticated") == 0
    assert runtime.blobs.state().status == "healthy"
