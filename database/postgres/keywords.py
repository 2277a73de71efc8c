"""Keyword search by Postgres' full text."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, cast, desc, func, literal_column, select
from sqlalchemy.dialects.postgresql import TSQUERY, TSVECTOR

from database import schema
from database.filters import matches
from database.keywords import query_words
from database.records import DocumentFilter, RowHit
from database.store import Transaction

_CONFIGURATION = "public.docatlas"
_BY_LENGTH = 1
"""Divides the rank by 1 + log(length). Source: PostgreSQL documentation, 12.3.3, "Ranking Search Results"."""


def search_keywords(tx: Transaction, query: str, *, k: int, only: DocumentFilter) -> list[RowHit]:
    """The `k` best chunks of the actor's own; see `Store.search_keywords`."""
    condition = matches(only)
    words = query_words(query)
    if not words or k < 1:
        return []
    chunks, documents = schema.chunks, schema.documents
    # Letters and digits only: nothing in a word means anything in the language of queries.
    any_of = cast(
        func.to_tsquery(literal_column(f"'{_CONFIGURATION}'::regconfig"), bindparam("words", " | ".join(words))),
        TSQUERY,
    )
    keywords = literal_column("document_embeddings.keywords", TSVECTOR)
    score = func.ts_rank_cd(keywords, any_of, _BY_LENGTH).label("score")
    statement: Any = (
        select(chunks.c.chunk_id, chunks.c.document_id, score)
        .join(
            documents,
            (documents.c.document_id == chunks.c.document_id) & (documents.c.generation == chunks.c.generation),
        )
        .where(keywords.op("@@")(any_of), chunks.c.user_id == tx.actor.user_id, condition)
        .order_by(desc(score), chunks.c.row_id)
        .limit(k)
    )
    return [RowHit(row.chunk_id, row.document_id, float(row.score)) for row in tx.connection.execute(statement)]
