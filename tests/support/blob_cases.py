"""What the tests of blobs share: files that an upload brings and that are kept."""

from __future__ import annotations

import hashlib
from pathlib import Path

from database.blobs.base import BlobStore


def keep(blobs: BlobStore, path: Path, sha256: str) -> None:
    """Stores a file as an upload does."""
    blobs.adopt(path, sha256)
    blobs.share([sha256])


def bring(folder: Path, content: bytes, name: str = "incoming") -> tuple[Path, str]:
    path = folder / name
    path.write_bytes(content)
    return path, hashlib.sha256(content).hexdigest()
