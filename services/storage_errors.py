"""Translates what the file system refuses."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from services.errors import Retry, TransientError


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
