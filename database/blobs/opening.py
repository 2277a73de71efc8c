"""Opens the files of an installation, in a local folder or in a bucket."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from database.blobs.base import BlobStore
from database.blobs.bucket import StorageBucket
from database.blobs.local import LocalBlobStore
from database.blobs.storage import StorageBlobStore


def open_blobs(
    kind: Literal["local", "supabase"],
    root: Path,
    *,
    supabase_url: str = "",
    service_key: str = "",
    bucket: str = "",
    cache_bytes: int = 0,
    handed_s: float = 3600.0,
) -> BlobStore:
    """The files in the folder `root`, or in a private bucket of Supabase Storage.

    With a bucket, `root` has this node's copies. The bucket is made where it is missing. While Storage cannot be
    reached, the store opens all the same and works on. `cache_bytes` bounds the copies of files that the bucket has;
    one that was handed out in the last `handed_s` seconds stays. Files that a local store has left in `root` are taken
    over. Raises BlobsRefused when the bucket is public, or Storage does not accept the key.
    """
    if kind == "local":
        return LocalBlobStore(root)
    remote = StorageBucket(supabase_url, service_key, bucket)
    with ExitStack() as undo:
        undo.callback(remote.close)
        store = StorageBlobStore(root, remote, cache_bytes=cache_bytes, handed_s=handed_s)
        local = LocalBlobStore(root)
        for entry in list(local.entries()):  # of the time before the setting was changed
            store.adopt(local.path(entry.sha256), entry.sha256)
        undo.pop_all()
    return store
