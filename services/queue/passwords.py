"""Passwords of encrypted documents, for as long as their jobs need them: in memory only, never stored or logged."""

from __future__ import annotations

import threading


class PasswordVault:
    """Holds passwords by job id. Thread-safe; a restart forgets them all, and the job then says so."""

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
