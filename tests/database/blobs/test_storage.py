"""Files in Supabase Storage: what is checked, what is kept while it is down, and what a kill in the middle leaves."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from database.blobs.bucket import StorageBucket, object_path
from database.blobs.local import LocalBlobStore
from database.blobs.opening import open_blobs
from database.blobs.storage import StorageBlobStore
from database.errors import BlobDamaged, BlobsRefused, BlobsUnavailable
from tests.support.blob_cases import bring, keep
from tests.support.paths import ROOT
from tests.support.storage_server import SERVICE_KEY, Faults, Storage, storage_server
from tests.support.waiting import wait_for

Opener = Callable[..., StorageBlobStore]

IMPATIENT = {"io_timeout_s": 5.0, "backoff_s": 0.0, "rest_s": 0.0}


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    with storage_server(tmp_path / "bucket") as running:
        yield running


@pytest.fixture
def open_store(storage: Storage, tmp_path: Path) -> Iterator[Opener]:
    """A function that opens a store as a node of its own does, which never rests."""
    opened: list[StorageBlobStore] = []

    def open_one(node: str = "node", **changed: Any) -> StorageBlobStore:
        url, key = changed.pop("url", storage.url), changed.pop("key", SERVICE_KEY)
        patience = {name: changed.pop(name, given) for name, given in IMPATIENT.items()}
        bucket = StorageBucket(url, key, "files", **patience)
        settings = {"cache_bytes": 10**9, "under_way_s": 0.0, **changed}
        try:
            store = StorageBlobStore(tmp_path / node, bucket, **settings)
        except BlobsRefused:
            bucket.close()
            raise
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close()


def stored(store: StorageBlobStore, content: bytes) -> str:
    """The SHA-256 of `content`, which is stored as an upload does it."""
    path, sha256 = bring(store.scratch(), content)
    keep(store, path, sha256)
    return sha256


def test_the_bucket_is_made_private_and_holds_the_files_by_their_content(storage: Storage, open_store: Opener) -> None:
    store = open_store()
    sha256 = stored(store, b"content")
    assert storage.buckets == {"files": False}
    assert storage.objects("files") == [f"{sha256[:2]}/{sha256[2:4]}/{sha256}"]
    open_store("other")
    assert storage.count("POST /storage/v1/bucket") == 1


def test_a_public_bucket_is_refused(storage: Storage, open_store: Opener) -> None:
    storage.buckets["files"] = True
    with pytest.raises(BlobsRefused, match="public"):
        open_store()


def test_a_bucket_that_becomes_public_gets_no_more_files(storage: Storage, open_store: Opener) -> None:
    store = open_store()
    storage.buckets["files"] = True
    store.push_pending()
    assert "public" in store.state().detail
    sha256 = stored(store, b"content")
    assert storage.objects("files") == []
    assert store.path(sha256).read_bytes() == b"content"


def test_a_wrong_key_is_refused_and_not_told(open_store: Opener) -> None:
    with pytest.raises(BlobsRefused, match="DOCATLAS_SUPABASE_SERVICE_KEY") as refused:
        open_store(key="some-other-key")
    assert "some-other-key" not in str(refused.value)


def test_another_node_downloads_a_file_once_and_then_has_it(storage: Storage, open_store: Opener) -> None:
    sha256 = stored(open_store("first"), b"x" * 3_000_000)
    second = open_store("second")
    assert not second.is_here(sha256)
    assert second.exists(sha256)
    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: second.path(sha256), range(8)))
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths] == [sha256]
    assert storage.count("authenticated") == 1
    assert list(second.scratch().iterdir()) == []


@pytest.mark.parametrize("fault", [Faults(damage=True), Faults(cut=True)])
def test_wrong_bytes_are_never_handed_out(storage: Storage, open_store: Opener, fault: Faults) -> None:
    sha256 = stored(open_store("first"), b"content" * 1000)
    second = open_store("second")
    fault.only = "authenticated"
    storage.faults = fault
    with pytest.raises(BlobDamaged if fault.damage else BlobsUnavailable):
        second.path(sha256)
    assert not second.is_here(sha256)
    assert list(second.scratch().iterdir()) == []
    storage.faults = Faults(damage=fault.damage, cut=fault.cut, only="authenticated", times=1)
    assert second.path(sha256).read_bytes() == b"content" * 1000


def test_a_missing_file_is_missing_and_a_missing_bucket_is_not(storage: Storage, open_store: Opener) -> None:
    store = open_store()
    with pytest.raises(FileNotFoundError):
        store.path("a" * 64)
    assert not store.exists("a" * 64)
    del storage.buckets["files"]
    with pytest.raises(BlobsUnavailable):
        list(store.entries())
    assert storage.buckets == {}, "an empty bucket in its place would make every file look deleted"


@pytest.mark.parametrize("fault", [Faults(status=502), Faults(status=500), Faults(status=429), Faults(status=409)])
def test_what_may_pass_is_tried_again(storage: Storage, open_store: Opener, fault: Faults) -> None:
    store = open_store()
    storage.faults, fault.times = fault, 2
    sha256 = stored(store, b"content")
    assert storage.objects("files") == [object_path(sha256)]
    assert fault.times == 0


@pytest.mark.parametrize("fault", [Faults(status=502), Faults(status=500), Faults(hang=True), Faults(cut=True)])
def test_while_storage_is_down_files_are_kept_here_and_are_shared_in_order_once_it_is_back(
    storage: Storage, open_store: Opener, fault: Faults
) -> None:
    store = open_store(io_timeout_s=0.2 if fault.hang else 5.0)
    storage.faults = fault
    given = [stored(store, f"content {number}".encode()) for number in range(3)]
    assert [store.path(sha256).read_bytes() for sha256 in given] == [b"content 0", b"content 1", b"content 2"]
    assert all(store.exists(sha256) for sha256 in given)
    assert store.url(given[0], filename="a.txt", expires_s=60) is None
    state = store.state()
    assert (state.status, state.pending) == ("degraded", 3)
    assert state.detail
    with pytest.raises(BlobsUnavailable):
        store.exists("b" * 64)
    store.delete(given[1])
    storage.faults = Faults(times=0)
    store = open_store()
    storage.calls.clear()
    store.push_pending()
    pushed = [call for call in storage.calls if call.startswith("POST /storage/v1/object/files/")]
    assert [call.rpartition("/")[2] for call in pushed] == [given[0], given[2]]
    store.settle(store.deletions(), wanted=())
    assert storage.objects("files") == sorted(object_path(given[number]) for number in (0, 2))
    assert store.state().status == "healthy"
    store.push_pending()
    assert storage.count("POST /storage/v1/object/files/") == 2


def test_a_node_starts_while_storage_is_down(open_store: Opener, storage: Storage) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    store = open_store(url=f"http://127.0.0.1:{port}")
    sha256 = stored(store, b"content")
    assert store.path(sha256).read_bytes() == b"content"
    with pytest.raises(BlobsUnavailable):
        store.path("a" * 64)
    again = open_store()
    assert again.state().pending == 1
    again.push_pending()
    assert storage.objects("files") == [object_path(sha256)]


def test_a_request_does_not_wait_for_what_is_known_to_be_down(storage: Storage, open_store: Opener) -> None:
    store = open_store(rest_s=3600.0)
    storage.faults = Faults(status=500)
    with pytest.raises(BlobsUnavailable):
        store.path("a" * 64)
    storage.calls.clear()
    with pytest.raises(BlobsUnavailable):
        store.path("a" * 64)
    assert storage.calls == []


def test_a_file_too_large_for_the_bucket_waits_and_costs_no_other(storage: Storage, open_store: Opener) -> None:
    store = open_store()
    storage.largest = 10
    large, small = stored(store, b"more than ten bytes"), stored(store, b"few")
    store.push_pending()
    assert storage.objects("files") == [object_path(small)]
    assert store.path(large).read_bytes() == b"more than ten bytes"
    assert (store.state().status, store.state().pending) == ("degraded", 1)
    assert "limit" in store.state().detail


def test_deletions_are_remembered_until_they_are_carried_out(storage: Storage, open_store: Opener) -> None:
    store = open_store()
    gone, back = stored(store, b"gone"), stored(store, b"back")
    storage.faults = Faults(status=500)
    store.delete(gone)
    store.delete(back)
    assert not store.exists(gone)
    assert store.deletions() == ()
    again = open_store()
    assert again.state().deletions == 2
    storage.faults = Faults(times=0)
    due = again.deletions()
    assert sorted(due) == sorted([gone, back])
    again.settle(due, wanted={back})
    assert storage.objects("files") == [object_path(back)]
    assert again.deletions() == ()
    assert again.path(back).read_bytes() == b"back"


def test_a_deleted_file_that_another_node_stores_again_is_not_told_to_be_missing(open_store: Opener) -> None:
    first, second = open_store("first"), open_store("second")
    sha256 = stored(first, b"content")
    first.delete(sha256)
    stored(second, b"content")
    with pytest.raises(BlobsUnavailable):
        first.path(sha256)
    first.settle(first.deletions(), wanted={sha256})
    assert first.path(sha256).read_bytes() == b"content"


def test_a_file_that_another_node_deletes_before_its_row_is_written_is_stored_again(
    storage: Storage, open_store: Opener
) -> None:
    first, second = open_store("first"), open_store("second")
    sha256 = stored(first, b"content")
    path, _ = bring(second.scratch(), b"content")
    second.adopt(path, sha256)
    second.push_pending()
    first.delete(sha256)
    first.settle(first.deletions(), wanted=())
    assert storage.objects("files") == []
    second.share([sha256])
    assert storage.objects("files") == [object_path(sha256)]


def test_a_file_deleted_while_it_is_sent_is_removed_from_the_bucket(storage: Storage, open_store: Opener) -> None:
    store = open_store()
    path, sha256 = bring(store.scratch(), b"content")
    store.adopt(path, sha256)
    storage.faults = Faults(late=True, only="POST /storage/v1/object/files", times=1)
    pushing = threading.Thread(target=store.share, args=([sha256],))
    pushing.start()
    assert storage.uploading.wait(10)
    store.delete(sha256)
    store.settle(store.deletions(), wanted=())
    storage.faults = Faults(times=0)
    pushing.join()
    assert storage.objects("files") == [object_path(sha256)]
    store.settle(store.deletions(), wanted=())
    assert storage.objects("files") == []
    assert [entry.sha256 for entry in store.entries()] == []


def test_what_an_upload_has_just_adopted_is_left_to_it(storage: Storage, open_store: Opener) -> None:
    store = open_store(under_way_s=3600.0)
    path, sha256 = bring(store.scratch(), b"content")
    store.adopt(path, sha256)
    store.push_pending()
    assert storage.objects("files") == []
    store.share([sha256])
    assert storage.objects("files") == [object_path(sha256)]


def test_a_file_is_sent_again_only_where_this_node_does_not_know_what_the_bucket_has(
    storage: Storage, open_store: Opener
) -> None:
    content = b"y" * 2_000_000
    first, second = open_store("first"), open_store("second")
    stored(first, content)
    stored(first, content)
    assert storage.count("POST /storage/v1/object/files/") == 1
    stored(second, content)
    stored(second, content)
    assert storage.count("POST /storage/v1/object/files/") == 2


def test_other_bytes_of_the_same_length_in_the_bucket_are_replaced_by_the_next_upload(
    storage: Storage, open_store: Opener
) -> None:
    content = b"y" * 2_000_000
    sha256 = stored(open_store("first"), content)
    (storage.folder / "files" / object_path(sha256)).write_bytes(b"z" * 2_000_000)
    second, third = open_store("second"), open_store("third")
    with pytest.raises(BlobDamaged):
        second.path(sha256)
    stored(second, content)
    assert third.path(sha256).read_bytes() == content


def test_the_least_recently_used_copies_go_and_those_in_use_stay(storage: Storage, open_store: Opener) -> None:
    store = open_store(cache_bytes=2500, handed_s=600.0)
    old = [stored(store, bytes([number]) * 1000) for number in range(3)]
    assert all(store.is_here(sha256) for sha256 in old), "a copy that was just handed out was removed"
    for age, sha256 in zip((3000, 1000, 2000), old, strict=True):
        long_ago = time.time() - age
        os.utime(store.path(sha256), (long_ago, long_ago))
    assert store.path(old[1])
    newest = stored(store, b"n" * 1000)
    assert [store.is_here(sha256) for sha256 in (*old, newest)] == [False, True, False, True]
    assert hashlib.sha256(store.path(old[0]).read_bytes()).hexdigest() == old[0]


def test_files_that_only_this_node_has_are_never_evicted(storage: Storage, open_store: Opener) -> None:
    store = open_store(cache_bytes=0, handed_s=0.0)
    storage.faults = Faults(status=500)
    given = [stored(store, bytes([number]) * 1000) for number in range(3)]
    assert all(store.is_here(sha256) for sha256 in given)
    storage.faults = Faults(times=0)
    store.push_pending()
    assert [store.is_here(sha256) for sha256 in given] == [False, False, True]
    assert all(store.path(sha256) for sha256 in given)


def test_a_signed_address_serves_the_file_to_anybody_under_its_name(open_store: Opener) -> None:
    store = open_store()
    sha256 = stored(store, b"content")
    address = store.url(sha256, filename="Q&A é.pdf", expires_s=60)
    assert address is not None
    assert httpx.URL(address).params["download"] == "Q&A é.pdf"
    assert httpx.get(address).content == b"content"
    assert SERVICE_KEY not in address
    assert httpx.get(address.replace("token-of", "other")).status_code == 400
    assert store.url("a" * 64, filename="a.pdf", expires_s=60) is None


def test_files_of_a_local_store_are_taken_over(storage: Storage, tmp_path: Path) -> None:
    local = LocalBlobStore(tmp_path / "node")
    path, sha256 = bring(local.scratch(), b"content")
    local.adopt(path, sha256)
    root = tmp_path / "node"
    store = open_blobs("supabase", root, supabase_url=storage.url, service_key=SERVICE_KEY, bucket="files")
    assert store.path(sha256).read_bytes() == b"content"
    assert store.state().pending == 1
    assert [entry.sha256 for entry in local.entries()] == []
    store.close()


PUSHER = """
import sys
from pathlib import Path
from database.blobs.opening import open_blobs
root, url, key, task, *arguments = sys.argv[1:]
blobs = open_blobs("supabase", Path(root), supabase_url=url, service_key=key, bucket="files", cache_bytes=10**9)
print("open", flush=True)
if task == "keep":
    sha256 = arguments[1]
    blobs.adopt(Path(arguments[0]), sha256)
    print("adopted", flush=True)
    blobs.share([sha256])
