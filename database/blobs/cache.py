"""Copies on this node of files that lie in a bucket.

They are bounded: the least recently used go first.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from database.blobs.files import flush, make_folders

SWEEP_SHARE = 16
"""A process looks for what to evict after it has added a sixteenth of the bound: so far it may be passed.

Source: listing and `stat` of 100,000 files takes some tenths of a second; it must not come with every picture.
"""


class FileCache:
    """Files at `root/ab/<sha256>`, at most about `max_bytes` of them.

    Thread-safe, and safe between processes. A file that was handed out is not evicted for `handed_s` seconds: its path
    may still be opened by a child process. So the bound gives way to what is in use, and not the other way round. The
    time of the last use is the file's modification time; a lock makes "is it old" and "remove it" one step against a
    `find` in another process.
    """

    def __init__(self, root: Path, *, max_bytes: int, handed_s: float) -> None:
        self._root = root
        self._max_bytes, self._handed_s = max_bytes, handed_s
        self._lock = threading.Lock()
        make_folders(root, root)
        self._file_lock = filelock.FileLock(root / "lock", thread_local=False)
        self._added: int | None = None

    def find(self, sha256: str) -> Path | None:
        """The file, which now counts as used; None where it is not."""
        path = self._at(sha256)
        with self._exclusive():
            try:
                os.utime(path)
            except FileNotFoundError:
                return None
        return path

    def has(self, sha256: str) -> bool:
        """True when the file is there; it does not count as used."""
        return self._at(sha256).is_file()

    def take(self, path: Path, sha256: str) -> Path:
        """Moves the file at `path` in here, whose content is safe on the disk afterwards.

        Returns where it lies.
        """
        target = self._at(sha256)
        make_folders(target.parent, self._root)
        size = path.stat().st_size
        flush(path)
        with self._exclusive():
            path.replace(target)
            os.utime(target)
            self._added = None if self._added is None else self._added + size
            is_due = self._added is None or self._added * SWEEP_SHARE >= self._max_bytes
        if is_due:
            self._evict(target)
        return target

    def drop(self, sha256: str) -> None:
        """Removes the file; nothing where it is not."""
        self._at(sha256).unlink(missing_ok=True)

    def _evict(self, kept: Path) -> None:
        self._added = 0
        found = sorted(self._files())
        total = sum(size for _, size, _ in found)
        for _, size, path in found:
            if path == kept:
                continue
            if total <= self._max_bytes or not self._remove_unused(path):
                return
            total -= size

    def _remove_unused(self, path: Path) -> bool:
        """True once the file is gone.

        False when it was used of late, as those are that follow it.
        """
        with self._exclusive():
            try:
                if time.time() - path.stat().st_mtime < self._handed_s:
                    return False
                path.unlink()
            except FileNotFoundError:
                pass
        return True

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Time of the last use, size and path of each file."""
        for folder in self._root.glob("[0-9a-f][0-9a-f]"):
            with os.scandir(folder) as entries:
                for entry in entries:
                    try:
                        status = entry.stat()
                    except FileNotFoundError:
                        continue
                    yield status.st_mtime, status.st_size, Path(entry.path)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        with self._lock, self._file_lock:
            yield

    def _at(self, sha256: str) -> Path:
        return self._root / sha256[:2] / sha256
