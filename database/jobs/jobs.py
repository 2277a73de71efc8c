"""Jobs: adding, following, ending.

The jobs table is the truth; claiming one is the store's (`Store.claim_job`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Row, and_, case, exists, func, insert, or_, select, update

from database import schema
from database.cursors import decode_cursor, encode_cursor
from database.filters import matches
from database.ids import new_id, now
from database.jobs import waiting
from database.records import TERMINAL_STATUSES, DocumentFilter, JobRecord, Json, ListPage
from database.sql import among_ids
from database.store import Transaction

INGEST = "ingest"
"""The type of the jobs that read a document, the first time and again."""
ACTIVE_STATUSES = ("queued", "in_progress", "cancelling")
RUNNING_STATUSES = ("in_progress", "cancelling")

_jobs = schema.jobs
_documents = schema.documents
_JOB_FIELDS = [column.name for column in _jobs.c]


def add(tx: Transaction, *, type: str, document_id: str | None = None, options: Json | None = None) -> JobRecord:
    """A queued job of the actor's.

    Without a document, one of the same type that is still queued is returned instead. Raises LookupError when there is
    no such document.
    """
    if document_id is not None:
        owner = tx.connection.scalar(
            select(_documents.c.user_id).where(_documents.c.document_id == document_id, tx.owns(_documents))
        )
        if owner is None:
            raise LookupError(f"there is no document {document_id}")
        return add_for_document(tx, document_id, owner, options or {}, type=type)
    waiting = tx.connection.execute(
        select(_jobs)
        .where(
            _jobs.c.user_id == tx.actor.user_id,
            _jobs.c.type == type,
            _jobs.c.document_id.is_(None),
            _jobs.c.status == "queued",
        )
        .order_by(_jobs.c.created_at, _jobs.c.job_id)
        .limit(1)
    ).one_or_none()
    if waiting is not None:
        return job_record(waiting)
    return _insert(tx, type, tx.actor.user_id, None, 0, options or {})


def add_for_document(
    tx: Transaction, document_id: str, user_id: str, options: Json, *, type: str = INGEST
) -> JobRecord:
    """A queued job of a document that is known to be there.

    Its generation was never used for the document. Raises LookupError when it is not, or is another owner's.
    """
    tx.writes_for(user_id)
    tx.connection.execute(
        update(_documents)
        .where(_documents.c.document_id == document_id, tx.owns(_documents))
        .values(last_generation=_documents.c.last_generation + 1)
    )
    generation = tx.connection.scalar(
        select(_documents.c.last_generation).where(_documents.c.document_id == document_id, tx.owns(_documents))
    )
    if generation is None:
        raise LookupError(f"there is no document {document_id}")
    return _insert(tx, type, user_id, document_id, generation, options)


def add_first(tx: Transaction, documents: Sequence[tuple[str, str]], options: Json) -> list[JobRecord]:
    """Queued jobs of documents, `(document id, owner)`, that never had one.

    They are added all at once.
    """
    if not documents:
        return []
    ids = [document_id for document_id, _ in documents]
    for owner in {owner for _, owner in documents}:
        tx.writes_for(owner)
    tx.connection.execute(
        update(_documents)
        .where(_documents.c.document_id.in_(among_ids(ids)), tx.owns(_documents))
        .values(last_generation=1, options=options, status="queued")
    )
    added = [_queued(INGEST, user_id, document_id, 1, options) for document_id, user_id in documents]
    tx.connection.execute(insert(_jobs), [{name: getattr(job, name) for name in _JOB_FIELDS} for job in added])
    return added


def supersede(tx: Transaction, document_id: str) -> list[str]:
    """Tells the document's jobs to stop; their ids.

    Queued ones and those that wait for children are cancelled at once, running ones at their next heartbeat.
    """
    moment = now()
    mine = and_(_jobs.c.document_id == document_id, tx.owns(_jobs))
    stopped = tx.connection.scalars(
        select(_jobs.c.job_id).where(mine, _jobs.c.status.in_(("queued", "in_progress"))).order_by(_jobs.c.generation)
    ).all()
    tx.connection.execute(
        update(_jobs)
        .where(mine, or_(_jobs.c.status == "queued", waiting.waits))
        .values(status="cancelled", finished_at=moment, run_after=None)
    )
    tx.connection.execute(update(_jobs).where(mine, _jobs.c.status == "in_progress").values(status="cancelling"))
    return list(stopped)


def unfinished_ids(tx: Transaction, document_id: str) -> list[str]:
    """Ids of the document's jobs that have not ended, oldest first."""
    return list(
        tx.connection.scalars(
            select(_jobs.c.job_id)
            .where(_jobs.c.document_id == document_id, tx.owns(_jobs), _jobs.c.status.in_(ACTIVE_STATUSES))
            .order_by(_jobs.c.generation)
        )
    )


