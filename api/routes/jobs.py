"""Jobs: list, read or wait for, cancel, retry."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from api.http.dependencies import ActorDep, JobId, PagingDep, RuntimeDep
from api.models.base import ListModel, page_of
from api.models.jobs import JobModel, JobStatus, job_model
from services.filters import refusing_bad_queries
from services.jobs import client

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

MAX_WAIT_S = 60.0


@router.get("", response_model=ListModel[JobModel], summary="List jobs")
def list_jobs(
    runtime: RuntimeDep,
    actor: ActorDep,
    paging: PagingDep,
    status: Annotated[
        list[JobStatus] | None,
        Query(description="Only with one of these; may come several times", examples=[["failed"]]),
    ] = None,
    document_id: Annotated[str | None, Query(max_length=64, description="Only jobs of this document")] = None,
) -> dict[str, Any]:
    """Newest first."""
    with refusing_bad_queries():
        found = client.list_jobs(
            runtime, actor, status=status or (), document_id=document_id, limit=paging.limit, cursor=paging.cursor
        )
    return page_of([job_model(view) for view in found.data], found.next_cursor)


@router.get("/{job_id}", response_model=JobModel, summary="Read a job, or wait for it")
async def get_job(
    job_id: JobId,
    runtime: RuntimeDep,
    actor: ActorDep,
    wait: Annotated[
        float, Query(ge=0, le=MAX_WAIT_S, allow_inf_nan=False, description="Seconds to wait for its end", examples=[20])
    ] = 0.0,
) -> JobModel:
    """With `wait` the answer comes when the job has ended, or after that many seconds with the job as it is then."""
    # One thread of the notifier looks for all who wait: a waiter holds neither a thread nor a connection.
    view = await runtime.notifier.wait(job_id, actor, wait)
    if view is None:
        raise client.no_job(job_id)
    return job_model(view)


@router.post("/{job_id}/cancel", response_model=JobModel, summary="Cancel a job")
def cancel_job(job_id: JobId, runtime: RuntimeDep, actor: ActorDep) -> JobModel:
    """A queued job is cancelled at once; a running one is `cancelling` until it has stopped."""
    return job_model(client.cancel(runtime, actor, job_id))


@router.post("/{job_id}/retry", response_model=JobModel, summary="Try a job again")
def retry_job(job_id: JobId, runtime: RuntimeDep, actor: ActorDep) -> JobModel:
    """Queues a failed or cancelled job again."""
    return job_model(client.retry(runtime, actor, job_id))
