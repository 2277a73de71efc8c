"""API keys: made, listed, found by their hash, revoked.

Owners read all but the hash; making, finding and revoking is for the service's role.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import and_, delete, func, insert, or_, select, update

from database.accounts.records import ApiKeyRecord
from database.accounts.tables import api_keys
from database.cursors import decode_cursor, encode_cursor
from database.ids import new_id, now
from database.records import ListPage
from database.store import Transaction

_COLUMNS = [column for column in api_keys.c if column.name != "key_hash"]


def add(
    tx: Transaction,
    *,
    name: str,
    prefix: str,
    key_hash: str,
    scopes: Sequence[str],
    expires_at: str | None,
) -> ApiKeyRecord:
    """Adds a key of the actor's."""
    record = ApiKeyRecord(new_id(), tx.actor.user_id, name, prefix, list(scopes), now(), expires_at, None)
    tx.connection.execute(
        insert(api_keys).values(
            key_id=record.key_id,
            user_id=record.user_id,
            name=name,
            prefix=prefix,
            key_hash=key_hash,
            scopes=list(scopes),
            created_at=record.created_at,
            expires_at=expires_at,
        )
    )
    return record


def count(tx: Transaction) -> int:
    """How many keys the actor has."""
    return int(tx.connection.scalar(select(func.count(api_keys.c.key_id)).where(tx.owns(api_keys))) or 0)


def get(tx: Transaction, key_id: str) -> ApiKeyRecord | None:
    """The actor's key."""
    row = tx.connection.execute(select(*_COLUMNS).where(api_keys.c.key_id == key_id, tx.owns(api_keys))).one_or_none()
    return None if row is None else ApiKeyRecord(**row._mapping)


def by_hash(tx: Transaction, key_hash: str) -> tuple[ApiKeyRecord, str] | None:
    """The key with this hash, whosever it is, and the hash as it is stored."""
    row = tx.connection.execute(select(api_keys).where(api_keys.c.key_hash == key_hash)).one_or_none()
    if row is None:
        return None
    values = dict(row._mapping)
    stored = values.pop("key_hash")
    return ApiKeyRecord(**values), stored


def list_page(tx: Transaction, *, limit: int, cursor: str | None) -> ListPage[ApiKeyRecord]:
    """The actor's keys, newest first. Raises ValueError for a malformed cursor."""
    created, key_id = api_keys.c.created_at, api_keys.c.key_id
    query = select(*_COLUMNS).where(tx.owns(api_keys))
    if cursor is not None:
        before = decode_cursor(cursor, (datetime, str))
        query = query.where(or_(created < before[0], and_(created == before[0], key_id < before[1])))
    rows = tx.connection.execute(query.order_by(created.desc(), key_id.desc()).limit(limit + 1)).all()
    data = [ApiKeyRecord(**row._mapping) for row in rows[:limit]]
    more = len(rows) > limit and bool(data)
    return ListPage(data, encode_cursor([data[-1].created_at, data[-1].key_id]) if more else None)


def delete_key(tx: Transaction, key_id: str) -> bool:
    """Deletes the actor's key; False when there is none."""
    deleted = tx.connection.execute(delete(api_keys).where(api_keys.c.key_id == key_id, tx.owns(api_keys)))
    return deleted.rowcount == 1


def mark_used(tx: Transaction, key_id: str) -> None:
    """Says that the actor's key was used now."""
    tx.connection.execute(
        update(api_keys).where(api_keys.c.key_id == key_id, tx.owns(api_keys)).values(last_used_at=now())
    )
