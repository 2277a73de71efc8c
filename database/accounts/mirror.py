"""Copies of the accounts that may log in while the main database is away.

They are kept in the database that stands in for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import delete, insert, select

from database import schema
from database.accounts import users
from database.accounts.tables import accounts, blocked_users
from database.records import SERVICE_ACTOR
from database.store import Store, Transaction


@dataclass(frozen=True, slots=True)
class _Copy:
    email: str
    password_hash: str = field(repr=False)
    display_name: str
    created_at: str
    password_changed_at: str


def mirror(main: Store, local: Store) -> bool:
    """Makes `local` know the offline accounts of `main` and no others.

    True where something had to be changed. Nothing is written where they agree. Raises StoreError.
    """
    with main.begin(SERVICE_ACTOR) as tx:
        wanted = _offline_accounts(tx)
    with local.begin(SERVICE_ACTOR) as tx:
        if _offline_accounts(tx) == wanted:
            return False
    with local.begin(SERVICE_ACTOR, write=True) as tx:
        known = _offline_accounts(tx)
        # All that differ first: an e-mail address may have gone from one account to another.
        for user_id in known.keys() - {user_id for user_id in wanted if known.get(user_id) == wanted[user_id]}:
            tx.connection.execute(delete(accounts).where(accounts.c.user_id == user_id))
        for user_id in wanted.keys() - {user_id for user_id in known if known[user_id] == wanted.get(user_id)}:
            copy = wanted[user_id]
            users.ensure(tx, user_id, display_name=copy.display_name)
            tx.connection.execute(
                insert(accounts).values(
                    user_id=user_id,
                    email=copy.email,
                    password_hash=copy.password_hash,
                    is_offline=True,
                    created_at=copy.created_at,
                    password_changed_at=copy.password_changed_at,
                )
            )
    return True


def _offline_accounts(tx: Transaction) -> Mapping[str, _Copy]:
    """Those that may log in, by their user's id."""
    rows = tx.connection.execute(
        select(accounts, schema.users.c.display_name)
        .join(schema.users, schema.users.c.user_id == accounts.c.user_id)
        .outerjoin(blocked_users, blocked_users.c.user_id == accounts.c.user_id)
        .where(accounts.c.is_offline, blocked_users.c.user_id.is_(None))
    )
    return {
        row.user_id: _Copy(row.email, row.password_hash, row.display_name, row.created_at, row.password_changed_at)
        for row in rows
    }
