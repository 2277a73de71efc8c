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
QUEUED_JOB_EXAMPLE: dict[str, Any] = {
    **JOB_EXAMPLE,
    "status": "queued",
    "stage": None,
    "progress": {"percent": 0.0, "pages_done": 0, "pages_total": 0},
    "queue_position": 0,
    "attempts": 0,
    "started_at": None,
    "heartbeat_at": None,
}


class ProgressModel(Answer):
    """How far a job is."""

    percent: float = Field(description="0 to 100")
    pages_done: int = Field(description="Pages that have been read")
    pages_total: int = Field(description="Pages of the document; 0 until they have been counted")


class JobReference(Answer):
    """Which job a document has; GET /v1/jobs/{id} tells more."""

    id: str = Field(description="UUID of the job")
    object: Literal["job"] = Field("job", description="Always `job`")
    status: JobStatus = Field(description="As `status` of the job")


class JobModel(Answer):
    """A piece of background work."""

    model_config = ConfigDict(json_schema_extra={"example": JOB_EXAMPLE})

    id: str = Field(description="UUID of the job")
    object: Literal["job"] = Field("job", description="Always `job`")
    type: str = Field(description="`ingest` or `backfill_image_vectors`")
    document_id: str | None = Field(description="The document that is read; null for `backfill_image_vectors`")
    status: JobStatus = Field(description="It ends as `completed`, `completed_with_errors`, `failed` or `cancelled`")
    stage: str | None = Field(description="detecting, extracting, ocr, images, chunking, embedding or storing")
    progress: ProgressModel = Field(description="How far the job is")
    queue_position: int | None = Field(description="Jobs queued before it, from 0; null unless it is queued")
    attempts: int = Field(description="How often a worker has started it")
    created_at: str = Field(description="Time when it was queued (RFC 3339, UTC)")
    started_at: str | None = Field(description="Time of the last start; null before the first")
    heartbeat_at: str | None = Field(
        description="Time when its worker last said that it is alive; null before the first start"
    )
    finished_at: str | None = Field(description="Time when it ended; null until then")
    warnings: list[IssueModel] = Field(description="What went wrong with parts of the document")
    error: ProblemModel | None = Field(description="Why it failed; null otherwise")


def job_model(view: JobView) -> JobModel:
    """The job with its problem in the words of an HTTP error."""
    error = stored_problem_json(view.job.error, instance=f"/v1/jobs/{view.job.job_id}")
    return JobModel.model_validate({**view.as_json(), "error": error})
