"""The BlobStore's Protocol: files by the SHA-256 of their content."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

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
    """Keeps files under the SHA-256 (lower-case hex) of their content.

    Thread-safe, and safe between processes. Who stores a file calls `adopt`, writes the row that refers to it, and
    after the commit calls `share`. Who removes the last row calls `delete` in that transaction. `adopt`, `is_here` and
    `delete` are quick and ask nobody, so that they may be called inside a transaction; the others may wait for a
    network, and then raise BlobsUnavailable. Every method that takes a SHA-256 raises ValueError when it is not one.
    """

    def adopt(self, path: Path, sha256: str) -> None:
        """Takes over the file at `path`, which is gone from there afterwards.

        On return it survives a loss of power. The caller has worked out `sha256` from bytes that nobody else can
        change. Where this node has the file already, that is read and compared: what does not hold what its name says
        is replaced, what does is kept, and `path` is only removed. Raises ValueError when `path` is a link or no
        regular file.
        """
        ...

    def share(self, sha256s: Iterable[str]) -> None:
        """Brings adopted files to where every node reads them.

        What cannot be brought now, `push_pending` brings.
        """
        ...

    def path(self, sha256: str) -> Path:
        """The file on this node, to be read only, and within the hour.

        Raises FileNotFoundError, BlobDamaged.
        """
        ...

    def is_here(self, sha256: str) -> bool:
        """True when this node has the file."""
        ...

    def exists(self, sha256: str) -> bool:
        """True when the file is there, on this node or another."""
        ...

    def delete(self, sha256: str) -> None:
        """Removes the file, or remembers durably that it has to be removed.

        See `deletions`. Nothing happens when it is absent.
        """
        ...

    def entries(self) -> Iterator[BlobEntry]:
        """Every file with its age, in no order."""
        ...

    def url(self, sha256: str, *, filename: str, expires_s: int) -> str | None:
        """An address from which anybody downloads the file for `expires_s` seconds.

        The download is named `filename`. None where there is no such address: the store is a folder, or the file has
        not been shared yet.
        """
        ...

    def scratch(self) -> Path:
        """A folder for files on their way in, from which `adopt` only has to move them."""
        ...

    def push_pending(self) -> None:
        """Shares what `share` could not, oldest first.

        What an upload under way has just adopted is left to it.
        """
        ...

    def deletions(self) -> Sequence[str]:
        """Deletions that can be carried out now, for `settle`.

        Empty while the files cannot be reached.
        """
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


def is_sha256(text: str) -> bool:
    """True for a SHA-256 in lower-case hex."""
    return _SHA256.fullmatch(text) is not None


def check_sha256(text: str) -> None:
    """Raises ValueError when `text` is no SHA-256 in lower-case hex."""
    if not is_sha256(text):
        raise ValueError(f"{text[:80]!r} is not a SHA-256 in lower-case hex")
