"""Keyword search by FTS5's BM25."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, column, desc, func, literal_column, select, table

from database import schema
from database.filters import matches
from database.keywords import query_words
from database.records import DocumentFilter, RowHit
from database.store import Transaction

_keywords = table("document_keywords", column("rowid"))
_MATCH = literal_column("document_keywords").op("MATCH")
_SCORE = -func.bm25(literal_column("document_keywords"))


def match_expression(query: str) -> str:
    """`query` as an FTS5 expression, any of its words; empty when it has none."""
    # A word has no quotation marks in it: it is letters and digits only.
    return " OR ".join(f'"{word}"' for word in query_words(query))


def search_keywords(tx: Transaction, query: str, *, k: int, only: DocumentFilter) -> list[RowHit]:
    """The `k` best chunks of the actor's own; see `Store.search_keywords`."""
    condition = matches(only)
    expression = match_expression(query)
    if not expression or k < 1:
        return []
    chunks, documents = schema.chunks, schema.documents
    score = _SCORE.label("score")
    statement: Any = (
        select(chunks.c.chunk_id, chunks.c.document_id, score)
        .select_from(_keywords)
        .join(chunks, chunks.c.row_id == _keywords.c.rowid)
        .join(
            documents,
            (documents.c.document_id == chunks.c.document_id) & (documents.c.generation == chunks.c.generation),
        )
        .where(_MATCH(bindparam("expression", expression)), documents.c.user_id == tx.actor.user_id, condition)
        .order_by(desc(score), chunks.c.row_id)
        .limit(k)
    )
    return [RowHit(row.chunk_id, row.document_id, float(row.score)) for row in tx.connection.execute(statement)]
