"""Translates what the file system, the database and the place of the files refuse."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from database.errors import BlobDamaged, BlobsUnavailable, RowRefused, StoreError, StoreUnavailable
from services.errors import DocatlasError, InternalError, Retry, TransientError


def translate_store_error(error: StoreError) -> DocatlasError:
    """What a client, or a job's record, is told of `error`; its own text is for the log."""
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
    """Turns a full disk, quota or file table into TransientError (`storage_full`); other errors pass."""
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
