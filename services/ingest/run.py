"""What an ingest asks of the job that it runs in; services.jobs.run implements it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from database.records import JobRecord


class Run(Protocol):
    """One attempt at a job, as the function sees it that does the job's work."""

    @property
    def job(self) -> JobRecord: ...

    @property
    def scratch(self) -> Path:
        """Folder for the job's temporary files, on the blobs' filesystem."""

    def tick(self) -> None:
        """Writes the heartbeat when it is due.

        Raises an exception of the job's own when the job must end now.
        """

    def progress(
        self, stage: str, *, pages_done: int | None = None, pages_total: int | None = None, percent: float | None = None
    ) -> None:
        """Notes how far the job is; what is left out stays as it was."""
