"""Jobs: what each type does, how one is run and recorded, and what a client may do with it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from database.documents import children, documents, generations
from database.errors import StoreError, StoreUnavailable
from database.ids import format_time, now
from database.jobs import jobs as job_rows
from database.jobs import waiting
from database.records import TERMINAL_STATUSES, Actor, JobRecord, ListPage, worker_for
from database.store import Transaction
from services.allocator import return_free_memory
from services.errors import Conflict, DocatlasError, InternalError, NotFound, TooLarge, TransientError
from services.ingest.children import options_inside
from services.ingest.image_vectors import fill_image_vectors
from services.ingest.ingest import EXTRACTION_PERCENT, IngestReport, ingest_document
from services.queue.queue import JobView
from services.queue.submission import announce, keeping_password, remove_unreferenced, stop_jobs
from services.runtime import Runtime
from services.storage import translate_os_error, translate_store_error

_log = logging.getLogger(__name__)

SCRATCH_PREFIX = "worker-"

MAX_CLAIMS = 25
"""A job whose process died this often while it ran is given up: it is probably what kills the process."""


class JobStopped(Exception):
    """The job must end now: `cancel` by its owner, `lost` to another worker, or `shutdown` of this one."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class JobRun:
    """One attempt at a job: beats the heart, records progress, and hears that it must stop. For one thread."""

    def __init__(self, job: JobRecord, runtime: Runtime, worker_id: str, should_stop: Callable[[], bool]) -> None:
        self.job = job
        self.scratch = job_scratch(runtime, worker_id)
        self._runtime, self._worker_id, self._should_stop = runtime, worker_id, should_stop
        self._actor = worker_for(job.user_id)
        self._began = self._last_beat = time.monotonic()
        self._stage: str | None = None
        self._pages: tuple[int | None, int | None] = (None, None)
        self._percent: float | None = None

    def tick(self) -> None:
        """Beats the heart every `heartbeat_s`. Raises JobStopped, or TooLarge when the job's time is up."""
        if self._should_stop():
            raise JobStopped("shutdown")
        now = time.monotonic()
        timeout_s = JOBS[self.job.type].timeout_s
        if now - self._began > timeout_s:
            raise TooLarge(
                f"The job took longer than {timeout_s / 3600:.0f} hours and was stopped. Split the document.",
                code="job_timeout",
            )
        if now - self._last_beat >= self._runtime.settings.heartbeat_s:
            self._beat()

    def progress(
        self, stage: str, *, pages_done: int | None = None, pages_total: int | None = None, percent: float | None = None
    ) -> None:
        """Notes how far the job is; written at the next heartbeat, at once when the stage changes."""
        changed = stage != self._stage
        self._stage = stage
        if pages_done is not None:
            self._pages = (pages_done, pages_total)
            if pages_total:
                self._percent = round(EXTRACTION_PERCENT * min(1.0, pages_done / pages_total), 1)
        if percent is not None:
            self._percent = percent
        if changed and time.monotonic() - self._last_beat >= 0.2:
            self._beat()

    def _beat(self) -> None:
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
    """The folder for the temporary files of this worker's jobs; the next holder of the lease removes it whole."""
    folder = runtime.blobs.scratch() / f"{SCRATCH_PREFIX}{worker_id}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What a type of job does and how often it is tried."""

    function: Callable[[Runtime, JobRun], IngestReport | None]
    max_attempts: int
    """Attempts in all when they end in a TransientError."""
    backoff_s: float
    """Before the second attempt; doubled for each one after it."""
    timeout_s: float


def _ingest(runtime: Runtime, run: JobRun) -> IngestReport:
    assert run.job.document_id is not None
    return ingest_document(run.job.document_id, runtime=runtime, run=run)


def _backfill(runtime: Runtime, run: JobRun) -> None:
    fill_image_vectors(runtime, run)


JOBS: Mapping[str, JobSpec] = {
    "ingest": JobSpec(_ingest, max_attempts=5, backoff_s=2.0, timeout_s=6 * 3600.0),
    "backfill_image_vectors": JobSpec(_backfill, max_attempts=5, backoff_s=10.0, timeout_s=24 * 3600.0),
}


