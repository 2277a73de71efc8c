"""The documents that lie in another one.

Attachments of a mail and members of an archive. A run of the parent's job adds them without a job, so that nothing of
them is read should it fail. The transaction that publishes the parent queues their jobs. The identity of a child is
(parent, sha256, filename): a run that is resumed or repeated finds it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, delete, func, select, update

from database import schema
from database.documents import documents
from database.jobs import jobs, waiting
from database.records import DocumentRecord, JobRecord, Json
from database.store import Transaction

_documents = schema.documents
_jobs = schema.jobs


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a document lies."""

    root_id: str
    """The upload that it came with; itself where it was uploaded."""
    depth: int
    """How many documents it lies in."""


@dataclass(frozen=True, slots=True)
class Queued:
    """What queueing the children of a document did."""

    jobs: Sequence[JobRecord]
    superseded: Sequence[str]
    """Ids of jobs that were told to stop."""
    released: Sequence[str]
    """SHA-256 of files that deleted children referred to, see `documents.delete`."""


def lineage(tx: Transaction, document_id: str) -> Lineage:
    """Where the document lies. Raises LookupError when it is gone."""
    depth = 0
    while True:
        row = tx.connection.execute(
            select(_documents.c.parent_id).where(_documents.c.document_id == document_id, tx.owns(_documents))
        ).one_or_none()
        if row is None:
            raise LookupError(f"there is no document {document_id}")
        if row.parent_id is None:
            return Lineage(document_id, depth)
        document_id, depth = row.parent_id, depth + 1


def count_inside(tx: Transaction, document_id: str) -> tuple[int, int]:
    """How many documents lie in this one, at all levels, and their bytes together."""
    row = tx.connection.execute(
        select(func.count(), func.coalesce(func.sum(_documents.c.file_size), 0)).where(
            _documents.c.document_id.in_(documents.members(document_id)),
            _documents.c.document_id != document_id,
            tx.owns(_documents),
        )
    ).one()
    return int(row[0]), int(row[1])


def find(tx: Transaction, parent_id: str, sha256: str, filename: str) -> str | None:
    """The id of the child with this content and name."""
    return tx.connection.scalar(
        select(_documents.c.document_id).where(
            _documents.c.parent_id == parent_id,
            _documents.c.sha256 == sha256,
            _documents.c.filename == filename,
            tx.owns(_documents),
        )
    )


def add(
    tx: Transaction,
    parent: DocumentRecord,
    *,
    filename: str,
    file_type: str,
    media_type: str,
    file_size: int,
    sha256: str,
    options: Json,
) -> str:
    """The id of a new child without a job; it has the parent's owner and metadata."""
    return documents.insert_document(
        tx,
        user_id=parent.user_id,
        parent_id=parent.document_id,
        filename=filename,
        file_type=file_type,
        media_type=media_type,
        file_size=file_size,
        sha256=sha256,
        options=options,
        metadata=parent.metadata,
        title="",
    )


