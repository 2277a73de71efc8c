"""Owners."""

from __future__ import annotations

from sqlalchemy import insert, select

from database import schema
from database.ids import now
from database.store import Transaction


def ensure(tx: Transaction, user_id: str, *, display_name: str = "") -> None:
    """Adds the owner where it is missing."""
    known = select(schema.users.c.user_id).where(schema.users.c.user_id == user_id)
    if tx.connection.scalar(known) is None:
        tx.connection.execute(insert(schema.users).values(user_id=user_id, display_name=display_name, created_at=now()))
