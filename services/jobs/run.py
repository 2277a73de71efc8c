"""One attempt at a job: its heartbeat, progress, folder and reasons to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from database.jobs import jobs as job_rows
from database.records import JobRecord, worker_for
from services.errors import TooLarge
from services.runtime import Runtime

SCRATCH_PREFIX = "worker-"


class JobStopped(Exception):
    """The job must end now.

    The reason is `cancel` by its owner, `lost` to another worker, or `shutdown` of this one.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class JobRun:
    """One attempt at a job: writes heartbeats and progress, and hears when to stop.

    For one thread.
    """

    def __init__(
        self, job: JobRecord, runtime: Runtime, worker_id: str, should_stop: Callable[[], bool], *, timeout_s: float
    ) -> None:
        self.job = job
        self.scratch = job_scratch(runtime, worker_id)
        self._runtime, self._worker_id, self._should_stop = runtime, worker_id, should_stop
        self._timeout_s = timeout_s
        self._actor = worker_for(job.user_id)
        self._began = self._last_beat = time.monotonic()
        self._stage: str | None = None
        self._pages: tuple[int | None, int | None] = (None, None)
        self._percent: float | None = None

    def tick(self) -> None:
        """Writes the heartbeat every `heartbeat_s`.

        Raises JobStopped, or TooLarge when the job's time is up.
        """
        if self._should_stop():
            raise JobStopped("shutdown")
        now = time.monotonic()
        if now - self._began > self._timeout_s:
            raise TooLarge(
                f"The job took longer than {self._timeout_s / 3600:.0f} hours and was stopped. Split the document.",
                code="job_timeout",
            )
        if now - self._last_beat >= self._runtime.settings.heartbeat_s:
            self._write_heartbeat()

    def progress(
        self, stage: str, *, pages_done: int | None = None, pages_total: int | None = None, percent: float | None = None
    ) -> None:
        """Notes how far the job is, for the next heartbeat.

        A new stage is written at once.
        """
        changed = stage != self._stage
        self._stage = stage
        if pages_done is not None:
            self._pages = (pages_done, pages_total)
        if percent is not None:
            self._percent = percent
        if changed and time.monotonic() - self._last_beat >= 0.2:
            self._write_heartbeat()

    def _write_heartbeat(self) -> None:
        self._last_beat = time.monotonic()
        with self._runtime.store.begin(self._actor, write=True) as tx:
            answer = job_rows.heartbeat(
                tx,
                self.job.job_id,
                worker_id=self._worker_id,
                stage=self._stage,
                pages_done=self._pages[0],
                pages_total=self._pages[1],
                percent=self._percent,
            )
        if answer != "go_on":
            raise JobStopped(answer)


def job_scratch(runtime: Runtime, worker_id: str) -> Path:
    """The folder for temporary files of this worker's jobs.

    The lease's next holder removes it whole.
    """
    folder = runtime.blobs.scratch() / f"{SCRATCH_PREFIX}{worker_id}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
