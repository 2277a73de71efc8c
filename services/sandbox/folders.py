"""The private folder of one document: made before its child starts, gone afterwards, even when the server is killed.

The process that made a folder holds a lock on it, which the system frees when that process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_log = logging.getLogger(__name__)

PREFIX = "parse-"


@contextmanager
def private_folder(scratch: Path) -> Iterator[Path]:
    """An empty folder below `scratch` that nobody else can enter, valid inside the block."""
    with _locked(scratch, fcntl.LOCK_SH):  # no sweep comes between the folder and its lock
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=scratch))
        lock = os.open(folder, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        remove(folder)
        os.close(lock)


def sweep_folders(scratch: Path) -> int:
    """Removes the private folders below `scratch` whose process has ended; how many there were."""
    count = 0
    with _locked(scratch, fcntl.LOCK_EX):
        for folder in scratch.glob(f"{PREFIX}*"):
            try:
                with _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
                    remove(folder)
                count += 1
            except (BlockingIOError, FileNotFoundError):
                continue
    return count


@contextmanager
def _locked(folder: Path, kind: int) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, kind)
        yield
    finally:
        os.close(descriptor)


def remove(folder: Path) -> None:
    """Removes `folder`, whatever a child has made of it: without rights, or nested deeper than a path can say.

    Each folder inside is moved up to the top before it is emptied, so that no path grows and nothing recurses.
    """
    todo = [folder]
    moved = 0
    while todo:
        current = todo[-1]
        with suppress(OSError):
            current.chmod(0o700)
        inner: list[Path] = []
        try:
            with os.scandir(current) as entries:
                for entry in entries:
                    if not entry.is_dir(follow_symlinks=False):
                        os.unlink(entry.path)
                    elif current == folder:
                        inner.append(Path(entry.path))
                    else:
                        moved += 1
                        up = folder / f".moved-{moved}"
                        os.chmod(entry.path, 0o700)  # a folder that changes its parent has to be writable itself
                        os.rename(entry.path, up)
                        inner.append(up)
            if inner:
                todo += inner
                continue
            current.rmdir()
        except FileNotFoundError:
            pass
        except OSError as error:
            _log.warning("a folder of a parsing process could not be removed: %s", error)
            return
        todo.pop()
