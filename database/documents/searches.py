"""The record of searches."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, insert, or_, select

from database import schema
from database.columns import checked_vector
from database.cursors import decode_cursor, encode_cursor
from database.ids import new_id, now
from database.records import Json, ListPage, SearchRecord, Vector
from database.store import Transaction

_searches = schema.searches
_SEARCH_FIELDS = [column.name for column in _searches.c]


def record(
    tx: Transaction, *, query_text: str, query_embedding: Vector | None, results_found: int, metadata: Json
) -> SearchRecord:
    """Notes a search of the actor's and returns the note.

    Raises ValueError for a vector that is not 768 numbers of unit length.
    """
    entry = SearchRecord(
        search_id=new_id(),
        user_id=tx.actor.user_id,
        query_text=query_text,
        query_embedding=None if query_embedding is None else checked_vector(query_embedding),
        results_found=results_found,
        search_timestamp=now(),
        metadata=metadata,
    )
    tx.connection.execute(insert(_searches).values({name: getattr(entry, name) for name in _SEARCH_FIELDS}))
    return entry


def list_page(tx: Transaction, limit: int, cursor: str | None) -> ListPage[SearchRecord]:
    """The actor's searches, newest first, without the queries' vectors.

    Raises ValueError for a malformed cursor.
    """
    moment, search_id = _searches.c.search_timestamp, _searches.c.search_id
    query = select(*(c for c in _searches.c if c.name != "query_embedding")).where(tx.owns(_searches))
    if cursor is not None:
        before = decode_cursor(cursor, (datetime, str))
        query = query.where(or_(moment < before[0], and_(moment == before[0], search_id < before[1])))
    rows = tx.connection.execute(query.order_by(moment.desc(), search_id.desc()).limit(limit + 1)).all()
    data = [_search_record(row) for row in rows[:limit]]
    more = len(rows) > limit and bool(data)
    return ListPage(data, encode_cursor([data[-1].search_timestamp, data[-1].search_id]) if more else None)


def _search_record(row: Row[Any]) -> SearchRecord:
    return SearchRecord(query_embedding=None, **row._mapping)
