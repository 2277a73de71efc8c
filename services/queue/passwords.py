"""Keeps passwords of encrypted documents in memory while their jobs need them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager


class PasswordVault:
    """Holds passwords by job id, in memory only; they are never stored or logged.

    Thread-safe. A restart forgets them all, and the job then says so.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._passwords: dict[str, str] = {}

    def keep(self, job_id: str, password: str) -> None:
        with self._lock:
            self._passwords[job_id] = password

    def of(self, job_id: str) -> str | None:
        with self._lock:
            return self._passwords.get(job_id)

    def forget(self, job_id: str) -> None:
        with self._lock:
            self._passwords.pop(job_id, None)

    @contextmanager
    def keeping(self, password: str | None) -> Iterator[Callable[[str], None]]:
        """A function that keeps `password` for the job whose id it is called with.

        Call it before the job's transaction commits: a worker may claim the job the moment it is committed. A block
        that raises, so that nothing is committed, keeps nothing; without a password the function does nothing.
        """
        with ExitStack() as undo:

            def keep(job_id: str) -> None:
                if password is not None:
                    self.keep(job_id, password)
                    undo.callback(self.forget, job_id)

            yield keep
            undo.pop_all()