def has_pending_documents(tx: Transaction, only: DocumentFilter) -> bool:
    """True while a document of the actor's that `only` lets through waits to be read, or is being read.

    Raises ValueError for a malformed filter.
    """
    pending = (
        select(_jobs.c.job_id)
        .join(_documents, _documents.c.document_id == _jobs.c.document_id)
        .where(
            tx.owns(_jobs),
            tx.owns(_documents),
            _jobs.c.type == INGEST,
            _jobs.c.status.in_(("queued", "in_progress")),
            matches(only),
        )
    )
    return bool(tx.connection.scalar(select(exists(pending))))


def get(tx: Transaction, job_id: str) -> JobRecord | None:
    """The job, None when it is absent or another owner's."""
    row = tx.connection.execute(select(_jobs).where(_jobs.c.job_id == job_id, tx.owns(_jobs))).one_or_none()
    return None if row is None else job_record(row)


def get_many(tx: Transaction, job_ids: Sequence[str]) -> Mapping[str, JobRecord]:
    """The jobs by id; those that are absent are left out."""
    rows = tx.connection.execute(select(_jobs).where(_jobs.c.job_id.in_(among_ids(job_ids)), tx.owns(_jobs)))
    return {row.job_id: job_record(row) for row in rows}


def newest_of(tx: Transaction, document_id: str, statuses: Sequence[str]) -> JobRecord | None:
    """The job of the document with the highest generation.

    Among those in `statuses`, where some are given.
    """
    query = select(_jobs).where(_jobs.c.document_id == document_id, tx.owns(_jobs))
    if statuses:
        query = query.where(_jobs.c.status.in_(statuses))
    row = tx.connection.execute(query.order_by(_jobs.c.generation.desc()).limit(1)).one_or_none()
    return None if row is None else job_record(row)


def latest_of(tx: Transaction, document_ids: Sequence[str]) -> dict[str, JobRecord]:
    """The newest job of each document, by the document's id; documents without one are left out."""
    mine = and_(_jobs.c.document_id.in_(among_ids(document_ids)), tx.owns(_jobs))
    newest = (
        select(_jobs.c.document_id, func.max(_jobs.c.generation).label("generation"))
        .where(mine)
        .group_by(_jobs.c.document_id)
        .subquery()
    )
    is_newest = and_(_jobs.c.document_id == newest.c.document_id, _jobs.c.generation == newest.c.generation)
    rows = tx.connection.execute(select(_jobs).join(newest, is_newest).where(mine))
    return {row.document_id: job_record(row) for row in rows}


def list_page(
    tx: Transaction,
    *,
    status: Sequence[str] = (),
    document_id: str | None = None,
    limit: int,
    cursor: str | None,
) -> ListPage[JobRecord]:
    """Jobs, newest first; empty `status` means all.

    Raises ValueError for a malformed cursor.
    """
    query = select(_jobs).where(tx.owns(_jobs))
    if status:
        query = query.where(_jobs.c.status.in_(status))
    if document_id is not None:
        query = query.where(_jobs.c.document_id == document_id)
    if cursor is not None:
        moment, job_id = decode_cursor(cursor, (datetime, str))
        query = query.where(
            or_(_jobs.c.created_at < moment, and_(_jobs.c.created_at == moment, _jobs.c.job_id < job_id))
        )
    newest_first = query.order_by(_jobs.c.created_at.desc(), _jobs.c.job_id.desc())
    rows = tx.connection.execute(newest_first.limit(limit + 1)).all()
    data = [job_record(row) for row in rows[:limit]]
    more = len(rows) > limit and bool(data)
    return ListPage(data, encode_cursor([data[-1].created_at, data[-1].job_id]) if more else None)


def queue_position(tx: Transaction, job: JobRecord) -> int | None:
    """How many queued jobs, of any owner, come before it; None unless it is queued."""
    if job.status != "queued":
        return None
    if tx.connection.dialect.name == "postgresql":
        # Row level security hides the other owners' jobs; this function, of the migrations, counts them.
        return tx.connection.scalar(
            select(func.public.queued_before(_jobs.c.job_id)).where(_jobs.c.job_id == job.job_id)
        )
    return tx.connection.execute(
        select(func.count())
        .select_from(_jobs)
        .where(
            _jobs.c.status == "queued",
            or_(
                _jobs.c.created_at < job.created_at,
                and_(_jobs.c.created_at == job.created_at, _jobs.c.job_id < job.job_id),
            ),
        )
    ).scalar_one()


