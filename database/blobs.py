"""Files by the SHA-256 of their content."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from database.ids import new_id

_SHA256 = re.compile(r"[0-9a-f]{64}")


class BlobStore(Protocol):
    """Keeps files under the SHA-256 (lower-case hex) of their content. Thread-safe, and safe between processes."""

    def adopt(self, path: Path, sha256: str) -> None:
        """Takes over the file at `path`, which is gone from there afterwards; on return it survives a loss of power.

        The caller has worked out `sha256`; where the store has it already, `path` is only removed.
        Raises ValueError when `sha256` is not one.
        """
        ...

    def path(self, sha256: str) -> Path:
        """The file, to be read only. Raises FileNotFoundError."""
        ...

    def delete(self, sha256: str) -> None:
        """Removes the file; nothing when it is absent."""
        ...

    def exists(self, sha256: str) -> bool:
        """True when the file is there."""
        ...

    def keys(self) -> Iterator[str]:
        """The SHA-256 of every file, in no order."""
        ...

    def scratch(self) -> Path:
        """A folder for files on their way in, from which `adopt` only has to move them."""
        ...


class LocalBlobStore:
    """Files at `root/ab/cd/<sha256>`, readable by their owner only."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._scratch = root / "tmp"

    def adopt(self, path: Path, sha256: str) -> None:
        target = self._at(sha256)
        if target.exists():
            path.unlink(missing_ok=True)
            return
        _make_folders(target.parent, self._root)
        try:
            _flush(path)
            path.chmod(0o600)
            path.replace(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            staged = self.scratch() / new_id()
            try:
                shutil.copyfile(path, staged)
                staged.chmod(0o600)
                _flush(staged)
                staged.replace(target)
            finally:
                staged.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
        _flush(target.parent)

    def path(self, sha256: str) -> Path:
        target = self._at(sha256)
        if not target.is_file():
            raise FileNotFoundError(errno.ENOENT, "the stored file is missing", sha256)
        return target

    def delete(self, sha256: str) -> None:
        self._at(sha256).unlink(missing_ok=True)

    def exists(self, sha256: str) -> bool:
        return self._at(sha256).is_file()

    def keys(self) -> Iterator[str]:
        for path in self._root.glob("[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]/*"):
            if _SHA256.fullmatch(path.name):
                yield path.name

    def scratch(self) -> Path:
        _make_folders(self._scratch, self._root)
        return self._scratch

    def _at(self, sha256: str) -> Path:
        if not _SHA256.fullmatch(sha256):
            raise ValueError(f"{sha256[:80]!r} is not a SHA-256 in lower-case hex")
        return self._root / sha256[:2] / sha256[2:4] / sha256


def _make_folders(folder: Path, root: Path) -> None:
    """Makes `folder` and what is missing above it, and writes down each new name."""
    if folder.is_dir():
        return
    if folder == root:
        folder.parent.mkdir(parents=True, exist_ok=True)
    else:
        _make_folders(folder.parent, root)
    folder.mkdir(mode=0o700, exist_ok=True)
    _flush(folder.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
