"""Reads, lists, cancels and retries jobs, and asks for the backfill."""

from __future__ import annotations

from collections.abc import Sequence

from database.documents import children, documents
from database.jobs import jobs as job_rows
from database.records import TERMINAL_STATUSES, Actor, ListPage
from services.errors import Conflict, NotFound
from services.queue.job_view import JobView
from services.queue.submission import release_stopped
from services.runtime import Runtime


def get_job(runtime: Runtime, actor: Actor, job_id: str) -> JobView:
    """The job as it is now. Raises NotFound."""
    with runtime.store.begin(actor) as tx:
        job = job_rows.get(tx, job_id)
        if job is None:
            raise no_job(job_id)
        return JobView(job, job_rows.queue_position(tx, job))


def list_jobs(
    runtime: Runtime,
    actor: Actor,
    *,
    status: Sequence[str] = (),
    document_id: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> ListPage[JobView]:
    """Jobs, newest first. Raises ValueError for a malformed cursor."""
    with runtime.store.begin(actor) as tx:
        page = job_rows.list_page(tx, status=status, document_id=document_id, limit=limit, cursor=cursor)
        views = [JobView(job, job_rows.queue_position(tx, job)) for job in page.data]
    return ListPage(views, page.next_cursor)


def cancel(runtime: Runtime, actor: Actor, job_id: str) -> JobView:
    """Cancels a queued job at once, and asks a running one to stop.

    With it end the jobs of the documents inside its own. Raises NotFound, and Conflict when it has ended.
    """
    stopped: list[str] = []
    with runtime.store.begin(actor, write=True) as tx:
        before = job_rows.get(tx, job_id)
        if before is None:
            raise no_job(job_id)
        if before.status in TERMINAL_STATUSES:
            raise Conflict(f"The job is {before.status} already and cannot be cancelled.", code="job_ended")
        job_rows.request_cancel(tx, job_id)  # first, so that the last child to end finds it to be cancelled
        if before.document_id is not None:
            stopped = children.cancel_inside(tx, before.document_id)
        after = job_rows.get(tx, job_id)
    if after is not None and after.status == "cancelled":
        runtime.passwords.forget(job_id)
    release_stopped(runtime.passwords, runtime.notifier, stopped)
    runtime.notifier.changed()
    return get_job(runtime, actor, job_id)


def retry(runtime: Runtime, actor: Actor, job_id: str) -> JobView:
    """Queues a failed or cancelled job again.

    Raises NotFound, and Conflict in any other state.
    """
    with runtime.store.begin(actor, write=True) as tx:
        before = job_rows.get(tx, job_id)
        if before is None:
            raise no_job(job_id)
        if before.status not in ("failed", "cancelled"):
            raise Conflict(
                f"The job is {before.status}; only a failed or cancelled job can be retried.", code="job_not_ended"
            )
        if before.document_id is not None:
            latest = documents.latest_job(tx, before.document_id)
            if latest is not None and latest.job_id != job_id:
                raise Conflict(
                    "A later job has taken this one's place; retry that one, or reprocess the document.",
                    code="job_superseded",
                )
        job_rows.retry(tx, job_id)
    runtime.queue.announce(job_id)
    return get_job(runtime, actor, job_id)


def add_backfill(runtime: Runtime, actor: Actor) -> JobView:
    """Queues the job that computes missing picture vectors, unless one is queued."""
    with runtime.store.begin(actor, write=True) as tx:
        job = job_rows.add(tx, type="backfill_image_vectors")
    runtime.queue.announce(job.job_id)
    return get_job(runtime, actor, job.job_id)


def no_job(job_id: str) -> NotFound:
    """The error for an id that none of the actor's jobs has."""
    return NotFound(
        f"There is no job {job_id[:64]!r}. `GET /v1/jobs` or `docatlas jobs list` shows those there are.",
        code="job_not_found",
    )
