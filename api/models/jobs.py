"""Jobs over the wire."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from api.http.errors import stored_problem_json
from api.models.base import EXAMPLE_DOCUMENT_ID, EXAMPLE_JOB_ID, EXAMPLE_TIME, Answer, IssueModel, ProblemModel
from services.queue.job_view import JobView

JobStatus = Literal["queued", "in_progress", "completed", "completed_with_errors", "failed", "cancelling", "cancelled"]

JOB_EXAMPLE: dict[str, Any] = {
    "id": EXAMPLE_JOB_ID,
    "object": "job",
    "type": "ingest",
    "document_id": EXAMPLE_DOCUMENT_ID,
    "status": "in_progress",
    "stage": "ocr",
    "progress": {"percent": 40.0, "pages_done": 4, "pages_total": 10},
    "queue_position": None,
    "attempts": 1,
    "created_at": EXAMPLE_TIME,
    "started_at": EXAMPLE_TIME,
    "heartbeat_at": EXAMPLE_TIME,
    "finished_at": None,
    "warnings": [],
    "error": None,
}


class ProgressModel(Answer):
    """How far a job is."""

    percent: float
    pages_done: int
    pages_total: int


class JobModel(Answer):
    """A piece of background work."""

    model_config = ConfigDict(json_schema_extra={"example": JOB_EXAMPLE})

    id: str
    object: Literal["job"] = "job"
    type: str = Field(description="`ingest` or `backfill_image_vectors`")
    document_id: str | None
    status: JobStatus
    stage: str | None = Field(description="detecting, extracting, ocr, images, chunking, embedding or storing")
    progress: ProgressModel
    queue_position: int | None = Field(description="Jobs queued before it, from 0; null unless it is queued")
    attempts: int
    created_at: str
    started_at: str | None
    heartbeat_at: str | None
    finished_at: str | None
    warnings: list[IssueModel]
    error: ProblemModel | None


def job_model(view: JobView) -> JobModel:
    """The job with its problem in the words of an HTTP error."""
    error = stored_problem_json(view.job.error, instance=f"/v1/jobs/{view.job.job_id}")
    return JobModel.model_validate({**view.as_json(), "error": error})
