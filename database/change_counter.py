"""The change counter, by which an index in memory learns that it is behind.

The index may be one of another process.
"""

from __future__ import annotations

from sqlalchemy import select, update

from database import schema
from database.sql import upsert
from database.store import Transaction

_counters = schema.change_counters
_documents = schema.documents


def read_counter(tx: Transaction, user_id: str) -> tuple[int, int]:
    """`(value, revision)` of an owner: see the migration that makes change_counters."""
    row = tx.connection.execute(
        select(_counters.c.value, _counters.c.revision).where(_counters.c.user_id == user_id)
    ).one_or_none()
    return (0, 0) if row is None else (row.value, row.revision)


def mark_changed(tx: Transaction, document_id: str, user_id: str) -> None:
    """Raises the owner's counter and notes the new value in the document.

    Call it when what can be found of the document has changed. Postgres keeps its own index in step with every row:
    nobody needs to be told there.
    """
    if tx.connection.dialect.name == "postgresql":
        return
    tx.writes_for(user_id)
    upsert(
        tx.connection,
        _counters,
        [{"user_id": user_id, "value": 1, "revision": 1}],
        key=["user_id"],
        set_={"value": _counters.c.value + 1},
        keep=["revision"],
    )
    value = select(_counters.c.value).where(_counters.c.user_id == user_id).scalar_subquery()
    tx.connection.execute(update(_documents).where(_documents.c.document_id == document_id).values(change=value))
