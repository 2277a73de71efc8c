"""What a document shows of its jobs."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, select, update

from database import schema
from database.ids import now
from database.records import JobRecord
from database.store import Transaction

_jobs = schema.jobs
_documents = schema.documents


def show_status(tx: Transaction, job: JobRecord, status: str) -> None:
    """Gives the job's document `status`, if the job is the document's latest.

    A published document never shows `failed` or `cancelled`: what was published can still be read.
    """
    if job.document_id is not None:
        values = {"status": document_status(status), "updated_at": now()}
        tx.connection.execute(update(_documents).where(is_latest(job), tx.owns(_documents)).values(values))


def document_status(status: str) -> Any:
    """What a document shows when its latest job has `status`: after a failure, what it showed when it was published."""
    if status not in ("failed", "cancelled"):
        return status
    publisher = (
        select(_jobs.c.status)
        .where(
            _jobs.c.document_id == _documents.c.document_id,
            _jobs.c.generation == _documents.c.generation,
            _jobs.c.status.in_(("completed", "completed_with_errors")),
        )
        .correlate(_documents)
        .scalar_subquery()
    )
    return case((_documents.c.generation == 0, status), else_=func.coalesce(publisher, "completed"))


def is_latest(job: JobRecord) -> ColumnElement[bool]:
    """True for the job's document, if the job is its latest."""
    return and_(_documents.c.document_id == job.document_id, _documents.c.last_generation == job.generation)


def count_by_status(tx: Transaction) -> dict[str, int]:
    """How many of the actor's jobs have each status; statuses that none has are left out."""
    rows = tx.connection.execute(select(_jobs.c.status, func.count()).where(tx.owns(_jobs)).group_by(_jobs.c.status))
    return dict(rows.all())
