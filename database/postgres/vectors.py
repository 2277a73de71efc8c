"""Vector search by pgvector.

Exact where few rows are left, by the HNSW index where many are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    ColumnElement,
    Float,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    or_,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import REGCLASS

from database import schema
from database.columns import VECTOR_WIDTH, UnitVector
from database.filters import matches
from database.records import DocumentFilter, RowHit, Vector, VectorMatches
from database.store import Transaction

Kind = Literal["text", "image"]

OVERSAMPLING = 2
"""Candidates of the index for each row that is wanted, ranked again by their float32 vectors."""
MIN_EF_SEARCH = 200
MAX_EF_SEARCH = 1000
"""The most that pgvector takes. Source: pgvector README, "HNSW", "Query Options"."""
MAX_SCAN_TUPLES = 20_000
"""Rows that an iterative scan looks at before it gives up; then the answer is worked out exactly."""
SCAN_MEMORY = 8
"""Times work_mem that an iterative scan may use: with 1, pgvector's default, it ends long before MAX_SCAN_TUPLES."""

_SORTING_ALLOWED = text("SELECT set_config('enable_sort', 'on', true)")
_documents = schema.documents


@dataclass(frozen=True, slots=True)
class _Kind:
    table: Table
    id: str
    counted: str
    """The column of documents_metadata that tells how many a document has."""


_KINDS: dict[Kind, _Kind] = {
    "text": _Kind(schema.chunks, "chunk_id", "total_chunks"),
    "image": _Kind(schema.images, "image_id", "image_count"),
}


def search_vectors(
    tx: Transaction,
    query: Vector,
    *,
    space: str,
    kind: Kind,
    k: int,
    only: DocumentFilter,
    exact: bool,
    exact_rows: int,
) -> VectorMatches:
    """The answer to `Store.search_vectors`.

    Up to `exact_rows` rows, and where `exact` is wanted, the query is compared with each.
    """
    direction = _normalised(query)
    condition = matches(only)
    if k < 1:
        return VectorMatches([], is_exact=True)
    looked = _KINDS[kind]
    mine = and_(_documents.c.user_id == tx.actor.user_id, _documents.c.generation > 0, condition)
    candidates = max(k, min(k * OVERSAMPLING, MAX_EF_SEARCH))
    if not exact and _index_pays(tx, looked, mine, candidates, exact_rows):
        found = _by_index(tx, looked, direction, space, k, candidates, mine)
        if len(found) >= k:
            return VectorMatches(found, is_exact=False)
        tx.connection.execute(_SORTING_ALLOWED)
    return VectorMatches(_exactly(tx, looked, direction, space, k, mine), is_exact=True)


def _index_pays(tx: Transaction, looked: _Kind, mine: ColumnElement[bool], candidates: int, exact_rows: int) -> bool:
    """True where more than `exact_rows` rows match and the index can find them.

    It can where it finds the candidates before it gives up; then the transaction is set up for `_by_index`, in the same
    round trip. The rows are added up over the documents, of which no more are looked at than the answer needs. How many
    rows the index has, of all owners, is the estimate that the database keeps for its planner.
    """
    per_document = _documents.c[looked.counted]
    some = select(per_document.label("rows")).where(mine, per_document > 0).limit(exact_rows + 1).subquery()
    counted = select(func.count().label("documents"), func.coalesce(func.sum(some.c.rows), 0).label("rows")).cte(
        "counted"
    )
    in_index = (
        select(literal_column("reltuples", Float))
        .select_from(text("pg_catalog.pg_class"))
        .where(literal_column("oid") == cast(cast(looked.table.name, Text), REGCLASS))
        .scalar_subquery()
    )
    fits = candidates * in_index <= MAX_SCAN_TUPLES * counted.c.rows
    pays = and_(counted.c.rows > exact_rows, or_(counted.c.documents > exact_rows, fits)).label("pays")
    given = select(pays).cte("decided").prefix_with("MATERIALIZED", dialect="postgresql")
    ef_search = min(MAX_EF_SEARCH, max(MIN_EF_SEARCH, candidates))
    row = tx.connection.execute(
        select(
            given.c.pays,
            # The order that the index gives is the only way then: a planner that believes in few rows would read and
            # sort them all.
            func.set_config("enable_sort", case((given.c.pays, "off"), else_="on"), True),
            func.set_config("hnsw.iterative_scan", "relaxed_order", True),
            func.set_config("hnsw.ef_search", str(ef_search), True),
            func.set_config("hnsw.max_scan_tuples", str(MAX_SCAN_TUPLES), True),
            func.set_config("hnsw.scan_mem_multiplier", str(SCAN_MEMORY), True),
        )
    ).one()
    return bool(row.pays)


def _exactly(
    tx: Transaction, looked: _Kind, query: Vector, space: str, k: int, mine: ColumnElement[bool]
) -> list[RowHit]:
    distance = _distance(looked.table).label("distance")
    statement = _candidates(looked, tx, space, mine, distance).order_by(distance, looked.table.c.row_id).limit(k)
    return _hits(tx.connection.execute(statement, {"query": query}))


def _by_index(
    tx: Transaction, looked: _Kind, query: Vector, space: str, k: int, candidates: int, mine: ColumnElement[bool]
) -> list[RowHit]:
    half = HALFVEC(VECTOR_WIDTH)
    near = cast(looked.table.c.embedding, half).op("<=>")(cast(bindparam("query", type_=UnitVector), half))
    distance = _distance(looked.table).label("distance")
    nearest = (
        _candidates(looked, tx, space, mine, distance, looked.table.c.row_id)
        .order_by(near)
        .limit(candidates)
        .cte("nearest")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    best = (
        select(nearest.c.id, nearest.c.document_id, nearest.c.distance)
        .order_by(nearest.c.distance, nearest.c.row_id)
        .limit(k)
    )
    return _hits(tx.connection.execute(best, {"query": query}))


def _candidates(
    looked: _Kind, tx: Transaction, space: str, mine: ColumnElement[bool], *columns: ColumnElement[Any]
) -> Select[Any]:
    table = looked.table
    return (
        select(table.c[looked.id].label("id"), table.c.document_id, *columns)
        .join(
            _documents,
            and_(
                _documents.c.document_id == table.c.document_id,
                _documents.c.generation == table.c.generation,
            ),
        )
        .where(table.c.user_id == tx.actor.user_id, table.c.space == space, mine)
    )


def _distance(table: Table) -> ColumnElement[float]:
    distance: ColumnElement[float] = table.c.embedding.op("<=>", return_type=Float())(
        bindparam("query", type_=UnitVector)
    )
    return distance


def _hits(rows: Any) -> list[RowHit]:
    return [RowHit(row.id, row.document_id, 1.0 - float(row.distance)) for row in rows]


def _normalised(query: Vector) -> Vector:
    flat = np.ascontiguousarray(query, np.float32)
    length = float(np.linalg.norm(flat)) if flat.shape == (VECTOR_WIDTH,) else 0.0
    if not 0.0 < length < np.inf:
        raise ValueError(f"a query is {VECTOR_WIDTH} finite numbers, not all zero; this one has shape {flat.shape}")
    return flat / np.float32(length)
