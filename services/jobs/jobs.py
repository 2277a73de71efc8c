"""Says what each type of job does, and runs a claimed job."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from database.documents import children, generations
from database.errors import StoreError, StoreUnavailable
from database.ids import format_time, now
from database.jobs import jobs as job_rows
from database.jobs import waiting
from database.records import JobRecord, worker_for
from database.store import Transaction
from services.allocator import return_free_memory
from services.errors import DocatlasError, InternalError, TransientError
from services.ingest.children import options_inside
from services.ingest.image_vectors import fill_image_vectors
from services.ingest.ingest import IngestReport, ingest_document
from services.jobs.run import JobRun, JobStopped
from services.queue.submission import announce_all, release_stopped
from services.runtime import Runtime
from services.storage import remove_unreferenced, translate_os_error, translate_store_error

_log = logging.getLogger(__name__)

MAX_CLAIMS = 25
"""A job whose process died this often while it ran is given up: it is probably what kills the process."""


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
    """Runs a job that this worker has claimed, and records how it ended.

    What the job did never raises; a store that cannot record it does.
    """
    spec = JOBS[job.type]
    run = JobRun(job, runtime, worker_id, should_stop, timeout_s=spec.timeout_s)
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
    runtime.queue.announce(job.job_id)  # another job of the same document may be free now


def _record_success(run: JobRun, runtime: Runtime, worker_id: str, report: IngestReport | None) -> None:
    """Switches readers to the generation and ends the job, in one transaction.

    What it replaces is cleared afterwards. Where the document holds others, the same transaction queues their jobs, and
    the last of them ends this one.
    """
    job, actor = run.job, worker_for(run.job.user_id)
    password = runtime.passwords.of(job.job_id)
    if report is None or job.document_id is None:
        with runtime.store.begin(actor, write=True) as tx:
            job_rows.finish(tx, job.job_id, worker_id=worker_id, status="completed")
        return
    summary = report.summary
    with runtime.passwords.keeping(password) as keep, runtime.store.begin(actor, write=True) as tx:
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
            keep(child.job_id)
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
    remove_unreferenced(runtime.fallback, runtime.blobs, inside.released)
    release_stopped(runtime.passwords, runtime.notifier, [job.job_id, *inside.superseded])
    announce_all(runtime.queue, inside.jobs)
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
