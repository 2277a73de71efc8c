"""Documents: submitting, listing, changing, deleting.

Every function sees the actor's rows only.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, and_, case, insert, literal, or_, select, union
from sqlalchemy import delete as delete_from
from sqlalchemy import update as update_rows

from database import schema
from database.cursors import decode_cursor, encode_cursor
from database.filters import families, matches
from database.ids import new_id, now, parse_time
from database.jobs import jobs, waiting
from database.records import DocumentFilter, DocumentRecord, JobRecord, Json, ListPage, Submission
from database.sql import among, among_ids
from database.store import Transaction

_documents = schema.documents
_COLUMNS = [column for column in _documents.c if column.name not in ("last_generation", "parent_generation", "change")]


def submit_upload(
    tx: Transaction,
    *,
    filename: str,
    file_type: str,
    media_type: str,
    file_size: int,
    sha256: str,
    options: Json,
    metadata: Json,
    title: str = "",
) -> Submission:
    """Registers an uploaded file for the actor and adds its job.

    `created`: the content is new. `duplicate`: the same content is there, and the job under way, or else what readers
    see, has the same options; nothing changes, and `job` is the one under way if any. `updated`: the same document gets
    a new job with the new options, name and, where given, metadata and title; jobs under way are told to stop
    (`superseded`).
    """
    found = tx.connection.execute(
        select(*_COLUMNS).where(
            _documents.c.user_id == tx.actor.user_id,
            _documents.c.sha256 == sha256,
            _documents.c.parent_id.is_(None),
        )
    ).one_or_none()
    if found is None:
        document_id = insert_document(
            tx,
            user_id=tx.actor.user_id,
            parent_id=None,
            filename=filename,
            file_type=file_type,
            media_type=media_type,
            file_size=file_size,
            sha256=sha256,
            options=options,
            metadata=metadata,
            title=title,
        )
        job = jobs.add_for_document(tx, document_id, tx.actor.user_id, options)
        return Submission("created", _existing(tx, document_id), job)
    stored = document_record(found)
    working = jobs.newest_of(tx, stored.document_id, ("queued", "in_progress"))
    read = stored.options if stored.generation > 0 else None
    if options == (read if working is None else working.options):
        return Submission("duplicate", stored, working, before=stored)
    changes: dict[str, Any] = {"filename": filename, "file_type": file_type, "media_type": media_type}
    if metadata:
        changes["metadata"] = metadata
    if title:
        changes["title"] = title
    tx.connection.execute(update_rows(_documents).where(_documents.c.document_id == stored.document_id).values(changes))
    superseded = jobs.supersede(tx, stored.document_id)
    job = _new_job(tx, stored.document_id, stored.user_id, options)
    return Submission("updated", _existing(tx, stored.document_id), job, superseded, before=stored)


def resubmit(tx: Transaction, document_id: str, options: Json) -> JobRecord:
    """A new job that reads the stored original again with `options`.

    Jobs under way are told to stop. Raises LookupError when there is no such document.
    """
    document = get(tx, document_id)
    if document is None:
        raise LookupError(f"there is no document {document_id}")
    jobs.supersede(tx, document_id)
    return _new_job(tx, document_id, document.user_id, options)


def get(tx: Transaction, document_id: str) -> DocumentRecord | None:
    """The document, None when it is absent or another owner's."""
    row = tx.connection.execute(
        select(*_COLUMNS).where(_documents.c.document_id == document_id, tx.owns(_documents))
    ).one_or_none()
    return None if row is None else document_record(row)


def get_many(tx: Transaction, document_ids: Sequence[str]) -> dict[str, DocumentRecord]:
    """The documents by id; those that are absent are left out."""
    rows = tx.connection.execute(
        select(*_COLUMNS).where(_documents.c.document_id.in_(among_ids(document_ids)), tx.owns(_documents))
    )
    return {row.document_id: document_record(row) for row in rows}


def list_page(
    tx: Transaction,
    *,
    only: DocumentFilter,
    status: Sequence[str] = (),
    file_type: Sequence[str] = (),
    created_after: str | None = None,
    name_contains: str | None = None,
    parent_id: str | None = None,
    limit: int,
    cursor: str | None,
) -> ListPage[DocumentRecord]:
    """Documents, newest first.

    `name_contains` ignores case; empty `status` and `file_type` mean all. Those that lie in another one are left out,
    unless `parent_id` asks for the ones in it.

    Raises ValueError for a malformed cursor, filter or time.
    """
    created, document_id = _documents.c.created_at, _documents.c.document_id
    place = _documents.c.parent_id.is_(None) if parent_id is None else _children_of(parent_id)
    query = select(*_COLUMNS).where(tx.owns(_documents), place, matches(only))
    if status:
        query = query.where(_documents.c.status.in_(status))
    if file_type:
        query = query.where(_documents.c.file_type.in_(file_type))
    if created_after is not None:
        query = query.where(created > parse_time(created_after))
    if name_contains:
        query = query.where(_documents.c.filename.icontains(name_contains, autoescape=True))
    if cursor is not None:
        before = decode_cursor(cursor, (datetime, str))
        query = query.where(or_(created < before[0], and_(created == before[0], document_id < before[1])))
    rows = tx.connection.execute(query.order_by(created.desc(), document_id.desc()).limit(limit + 1)).all()
    data = [document_record(row) for row in rows[:limit]]
    more = len(rows) > limit and bool(data)
    return ListPage(data, encode_cursor([data[-1].created_at, data[-1].document_id]) if more else None)


