"""Sessions of local accounts: refresh tokens that are used once each.

A token is 256 random bits, shown once and stored as its SHA-256. Using it makes its successor; using it once more ends
the whole session, because one of the two users is a thief. Source: RFC 9700, section 4.14.2.

One exception, for a client whose answer was lost and for two tabs that refresh at the same instant: within
`GRACE_S` of the first use, and while the successor is unused, the same successor is given again. It is kept encrypted
with the token that it replaced (a one-time pad made of that token), so a reader of the database cannot use it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from database.accounts import accounts
from database.accounts import sessions as account_sessions
from database.ids import format_time, new_id
from database.records import SERVICE_ACTOR, worker_for
from database.store import Store
from services.accounts.availability import check_absence
from services.errors import Unauthenticated

PREFIX = "drt_"
GRACE_S = 10.0
"""Source: Supabase's own default for the same thing, `GOTRUE_SECURITY_REFRESH_TOKEN_REUSE_INTERVAL` of 10 s."""
_TOKEN_BYTES = 32
_PAD_LABEL = b"docatlas refresh token successor"


@dataclass(frozen=True, slots=True)
class Session:
    """A session and the refresh token that continues it."""

    user_id: str
    session_id: str
    refresh_token: str = field(repr=False)


class Sessions:
    """Begins, continues and ends sessions. Thread-safe."""

    def __init__(self, store: Store, lifetime_s: int) -> None:
        self._store, self._lifetime_s = store, lifetime_s

    def begin(self, user_id: str, *, lifetime_s: int | None = None, checked_hash: str | None = None) -> Session:
        """A new session.

        Raises Unauthenticated when the user was disabled or deleted, or got another password than the one that
        `checked_hash` is of, since that was checked.
        """
        token, session_id = _new_token(), new_id()
        with self._store.begin(worker_for(user_id), write=True) as tx:
            account = accounts.get(tx, user_id)
            if account is None or accounts.block_of(tx, user_id) is not None:
                raise session_ended()
            if checked_hash is not None and account.password_hash != checked_hash:
                raise session_ended()
            expires_at = _in_seconds(lifetime_s or self._lifetime_s)
            account_sessions.add(tx, user_id, hash_of(token), family_id=session_id, expires_at=expires_at)
        return Session(user_id, session_id, token)

    def rotate(self, token: str, *, keeps_end: bool = False) -> Session:
        """Replaces `token` by a new one; with `keeps_end` the session's end stays.

        Raises Unauthenticated: `invalid_refresh_token`, or `refresh_token_reused`, after which the session has ended.
        """
        token_hash = hash_of(token)
        with self._store.begin(SERVICE_ACTOR) as tx:
            known = account_sessions.get(tx, token_hash)
        if known is None:
            check_absence(tx)
            raise session_ended()
        with self._store.begin(worker_for(known.user_id), write=True) as tx:
            found = account_sessions.get(tx, token_hash)
            if found is None or found.expires_at <= format_time(datetime.now(UTC)):
                raise session_ended()
            if accounts.get(tx, found.user_id) is None or accounts.block_of(tx, found.user_id) is not None:
                account_sessions.end_all(tx, found.user_id)
                successor = None
            elif found.used_at is None or found.successor is None:
                successor = _new_token()
                expires_at = found.expires_at if keeps_end else _in_seconds(self._lifetime_s)
                account_sessions.mark_used(tx, token_hash, _hidden(successor, token))
                account_sessions.add(
                    tx, found.user_id, hash_of(successor), family_id=found.family_id, expires_at=expires_at
                )
            else:
                successor = _shown(found.successor, token) if _is_recent(found.used_at) else None
                following = None if successor is None else account_sessions.get(tx, hash_of(successor))
                if following is None or following.used_at is not None:
                    successor = None
                    account_sessions.end_family(tx, found.user_id, found.family_id)
        if successor is None:
            # Raised here, behind the transaction that ended the session.
            raise _reused() if found.used_at is not None else session_ended()
        return Session(found.user_id, found.family_id, successor)

    def end(self, user_id: str, session_id: str) -> None:
        """Ends the session."""
        with self._store.begin(worker_for(user_id), write=True) as tx:
            account_sessions.end_family(tx, user_id, session_id)

    def end_all(self, user_id: str) -> None:
        """Ends every session of the user."""
        with self._store.begin(worker_for(user_id), write=True) as tx:
            account_sessions.end_all(tx, user_id)


def hash_of(secret: str) -> str:
    """SHA-256 of the secret, in hexadecimal.

    Of 256 random bits, nothing slower is needed. Source: OWASP Session Management Cheat Sheet.
    """
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _new_token() -> str:
    return PREFIX + _encoded(secrets.token_bytes(_TOKEN_BYTES))


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _hidden(successor: str, token: str) -> str:
    raw = base64.urlsafe_b64decode(successor.removeprefix(PREFIX) + "=")
    return _encoded(_crossed(raw, token))


def _shown(hidden: str, token: str) -> str | None:
    try:
        return PREFIX + _encoded(_crossed(base64.urlsafe_b64decode(hidden + "="), token))
    except (binascii.Error, ValueError):
        return None


def _crossed(raw: bytes, token: str) -> bytes:
    """`raw` XOR a one-time pad that only the token makes.

    The pad is used for one successor and never again.
    """
    pad = hmac.new(token.encode(), _PAD_LABEL, hashlib.sha256).digest()
    return bytes(a ^ b for a, b in zip(raw, pad, strict=True))


def _is_recent(used_at: str) -> bool:
    return used_at > format_time(datetime.now(UTC) - timedelta(seconds=GRACE_S))


def _in_seconds(seconds: float) -> str:
    return format_time(datetime.now(UTC) + timedelta(seconds=seconds))


def session_ended() -> Unauthenticated:
    """The refusal of a refresh token that continues nothing."""
    return Unauthenticated(
        "The session has ended, or the refresh token is not one of ours. Log in again.", code="invalid_refresh_token"
    )


def _reused() -> Unauthenticated:
    return Unauthenticated(
        "The refresh token was used before, so the session was ended: it may have been stolen. Log in again.",
        code="refresh_token_reused",
    )
