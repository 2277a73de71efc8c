"""Refresh tokens of sessions.

A worker of the user's writes them, so that two refreshes of one user follow one another.
"""

from __future__ import annotations

from sqlalchemy import delete, insert, select, update

from database.accounts.records import RefreshTokenRecord
from database.accounts.tables import refresh_tokens
from database.ids import now
from database.store import Transaction

_tokens = refresh_tokens


def add(tx: Transaction, user_id: str, token_hash: str, *, family_id: str, expires_at: str) -> None:
    """Adds an unused token, and removes those of the user that have expired."""
    moment = now()
    tx.connection.execute(delete(_tokens).where(_tokens.c.user_id == user_id, _tokens.c.expires_at <= moment))
    tx.connection.execute(
        insert(_tokens).values(
            token_hash=token_hash,
            user_id=user_id,
            family_id=family_id,
            created_at=moment,
            expires_at=expires_at,
        )
    )


def get(tx: Transaction, token_hash: str) -> RefreshTokenRecord | None:
    """The token with this hash, whosever it is."""
    row = tx.connection.execute(select(_tokens).where(_tokens.c.token_hash == token_hash)).one_or_none()
    return None if row is None else RefreshTokenRecord(**row._mapping)


def mark_used(tx: Transaction, token_hash: str, successor: str) -> None:
    """Says when the token was used, and keeps what took its place."""
    tx.connection.execute(
        update(_tokens).where(_tokens.c.token_hash == token_hash).values(used_at=now(), successor=successor)
    )


def end_family(tx: Transaction, user_id: str, family_id: str) -> None:
    """Ends one session of the user."""
    tx.connection.execute(delete(_tokens).where(_tokens.c.user_id == user_id, _tokens.c.family_id == family_id))


def end_all(tx: Transaction, user_id: str) -> None:
    """Ends every session of the user."""
    tx.connection.execute(delete(_tokens).where(_tokens.c.user_id == user_id))
