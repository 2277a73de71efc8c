"""Files by the SHA-256 of their content: the Protocol, and the local folder."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from database.ids import new_id

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class BlobEntry:
    """A stored file, as a listing tells of it."""

    sha256: str
    modified_at: float
    """Seconds since the epoch, by the clock of where the file lies."""


@dataclass(frozen=True, slots=True)
class BlobsState:
    """How the files are doing, as far as it is known without asking anybody."""

    status: Literal["healthy", "degraded"]
    pending: int = 0
    """Files that only this node has so far."""
    deletions: int = 0
    """Files that are still to be removed from where every node reads them."""
    detail: str = ""
    """What is wrong and what to do; empty when healthy."""


class BlobStore(Protocol):
    """Keeps files under the SHA-256 (lower-case hex) of their content. Thread-safe, and safe between processes.

    Who stores a file calls `adopt`, writes the row that refers to it, and after the commit calls `share`. Who removes
    the last row calls `delete` in that transaction. `adopt`, `is_here` and `delete` are quick and ask nobody, so that
    they may be called inside a transaction; the others may wait for a network, and then raise BlobsUnavailable.
    Every method that takes a SHA-256 raises ValueError when it is not one.
    """

    def adopt(self, path: Path, sha256: str) -> None:
        """Takes over the file at `path`, which is gone from there afterwards; on return it survives a loss of power.

        The caller has worked out `sha256` from bytes that nobody else can change. Where this node has the file already,
        that is read and compared: what does not hold what its name says is replaced, what does is kept, and `path` is
        only removed. Raises ValueError when `path` is a link or no regular file.
        """
        ...

    def share(self, sha256s: Iterable[str]) -> None:
        """Brings adopted files to where every node reads them. What cannot be brought now, `push_pending` brings."""
        ...

    def path(self, sha256: str) -> Path:
        """The file on this node, to be read only, and within the hour. Raises FileNotFoundError, BlobDamaged."""
        ...

    def is_here(self, sha256: str) -> bool:
        """True when this node has the file."""
        ...

    def exists(self, sha256: str) -> bool:
        """True when the file is there, on this node or another."""
        ...

    def delete(self, sha256: str) -> None:
        """Removes the file, or remembers durably that it has to be (see `deletions`); nothing when it is absent."""
        ...

    def keys(self) -> Iterator[str]:
        """The SHA-256 of every file, in no order."""
        ...

    def entries(self) -> Iterator[BlobEntry]:
        """Every file with its age, in no order."""
        ...

    def url(self, sha256: str, *, filename: str, expires_s: int) -> str | None:
        """An address from which anybody downloads the file under `filename` for `expires_s` seconds.

        None where there is no such address: the store is a folder, or the file has not been shared yet.
        """
        ...

    def scratch(self) -> Path:
        """A folder for files on their way in, from which `adopt` only has to move them."""
        ...

    def push_pending(self) -> None:
        """Shares what `share` could not, oldest first; what an upload under way has just adopted is left to it."""
        ...

    def deletions(self) -> Sequence[str]:
        """Deletions that can be carried out now, for `settle`; none while the files cannot be reached."""
        ...

    def settle(self, sha256s: Sequence[str], *, wanted: Collection[str]) -> None:
        """Carries out deletions, and forgets those in `wanted`, which rows refer to again.

        Call it in the service's write transaction that has found out what is wanted: no row may come meanwhile.
        """
        ...

    def state(self) -> BlobsState:
        """How the files are doing; cheap."""
        ...

    def close(self) -> None:
        """Closes connections; the files stay."""
        ...


class LocalBlobStore:
    """Files at `root/ab/cd/<sha256>`, readable by their owner only."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._scratch = root / "tmp"

    def adopt(self, path: Path, sha256: str) -> None:
        target = self._at(sha256)
        if holds(target, sha256):
            path.unlink(missing_ok=True)
            return
        require_regular(path)
        make_folders(target.parent, self._root)
        take_over(path, target, staging=self.scratch())

    def share(self, sha256s: Iterable[str]) -> None:
        """Nothing: whoever reads the folder reads the file."""

    def path(self, sha256: str) -> Path:
        target = self._at(sha256)
        if not target.is_file():
            raise FileNotFoundError(errno.ENOENT, "the stored file is missing", sha256)
        return target

    def is_here(self, sha256: str) -> bool:
        return self._at(sha256).is_file()

    def exists(self, sha256: str) -> bool:
        return self.is_here(sha256)

    def delete(self, sha256: str) -> None:
        self._at(sha256).unlink(missing_ok=True)

    def keys(self) -> Iterator[str]:
        return (entry.sha256 for entry in self.entries())

    def entries(self) -> Iterator[BlobEntry]:
        for path in self._root.glob("[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]/*"):
            if is_sha256(path.name):
                with suppress(FileNotFoundError):  # deleted meanwhile
                    yield BlobEntry(path.name, path.stat().st_mtime)

    def url(self, sha256: str, *, filename: str, expires_s: int) -> str | None:
        check_sha256(sha256)
        return None

    def scratch(self) -> Path:
        make_folders(self._scratch, self._root)
        return self._scratch

    def push_pending(self) -> None:
        """Nothing; see `share`."""

    def deletions(self) -> Sequence[str]:
        return ()

    def settle(self, sha256s: Sequence[str], *, wanted: Collection[str]) -> None:
        """Nothing: `delete` has removed the file."""

    def state(self) -> BlobsState:
        return BlobsState("healthy")

    def close(self) -> None:
        """Nothing is open."""

    def _at(self, sha256: str) -> Path:
        check_sha256(sha256)
        return self._root / sha256[:2] / sha256[2:4] / sha256


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
    """The files in the folder `root`, or in a private bucket of Supabase Storage with `root` for this node's copies.

    The bucket is made where it is missing. While Storage cannot be reached, the store opens all the same and works on.
    `cache_bytes` bounds the copies of files that the bucket has; one that was handed out in the last `handed_s` seconds
    stays. Files that a local store has left in `root` are taken over. Raises BlobsRefused when the bucket is public, or
    Storage does not accept the key.
    """
    if kind == "local":
        return LocalBlobStore(root)
    from database.blobs.bucket import StorageBucket
    from database.blobs.storage import StorageBlobStore

    remote = StorageBucket(supabase_url, service_key, bucket)
    with ExitStack() as undo:
        undo.callback(remote.close)
        store = StorageBlobStore(root, remote, cache_bytes=cache_bytes, handed_s=handed_s)
        local = LocalBlobStore(root)
        for entry in list(local.entries()):  # of the time before the setting was changed
            store.adopt(local.path(entry.sha256), entry.sha256)
        undo.pop_all()
    return store


