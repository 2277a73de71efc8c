"""Further ids of documents.

They were handed out while the database was out of reach, for content that it had already.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import delete, select

from database import schema
from database.ids import now
from database.sql import among_ids, upsert
from database.store import Transaction

_aliases = schema.aliases


def add(tx: Transaction, user_id: str, aliases: Mapping[str, str]) -> None:
    """Makes each key another id of the document that is its value.

    For workers and the service.
    """
    rows = [
        {"alias_id": alias_id, "user_id": user_id, "document_id": document_id, "created_at": now()}
        for alias_id, document_id in aliases.items()
    ]
    if rows:
        upsert(tx.connection, _aliases, rows, key=["alias_id"])


def resolve(tx: Transaction, alias_id: str) -> str | None:
    """The document that `alias_id` is another id of.

    None where it is none of the actor's.
    """
    return tx.connection.scalar(
        select(_aliases.c.document_id).where(_aliases.c.alias_id == alias_id, tx.owns(_aliases))
    )


def remove(tx: Transaction, alias_ids: list[str]) -> None:
    """Forgets these ids; the documents stay."""
    tx.connection.execute(delete(_aliases).where(_aliases.c.alias_id.in_(among_ids(alias_ids)), tx.owns(_aliases)))
