"""Files in a local folder."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from database.blobs.base import BlobEntry, BlobsState, check_sha256, is_sha256
from database.blobs.files import holds, make_folders, require_regular, take_over


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