def heartbeat(
    tx: Transaction,
    job_id: str,
    *,
    worker_id: str,
    stage: str | None = None,
    pages_done: int | None = None,
    pages_total: int | None = None,
    percent: float | None = None,
) -> Literal["go_on", "cancel", "lost"]:
    """Notes that the job is alive and how far it is; what is None stays as it was.

    `cancel`: it was told to stop. `lost`: it is gone, has ended, or is another worker's.
    """
    values: dict[str, Any] = {"heartbeat_at": now()}
    for name, value in (("stage", stage), ("pages_done", pages_done), ("pages_total", pages_total)):
        if value is not None:
            values[name] = value
    if percent is not None:
        shown = min(100.0, max(0.0, percent))
        # A job that is resumed counts anew from its first page; what was shown before is not taken back.
        values["percent"] = case((_jobs.c.percent > shown, _jobs.c.percent), else_=shown)
    if not tx.connection.execute(update(_jobs).where(_held(tx, job_id, worker_id)).values(values)).rowcount:
        return "lost"
    status = tx.connection.execute(select(_jobs.c.status).where(_jobs.c.job_id == job_id)).scalar_one()
    return "cancel" if status == "cancelling" else "go_on"


def finish(
    tx: Transaction,
    job_id: str,
    *,
    worker_id: str,
    status: str,
    warnings: Sequence[Json] = (),
    error: Json | None = None,
) -> bool:
    """Ends a job that `worker_id` holds, with a terminal `status`.

    False when it holds it no more. Where it is its document's latest job, the document takes over the status (a
    published document keeps or gets back the one that `publish` gave it) and, if nothing of it can be read, the
    warnings of a failure.
    """
    if status not in TERMINAL_STATUSES:
        raise ValueError(f"{status!r} does not end a job")
    values: dict[str, Any] = {"status": status, "finished_at": now(), "warnings": list(warnings), "error": error}
    if status in ("completed", "completed_with_errors"):
        values["percent"] = 100.0
    if not tx.connection.execute(update(_jobs).where(_held(tx, job_id, worker_id)).values(values)).rowcount:
        return False
    job = get(tx, job_id)
    if job is not None and job.document_id is not None:
        latest = is_latest(job)
        if status in ("completed", "completed_with_errors"):
            latest = and_(latest, _documents.c.status.in_(("queued", "in_progress")))
        tx.connection.execute(update(_documents).where(latest).values(status=document_status(status), updated_at=now()))
        if status == "failed" and warnings:
            unread = and_(is_latest(job), _documents.c.generation == 0)
            tx.connection.execute(update(_documents).where(unread).values(warnings=list(warnings)))
        waiting.settle(tx, waiting.parent_of(tx, job.document_id))
    return True


def retry_later(tx: Transaction, job_id: str, *, worker_id: str, run_after: str, error: Json | None) -> None:
    """Puts a job that `worker_id` holds back into the queue until `run_after`.

    One told to stop is cancelled.
    """
    job = get(tx, job_id)
    if job is None:
        return
    if job.status == "cancelling":
        finish(tx, job_id, worker_id=worker_id, status="cancelled", warnings=job.warnings, error=error)
        return
    values = {"status": "queued", "run_after": run_after, "error": error, "worker_id": None}
    if tx.connection.execute(update(_jobs).where(_held(tx, job_id, worker_id)).values(values)).rowcount:
        show_status(tx, job, "queued")


def request_cancel(tx: Transaction, job_id: str) -> JobRecord | None:
    """Cancels a queued job at once and tells a running one to stop.

    One that has ended stays as it is. One that waits for the documents inside its own ends with the last of them: see
    `children.cancel_inside`.
    """
    job = get(tx, job_id)
    if job is None:
        return None
    how = stop(tx, job)
    if job.document_id is not None and how == "waits":
        waiting.settle(tx, job.document_id)
    elif job.document_id is not None and how == "ended":
        waiting.settle(tx, waiting.parent_of(tx, job.document_id))
    return get(tx, job_id)


