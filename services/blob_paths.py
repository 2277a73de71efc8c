"""Where a stored file lies on this node."""

from __future__ import annotations

from pathlib import Path

from services.errors import NotFound
from services.runtime import Runtime


def blob_path(runtime: Runtime, sha256: str) -> Path:
    """The stored file on this node, fetched where it lies elsewhere. Raises NotFound when it is missing, StoreError."""
    try:
        return runtime.blobs.path(sha256)
    except FileNotFoundError as error:
        raise NotFound("The stored file is missing. Upload the document again.", code="file_missing") from error
