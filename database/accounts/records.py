"""What the store keeps of accounts, as frozen records.

Times are RFC 3339 UTC strings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """A local account."""

    user_id: str
    email: str
    """Normalised."""
    password_hash: str = field(repr=False)
    """argon2id in the PHC string format."""
    is_offline: bool
    """May log in while Supabase's accounts cannot be reached."""
    created_at: str
    password_changed_at: str


@dataclass(frozen=True, slots=True)
class UserRecord:
    """An owner as the operator sees them."""

    user_id: str
    display_name: str
    email: str | None
    """None where the account is not a local one."""
    is_offline: bool
    is_disabled: bool
    created_at: str


@dataclass(frozen=True, slots=True)
class RefreshTokenRecord:
    """One refresh token of a session."""

    token_hash: str = field(repr=False)
    """SHA-256 (hex)."""
    user_id: str
    family_id: str
    created_at: str
    expires_at: str
    used_at: str | None
    successor: str | None = field(repr=False)
    """The token that took its place, hidden with this one; None while it is unused."""


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """An API key without its secret."""

    key_id: str
    user_id: str
    name: str
    prefix: str
    """The first characters, by which the owner knows it again."""
    scopes: Sequence[str]
    created_at: str
    expires_at: str | None
    last_used_at: str | None


@dataclass(frozen=True, slots=True)
class StorageUse:
    """What one owner keeps."""

    documents: int
    """Those that were uploaded, without those that lie in another one."""
    bytes: int
