"""The tables of accounts, sessions and API keys, as the SQL migrations make them."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Table, UniqueConstraint

from database.columns import Id, Json, Moment, StorableText
from database.schema import metadata


def _owner(*, key: bool = False) -> Column[str]:
    return Column("user_id", Id, ForeignKey("users.user_id", ondelete="CASCADE"), nullable=False, primary_key=key)


def _text(name: str, *, null: bool = False, key: bool = False) -> Column[str]:
    return Column(name, StorableText, nullable=null, primary_key=key)


def _moment(name: str, *, null: bool = False) -> Column[str]:
    return Column(name, Moment, nullable=null)


accounts = Table(
    "local_accounts",
    metadata,
    _owner(key=True),
    _text("email"),
    _text("password_hash"),
    Column("is_offline", Boolean(create_constraint=False), nullable=False),
    _moment("created_at"),
    _moment("password_changed_at"),
    UniqueConstraint("email"),
)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    _text("token_hash", key=True),
    _owner(),
    Column("family_id", Id, nullable=False),
    _moment("created_at"),
    _moment("expires_at"),
    _moment("used_at", null=True),
    _text("successor", null=True),
)

blocked_users = Table(
    "blocked_users",
    metadata,
    Column("user_id", Id, primary_key=True, nullable=False),
    _text("reason"),
    _moment("blocked_at"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Id, primary_key=True, nullable=False),
    _owner(),
    _text("name"),
    _text("prefix"),
    _text("key_hash"),
    Column("scopes", Json, nullable=False),
    _moment("created_at"),
    _moment("expires_at", null=True),
    _moment("last_used_at", null=True),
    UniqueConstraint("key_hash"),
)
