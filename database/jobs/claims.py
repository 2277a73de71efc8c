"""Which job runs next, and what becomes of the jobs of dead workers.

See `Store.claim_job`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, exists, func, literal, or_, select, update

from database import schema
from database.ids import now
from database.jobs import jobs, waiting
from database.records import JobRecord
from database.sql import among_ids
from database.store import Transaction

_jobs = schema.jobs


def orphans(tx: Transaction, worker_id: str, *, silent_since: str) -> Sequence[JobRecord]:
    """The running jobs of dead workers.

    A worker's id is `<node>.<run>`. The caller holds its node's lease, so that node's other workers are known to be
    dead; those of other nodes are taken for dead when their last heartbeat came before `silent_since`. Jobs that nobody
    holds wait for the documents inside theirs, and go on doing so.
    """
    node = worker_id.partition(".")[0]
    is_ours = or_(_jobs.c.worker_id.startswith(f"{node}.", autoescape=True), ~_jobs.c.worker_id.contains("."))
    is_silent = func.coalesce(_jobs.c.heartbeat_at, _jobs.c.created_at) < literal(
        silent_since, _jobs.c.heartbeat_at.type
    )
    rows = tx.connection.execute(
        select(_jobs).where(
            tx.owns(_jobs),
            _jobs.c.status.in_(jobs.RUNNING_STATUSES),
            _jobs.c.worker_id != worker_id,
            or_(is_ours, is_silent),
        )
    )
    return [jobs.job_record(row) for row in rows]


def requeue_orphans(tx: Transaction, worker_id: str, *, silent_since: str) -> int:
    """Puts the `orphans` back into the queue (those told to stop: cancelled).

    Returns how many.
    """
    found = orphans(tx, worker_id, silent_since=silent_since)
    for job in found:
        values: dict[str, Any] = {"status": "queued", "worker_id": None, "run_after": None}
        if job.status == "cancelling":
            values = {"status": "cancelled", "finished_at": now()}
        tx.connection.execute(update(_jobs).where(_jobs.c.job_id == job.job_id).values(values))
        jobs.show_status(tx, job, values["status"])
        if job.status == "cancelling" and job.document_id is not None:
            waiting.settle(tx, waiting.parent_of(tx, job.document_id))
    return len(found)


def claimable(moment: str) -> ColumnElement[bool]:
    """True for the queued jobs that may run at `moment`.

    No other job of the same document, or kind, runs.
    """
    other = schema.jobs.alias("other")
    same = or_(
        other.c.document_id == _jobs.c.document_id,
        and_(other.c.document_id.is_(None), _jobs.c.document_id.is_(None), other.c.type == _jobs.c.type),
    )
    running = exists().where(same, other.c.status.in_(jobs.RUNNING_STATUSES))
    due = or_(_jobs.c.run_after.is_(None), _jobs.c.run_after <= moment)
    return (_jobs.c.status == "queued") & due & ~running


def oldest_claimable(tx: Transaction, *, passing_over: Collection[str] = ()) -> Row[Any, Any] | None:
    """`job_id` and `user_id` of the job that waits longest of those that may run now.

    None when there is none. Those of the owners in `passing_over` are not looked at.
    """
    return tx.connection.execute(
        select(_jobs.c.job_id, _jobs.c.user_id)
        .where(tx.owns(_jobs), claimable(now()), _jobs.c.user_id.not_in(among_ids(passing_over)))
        .order_by(_jobs.c.created_at, _jobs.c.job_id)
        .limit(1)
    ).one_or_none()


def claim(tx: Transaction, job_id: str, worker_id: str) -> JobRecord | None:
    """The job, now run by `worker_id`.

    None when it may not run (any more), for example because it was claimed.
    """
    moment = now()
    claimed = tx.connection.execute(
        update(_jobs)
        .where(_jobs.c.job_id == job_id, tx.owns(_jobs), claimable(moment))
        .values(
            status="in_progress",
            worker_id=worker_id,
            attempts=_jobs.c.attempts + 1,
            started_at=func.coalesce(_jobs.c.started_at, literal(moment, _jobs.c.started_at.type)),
            heartbeat_at=moment,
            run_after=None,
        )
    ).rowcount
    job = jobs.get(tx, job_id) if claimed else None
    if job is not None:
        jobs.show_status(tx, job, "in_progress")
    return job
