"""Exact vector search in memory, for a database that has no index of its own.

Each (owner, space, kind) has its visible vectors in one float32 matrix, loaded at the first search and brought up to
date by the change counter: when nothing was written, by any process, that costs one small read.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Literal

import numpy as np
from sqlalchemy import ColumnElement, LargeBinary, Table, and_, func, select, type_coerce

from database import schema
from database.change_counter import read_counter
from database.columns import VECTOR_WIDTH
from database.filters import filter_key, matches
from database.records import Actor, DocumentFilter, RowHit, Vector
from database.sql import among_ids
from database.sqlite.matrix import Matrix, MatrixChange, Rows
from database.store import Transaction

Kind = Literal["text", "image"]

TOMBSTONES_KEPT = 10_000
"""Deletions that are remembered; an index further behind is loaded afresh. The migration that makes the trigger
documents_metadata_deleted has the same number."""
FILTERS_KEPT = 64
"""Filters whose rows an index remembers until a document changes; one costs at most eight bytes a vector."""
_BLOCK = 2048
"""Rows fetched at a time while loading: 6 MiB of vectors."""

_documents = schema.documents
_TABLES: dict[Kind, tuple[Table, str]] = {"text": (schema.chunks, "chunk_id"), "image": (schema.images, "image_id")}


class VectorIndexes:
    """The indexes of one process.

    Thread-safe: a search works on one state of an index, whatever happens meanwhile.
    """

    def __init__(self, begin: Callable[[Actor], AbstractContextManager[Transaction]]) -> None:
        self._begin = begin
        self._lock = threading.Lock()
        self._indexes: dict[tuple[str, str, Kind], _Index] = {}

    def search(
        self, actor: Actor, query: Vector, *, space: str, kind: Kind, k: int, only: DocumentFilter
    ) -> list[RowHit]:
        """See `Store.search_vectors`."""
        direction = _normalised(query)
        if k < 1:
            matches(only)
            return []
        owner = Actor(actor.user_id)
        with self._lock:
            index = self._indexes.setdefault((owner.user_id, space, kind), _Index(owner.user_id, space, kind))
        with self._begin(owner) as tx:
            change, revision = read_counter(tx, owner.user_id)
            state = index.state
            if state is not None and state.change == change:
                return index.search(tx, state, revision, direction, k, only)
        # One thread at a time brings the index up to date, in a transaction that sees at least what the one before it
        # saw: the index is never ahead of the transaction, and afterwards it is exactly where that is.
        with ExitStack() as stack:
            with index.lock:
                tx = stack.enter_context(self._begin(owner))
                change, revision = read_counter(tx, owner.user_id)
                state = index.refresh(tx, change)
            return index.search(tx, state, revision, direction, k, only)

    def clear(self) -> None:
        """Frees the vectors."""
        with self._lock:
            self._indexes.clear()


class _Index:
    """The vectors of one owner, space and kind."""

    def __init__(self, user_id: str, space: str, kind: Kind) -> None:
        self.lock = threading.Lock()
        """Held by the thread that refreshes."""
        self.state: Matrix | None = None
        self._user_id = user_id
        self._space = space
        self._kind = kind
        self._table, self._id = _TABLES[kind]
        self._generations: dict[str, int] = {}
        """Which generation of a document is loaded; under `lock`."""
        self._filters = _RememberedRows()

    def search(
        self, tx: Transaction, state: Matrix, revision: int, query: Vector, k: int, only: DocumentFilter
    ) -> list[RowHit]:
        """The hits in `state`, which is what `tx` sees."""
        rows, scores = state.best(query, k, self._rows(tx, state, revision, only))
        row_ids = state.row_ids[rows].tolist()
        table = self._table
        # What is gone or hidden in this transaction never comes back, even if the index were wrong.
        found = {
            row.row_id: row
            for row in tx.connection.execute(
                select(table.c.row_id, table.c[self._id].label("id"), table.c.document_id)
                .join(_documents, self._visible())
                .where(table.c.user_id == self._user_id, table.c.row_id.in_(row_ids))
            )
        }
        return [
            RowHit(found[row_id].id, found[row_id].document_id, float(score))
            for row_id, score in zip(row_ids, scores, strict=True)
            if row_id in found
        ]

    def refresh(self, tx: Transaction, change: int) -> Matrix:
        """Brings the index to the state that `tx` sees, where the counter is `change`.

        The caller holds `lock`.
        """
        base = self.state
        if base is not None and base.change == change:
            return base
        if base is None or not 0 < change - base.change < TOMBSTONES_KEPT:
            self.state = None
            state, generations = self._load(tx, change)
        else:
            state, generations = self._follow(tx, base, change)
        self.state, self._generations = state, generations
        return state

    def _rows(self, tx: Transaction, state: Matrix, revision: int, only: DocumentFilter) -> Rows | None:
        if only.is_empty:
            return None
        if not only.conditions:
            return state.rows_of(list(only.document_ids or ()))
        key = (revision, filter_key(only))
        rows = self._filters.get(key)
        if rows is None:
            wanted = tx.connection.scalars(
                select(_documents.c.document_id).where(
                    _documents.c.user_id == self._user_id, _documents.c.generation > 0, matches(only)
                )
            ).all()
            rows = state.rows_of(wanted)
            self._filters.put(key, rows)
        return rows

    def _load(self, tx: Transaction, change: int) -> tuple[Matrix, dict[str, int]]:
        table = self._table
        count = tx.connection.execute(
            select(func.count())
            .select_from(table)
            .where(table.c.user_id == self._user_id, table.c.space == self._space)
        ).scalar_one()
        changing = MatrixChange(Matrix.empty(count))
        self._read(tx, changing, None)
        generations = tx.connection.execute(
            select(_documents.c.document_id, _documents.c.generation).where(_documents.c.user_id == self._user_id)
        )
        return changing.finish(change), {row.document_id: row.generation for row in generations}

    def _follow(self, tx: Transaction, base: Matrix, change: int) -> tuple[Matrix, dict[str, int]]:
        deleted = tx.connection.scalars(
            select(schema.tombstones.c.document_id).where(
                schema.tombstones.c.user_id == self._user_id, schema.tombstones.c.change > base.change
            )
        ).all()
        written = tx.connection.execute(
            select(_documents.c.document_id, _documents.c.generation).where(
                _documents.c.user_id == self._user_id, _documents.c.change > base.change
            )
        )
        generations = dict(self._generations)
        for document_id in deleted:
            generations.pop(document_id, None)
        # A generation's chunks are settled when it is published; its pictures may get their vectors later.
        stale = [row for row in written if self._kind == "image" or generations.get(row.document_id) != row.generation]
        changing = MatrixChange(base)
        changing.remove([*deleted, *(row.document_id for row in stale)])
        if stale:
            self._read(tx, changing, [row.document_id for row in stale])
        generations.update({row.document_id: row.generation for row in stale})
        return changing.finish(change), generations

    def _read(self, tx: Transaction, changing: MatrixChange, document_ids: list[str] | None) -> None:
        """Appends the visible vectors, of these documents or of all.

        In the order of insertion.
        """
        table = self._table
        query = (
            select(table.c.row_id, table.c.document_id, type_coerce(table.c.embedding, LargeBinary))
            .join(_documents, self._visible())
            .where(table.c.user_id == self._user_id, table.c.space == self._space)
            .order_by(table.c.row_id)
        )
        if document_ids is not None:
            query = query.where(table.c.document_id.in_(among_ids(document_ids)))
        rows = tx.connection.execute(query, execution_options={"yield_per": _BLOCK})
        for block in rows.partitions():
            row_ids, documents, blobs = zip(*block, strict=True)
            changing.append(row_ids, documents, blobs)

    def _visible(self) -> ColumnElement[bool]:
        return and_(
            _documents.c.document_id == self._table.c.document_id,
            _documents.c.generation == self._table.c.generation,
        )


class _RememberedRows:
    """The rows that filters let through, by filter and revision.

    The ones not asked for longest are forgotten.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: OrderedDict[object, Rows] = OrderedDict()

    def get(self, key: object) -> Rows | None:
        with self._lock:
            rows = self._rows.get(key)
            if rows is not None:
                self._rows.move_to_end(key)
            return rows

    def put(self, key: object, rows: Rows) -> None:
        with self._lock:
            self._rows[key] = rows
            while len(self._rows) > FILTERS_KEPT:
                self._rows.popitem(last=False)


def _normalised(query: Vector) -> Vector:
    flat = np.ascontiguousarray(query, np.float32)
    length = float(np.linalg.norm(flat)) if flat.shape == (VECTOR_WIDTH,) else 0.0
    if not 0.0 < length < np.inf:
        raise ValueError(f"a query is {VECTOR_WIDTH} finite numbers, not all zero; this one has shape {flat.shape}")
    return flat / np.float32(length)
