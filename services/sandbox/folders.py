"""The private folder of one document: made before its child starts, gone afterwards, even when the server is killed.

The process that made a folder holds a lock on it, which the system frees when that process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import itertools
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_log = logging.getLogger(__name__)

PREFIX = "parse-"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


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

    A process of the child may still run and put a link in a folder's place, so each folder is opened once, without
    following a link, and emptied by that descriptor. The folders inside are moved up to the top one by one before they
    are emptied, so that nothing recurses; `folder` itself lies where no child writes.
    """
    try:
        folder.chmod(0o700)
        top = os.open(folder, _FOLDER)
    except FileNotFoundError:
        return
    except OSError as error:
        _log.warning("a folder of a parsing process could not be removed: %s", error)
        return
    try:
        moved = itertools.count(1)
        todo = _empty(top, top, moved)
        while todo:
            name = todo.pop()
            _unlock(name, top)
            inner = os.open(name, _FOLDER, dir_fd=top)
            try:
                todo += _empty(inner, top, moved)
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=top)
        folder.rmdir()
    except OSError as error:
        _log.warning("a folder of a parsing process could not be removed: %s", error)
    finally:
        os.close(top)


def _empty(folder: int, top: int, moved: Iterator[int]) -> list[str]:
    """Removes the files in `folder` and moves its folders up to `top`; their names there."""
    names: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.name, dir_fd=folder)
            elif folder == top:
                names.append(entry.name)
            else:
                up = f".moved-{next(moved)}"
                _unlock(entry.name, folder)  # a folder that changes its parent has to be writable itself
                os.rename(entry.name, up, src_dir_fd=folder, dst_dir_fd=top)
                names.append(up)
    return names


def _unlock(name: str, parent: int) -> None:
    """Gives the owner all rights on the folder `name` in `parent`; raises OSError where it is a link by now."""
    if not hasattr(os, "O_PATH"):
        os.chmod(name, 0o700, dir_fd=parent, follow_symlinks=False)
        return
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{handle}", 0o700)
    finally:
        os.close(handle)
