"""Files in Supabase Storage, with this node's copies of them.

The store works on while Storage does not.

On this node, below `root`:

    pending/<sha256>     adopted here, and not yet known to be in the bucket; never evicted
    cache/ab/<sha256>    copies of what the bucket has; see database.blobs.cache
    deletions/<sha256>   empty; to be removed from the bucket
    tmp/                 files on their way in

A file is in the bucket before it leaves `pending/`, and every step is one rename: a process may be killed anywhere.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from database.blobs.base import BlobEntry, BlobsState, check_sha256, is_sha256
from database.blobs.bucket import StorageBucket
from database.blobs.cache import FileCache
from database.blobs.files import flush, holds, make_folders, require_regular, take_over
from database.errors import BlobsRefused, BlobsUnavailable
from database.ids import new_id

_log = logging.getLogger(__name__)

UNDER_WAY_S = 60.0
"""`push_pending` leaves younger files to the upload that has adopted them, which shares them after its commit.

Were they shared before the commit, another node could delete them in between as files that nobody refers to.
"""
LATE_S = 120.0
"""A file that has waited for so long is told of by `state`: the next round of the chores should have shared it."""
DELETIONS_AT_ONCE = 100
SHARING_THREADS = 4
"""Files of one call that are sent at the same time: of small ones most of the time is the way there and back."""


class StorageBlobStore:
    """A BlobStore on a bucket.

    `exists`, `path` and `entries` know this node's own deletions at once. Other nodes' deletions show when they are
    carried out. Raises BlobsRefused as `StorageBucket` does, unless Storage cannot be reached.
    """

    def __init__(
        self,
        root: Path,
        bucket: StorageBucket,
        *,
        cache_bytes: int,
        handed_s: float = 3600.0,
        under_way_s: float = UNDER_WAY_S,
    ) -> None:
        self._root, self._bucket, self._under_way_s = root, bucket, under_way_s
        self._pending, self._deletions, self._scratch = root / "pending", root / "deletions", root / "tmp"
        for folder in (self._pending, self._deletions, self._scratch):
            make_folders(folder, root)
        make_folders(root / "cache", root)
        self._cache = FileCache(root / "cache", max_bytes=cache_bytes, handed_s=handed_s)
        self._transfers = _KeyedLocks()
        self._pushing = threading.Lock()
        self._push_lock = filelock.FileLock(root / "push.lock", thread_local=False)
        self._refused = ""
        try:
            bucket.check()
        except BlobsRefused:
            raise
        except BlobsUnavailable as error:
            _log.warning("%s; uploads are kept on this node until it can be", error)

    def adopt(self, path: Path, sha256: str) -> None:
        check_sha256(sha256)
        with suppress(FileNotFoundError):
            os.utime(path, follow_symlinks=False)
        target = self._pending / sha256
        if holds(target, sha256):
            path.unlink(missing_ok=True)
            return
        require_regular(path)
        take_over(path, target, staging=self._scratch)

    def share(self, sha256s: Iterable[str]) -> None:
        given = list(dict.fromkeys(sha256s))
        for sha256 in given:
            check_sha256(sha256)
        if len(given) == 1:
            self._share_or_leave(given[0])
        elif given:
            with ThreadPoolExecutor(min(SHARING_THREADS, len(given)), thread_name_prefix="share") as pool:
                list(pool.map(self._share_or_leave, given))

    def path(self, sha256: str) -> Path:
        check_sha256(sha256)
        found = self._find(sha256)
        if found is not None:
            return found
        with self._transfers.of(sha256):
            found = self._find(sha256)
            if found is not None:
                return found
            self._refuse_deleted(sha256)
            staged = self._scratch / f"download-{new_id()}"
            try:
                self._bucket.download(sha256, staged)
                staged.chmod(0o600)
                found = self._cache.take(staged, sha256)
            except FileNotFoundError as error:
                raise FileNotFoundError(errno.ENOENT, "the stored file is missing", sha256) from error
            finally:
                staged.unlink(missing_ok=True)
            try:
                self._refuse_deleted(sha256)
            except BlobsUnavailable:
                self._cache.drop(sha256)
                raise
            return found

    def is_here(self, sha256: str) -> bool:
        check_sha256(sha256)
        return (self._pending / sha256).is_file() or self._cache.has(sha256)

    def exists(self, sha256: str) -> bool:
        if self.is_here(sha256):
            return True
        return not (self._deletions / sha256).exists() and self._bucket.size(sha256) is not None

    def delete(self, sha256: str) -> None:
        check_sha256(sha256)
        self._remember_deletion(sha256)
        (self._pending / sha256).unlink(missing_ok=True)
        self._cache.drop(sha256)

    def entries(self) -> Iterator[BlobEntry]:
        waiting = {path.name: modified for modified, path in _files(self._pending)}
        for sha256, modified in waiting.items():
            yield BlobEntry(sha256, modified)
        for entry in self._bucket.entries():
            if entry.sha256 in waiting:
                continue
            if not (self._deletions / entry.sha256).exists() or self.is_here(entry.sha256):
                yield entry

    def url(self, sha256: str, *, filename: str, expires_s: int) -> str | None:
        check_sha256(sha256)
        if (self._pending / sha256).exists() or (self._deletions / sha256).exists():
            return None
        try:
            return self._bucket.signed_url(sha256, filename=filename, expires_s=expires_s)
        except (FileNotFoundError, BlobsUnavailable):
            return None  # `path` says what is wrong, or serves this node's copy

    def scratch(self) -> Path:
        make_folders(self._scratch, self._root)
        return self._scratch

    def push_pending(self) -> None:
        with self._pushes() as is_ours:
            if not is_ours:
                return
            try:
                self._bucket.check()  # so that `state` tells of a Storage that is down while nobody asks it for a file
            except BlobsUnavailable as error:
                _log.warning("%s; files wait on this node", error)
                return
            refused = ""
            for modified, path in _files(self._pending):
                if abs(time.time() - modified) < self._under_way_s:
                    continue
                try:
                    self._share(path.name)
                except BlobsRefused as error:
                    refused = str(error)
                    _log.error("a file cannot be stored in the bucket: %s", error)
                except BlobsUnavailable as error:
                    _log.warning("%s; files wait on this node", error)
                    break
            else:
                self._refused = refused

    def deletions(self) -> Sequence[str]:
        found = [path.name for _, path in _files(self._deletions)][:DELETIONS_AT_ONCE]
        if found:
            # Asked here, so that `settle` does not find out inside its transaction.
            try:
                self._bucket.check()
            except BlobsUnavailable as error:
                _log.warning("%s; deleted files wait to be removed from the bucket", error)
                return ()
        return tuple(found)

    def settle(self, sha256s: Sequence[str], *, wanted: Collection[str]) -> None:
        remembered = [sha256 for sha256 in sha256s if (self._deletions / sha256).exists()]
        unwanted = [sha256 for sha256 in remembered if sha256 not in wanted]
        if unwanted:
            self._bucket.remove(unwanted)
        for sha256 in remembered:
            (self._deletions / sha256).unlink(missing_ok=True)

    def state(self) -> BlobsState:
        waiting, owed = _files(self._pending), _files(self._deletions)
        detail = self._bucket.problem or self._refused
        if not detail and waiting and time.time() - waiting[0][0] > LATE_S + self._under_way_s:
            detail = "files wait on this node to be stored in the bucket; a process that runs jobs shares them"
        return BlobsState("degraded" if detail else "healthy", len(waiting), len(owed), detail)

    def close(self) -> None:
        self._bucket.close()

    def _find(self, sha256: str) -> Path | None:
        """This node's copy.

        It is looked for in this order because sharing moves it that way.
        """
        path = self._pending / sha256
        return path if path.is_file() else self._cache.find(sha256)

    def _refuse_deleted(self, sha256: str) -> None:
        """Raises BlobsUnavailable for a file whose deletion is remembered here.

        Who asks for it refers to it again, from another node, and `settle` will find that out.
        """
        if (self._deletions / sha256).exists():
            raise BlobsUnavailable("the file was deleted here and stored again elsewhere a moment ago")

    def _share_or_leave(self, sha256: str) -> None:
        try:
            self._share(sha256)
        except BlobsRefused as error:
            _log.error("a file cannot be stored in the bucket and waits on this node: %s", error)
        except BlobsUnavailable as error:
            _log.warning("a file waits on this node: %s", error)

    def _share(self, sha256: str) -> None:
        """Puts the file into the bucket unless it is there.

        Then it is moved from `pending/` to the cache.
        """
        with self._transfers.of(sha256):
            path = self._pending / sha256
            if not path.exists():
                kept = self._cache.find(sha256)
                if kept is None or not self._is_lost(sha256, kept):
                    return
                staged = self._scratch / f"lost-{new_id()}"
                try:
                    shutil.copyfile(kept, staged)
                    self.adopt(staged, sha256)
                except FileNotFoundError:
                    return
                finally:
                    staged.unlink(missing_ok=True)
            try:
                status = path.stat()
                # The bucket knows sizes, not contents: it is asked only where this node has sent or checked the object.
                if not self._cache.has(sha256) or self._bucket.size(sha256) != status.st_size:
                    self._bucket.upload(sha256, path)
                if path.stat().st_ino == status.st_ino:  # else it was deleted and adopted again meanwhile
                    self._cache.take(path, sha256)
            except FileNotFoundError:
                if not self._cache.has(sha256):  # deleted while it was sent: what was sent has to go, too
                    self._remember_deletion(sha256)

    def _is_lost(self, sha256: str, kept: Path) -> bool:
        """True when the bucket lacks the cached file.

        It was shared before its row was written, and deleted by another node in between.
        """
        try:
            return self._bucket.size(sha256) != kept.stat().st_size
        except FileNotFoundError:
            return False

    def _remember_deletion(self, sha256: str) -> None:
        path = self._deletions / sha256
        path.touch(mode=0o600)
        flush(self._deletions)

    @contextmanager
    def _pushes(self) -> Iterator[bool]:
        """True for the one thread of the one process on this node that pushes now."""
        if not self._pushing.acquire(blocking=False):
            yield False
            return
        try:
            with self._push_lock.acquire(timeout=0):
                yield True
        except filelock.Timeout:
            yield False
        finally:
            self._pushing.release()


class _KeyedLocks:
    """A lock for each key in use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def of(self, key: str) -> Iterator[None]:
        with self._lock:
            lock, users = self._held.get(key, (threading.Lock(), 0))
            self._held[key] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, users = self._held.pop(key)
                if users > 1:
                    self._held[key] = (lock, users - 1)


def _files(folder: Path) -> list[tuple[float, Path]]:
    """The files that are named by a SHA-256, oldest first.

    Each comes with its time of modification.
    """
    found = []
    for path in folder.iterdir():
        if is_sha256(path.name):
            with suppress(FileNotFoundError):
                found.append((path.stat().st_mtime, path))
    return sorted(found)
