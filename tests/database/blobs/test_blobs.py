"""Files by content: taken over whole or not at all, kept once, readable by their owner only."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from database.blobs.base import BlobStore
from database.blobs.local import LocalBlobStore
from database.blobs.opening import open_blobs
from tests.support.blob_cases import bring, keep
from tests.support.storage_server import SERVICE_KEY, storage_server

BLOB_STORES = ("local", "storage", "storage that keeps one copy")


@pytest.fixture(params=BLOB_STORES)
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlobStore]:
    if request.param == "local":
        yield LocalBlobStore(tmp_path / "blobs")
        return
    with storage_server(tmp_path / "bucket") as storage:
        storage.page_size = 2
        kept = {"cache_bytes": 10**9} if request.param == "storage" else {"cache_bytes": 0, "handed_s": 0.0}
        opened = open_blobs(
            "supabase",
            tmp_path / "blobs",
            supabase_url=storage.url,
            service_key=SERVICE_KEY,
            bucket="files",
            **kept,
        )
        yield opened
        opened.close()


def test_an_adopted_file_is_found_by_its_content(blobs: BlobStore) -> None:
    path, sha256 = bring(blobs.scratch(), b"content")
    assert not blobs.exists(sha256)
    assert not blobs.is_here(sha256)
    blobs.adopt(path, sha256)
    assert not path.exists()
    assert blobs.is_here(sha256)
    assert blobs.exists(sha256)
    blobs.share([sha256])
    assert blobs.exists(sha256)
    assert blobs.path(sha256).read_bytes() == b"content"
    assert [entry.sha256 for entry in blobs.entries()] == [sha256]


def test_adopting_the_same_content_again_only_takes_the_file_away(blobs: BlobStore) -> None:
    for _ in range(2):
        path, sha256 = bring(blobs.scratch(), b"content")
        keep(blobs, path, sha256)
        assert not path.exists()
    assert [entry.sha256 for entry in blobs.entries()] == [sha256]


def test_a_file_of_another_file_system_is_adopted(blobs: BlobStore) -> None:
    shared = Path("/dev/shm")
    folder = shared if shared.is_dir() and os.access(shared, os.W_OK) else blobs.scratch()
    path, sha256 = bring(folder, b"from afar", f"docatlas-test-{os.getpid()}")
    keep(blobs, path, sha256)
    assert not path.exists()
    assert blobs.path(sha256).read_bytes() == b"from afar"
    assert list(blobs.scratch().iterdir()) == []


def test_a_missing_file_is_told_and_deleting_it_is_nothing(blobs: BlobStore) -> None:
    sha256 = hashlib.sha256(b"absent").hexdigest()
    with pytest.raises(FileNotFoundError):
        blobs.path(sha256)
    blobs.delete(sha256)
    path, sha256 = bring(blobs.scratch(), b"content")
    keep(blobs, path, sha256)
    blobs.delete(sha256)
    assert not blobs.is_here(sha256)
    assert not blobs.exists(sha256)
    assert [entry.sha256 for entry in blobs.entries()] == []
    assert list(blobs.entries()) == []
    blobs.settle(blobs.deletions(), wanted=())
    with pytest.raises(FileNotFoundError):
        blobs.path(sha256)


def test_a_file_that_comes_back_after_its_deletion_stays(blobs: BlobStore) -> None:
    for _ in range(2):
        path, sha256 = bring(blobs.scratch(), b"content")
        keep(blobs, path, sha256)
        blobs.delete(sha256)
    path, sha256 = bring(blobs.scratch(), b"content")
    blobs.adopt(path, sha256)
    blobs.settle(blobs.deletions(), wanted=[sha256])
    blobs.share([sha256])
    assert blobs.path(sha256).read_bytes() == b"content"
    assert [entry.sha256 for entry in blobs.entries()] == [sha256]
    assert list(blobs.deletions()) == []


def test_a_listing_tells_the_age_of_each_file(blobs: BlobStore) -> None:
    began = time.time() - 5
    given = {}
    for number in range(5):
        path, sha256 = bring(blobs.scratch(), f"content {number}".encode())
        keep(blobs, path, sha256)
        given[sha256] = number
    entries = list(blobs.entries())
    assert sorted(entry.sha256 for entry in entries) == sorted(given)
    assert all(began < entry.modified_at < time.time() + 5 for entry in entries)


def test_the_state_is_healthy_while_nothing_waits(blobs: BlobStore) -> None:
    path, sha256 = bring(blobs.scratch(), b"content")
    keep(blobs, path, sha256)
    blobs.push_pending()
    state = blobs.state()
    assert (state.status, state.pending, state.deletions, state.detail) == ("healthy", 0, 0, "")


@pytest.mark.parametrize("key", ["", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 64 + "\n", "a" * 62 + "/a"])
def test_a_key_that_is_no_sha256_is_refused(blobs: BlobStore, key: str) -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        blobs.path(key)
    with pytest.raises(ValueError, match="SHA-256"):
        blobs.delete(key)
    with pytest.raises(ValueError, match="SHA-256"):
        blobs.exists(key)
    with pytest.raises(ValueError, match="SHA-256"):
        blobs.url(key, filename="a.pdf", expires_s=60)
    with pytest.raises(ValueError, match="SHA-256"):
        blobs.adopt(bring(blobs.scratch(), b"content")[0], key)


def test_files_on_their_way_in_are_not_among_the_keys(blobs: BlobStore) -> None:
    bring(blobs.scratch(), b"half", "a" * 64)
    assert [entry.sha256 for entry in blobs.entries()] == []


def test_threads_that_adopt_the_same_content_leave_one_file(blobs: BlobStore) -> None:
    paths = [bring(blobs.scratch(), b"same", f"incoming-{n}") for n in range(8)]
    threads = [threading.Thread(target=keep, args=(blobs, *given)) for given in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.sha256 for entry in blobs.entries()] == [paths[0][1]]
    assert blobs.path(paths[0][1]).read_bytes() == b"same"
    assert list(blobs.scratch().iterdir()) == []


def test_a_folder_has_no_addresses(tmp_path: Path) -> None:
    blobs = LocalBlobStore(tmp_path / "blobs")
    path, sha256 = bring(blobs.scratch(), b"content")
    keep(blobs, path, sha256)
    assert blobs.url(sha256, filename="a.pdf", expires_s=60) is None


def test_only_the_owner_may_read_the_files(tmp_path: Path) -> None:
    blobs = LocalBlobStore(tmp_path / "blobs")
    path, sha256 = bring(blobs.scratch(), b"content")
    path.chmod(0o644)
    keep(blobs, path, sha256)
    stored = blobs.path(sha256)
    assert stored == tmp_path / "blobs" / sha256[:2] / sha256[2:4] / sha256
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (*stored.parents[:3], blobs.scratch())} == {0o700}


def test_other_bytes_under_a_stored_name_are_replaced_by_the_next_upload(blobs: BlobStore) -> None:
    path, sha256 = bring(blobs.scratch(), b"content")
    blobs.adopt(path, sha256)
    stored = blobs.path(sha256)
    stored.write_bytes(b"planted")
    again, _ = bring(blobs.scratch(), b"content")
    keep(blobs, again, sha256)
    assert not again.exists()
    assert blobs.path(sha256).read_bytes() == b"content"


def test_a_link_under_a_stored_name_is_replaced_and_what_it_points_to_stays(blobs: BlobStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"content")  # the very bytes: a link is no stored file even so
    path, sha256 = bring(blobs.scratch(), b"content")
    blobs.adopt(path, sha256)
    stored = blobs.path(sha256)
    stored.unlink()
    stored.symlink_to(secret)
    again, _ = bring(blobs.scratch(), b"content")
    keep(blobs, again, sha256)
    assert not blobs.path(sha256).is_symlink()
    assert blobs.path(sha256).read_bytes() == b"content"
    assert secret.read_bytes() == b"content"


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_only_a_regular_file_is_adopted(blobs: BlobStore, tmp_path: Path, kind: str) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    path = blobs.scratch() / "incoming"
    match kind:
        case "link":
            path.symlink_to(tmp_path / "secret")
        case "folder":
            path.mkdir()
        case _:
            os.mkfifo(path)
    sha256 = hashlib.sha256(b"secret").hexdigest()
    with pytest.raises(ValueError, match="regular"):
        blobs.adopt(path, sha256)
    assert not blobs.exists(sha256)
