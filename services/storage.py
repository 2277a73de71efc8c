"""Finds and removes stored files, and translates errors of the stores."""

from __future__ import annotations

import errno
import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from database.blobs.base import BlobStore
from database.documents import documents
from database.errors import BlobDamaged, BlobsUnavailable, RowRefused, StoreError, StoreUnavailable
from database.fallback.base import Fallback
from database.store import Transaction
from services.errors import DocatlasError, InternalError, NotFound, Retry, TransientError
from services.settings import Settings

_log = logging.getLogger(__name__)


def blob_path(blobs: BlobStore, sha256: str) -> Path:
    """The path of a stored file, fetched to this node where it lies elsewhere.

    Raises NotFound and StoreError.
    """
    try:
        return blobs.path(sha256)
    except FileNotFoundError as error:
        raise NotFound("The stored file is missing. Upload the document again.", code="file_missing") from error


def require_original(blobs: BlobStore, settings: Settings, sha256: str) -> None:
    """Brings an original to this node.

    Raises InternalError, or TransientError where another node may have it yet.
    """
    try:
        blobs.path(sha256)
    except FileNotFoundError as error:
        if settings.blob_storage == "local":
            raise InternalError(
                "The original file is missing from the data folder. Upload the document again."
            ) from error
        raise TransientError(
            "The original file is not in the bucket. The node that took it may not have stored it there yet; "
            "if that node is gone, upload the document again.",
            code="file_missing",
            retry=Retry(45.0),
        ) from error


def remove_unreferenced(fallback: Fallback, blobs: BlobStore, sha256s: Sequence[str]) -> None:
    """Removes those of the files that no document refers to any more.

    Call it once the deletion is committed. A process that dies before it leaves the files to the worker's sweep.
    """
    if not sha256s:
        return
    try:
        with fallback.all_references() as transactions:
            for sha256 in unreferenced(transactions, sha256s):
                blobs.delete(sha256)
    except StoreUnavailable as error:
        _log.warning("files are left to the sweep, which removes what nobody refers to: %s", error)


def unreferenced(transactions: Sequence[Transaction], sha256s: Collection[str]) -> list[str]:
    """Those of `sha256s` that no document refers to in any database.

    None where not all can be asked.
    """
    left = set(sha256s) if transactions else set()
    for tx in transactions:
        left &= set(documents.unreferenced(tx, left))
    return sorted(left)


def translate_store_error(error: StoreError) -> DocatlasError:
    """What clients and jobs are told of `error`, whose own text is for the log."""
    if isinstance(error, BlobsUnavailable):
        return TransientError(
            "The stored files cannot be reached at the moment. Try again; `/health` tells more.",
            code="files_unavailable",
            retry=Retry(10.0),
        )
    if isinstance(error, BlobDamaged):
        return InternalError(
            "The stored file is damaged. Delete the document and upload it again.", code="file_damaged"
        )
    if isinstance(error, RowRefused):
        return InternalError("The database refused what was to be stored; the server's log has the details.")
    if isinstance(error, StoreUnavailable):
        return TransientError(
            "The database cannot be reached at the moment. Try again; `/health` tells more.",
            code="database_unavailable",
        )
    return TransientError(
        "The database is busy or cannot be written. Try again in a moment.", code="store_busy", retry=Retry(1.0)
    )


@contextmanager
def translate_os_error() -> Iterator[None]:
    """Turns a full disk, quota or file table into TransientError (`storage_full`).

    Other errors pass.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE):
            raise TransientError(
                "There is no room to store the file. The operator has to free disk space.",
                code="storage_full",
                retry=Retry(60.0),
            ) from error
        raise