def children(tx: Transaction, document_id: str) -> Sequence[str]:
    """Ids of the documents that lie in this one, oldest first."""
    return tx.connection.scalars(
        select(_documents.c.document_id)
        .where(_children_of(document_id), tx.owns(_documents))
        .order_by(_documents.c.created_at, _documents.c.document_id)
    ).all()


def members(document_id: str) -> Select[tuple[str]]:
    """A query for the ids of the document and of all that lie in it.

    Whatever their owner.
    """
    return families([document_id])


def update(
    tx: Transaction, document_id: str, *, title: str | None = None, metadata: Json | None = None
) -> DocumentRecord | None:
    """Replaces title and metadata where given.

    Returns the document, None when it is absent.
    """
    changes: dict[str, Any] = {"updated_at": now()}
    if title is not None:
        changes["title"] = title
    if metadata is not None:
        changes["metadata"] = metadata
    tx.connection.execute(
        update_rows(_documents).where(_documents.c.document_id == document_id, tx.owns(_documents)).values(changes)
    )
    return get(tx, document_id)


def delete(tx: Transaction, document_id: str) -> Sequence[str] | None:
    """Deletes the document, the documents in it, and everything of theirs.

    None when it is absent. Returns the SHA-256 of each file (original or picture) that they referred to; others may
    refer to it too: see `unreferenced`. Running jobs learn of it by their next heartbeat, and a parent that waits for
    it waits no more.
    """
    document = get(tx, document_id)
    if document is None:
        return None
    candidates = tx.connection.scalars(
        union(
            select(_documents.c.sha256).where(_documents.c.document_id.in_(members(document_id))),
            select(schema.images.c.sha256).where(schema.images.c.document_id.in_(members(document_id))),
        )
    ).all()
    tx.connection.execute(delete_from(_documents).where(_documents.c.document_id == document_id))
    waiting.settle(tx, document.parent_id)
    return sorted(candidates)


def active_job(tx: Transaction, document_id: str) -> JobRecord | None:
    """The newest job of the document that is queued, in progress or being cancelled."""
    return jobs.newest_of(tx, document_id, jobs.ACTIVE_STATUSES)


def latest_job(tx: Transaction, document_id: str) -> JobRecord | None:
    """The newest job of the document."""
    return jobs.newest_of(tx, document_id, ())


def referenced_blobs(tx: Transaction) -> set[str]:
    """SHA-256 of every original and picture that a document refers to.

    Of any owner; for the sweep of orphans.
    """
    return set(tx.connection.scalars(union(select(_documents.c.sha256), select(schema.images.c.sha256))))


def unreferenced(tx: Transaction, sha256s: Collection[str]) -> list[str]:
    """Those of `sha256s` that no document of any owner refers to, sorted.

    Ask in a writing transaction of SERVICE_ACTOR's, which sees every owner's rows, and remove the files before it ends:
    an upload of the same content waits for it, and so finds the file either there or not.
    """
    used = set(
        tx.connection.scalars(
            union(
                select(_documents.c.sha256).where(_documents.c.sha256.in_(among(sha256s))),
                select(schema.images.c.sha256).where(schema.images.c.sha256.in_(among(sha256s))),
            )
        )
    )
    return sorted(set(sha256s) - used)


def document_record(row: Row[Any]) -> DocumentRecord:
    """A row of documents_metadata as a record."""
    return DocumentRecord(**row._mapping)


def _children_of(document_id: str) -> Any:
    """True for the children that are queued or read.

    One that its parent's job has just found is not there yet.
    """
    return and_(_documents.c.parent_id == document_id, _documents.c.last_generation > 0)


def insert_document(tx: Transaction, **given: Any) -> str:
    """The id of a new document with the columns `given`.

    Nothing of it is read, and it has no job.
    """
    tx.writes_for(given["user_id"])
    moment, document_id = now(), new_id()
    tx.connection.execute(
        insert(_documents).values(
            document_id=document_id,
            author="",
            language="",
            page_count=0,
            total_chunks=0,
            total_chars=0,
            image_count=0,
            status="queued",
            warnings=[],
            generation=0,
            last_generation=0,
            parent_generation=0,
            change=0,
            created_at=moment,
            updated_at=moment,
            **given,
        )
    )
    return document_id


def _new_job(tx: Transaction, document_id: str, user_id: str, options: Json) -> JobRecord:
    # The options of a published document are those of what readers see, until `publish` takes over the job's.
    own = _documents.c.options
    shown = case((_documents.c.generation == 0, literal(options, own.type)), else_=own)
    tx.connection.execute(
        update_rows(_documents)
        .where(_documents.c.document_id == document_id)
        .values(options=shown, status="queued", updated_at=now())
    )
    return jobs.add_for_document(tx, document_id, user_id, options)


def _existing(tx: Transaction, document_id: str) -> DocumentRecord:
    document = get(tx, document_id)
    if document is None:
        raise LookupError(f"there is no document {document_id}")
    return document