def stop(tx: Transaction, job: JobRecord) -> Literal["ended", "runs", "waits", "nothing"]:
    """Ends a queued job and tells a running or waiting one to stop.

    Nobody is told of it. Returns what it did.
    """
    if job.status not in ACTIVE_STATUSES:
        return "nothing"
    is_queued = job.status == "queued"
    values = {"status": "cancelled", "finished_at": now(), "run_after": None} if is_queued else {"status": "cancelling"}
    tx.connection.execute(update(_jobs).where(_jobs.c.job_id == job.job_id, tx.owns(_jobs)).values(values))
    if is_queued:
        show_status(tx, job, "cancelled")
        return "ended"
    return "runs" if job.worker_id is not None else "waits"


def cancel_queued(tx: Transaction, job_ids: Sequence[str]) -> None:
    """Cancels these queued jobs all at once, and tells nobody who waits for them."""
    values = {"status": "cancelled", "finished_at": now(), "run_after": None}
    tx.connection.execute(update(_jobs).where(_jobs.c.job_id.in_(among_ids(job_ids)), tx.owns(_jobs)).values(values))
    latest = exists().where(
        _jobs.c.job_id.in_(among_ids(job_ids)),
        _jobs.c.document_id == _documents.c.document_id,
        _jobs.c.generation == _documents.c.last_generation,
    )
    mine = _documents.c.document_id.in_(select(_jobs.c.document_id).where(_jobs.c.job_id.in_(among_ids(job_ids))))
    shown = {"status": document_status("cancelled"), "updated_at": now()}
    tx.connection.execute(update(_documents).where(mine, latest, tx.owns(_documents)).values(shown))


def retry(tx: Transaction, job_id: str) -> JobRecord | None:
    """Queues a failed or cancelled job again.

    It is a fresh attempt that goes on with the same generation. A job in another state, or one that a newer job of its
    document has replaced, is returned as it is.
    """
    job = get(tx, job_id)
    if job is None or job.status not in ("failed", "cancelled"):
        return job
    if job.document_id is not None:
        latest = newest_of(tx, job.document_id, ())
        if latest is None or latest.job_id != job_id:
            return job
    values: dict[str, Any] = {
        "status": "queued",
        "stage": None,
        "percent": 0.0,
        "pages_done": 0,
        "pages_total": 0,
        "attempts": 0,
        "warnings": [],
        "error": None,
        "started_at": None,
        "heartbeat_at": None,
        "finished_at": None,
        "run_after": None,
        "worker_id": None,
    }
    tx.connection.execute(update(_jobs).where(_jobs.c.job_id == job_id).values(values))
    show_status(tx, job, "queued")
    return get(tx, job_id)


def show_status(tx: Transaction, job: JobRecord, status: str) -> None:
    """Gives the job's document `status`, if the job is the document's latest.

    A published document never shows `failed` or `cancelled`: what was published can still be read.
    """
    if job.document_id is not None:
        values = {"status": document_status(status), "updated_at": now()}
        tx.connection.execute(update(_documents).where(is_latest(job), tx.owns(_documents)).values(values))


def document_status(status: str) -> Any:
    """What a document shows when its latest job has `status`.

    After a failure, what it showed when it was published.
    """
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
    """How many of the actor's jobs have each status.

    Statuses that none has are left out.
    """
    rows = tx.connection.execute(select(_jobs.c.status, func.count()).where(tx.owns(_jobs)).group_by(_jobs.c.status))
    return dict(rows.all())


def job_record(row: Row[Any]) -> JobRecord:
    """A row of jobs as a record."""
    return JobRecord(**row._mapping)


def _held(tx: Transaction, job_id: str, worker_id: str) -> Any:
    return and_(
        _jobs.c.job_id == job_id,
        tx.owns(_jobs),
        _jobs.c.worker_id == worker_id,
        _jobs.c.status.in_(RUNNING_STATUSES),
    )


def _insert(
    tx: Transaction, type: str, user_id: str, document_id: str | None, generation: int, options: Json
) -> JobRecord:
    job = _queued(type, user_id, document_id, generation, options)
    tx.connection.execute(insert(_jobs).values({name: getattr(job, name) for name in _JOB_FIELDS}))
    return job


def _queued(type: str, user_id: str, document_id: str | None, generation: int, options: Json) -> JobRecord:
    return JobRecord(
        job_id=new_id(),
        user_id=user_id,
        document_id=document_id,
        type=type,
        status="queued",
        stage=None,
        percent=0.0,
        pages_done=0,
        pages_total=0,
        attempts=0,
        generation=generation,
        options=options,
        warnings=[],
        error=None,
        created_at=now(),
        started_at=None,
        heartbeat_at=None,
        finished_at=None,
        run_after=None,
        worker_id=None,
    )
