"""Jobs whose own work is done and that wait for the documents inside theirs.

Such a job is in progress and no worker holds it. Whoever ends the job of the last child ends it too, in the same
transaction: there is no instant at which a kill could leave a parent waiting for nobody.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Row, and_, func, select, update

from database import schema
from database.ids import now
from database.records import Json, status_with
from database.store import Transaction

CHILD_FAILED = "child_failed"
CHILD_CANCELLED = "child_cancelled"
OWN_PERCENT = 50.0
"""Where the progress of a document with others inside stands when it has been read itself."""

_MAX_NAMED = 100
"""Children that did not end well and are named one by one; the rest of them is counted."""
_MAX_REASON_CHARS = 400
_UNFINISHED = ("queued", "in_progress")
"""What a document shows while its latest job has not ended."""

_documents = schema.documents
_jobs = schema.jobs

waits = and_(_jobs.c.status.in_(("in_progress", "cancelling")), _jobs.c.worker_id.is_(None))
"""True for the jobs that wait for the documents inside theirs."""


def begin_to_wait(
    tx: Transaction, job_id: str, *, worker_id: str, warnings: Sequence[Json], pages_done: int, children: int
) -> bool:
    """Lets go of a job that `worker_id` holds until the children have ended.

    The children are those of its document. False when it holds it no more. Call `settle` afterwards: the children may
    have ended already.
    """
    total = pages_done + children
    held = and_(_jobs.c.job_id == job_id, tx.owns(_jobs), _jobs.c.worker_id == worker_id)
    values = {
        "worker_id": None,
        "stage": "storing",
        "warnings": list(warnings),
        "pages_done": pages_done,
        "pages_total": total,
        "percent": _percent(pages_done, total),
        "heartbeat_at": now(),
    }
    if not tx.connection.execute(update(_jobs).where(held, _jobs.c.status == "in_progress").values(values)).rowcount:
        return False
    mine = select(_jobs.c.document_id).where(_jobs.c.job_id == job_id).scalar_subquery()
    tx.connection.execute(update(_documents).where(_documents.c.document_id == mine).values(status="in_progress"))
    return True


def parent_of(tx: Transaction, document_id: str) -> str | None:
    """The document that `document_id` lies in.

    None for one that was uploaded, or that is gone.
    """
    return tx.connection.scalar(
        select(_documents.c.parent_id).where(_documents.c.document_id == document_id, tx.owns(_documents))
    )


def settle(tx: Transaction, document_id: str | None) -> None:
    """Takes note that a child of `document_id` has ended or is gone.

    The last one ends the job that waits for it. A parent whose job has ended before hears how its children are now.
    Goes on upwards with each job that it ends.
    """
    while document_id is not None:
        parent = tx.connection.execute(
            select(_documents).where(_documents.c.document_id == document_id, tx.owns(_documents))
        ).one_or_none()
        if parent is None:
            return
        job = tx.connection.execute(select(_jobs).where(_jobs.c.document_id == document_id, waits)).one_or_none()
        if job is None:
            if parent.status in ("completed", "completed_with_errors"):
                _show(tx, parent, _with_children(tx, parent, parent.warnings))
            return
        unfinished = tx.connection.execute(
            select(func.count())
            .select_from(_documents)
            .where(_documents.c.parent_id == document_id, _documents.c.status.in_(_UNFINISHED))
        ).scalar_one()
        if unfinished:
            done = max(job.pages_done, job.pages_total - unfinished)
            values = {"pages_done": done, "percent": _percent(done, job.pages_total), "heartbeat_at": now()}
            tx.connection.execute(update(_jobs).where(_jobs.c.job_id == job.job_id).values(values))
            return
        _end(tx, parent, job)
        document_id = parent.parent_id


def count(tx: Transaction) -> int:
    """How many jobs wait for the documents inside theirs."""
    return tx.connection.execute(select(func.count()).select_from(_jobs).where(tx.owns(_jobs), waits)).scalar_one()


def settle_all(tx: Transaction) -> int:
    """Ends the jobs that wait for children which have all ended.

    Returns how many waited. For the sweep: finds none to end.
    """
    waiting = tx.connection.scalars(select(_jobs.c.document_id).where(tx.owns(_jobs), waits)).all()
    for document_id in waiting:
        settle(tx, document_id)
    return len(waiting)


def _end(tx: Transaction, parent: Row[tuple[object, ...]], job: Row[tuple[object, ...]]) -> None:
    warnings = _with_children(tx, parent, job.warnings)
    is_cancelled = job.status == "cancelling"
    values = {
        "status": "cancelled" if is_cancelled else status_with(warnings),
        "warnings": warnings,
        "finished_at": now(),
        "pages_done": job.pages_total,
    }
    if not is_cancelled:
        values["percent"] = 100.0
    tx.connection.execute(update(_jobs).where(_jobs.c.job_id == job.job_id).values(values))
    if parent.last_generation == job.generation:
        _show(tx, parent, warnings)


def _show(tx: Transaction, parent: Row[tuple[object, ...]], warnings: Sequence[Json]) -> None:
    status = status_with(warnings)
    if (parent.status, parent.warnings) == (status, warnings):
        return
    tx.connection.execute(
        update(_documents)
        .where(_documents.c.document_id == parent.document_id)
        .values(status=status, warnings=list(warnings), updated_at=now())
    )


def _with_children(tx: Transaction, parent: Row[tuple[object, ...]], warnings: Sequence[Json]) -> list[Json]:
    """`warnings` with those that are about children as they stand now."""
    own = [warning for warning in warnings if warning["code"] not in (CHILD_FAILED, CHILD_CANCELLED)]
    ended_badly = (
        select(_documents.c.filename, _jobs.c.status, _jobs.c.error)
        .join(
            _jobs,
            and_(_jobs.c.document_id == _documents.c.document_id, _jobs.c.generation == _documents.c.last_generation),
        )
        .where(_documents.c.parent_id == parent.document_id, _jobs.c.status.in_(("failed", "cancelled")))
        .order_by(_documents.c.created_at, _documents.c.document_id)
    )
    found = tx.connection.execute(ended_badly).all()
    about = [_warning(child.filename, child.status, child.error) for child in found[:_MAX_NAMED]]
    if len(found) > _MAX_NAMED:
        text = f"{len(found) - _MAX_NAMED:,} more of the documents inside could not be read."
        about.append({"code": CHILD_FAILED, "message": text, "page": None})
    return own + about


def _warning(filename: str, status: str, error: Json | None) -> Json:
    if status == "cancelled":
        return {"code": CHILD_CANCELLED, "message": f"The reading of {filename!r} was cancelled.", "page": None}
    reason = f"[{error['code']}] {error['detail'][:_MAX_REASON_CHARS]}" if error else "its job failed."
    return {"code": CHILD_FAILED, "message": f"{filename!r} could not be read: {reason}", "page": None}


def _percent(done: int, total: int) -> float:
    return round(OWN_PERCENT + (100.0 - OWN_PERCENT) * done / max(1, total), 1)
