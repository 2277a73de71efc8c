"""What was read out of a document, by generation: pages and chunks.

Pictures are in images. A job writes under a generation that readers do not see; `generations.publish` switches them to
it in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, or_, select

from database import schema
from database.bulk import replace_rows, write_vectors
from database.columns import checked_vector
from database.cursors import decode_cursor, encode_cursor
from database.ids import now
from database.records import ChunkRecord, ListPage, PageRecord, Vector
from database.sql import among, among_ids, upsert
from database.store import Transaction

_documents = schema.documents
_pages = schema.pages
_chunks = schema.chunks
_PAGE_COLUMNS = [
    _pages.c.page_number.label("number"),
    _pages.c.page_text.label("text"),
    *(
        column
        for column in _pages.c
        if column.name not in ("document_id", "generation", "user_id", "page_number", "page_text", "layout")
    ),
]
_CHUNK_COLUMNS = [
    column
    for column in _chunks.c
    if column.name not in ("row_id", "user_id", "first_page", "last_page", "created_at", "embedding")
]


_A_FEW = 20
"""Pages fetched at a time: one with its layout takes some hundred kilobytes."""


def write_page(tx: Transaction, document_id: str, generation: int, page: PageRecord) -> None:
    """Stores a page of a generation; one that is there already is replaced.

    Raises LookupError when the document is gone.
    """
    row = {
        "document_id": document_id,
        "generation": generation,
        "user_id": owner_of(tx, document_id),
        "page_number": page.number,
        "page_text": page.text,
        "languages": list(page.languages),
        **{name: getattr(page, name) for name in _PLAIN_PAGE_FIELDS},
    }
    upsert(tx.connection, _pages, [row], key=["document_id", "generation", "page_number"])


_PLAIN_PAGE_FIELDS = (
    "char_start",
    "width",
    "height",
    "source",
    "reason",
    "rotation",
    "confidence",
    "word_count",
    "elapsed_ms",
    "engine",
    "layout",
)


def pages_written(tx: Transaction, document_id: str, generation: int) -> Iterator[PageRecord]:
    """The stored pages of a generation, visible or not, in order.

    They come with their layout, a few at a time.
    """
    return _a_few_at_a_time(
        tx,
        select(*_PAGE_COLUMNS, _pages.c.layout).where(
            _pages.c.document_id == document_id, _pages.c.generation == generation, tx.owns(_pages)
        ),
    )


def write_chunks(tx: Transaction, document_id: str, generation: int, chunks: Sequence[ChunkRecord]) -> None:
    """Stores chunks of a generation.

    One whose `chunk_index` (from 0) is there already is replaced. Raises ValueError for a vector of another width, not
    of unit length, or without a space (or the other way round), LookupError when the document is gone.
    """
    if not chunks:
        return
    user_id, moment = owner_of(tx, document_id), now()
    rows = []
    for chunk in chunks:
        if (chunk.space is None) != (chunk.embedding is None) or chunk.space == "":
            raise ValueError(f"chunk {chunk.chunk_index}: a vector and the name of its space belong together")
        touched = [int(span["page"]) for span in chunk.spans] or [1]
        rows.append(
            {
                "chunk_id": chunk.chunk_id,
                "document_id": document_id,
                "user_id": user_id,
                "generation": generation,
                "chunk_index": chunk.chunk_index,
                "first_page": min(touched),
                "last_page": max(touched),
                "content_hash": chunk.content_hash,
                "space": chunk.space,
                "created_at": moment,
                "chunk_text": chunk.chunk_text,
                "prefix": chunk.prefix,
                "spans": list(chunk.spans),
                "metadata": chunk.metadata,
                "embedding": None if chunk.embedding is None else checked_vector(chunk.embedding),
            }
        )
    replace_rows(tx.connection, _chunks, rows, within=["document_id", "generation"], number="chunk_index")


def chunk_hashes(tx: Transaction, document_id: str, generation: int) -> Mapping[int, str]:
    """The content hashes of the stored chunks of a generation, by `chunk_index`."""
    rows = tx.connection.execute(
        select(_chunks.c.chunk_index, _chunks.c.content_hash).where(
            _chunks.c.document_id == document_id, _chunks.c.generation == generation, tx.owns(_chunks)
        )
    )
    return {row.chunk_index: row.content_hash for row in rows}


def chunks_without_vector(
    tx: Transaction, document_id: str, generation: int, space: str, limit: int
) -> Sequence[ChunkRecord]:
    """The first `limit` chunks of a generation that have no vector of `space`.

    By `chunk_index`.
    """
    lacks = or_(_chunks.c.space.is_(None), _chunks.c.space != space)
    rows = tx.connection.execute(
        select(*_CHUNK_COLUMNS)
        .where(_chunks.c.document_id == document_id, _chunks.c.generation == generation, tx.owns(_chunks), lacks)
        .order_by(_chunks.c.chunk_index)
        .limit(limit)
    )
    return [_chunk_record(row) for row in rows]


def write_chunk_vectors(
    tx: Transaction, document_id: str, generation: int, space: str, vectors: Mapping[int, Vector]
) -> None:
    """Stores vectors of `space` by `chunk_index`.

    Chunks that are gone are passed over. Raises ValueError for a wrong vector or an empty space.
    """
    if not space:
        raise ValueError("a vector needs the name of its space")
    mine = and_(_chunks.c.document_id == document_id, _chunks.c.generation == generation, tx.owns(_chunks))
    write_vectors(tx.connection, _chunks, _chunks.c.chunk_index, vectors, space=space, where=mine)


def cached_vectors(tx: Transaction, space: str, content_hashes: Sequence[str]) -> Mapping[str, Vector]:
    """Vectors of `space` by content hash, out of any generation of the actor's chunks.

    Hashes that are not known are left out.
    """
    rows = tx.connection.execute(
        select(_chunks.c.content_hash, _chunks.c.embedding).where(
            tx.owns(_chunks), _chunks.c.space == space, _chunks.c.content_hash.in_(among(set(content_hashes)))
        )
    )
    return {row.content_hash: row.embedding for row in rows}


def read_pages(tx: Transaction, document_id: str, *, with_layout: bool = False) -> Iterator[PageRecord]:
    """The pages that readers see, in order, fetched a few at a time.

    Read them before the transaction ends.
    """
    columns = [*_PAGE_COLUMNS, _pages.c.layout] if with_layout else _PAGE_COLUMNS
    return _a_few_at_a_time(
        tx,
        select(*columns).join(_documents, _visible(_pages)).where(_pages.c.document_id == document_id, tx.owns(_pages)),
    )


def _a_few_at_a_time(tx: Transaction, pages: Select[Any]) -> Iterator[PageRecord]:
    """The pages by their number, a few at a time.

    There is no cursor on the server, which a reader who stops early would leave open.
    """
    last = 0
    while True:
        rows = tx.connection.execute(
            pages.where(_pages.c.page_number > last).order_by(_pages.c.page_number).limit(_A_FEW)
        ).all()
        for row in rows:
            yield PageRecord(**row._mapping)
        if len(rows) < _A_FEW:
            return
        last = rows[-1].number


def read_page(tx: Transaction, document_id: str, number: int) -> PageRecord | None:
    """A page that readers see, with its layout; `number` counts from 1."""
    row = tx.connection.execute(
        select(*_PAGE_COLUMNS, _pages.c.layout)
        .join(_documents, _visible(_pages))
        .where(_pages.c.document_id == document_id, _pages.c.page_number == number, tx.owns(_pages))
    ).one_or_none()
    return None if row is None else PageRecord(**row._mapping)


def list_chunks(tx: Transaction, document_id: str, *, limit: int, cursor: str | None) -> ListPage[ChunkRecord]:
    """The chunks that readers see, in order, without vectors.

    Raises ValueError for a malformed cursor.
    """
    query = _visible_chunks(tx).where(_chunks.c.document_id == document_id)
    if cursor is not None:
        query = query.where(_chunks.c.chunk_index > decode_cursor(cursor, (int,))[0])
    rows = tx.connection.execute(query.order_by(_chunks.c.chunk_index).limit(limit + 1)).all()
    data = [_chunk_record(row) for row in rows[:limit]]
    more = len(rows) > limit and bool(data)
    return ListPage(data, encode_cursor([data[-1].chunk_index]) if more else None)


def get_chunks(tx: Transaction, chunk_ids: Sequence[str]) -> Mapping[str, ChunkRecord]:
    """Those of the chunks that readers see, by id, without vectors."""
    rows = tx.connection.execute(_visible_chunks(tx).where(_chunks.c.chunk_id.in_(among_ids(chunk_ids))))
    return {row.chunk_id: _chunk_record(row) for row in rows}


def chunk_vectors(tx: Transaction, chunk_ids: Sequence[str]) -> Mapping[str, Vector]:
    """The vectors of those of the chunks that readers see and that have one, by id."""
    rows = tx.connection.execute(
        select(_chunks.c.chunk_id, _chunks.c.embedding)
        .join(_documents, _visible(_chunks))
        .where(tx.owns(_chunks), _chunks.c.embedding.is_not(None), _chunks.c.chunk_id.in_(among_ids(chunk_ids)))
    )
    return {row.chunk_id: row.embedding for row in rows}


def chunks_on_page(tx: Transaction, document_id: str, page: int, limit: int) -> Sequence[ChunkRecord]:
    """The first `limit` visible chunks with a span on `page` (from 1), in order.

    They come without vectors.
    """
    rows = tx.connection.execute(
        _visible_chunks(tx)
        .where(_chunks.c.document_id == document_id, _chunks.c.first_page <= page, _chunks.c.last_page >= page)
        .order_by(_chunks.c.chunk_index)
    )
    found: list[ChunkRecord] = []
    for row in rows:
        if len(found) >= limit:
            break
        if any(span["page"] == page for span in row.spans):
            found.append(_chunk_record(row))
    rows.close()
    return found


def owner_of(tx: Transaction, document_id: str) -> str:
    """The document's owner.

    Raises LookupError when the document is absent or another owner's.
    """
    owner: str | None = tx.connection.scalar(
        select(_documents.c.user_id).where(_documents.c.document_id == document_id, tx.owns(_documents))
    )
    if owner is None:
        raise LookupError(f"there is no document {document_id}")
    return owner


def _visible(table: Any) -> ColumnElement[bool]:
    return and_(_documents.c.document_id == table.c.document_id, _documents.c.generation == table.c.generation)


def _visible_chunks(tx: Transaction) -> Any:
    return select(*_CHUNK_COLUMNS).join(_documents, _visible(_chunks)).where(tx.owns(_chunks))


def _chunk_record(row: Row[Any]) -> ChunkRecord:
    return ChunkRecord(embedding=None, **row._mapping)
