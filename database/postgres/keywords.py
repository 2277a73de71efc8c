"""Keyword search by Postgres' full text.

The index finds the chunks, BM25 ranks them.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Float, Integer, Text, bindparam, cast, column, desc, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from database import schema
from database.columns import Id
from database.filters import matches
from database.keywords import query_words
from database.records import DocumentFilter, RowHit
from database.store import Transaction


def search_keywords(tx: Transaction, query: str, *, k: int, only: DocumentFilter) -> list[RowHit]:
    """The `k` best chunks of the actor's own; see `Store.search_keywords`."""
    condition = matches(only)
    words = query_words(query)
    if not words or k < 1:
        return []
    documents = schema.documents
    # Letters and digits only: nothing in a word means anything in the language of queries.
    given = cast(bindparam("words", words, type_=ARRAY(Text)), ARRAY(Text))
    mine = documents.c.user_id == tx.actor.user_id
    within = func.array(select(documents.c.document_id).where(mine, condition).scalar_subquery())
    filtered = () if only.is_empty else (within,)
    # A function of the migrations: under row level security the index cannot be used otherwise.
    found = func.public.rank_keywords(given, k, *filtered).table_valued(
        column("row_id", BigInteger),
        column("chunk_id", Id),
        column("document_id", Id),
        column("generation", Integer),
        column("score", Float),
        name="found",
    )
    statement: Any = (
        select(found.c.chunk_id, found.c.document_id, found.c.score)
        .join(
            documents,
            (documents.c.document_id == found.c.document_id) & (documents.c.generation == found.c.generation),
        )
        .where(mine)
        .order_by(desc(found.c.score), found.c.row_id)
        .limit(k)
    )
    return [RowHit(row.chunk_id, row.document_id, float(row.score)) for row in tx.connection.execute(statement)]
