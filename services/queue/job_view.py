"""A job as clients see it: over HTTP, from a command, in a message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from database.records import TERMINAL_STATUSES, JobRecord


@dataclass(frozen=True, slots=True)
class JobView:
    """A job and its place in the queue."""

    job: JobRecord
    queue_position: int | None
    """Jobs queued before it, from 0; None unless it is queued."""

    @property
    def is_terminal(self) -> bool:
        return self.job.status in TERMINAL_STATUSES

    def as_json(self) -> dict[str, Any]:
        """The members that every client gets.

        `error` is `Problem.as_json`, to which HTTP adds members of its own.
        """
        job = self.job
        return {
            "id": job.job_id,
            "object": "job",
            "type": job.type,
            "document_id": job.document_id,
            "status": job.status,
            "stage": job.stage,
            "progress": {"percent": job.percent, "pages_done": job.pages_done, "pages_total": job.pages_total},
            "queue_position": self.queue_position,
            "attempts": job.attempts,
            "created_at": job.created_at,
            "started_at": job.started_at,
            "heartbeat_at": job.heartbeat_at,
            "finished_at": job.finished_at,
            "warnings": list(job.warnings),
            "error": job.error,
        }
