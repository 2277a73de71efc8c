"""Writes files to this node's disk so that they survive a loss of power."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from pathlib import Path

from database.ids import new_id


def require_regular(path: Path) -> None:
    """Raises ValueError when `path` is a link or no regular file.

    Raises FileNotFoundError when it is not there.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise ValueError("only regular files are stored")


def holds(path: Path, sha256: str) -> bool:
    """True when `path` is a regular file with the content that `sha256` stands for.

    A link is none. Reads all of the file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def take_over(path: Path, target: Path, *, staging: Path) -> None:
    """Moves `path` to `target`, readable by its owner only.

    On return it survives a loss of power. From another file system it is copied by way of the folder `staging`.
    """
    try:
        flush(path)
        path.chmod(0o600)
        path.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        staged = staging / new_id()
        try:
            shutil.copyfile(path, staged)
            staged.chmod(0o600)
            flush(staged)
            staged.replace(target)
        finally:
            staged.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    flush(target.parent)


def make_folders(folder: Path, root: Path) -> None:
    """Makes `folder` and what is missing above it up to `root`.

    Each new name is on the disk afterwards.
    """
    if folder.is_dir():
        return
    if folder == root:
        folder.parent.mkdir(parents=True, exist_ok=True)
    else:
        make_folders(folder.parent, root)
    folder.mkdir(mode=0o700, exist_ok=True)
    flush(folder.parent)


def flush(path: Path) -> None:
    """Writes a file's content, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
