"""Accounts whose password hashes are kept in this database."""

from __future__ import annotations

from dataclasses import dataclass, field

from database.accounts import accounts
from database.accounts import sessions as account_sessions
from database.accounts.records import AccountRecord
from database.ids import new_id
from database.records import SERVICE_ACTOR, worker_for
from database.store import Store
from services.accounts.attempts import LoginAttempts
from services.accounts.availability import changing, check_absence, require_database
from services.accounts.emails import normal_email
from services.accounts.passwords import PasswordHasher, check_password
from services.accounts.principal import Principal
from services.accounts.sessions import Session, Sessions, session_ended
from services.accounts.tokens import AccessTokens
from services.errors import Conflict, Forbidden, NotFound, Unauthenticated

OFFLINE_SESSION_S = 12 * 3600
"""How long an account that may log in while Supabase is away stays logged in: a working day, and no longer, because
nobody at Supabase can end that session."""


@dataclass(frozen=True, slots=True)
class Grant:
    """The tokens that a login, a refresh or a new password gives."""

    user_id: str
    email: str
    access_token: str = field(repr=False)
    expires_in_s: int
    refresh_token: str = field(repr=False)


class LocalAccounts:
    """Registers, logs in, and changes passwords. Thread-safe.

    A call that hashes takes a tenth of a second of a core. Raises StoreError where the database cannot be asked.
    """

    def __init__(
        self, store: Store, hasher: PasswordHasher, tokens: AccessTokens, sessions: Sessions, attempts: LoginAttempts
    ) -> None:
        self._store, self._hasher, self._tokens = store, hasher, tokens
        self._sessions, self._attempts = sessions, attempts

    def register(self, email: str, password: str, *, display_name: str, address: str) -> Grant:
        """Makes an account and logs it in; `address` is the client's.

        Raises Conflict (`email_taken`), InvalidOption and RateLimited.
        """
        normal = normal_email(email)
        check_password(password, email=normal)
        # Counted and not taken back: making accounts, and asking which there are, is slow on purpose.
        self._attempts.begin(normal, address)
        user_id = add_account(self._store, self._hasher, email, password, display_name=display_name)
        return self._grant(self._sessions.begin(user_id), normal)

    def login(self, email: str, password: str, *, address: str, offline_only: bool = False) -> Grant:
        """Begins a session; with `offline_only` for accounts that are marked for it alone.

        The same work is done whether there is such an account or not. Raises Unauthenticated (`invalid_credentials`),
        Forbidden (`account_disabled`) and RateLimited.
        """
        normal = normal_email(email)
        with self._attempts.trying(normal, address):
            account, block, is_copy = self._checked(normal, password, offline_only=offline_only)
        if block is not None:
            raise disabled()
        # The hash of a copy stays: it is written over at the next mirroring.
        current_hash = account.password_hash if is_copy else self._rehash(account, password)
        session = self._sessions.begin(
            account.user_id, lifetime_s=OFFLINE_SESSION_S if offline_only else None, checked_hash=current_hash
        )
        return self._grant(session, account.email)

    def _checked(self, email: str, password: str, *, offline_only: bool) -> tuple[AccountRecord, str | None, bool]:
        """The account that the password is of, why its user may not come in, and whether it is this node's copy."""
        with self._store.begin(SERVICE_ACTOR) as tx:
            account = accounts.by_email(tx, email)
            block = None if account is None else accounts.block_of(tx, account.user_id)
        if account is not None and offline_only and not account.is_offline:
            account = None
        if not self._hasher.verify(None if account is None else account.password_hash, password) or account is None:
            check_absence(tx)
            raise wrong_credentials()
        return account, block, tx.is_partial

    def refresh(self, refresh_token: str, *, keeps_end: bool = False) -> Grant:
        """The session continued: see services.accounts.sessions. Raises Unauthenticated."""
        session = self._sessions.rotate(refresh_token, keeps_end=keeps_end)
        account = self._account_of(session.user_id)
        if keeps_end and not account.is_offline:
            # Begun while the accounts were local ones: now Supabase says who comes in.
            self._sessions.end(session.user_id, session.session_id)
            raise session_ended()
        return self._grant(session, account.email)

    def logout(self, principal: Principal) -> None:
        """Ends the session of the access token.

        The token itself is valid until it expires.
        """
        if principal.session_id is not None:
            self._sessions.end(principal.user_id, principal.session_id)

    def change_password(self, principal: Principal, current: str, new: str, *, address: str) -> Grant:
        """Sets the password, ends every session, and begins a new one.

        Raises Unauthenticated (`invalid_credentials`), InvalidOption (`weak_password`) and RateLimited.
        """
        require_database(self._store)
        account = self._account_of(principal.user_id)
        check_password(new, email=account.email, at="/new_password")
        with self._attempts.trying(account.email, address):
            if not self._hasher.verify(account.password_hash, current):
                raise wrong_credentials()
        new_hash = set_password(self._store, self._hasher, account.user_id, new, checked_hash=account.password_hash)
        return self._grant(self._sessions.begin(account.user_id, checked_hash=new_hash), account.email)

    def email_of(self, user_id: str) -> str | None:
        """The account's e-mail address; None where the user has no account here."""
        with self._store.begin(SERVICE_ACTOR) as tx:
            account = accounts.get(tx, user_id)
        return None if account is None else account.email

    def _account_of(self, user_id: str) -> AccountRecord:
        with self._store.begin(SERVICE_ACTOR) as tx:
            account = accounts.get(tx, user_id)
        if account is None:
            check_absence(tx)
            raise Unauthenticated("The account is no longer there.", code="account_deleted")
        return account

    def _rehash(self, account: AccountRecord, password: str) -> str:
        if not self._hasher.is_outdated(account.password_hash):
            return account.password_hash
        fresh = self._hasher.hash(password)
        with self._store.begin(worker_for(account.user_id), write=True) as tx:
            # Two logins at once may both make a new one.
            if accounts.rehash(tx, account.user_id, account.password_hash, fresh):
                return fresh
            known = accounts.get(tx, account.user_id)
        is_same = known is not None and self._hasher.verify(known.password_hash, password)
        return known.password_hash if known is not None and is_same else account.password_hash

    def _grant(self, session: Session, email: str) -> Grant:
        access_token = self._tokens.issue(session.user_id, session.session_id)
        return Grant(session.user_id, email, access_token, self._tokens.lifetime_s, session.refresh_token)