def is_sha256(text: str) -> bool:
    """True for a SHA-256 in lower-case hex."""
    return _SHA256.fullmatch(text) is not None


def check_sha256(text: str) -> None:
    """Raises ValueError when `text` is no SHA-256 in lower-case hex."""
    if not is_sha256(text):
        raise ValueError(f"{text[:80]!r} is not a SHA-256 in lower-case hex")


def require_regular(path: Path) -> None:
    """Raises ValueError when `path` is a link or no regular file, FileNotFoundError when it is not there."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise ValueError("only regular files are stored")


def holds(path: Path, sha256: str) -> bool:
    """True when `path` is a regular file, no link, with the content that `sha256` stands for; reads all of it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def take_over(path: Path, target: Path, *, staging: Path) -> None:
    """Moves `path` to `target`, readable by its owner only; on return it survives a loss of power.

    From another file system it is copied by way of the folder `staging`.
    """
    try:
        flush(path)
        path.chmod(0o600)
        path.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        staged = staging / new_id()
        try:
            shutil.copyfile(path, staged)
            staged.chmod(0o600)
            flush(staged)
            staged.replace(target)
        finally:
            staged.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    flush(target.parent)


def make_folders(folder: Path, root: Path) -> None:
    """Makes `folder` and what is missing above it up to `root`, and writes down each new name."""
    if folder.is_dir():
        return
    if folder == root:
        folder.parent.mkdir(parents=True, exist_ok=True)
    else:
        make_folders(folder.parent, root)
    folder.mkdir(mode=0o700, exist_ok=True)
    flush(folder.parent)


def flush(path: Path) -> None:
    """Writes a file's content, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
