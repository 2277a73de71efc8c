"""Switches readers to the next generation of a document, and clears old ones."""

from __future__ import annotations

from sqlalchemy import and_, delete, func, select, update

from database import schema
from database.change_counter import mark_changed
from database.ids import now
from database.records import GenerationSummary
from database.store import Transaction

_documents = schema.documents
_pages = schema.pages
_chunks = schema.chunks


def publish(tx: Transaction, document_id: str, generation: int, summary: GenerationSummary) -> bool:
    """Switches readers to `generation`, in one step with the document's facts.

    Doing it again changes nothing. The options become those of the generation's job. A title that is there stays:
    somebody may have written it. Chunks beyond `summary.total_chunks`, left by an earlier attempt, are removed. False,
    and nothing done, when the document is gone or a newer job has taken this generation's place. Raises ValueError when
    chunks are missing.
    """
    document = tx.connection.execute(
        select(_documents.c.user_id, _documents.c.title, _documents.c.last_generation).where(
            _documents.c.document_id == document_id, tx.owns(_documents)
        )
    ).one_or_none()
    if document is None or document.last_generation > generation:
        return False
    mine = and_(_chunks.c.document_id == document_id, _chunks.c.generation == generation)
    tx.connection.execute(delete(_chunks).where(mine, _chunks.c.chunk_index >= summary.total_chunks))
    stored = tx.connection.execute(select(func.count()).select_from(_chunks).where(mine)).scalar_one()
    if stored != summary.total_chunks:
        raise ValueError(f"generation {generation} of {document_id} has {stored} of {summary.total_chunks} chunks")
    options = (
        select(schema.jobs.c.options)
        .where(schema.jobs.c.document_id == document_id, schema.jobs.c.generation == generation)
        .scalar_subquery()
    )
    tx.connection.execute(
        update(_documents)
        .where(_documents.c.document_id == document_id)
        .values(
            options=func.coalesce(options, _documents.c.options),
            generation=generation,
            last_generation=generation,
            title=document.title or summary.title,
            author=summary.author,
            language=summary.language,
            page_count=summary.page_count,
            total_chunks=summary.total_chunks,
            total_chars=summary.total_chars,
            image_count=summary.image_count,
            status=summary.status,
            warnings=list(summary.warnings),
            updated_at=now(),
        )
    )
    mark_changed(tx, document_id, document.user_id)
    return True


def drop_other_generations(tx: Transaction, document_id: str, keep: int, limit: int = 1000) -> int:
    """Deletes up to `limit` rows of generations before `keep` that nobody reads.

    Returns how many. Call it in transactions of their own until it returns 0. Files that nobody refers to then are left
    to the sweep.
    """
    visible = tx.connection.scalar(
        select(_documents.c.generation).where(_documents.c.document_id == document_id, tx.owns(_documents))
    )
    if visible is None:
        return 0
    left = limit
    for table, key in ((_chunks, "chunk_index"), (schema.images, "ordinal"), (_pages, "page_number")):
        old = (table.c.document_id == document_id, table.c.generation < keep, table.c.generation != visible)
        numbered = select(table.c.generation, table.c[key]).where(*old).order_by(table.c.generation, table.c[key])
        found = tx.connection.execute(numbered.limit(left)).all()
        for generation in {row[0] for row in found}:
            numbers = [row[1] for row in found if row[0] == generation]
            tx.connection.execute(
                delete(table).where(
                    table.c.document_id == document_id,
                    table.c.generation == generation,
                    table.c[key].between(min(numbers), max(numbers)),
                    *old,
                )
            )
        left -= len(found)
        if left <= 0:
            break
    return limit - left


def discard_generation(tx: Transaction, document_id: str, generation: int) -> None:
    """Deletes the rows of a generation; nothing when readers see it."""
    visible = tx.connection.scalar(
        select(_documents.c.generation).where(_documents.c.document_id == document_id, tx.owns(_documents))
    )
    if visible is None or visible == generation:
        return
    for table in (_chunks, schema.images, _pages):
        tx.connection.execute(delete(table).where(table.c.document_id == document_id, table.c.generation == generation))


def drop_stale_generations(tx: Transaction, limit: int = 1000) -> int:
    """Deletes about `limit` rows of generations that nobody reads or writes.

    A generation is written while a job of it is unfinished. Returns how many. They are what a process left that was
    killed between the end of a job and the clearing behind it.
    """
    unfinished = (
        select(schema.jobs.c.job_id)
        .where(
            schema.jobs.c.document_id == _documents.c.document_id,
            schema.jobs.c.status.in_(("queued", "in_progress", "cancelling")),
            schema.jobs.c.generation == _documents.c.last_generation,
        )
        .exists()
    )
    stale = (
        select(_pages.c.document_id)
        .join(_documents, _documents.c.document_id == _pages.c.document_id)
        .where(tx.owns(_pages), _pages.c.generation != _documents.c.generation, ~unfinished)
        .distinct()
        .limit(100)
    )
    dropped = 0
    for document_id in tx.connection.scalars(stale).all():
        last = tx.connection.execute(
            select(_documents.c.last_generation).where(_documents.c.document_id == document_id)
        ).scalar_one()
        dropped += drop_other_generations(tx, document_id, last + 1, limit - dropped)
        if dropped >= limit:
            break
    return dropped