def add_account(
    store: Store,
    hasher: PasswordHasher,
    email: str,
    password: str,
    *,
    display_name: str = "",
    is_offline: bool = False,
    user_id: str | None = None,
) -> str:
    """Adds an account; returns the id of its owner.

    Raises Conflict (`email_taken`, `account_deleted`) and InvalidOption.
    """
    require_database(store)
    normal = normal_email(email)
    check_password(password, email=normal)
    owner_id = user_id or new_id()
    password_hash = hasher.hash(password)
    with changing(store, worker_for(owner_id)) as tx:
        if accounts.block_of(tx, owner_id) == "deleted":
            raise Conflict("The user of this id was deleted. Leave the id out.", code="account_deleted")
        added = accounts.add(
            tx, owner_id, normal, password_hash, display_name=display_name[:200], is_offline=is_offline
        )
        if not added:
            raise Conflict(
                "There is an account with this e-mail address, or of this user. Log in, or use another address.",
                code="email_taken",
            )
    return owner_id


def set_password(
    store: Store, hasher: PasswordHasher, user_id: str, password: str, *, checked_hash: str | None = None
) -> str:
    """Replaces the password and ends every session, both or neither; the new hash.

    Raises NotFound (`account_not_found`) and InvalidOption; Unauthenticated when the password is no longer the one that
    `checked_hash` is of.
    """
    require_database(store)
    with store.begin(SERVICE_ACTOR) as tx:
        account = accounts.get(tx, user_id)
    if account is None:
        raise _no_account()
    check_password(password, email=account.email)
    password_hash = hasher.hash(password)
    with changing(store, worker_for(user_id)) as tx:
        account = accounts.get(tx, user_id)
        if account is None:
            raise _no_account()
        if checked_hash is not None and account.password_hash != checked_hash:
            raise wrong_credentials()
        accounts.set_password(tx, user_id, password_hash)
        account_sessions.end_all(tx, user_id)
    return password_hash


def _no_account() -> NotFound:
    return NotFound("There is no local account of this user.", code="account_not_found")


def wrong_credentials() -> Unauthenticated:
    """The same words for an unknown account and a wrong password."""
    return Unauthenticated("The e-mail address or the password is wrong.", code="invalid_credentials")


def disabled() -> Forbidden:
    return Forbidden("The account is disabled. Ask the operator.", code="account_disabled")