def run_claimed_job(
    job: JobRecord, runtime: Runtime, worker_id: str, should_stop: Callable[[], bool] = lambda: False
) -> None:
    """Runs a job that this worker has claimed, and records how it ended. Never raises for what the job did."""
    run = JobRun(job, runtime, worker_id, should_stop)
    spec = JOBS[job.type]
    try:
        if job.attempts > MAX_CLAIMS:
            raise InternalError(
                f"The job was started {MAX_CLAIMS} times and its process died each time. "
                "Look into the server's log, then retry it.",
                code="worker_lost",
            )
        with translate_os_error():
            report = spec.function(runtime, run)
            _record_success(run, runtime, worker_id, report)
        runtime.passwords.forget(job.job_id)  # not before the end is written: an attempt more would need it
    except JobStopped as stop:
        _record_stop(run, runtime, worker_id, stop.reason)
    except TransientError as error:
        _record_transient(run, runtime, worker_id, spec, error)
    except StoreUnavailable as error:
        # Not the job's fault, and perhaps for long: it goes back into its queue as it is, where that can be written.
        _log.warning("job %s is left until the database works again: %s", job.job_id, error)
        _record_stop(run, runtime, worker_id, "shutdown")
    except StoreError as error:
        _log.warning("job %s: %s", job.job_id, error)
        told = translate_store_error(error)
        if isinstance(told, TransientError):
            _record_transient(run, runtime, worker_id, spec, told)
        else:
            _record_failure(run, runtime, worker_id, told)
    except DocatlasError as error:
        _record_failure(run, runtime, worker_id, error)
    except Exception:
        # The boundary of a job: a defect of ours ends this job with a code and must not end the worker.
        _log.exception("job %s failed unexpectedly", job.job_id)
        _record_failure(
            run,
            runtime,
            worker_id,
            InternalError("An internal error ended this job; the server's log has the details under the job's id."),
        )
    return_free_memory()
    runtime.notifier.changed()
    runtime.queue.notify(job.job_id)  # another job of the same document may be free now


def _record_success(run: JobRun, runtime: Runtime, worker_id: str, report: IngestReport | None) -> None:
    """Switches readers to the generation and ends the job, in one transaction; then clears what it replaces.

    Where the document holds others, the same transaction queues their jobs, and the last of them ends this one.
    """
    job, actor = run.job, worker_for(run.job.user_id)
    password = runtime.passwords.of(job.job_id)
    if report is None or job.document_id is None:
        with runtime.store.begin(actor, write=True) as tx:
            job_rows.finish(tx, job.job_id, worker_id=worker_id, status="completed")
        return
    summary = report.summary
    with keeping_password(runtime, password) as keep, runtime.store.begin(actor, write=True) as tx:
        current = job_rows.get(tx, job.job_id)
        if current is None or current.worker_id != worker_id or current.status not in ("in_progress", "cancelling"):
            return
        if current.status == "cancelling":
            _discard(tx, job)
            job_rows.finish(tx, job.job_id, worker_id=worker_id, status="cancelled")
            return
        generations.publish(tx, job.document_id, job.generation, summary)
        inside = children.queue(tx, job.document_id, job.generation, report.children, options_inside(job.options))
        for child in inside.jobs:
            keep(child)
        if report.children:
            _wait_for_children(tx, job, worker_id, report)
        else:
            job_rows.heartbeat(
                tx,
                job.job_id,
                worker_id=worker_id,
                stage="storing",
                pages_done=report.pages_read,
                pages_total=report.pages_read,
                percent=100.0,
            )
            job_rows.finish(tx, job.job_id, worker_id=worker_id, status=summary.status, warnings=summary.warnings)
        left = generations.drop_other_generations(tx, job.document_id, job.generation)
    remove_unreferenced(runtime, inside.released)
    stop_jobs(runtime, [job.job_id, *inside.superseded])
    announce(runtime, inside.jobs)
    while left:  # last, for where the store is busy meanwhile the sweep does it
        with runtime.store.begin(actor, write=True) as tx:
            left = generations.drop_other_generations(tx, job.document_id, job.generation)


def _wait_for_children(tx: Transaction, job: JobRecord, worker_id: str, report: IngestReport) -> None:
    assert job.document_id is not None
    waiting.begin_to_wait(
        tx,
        job.job_id,
        worker_id=worker_id,
        warnings=report.summary.warnings,
        pages_done=report.pages_read,
        children=len(report.children),
    )
    waiting.settle(tx, job.document_id)


def _discard(tx: Transaction, job: JobRecord) -> None:
    """Removes what a run that does not come to its end has stored."""
    if job.document_id is not None:
        generations.discard_generation(tx, job.document_id, job.generation)
        children.discard_unqueued(tx, job.document_id)


