"""Takes over the files that a parsing child has written: each is copied and checked through one open descriptor.

The child may have been taken over by the file that it reads, and it goes on to run while its files are looked at. So
nothing is checked by its path and used later: between the two the child could put a symbolic link, or other bytes, in
its place.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from services.errors import error_from
from services.sandbox.problems import output_problem

_SHA256 = re.compile(r"[0-9a-f]{64}")
_STEP_BYTES = 1024**2
_MAX_NAME_CHARS = 200
_BLOCK_BYTES = 4096
"""Room that the smallest file takes on disk, with its name."""


class ReceivedFiles:
    """Copies of the files that a child hands over, in a folder that the child cannot write to. For one thread."""

    def __init__(self, folder: int, target: Path, *, max_bytes: int) -> None:
        """`folder` is a descriptor of the child's folder, opened before the child was started.

        `max_bytes` bounds the copies together, also those that were moved away since: the child's own room is free
        again with each file, and a file with holes costs it none.
        """
        self._folder, self._target, self._max_bytes = folder, target, max_bytes
        self._count = self._bytes = 0

    def take(self, name: str, sha256: str) -> Path:
        """A copy of the child's file `name`, which holds exactly what `sha256` (lower-case hex) says.

        The child's own file is removed. Raises ValueError where the file is not there, is a link or no regular file, or
        holds anything else, and TooLarge (`parse_output_limit`) where it is more than may still be handed over.
        """
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            raise ValueError("a file's digest is not valid")
        path, found = self._copy(name)
        if found != sha256:
            path.unlink()
            raise ValueError("a file's digest is wrong")
        return path

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """What the child's file `name` holds. Raises as `take`."""
        path, _ = self._copy(name)
        try:
            if path.stat().st_size > max_bytes:
                raise ValueError("a file is too large")
            return path.read_bytes()
        finally:
            path.unlink()

    def _copy(self, name: str) -> tuple[Path, str]:
        """The path and the SHA-256 of a copy of the child's file."""
        if not isinstance(name, str) or not 1 <= len(name) <= _MAX_NAME_CHARS:
            raise ValueError("a file's name is not valid")
        if "/" in name or "\0" in name or name in (".", ".."):
            raise ValueError("a file's path leaves the folder")
        # O_NONBLOCK: a named pipe would be waited for.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            descriptor = os.open(name, flags, dir_fd=self._folder)
        except OSError as error:
            raise ValueError("a file is not there") from error
        with ExitStack() as undo:
            undo.callback(os.close, descriptor)
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
                raise ValueError("a file is not a regular file of its own")
            source = undo.enter_context(open(descriptor, "rb", buffering=0, closefd=False))
            self._count += 1
            copy = self._target / str(self._count)  # the child's name with a number might be too long for a name
            digest, left = hashlib.sha256(), self._max_bytes - self._bytes
            if left < 0:
                raise error_from(output_problem(self._max_bytes))
            with ExitStack() as incomplete, open(copy, "xb", opener=_opened_by_owner_only) as target:
                incomplete.callback(copy.unlink, missing_ok=True)
                while step := source.read(_STEP_BYTES):
                    left -= len(step)
                    if left < 0:  # the child may go on to write as long as it is read
                        raise error_from(output_problem(self._max_bytes))
                    digest.update(step)
                    target.write(step)
                incomplete.pop_all()
            self._bytes += max(_BLOCK_BYTES, self._max_bytes - self._bytes - left)
        with suppress(OSError):  # whatever the child has put there meanwhile goes with its folder
            os.unlink(name, dir_fd=self._folder)
        return copy, digest.hexdigest()


def _opened_by_owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextmanager
def receiving(folder: Path, target: Path, *, max_bytes: int) -> Iterator[ReceivedFiles]:
    """Files from `folder`, copied to `target`; both exist and are empty, and no child has been started in `folder` yet.

    A child may rename `folder` and put a link there: the descriptor goes on to mean the folder that was made for it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield ReceivedFiles(descriptor, target, max_bytes=max_bytes)
    finally:
        os.close(descriptor)