def queue(tx: Transaction, parent_id: str, generation: int, child_ids: Sequence[str], options: Json) -> Queued:
    """Queues the jobs of `child_ids`, and deletes the other children.

    `child_ids` are what `generation` of the parent holds. A child whose job this generation has queued before (the
    parent's job is repeated) gets no second one; one that failed or was cancelled is tried again.
    """
    kept = set(child_ids)
    queued: list[JobRecord] = []
    superseded: list[str] = []
    released: set[str] = set()
    fresh: list[tuple[str, str]] = []
    rows = tx.connection.execute(
        select(
            _documents.c.document_id,
            _documents.c.user_id,
            _documents.c.last_generation,
            _documents.c.parent_generation,
            _jobs.c.job_id,
            _jobs.c.status,
        )
        .outerjoin(
            _jobs,
            and_(_jobs.c.document_id == _documents.c.document_id, _jobs.c.generation == _documents.c.last_generation),
        )
        .where(_documents.c.parent_id == parent_id, tx.owns(_documents))
        .order_by(_documents.c.created_at, _documents.c.document_id)
    ).all()
    for row in rows:
        if row.document_id not in kept:
            superseded += jobs.unfinished_ids(tx, row.document_id)
            released.update(documents.delete(tx, row.document_id) or ())
        elif row.last_generation == 0:
            fresh.append((row.document_id, row.user_id))
        elif row.parent_generation < generation or row.job_id is None:
            superseded += jobs.unfinished_ids(tx, row.document_id)
            queued.append(documents.resubmit(tx, row.document_id, options))
        elif row.status in ("failed", "cancelled"):
            again = jobs.retry(tx, row.job_id)
            queued += [again] if again is not None else []
    queued += jobs.add_first(tx, fresh, options)
    mine = and_(_documents.c.parent_id == parent_id, _documents.c.parent_generation < generation)
    tx.connection.execute(update(_documents).where(mine, tx.owns(_documents)).values(parent_generation=generation))
    return Queued(queued, superseded, sorted(released))


def discard_unqueued(tx: Transaction, parent_id: str) -> None:
    """Deletes the children that were added and never queued.

    Their parent's job did not come to its end.
    """
    unqueued = and_(_documents.c.parent_id == parent_id, _documents.c.last_generation == 0)
    tx.connection.execute(delete(_documents).where(unqueued, tx.owns(_documents)))


def discard_abandoned(tx: Transaction) -> int:
    """Deletes children that were never queued and whose parent has no unfinished job.

    Returns how many. They are what a job leaves that was cancelled while no worker had it, or whose worker died.
    """
    unfinished = (
        select(_jobs.c.job_id)
        .where(_jobs.c.document_id == _documents.c.parent_id, _jobs.c.status.in_(jobs.ACTIVE_STATUSES))
        .exists()
    )
    abandoned = and_(_documents.c.parent_id.is_not(None), _documents.c.last_generation == 0, ~unfinished)
    return tx.connection.execute(delete(_documents).where(abandoned, tx.owns(_documents))).rowcount


def cancel_inside(tx: Transaction, document_id: str) -> list[str]:
    """Tells the jobs of all documents that lie in this one to stop; their ids.

    Where this one waits for them and none runs any more, its own job ends too.
    """
    inside = select(_documents.c.document_id).where(
        _documents.c.document_id.in_(documents.members(document_id)), _documents.c.document_id != document_id
    )
    rows = tx.connection.execute(
        select(_jobs)
        .where(_jobs.c.document_id.in_(inside), tx.owns(_jobs), _jobs.c.status.in_(jobs.ACTIVE_STATUSES))
        .order_by(_jobs.c.created_at.desc(), _jobs.c.job_id.desc())
    ).all()
    found = [jobs.job_record(row) for row in rows]
    jobs.cancel_queued(tx, [job.job_id for job in found if job.status == "queued"])
    waited: list[str] = []
    for job in found:
        if job.status != "queued" and jobs.stop(tx, job) == "waits" and job.document_id is not None:
            waited.append(job.document_id)
    for parent_id in (*waited, document_id):  # the deepest first: a parent's job is older than those of its children
        waiting.settle(tx, parent_id)
    return [job.job_id for job in found]


def unfinished_inside(tx: Transaction, document_id: str) -> list[str]:
    """Ids of the unfinished jobs of this document and of all that lie in it."""
    return list(
        tx.connection.scalars(
            select(_jobs.c.job_id).where(
                _jobs.c.document_id.in_(documents.members(document_id)),
                tx.owns(_jobs),
                _jobs.c.status.in_(jobs.ACTIVE_STATUSES),
            )
        )
    )


def family(tx: Transaction, document_id: str) -> Sequence[str]:
    """Ids of this document and of all that lie in it."""
    return tx.connection.scalars(
        select(_documents.c.document_id).where(
            _documents.c.document_id.in_(documents.members(document_id)), tx.owns(_documents)
        )
    ).all()