def _record_stop(run: JobRun, runtime: Runtime, worker_id: str, reason: str) -> None:
    job, actor = run.job, worker_for(run.job.user_id)
    if reason == "lost":
        runtime.passwords.forget(job.job_id)
        return
    with runtime.store.begin(actor, write=True) as tx:
        if reason == "cancel":
            _discard(tx, job)
            job_rows.finish(tx, job.job_id, worker_id=worker_id, status="cancelled")
            runtime.passwords.forget(job.job_id)
        else:
            job_rows.retry_later(tx, job.job_id, worker_id=worker_id, run_after=now(), error=None)


def _record_transient(run: JobRun, runtime: Runtime, worker_id: str, spec: JobSpec, error: TransientError) -> None:
    job = run.job
    if job.attempts >= spec.max_attempts:
        _record_failure(run, runtime, worker_id, error)
        return
    delay_s = max(error.retry.after_s, spec.backoff_s * 2 ** (job.attempts - 1))
    run_after = format_time(datetime.now(UTC) + timedelta(seconds=delay_s))
    with runtime.store.begin(worker_for(job.user_id), write=True) as tx:
        job_rows.retry_later(
            tx,
            job.job_id,
            worker_id=worker_id,
            run_after=run_after,
            error=error.problem.as_json(),
        )


def _record_failure(run: JobRun, runtime: Runtime, worker_id: str, error: DocatlasError) -> None:
    job = run.job
    runtime.passwords.forget(job.job_id)
    with runtime.store.begin(worker_for(job.user_id), write=True) as tx:
        _discard(tx, job)
        job_rows.finish(tx, job.job_id, worker_id=worker_id, status="failed", error=error.problem.as_json())


def get_job(runtime: Runtime, actor: Actor, job_id: str) -> JobView:
    """The job as it is now. Raises NotFound."""
    with runtime.store.begin(actor) as tx:
        job = job_rows.get(tx, job_id)
        if job is None:
            raise _no_job(job_id)
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
    """Cancels a queued job at once and asks a running one to stop, and with it those of the documents inside its own.

    Raises NotFound, and Conflict when it has ended.
    """
    stopped: list[str] = []
    with runtime.store.begin(actor, write=True) as tx:
        before = job_rows.get(tx, job_id)
        if before is None:
            raise _no_job(job_id)
        if before.status in TERMINAL_STATUSES:
            raise Conflict(f"The job is {before.status} already and cannot be cancelled.", code="job_ended")
        job_rows.request_cancel(tx, job_id)  # first, so that the last child to end finds it to be cancelled
        if before.document_id is not None:
            stopped = children.cancel_inside(tx, before.document_id)
        after = job_rows.get(tx, job_id)
    if after is not None and after.status == "cancelled":
        runtime.passwords.forget(job_id)
    stop_jobs(runtime, stopped)
    runtime.notifier.changed()
    return get_job(runtime, actor, job_id)


def retry(runtime: Runtime, actor: Actor, job_id: str) -> JobView:
    """Queues a failed or cancelled job again. Raises NotFound, and Conflict in any other state."""
    with runtime.store.begin(actor, write=True) as tx:
        before = job_rows.get(tx, job_id)
        if before is None:
            raise _no_job(job_id)
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
    runtime.queue.notify(job_id)
    return get_job(runtime, actor, job_id)


def add_backfill(runtime: Runtime, actor: Actor) -> JobView:
    """Queues the job that computes the missing picture vectors; one that is queued already is returned."""
    with runtime.store.begin(actor, write=True) as tx:
        job = job_rows.add(tx, type="backfill_image_vectors")
    runtime.queue.notify(job.job_id)
    return get_job(runtime, actor, job.job_id)


def _no_job(job_id: str) -> NotFound:
    return NotFound(f"There is no job {job_id[:64]!r}.", code="job_not_found")


def job_json(view: JobView) -> dict[str, Any]:
    """The job in the API's words, but for the problem's HTTP members."""
    job = view.job
    return {
        "id": job.job_id,
        "object": "job",
        "type": job.type,
        "document_id": job.document_id,
        "status": job.status,
        "stage": job.stage,
        "progress": {"percent": job.percent, "pages_done": job.pages_done, "pages_total": job.pages_total},
        "queue_position": view.queue_position,
        "attempts": job.attempts,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "heartbeat_at": job.heartbeat_at,
        "finished_at": job.finished_at,
        "warnings": list(job.warnings),
        "error": job.error,
    }
