"""What a job's function hears from and says to the machinery that runs it; see services.jobs.jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from database.records import JobRecord


class Run(Protocol):
    """What a running job says of itself while it works."""

    @property
    def job(self) -> JobRecord: ...

    @property
    def scratch(self) -> Path:
        """Folder for the job's temporary files, on the blobs' filesystem."""

    def tick(self) -> None:
        """Beats the heart when it is time. Raises JobStopped when the job must end now."""

    def progress(
        self, stage: str, *, pages_done: int | None = None, pages_total: int | None = None, percent: float | None = None
    ) -> None:
        """Records how far the job is."""