else:
    print(blobs.path(arguments[0]), flush=True)
blobs.close()
"""


def beside(storage: Storage, root: Path, *arguments: str) -> subprocess.Popen[str]:
    """Another process on the same node."""
    command = [sys.executable, "-c", PUSHER, str(root), storage.url, SERVICE_KEY, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_a_kill_in_the_middle_of_an_upload_loses_nothing(storage: Storage, open_store: Opener, tmp_path: Path) -> None:
    path, sha256 = bring(tmp_path, b"z" * 5_000_000)
    storage.faults = Faults(hang=True, only="POST /storage/v1/object/files/")
    process = beside(storage, tmp_path / "node", "keep", str(path), sha256)
    assert storage.uploading.wait(30)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    storage.faults = Faults(times=0)
    store = open_store()
    assert storage.objects("files") == []
    assert store.path(sha256).stat().st_size == 5_000_000
    store.push_pending()
    assert storage.objects("files") == [object_path(sha256)]
    assert (storage.folder / "files" / object_path(sha256)).stat().st_size == 5_000_000
    assert store.state().pending == 0


def test_two_processes_share_one_node(storage: Storage, open_store: Opener, tmp_path: Path) -> None:
    store = open_store()
    sha256 = stored(store, b"content")
    with beside(storage, tmp_path / "node", "path", sha256) as process:
        output, _ = process.communicate()
    assert output.split() == ["open", str(store.path(sha256))]
    assert storage.count("authenticated") == 0
    storage.faults = Faults(hang=True, only="POST /storage/v1/object/files/", times=1)
    storage.uploading.clear()
    path, other = bring(tmp_path, b"other content")
    process = beside(storage, tmp_path / "node", "keep", str(path), other)
    assert storage.uploading.wait(30)
    assert store.path(other).read_bytes() == b"other content"
    store.push_pending()
    storage.faults = Faults(times=0)
    process.communicate()
    assert process.returncode == 0
    wait_for(lambda: storage.objects("files") == sorted([object_path(sha256), object_path(other)]))
    assert (store.state().pending, store.state().deletions) == (0, 0)
