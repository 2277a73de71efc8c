"""Local accounts, and which users may not come in.

The tables are read and written by the service and workers only.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Row, and_, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from database import schema
from database.accounts import users
from database.accounts.records import AccountRecord, StorageUse, UserRecord
from database.accounts.tables import accounts, blocked_users
from database.ids import now
from database.sql import upsert
from database.store import Transaction


def add(
    tx: Transaction, user_id: str, email: str, password_hash: str, *, display_name: str = "", is_offline: bool = False
) -> bool:
    """Adds an account, and its owner where that is missing.

    False when the e-mail address or the owner has one already. Leave the transaction with an error then, or an owner
    without an account stays.
    """
    moment = now()
    users.ensure(tx, user_id, display_name=display_name)
    dialect = postgresql.insert if tx.connection.dialect.name == "postgresql" else sqlite.insert
    added = tx.connection.scalar(
        dialect(accounts)
        .values(
            user_id=user_id,
            email=email,
            password_hash=password_hash,
            is_offline=is_offline,
            created_at=moment,
            password_changed_at=moment,
        )
        .on_conflict_do_nothing()
        .returning(accounts.c.user_id)
    )
    return added is not None


def by_email(tx: Transaction, email: str) -> AccountRecord | None:
    """The account with this normalised e-mail address."""
    return _account(tx.connection.execute(select(accounts).where(accounts.c.email == email)).one_or_none())


def get(tx: Transaction, user_id: str) -> AccountRecord | None:
    """The account of this user."""
    return _account(tx.connection.execute(select(accounts).where(accounts.c.user_id == user_id)).one_or_none())


def set_password(tx: Transaction, user_id: str, password_hash: str) -> None:
    """Replaces the password."""
    tx.connection.execute(
        update(accounts)
        .where(accounts.c.user_id == user_id)
        .values(password_hash=password_hash, password_changed_at=now())
    )


def rehash(tx: Transaction, user_id: str, old_hash: str, new_hash: str) -> bool:
    """Replaces a hash by another one of the same password.

    False where the password was changed meanwhile.
    """
    changed = tx.connection.execute(
        update(accounts)
        .where(accounts.c.user_id == user_id, accounts.c.password_hash == old_hash)
        .values(password_hash=new_hash)
    )
    return changed.rowcount == 1


def is_known(tx: Transaction, user_id: str) -> bool:
    """True where there is such an owner."""
    return tx.connection.scalar(select(schema.users.c.user_id).where(schema.users.c.user_id == user_id)) is not None


def block_of(tx: Transaction, user_id: str) -> str | None:
    """Why the user may not come in: `disabled` or `deleted`; None where they may."""
    return tx.connection.scalar(select(blocked_users.c.reason).where(blocked_users.c.user_id == user_id))


def disable(tx: Transaction, user_id: str) -> None:
    """Keeps the user out until `enable`; a deleted one stays deleted."""
    if block_of(tx, user_id) is None:
        tx.connection.execute(insert(blocked_users).values(user_id=user_id, reason="disabled", blocked_at=now()))


def enable(tx: Transaction, user_id: str) -> None:
    """Lets a disabled user in again."""
    tx.connection.execute(
        delete(blocked_users).where(blocked_users.c.user_id == user_id, blocked_users.c.reason == "disabled")
    )


def delete_user(tx: Transaction, user_id: str) -> bool:
    """Deletes the owner with every row of theirs, and keeps them out from then on.

    False when there is none.
    """
    deleted = tx.connection.execute(delete(schema.users).where(schema.users.c.user_id == user_id))
    if deleted.rowcount:
        # The trigger has written it; said once more for a table that was restored without its triggers.
        upsert(
            tx.connection,
            blocked_users,
            [{"user_id": user_id, "reason": "deleted", "blocked_at": now()}],
            key=("user_id",),
        )
    return deleted.rowcount == 1


def list_users(tx: Transaction, *, after: str | None, limit: int) -> Sequence[UserRecord]:
    """Every owner by id, beginning behind `after`."""
    table = schema.users
    query = (
        select(
            table.c.user_id,
            table.c.display_name,
            accounts.c.email,
            func.coalesce(accounts.c.is_offline, False).label("is_offline"),
            blocked_users.c.reason,
            table.c.created_at,
        )
        .outerjoin(accounts, accounts.c.user_id == table.c.user_id)
        .outerjoin(blocked_users, blocked_users.c.user_id == table.c.user_id)
        .order_by(table.c.user_id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(table.c.user_id > after)
    return [
        UserRecord(
            row.user_id, row.display_name, row.email, bool(row.is_offline), row.reason is not None, row.created_at
        )
        for row in tx.connection.execute(query)
    ]


def storage_use(tx: Transaction) -> StorageUse:
    """What the actor keeps; a document that lies in another one is counted with that."""
    table = schema.documents
    row = tx.connection.execute(
        select(func.count(), func.coalesce(func.sum(table.c.file_size), 0)).where(
            and_(table.c.user_id == tx.actor.user_id, table.c.parent_id.is_(None))
        )
    ).one()
    return StorageUse(int(row[0]), int(row[1]))


def holds_content(tx: Transaction, sha256: str) -> bool:
    """True where the actor has uploaded the same bytes before."""
    table = schema.documents
    found = select(table.c.document_id).where(
        table.c.user_id == tx.actor.user_id, table.c.sha256 == sha256, table.c.parent_id.is_(None)
    )
    return tx.connection.scalar(found) is not None


def _account(row: Row[tuple[object, ...]] | None) -> AccountRecord | None:
    return None if row is None else AccountRecord(**row._mapping)
