"""Registers users, keeps their sessions and changes passwords, for any accounts."""

from __future__ import annotations

from database.ids import new_id
from services.accounts.attempts import LoginAttempts
from services.accounts.emails import normal_email
from services.accounts.gate import Gate
from services.accounts.local import Grant, LocalAccounts
from services.accounts.passwords import check_password
from services.accounts.principal import Principal
from services.accounts.sessions import PREFIX
from services.accounts.supabase_login import UNREACHABLE, SupabaseLogin, registration_closed
from services.errors import Conflict, DocatlasError, Forbidden, TransientError, Unauthenticated


class Login:
    """Sends each call to where the account is: here or at Supabase. Thread-safe.

    With Supabase's accounts, those kept here serve only while Supabase does not answer.
    """

    def __init__(
        self,
        gate: Gate,
        attempts: LoginAttempts,
        *,
        local: LocalAccounts | None,
        supabase: SupabaseLogin | None,
        is_registration_open: bool,
    ) -> None:
        self._gate, self._attempts = gate, attempts
        self._local, self._supabase = local, supabase
        self._is_registration_open = is_registration_open

    def register(self, email: str, password: str, *, display_name: str, address: str) -> Grant | None:
        """A new account, logged in; None where the address has to be confirmed first.

        Raises Forbidden (`registration_closed`), Conflict (`email_taken`), InvalidOption and RateLimited.
        """
        if self._supabase is None and self._local is None:
            raise _no_accounts()
        if not self._is_registration_open:
            raise registration_closed()
        if self._supabase is None:
            assert self._local is not None
            return self._local.register(email, password, display_name=display_name, address=address)
        normal = normal_email(email)
        check_password(password, email=normal)
        self._attempts.begin(normal, address)
        return self._supabase.register(normal, password, display_name=display_name)

    def login(self, email: str, password: str, *, address: str) -> Grant:
        """Begins a session.

        Raises Unauthenticated, Forbidden, RateLimited and TransientError (`auth_unavailable`).
        """
        if self._supabase is None:
            if self._local is None:
                raise _no_accounts()
            return self._local.login(email, password, address=address)
        normal = normal_email(email)
        try:
            with self._attempts.trying(normal, address):
                return self._supabase.login(normal, password)
        except TransientError as error:
            if error.code != UNREACHABLE:
                raise
            return self._offline_login(normal, password, address, error)

    def _offline_login(self, email: str, password: str, address: str, unreachable: DocatlasError) -> Grant:
        if self._local is None:
            raise unreachable
        try:
            return self._local.login(email, password, address=address, offline_only=True)
        except Unauthenticated:
            # Most who come here have an account at Supabase, and their password is not known to be wrong.
            raise unreachable from None

    def refresh(self, refresh_token: str, *, address: str) -> Grant:
        """The session continued. Raises Unauthenticated, RateLimited and TransientError."""
        if self._supabase is None and self._local is None:
            raise _no_accounts()
        # Whoever has no session could else make us ask the database, or Supabase in everybody's name, without an end.
        with self._attempts.refreshing(address):
            return self._refresh(refresh_token)

    def _refresh(self, refresh_token: str) -> Grant:
        if self._supabase is None or refresh_token.startswith(PREFIX):
            if self._local is None:
                raise Unauthenticated("The refresh token is not one of ours.", code="invalid_refresh_token")
            return self._local.refresh(refresh_token, keeps_end=self._supabase is not None)
        return self._supabase.refresh(refresh_token)

    def logout(self, principal: Principal, access_token: str) -> None:
        """Ends the session. Raises Forbidden (`session_required`) for an API key."""
        self._require_session(principal)
        if principal.kind == "local" and self._local is not None:
            self._local.logout(principal)
        elif self._supabase is not None:
            self._supabase.logout(access_token)
        self._gate.forget(principal.user_id)

    def change_password(
        self, principal: Principal, access_token: str, current: str, new: str, *, address: str
    ) -> Grant:
        """A new session after the password was changed; every other one has ended.

        Raises Unauthenticated (`invalid_credentials`), InvalidOption, RateLimited, and Forbidden for an API key.
        """
        self._require_session(principal)
        if principal.kind == "local" and self._local is not None:
            return self._local.change_password(principal, current, new, address=address)
        assert self._supabase is not None
        email = principal.email or new_id()
        check_password(new, email=email, at="/new_password")
        with self._attempts.trying(email, address):
            return self._supabase.change_password(access_token, current, new)

    def email_of(self, principal: Principal) -> str | None:
        """The e-mail address that the account is known by."""
        if principal.kind == "nobody" or self._local is None:
            return principal.email
        return principal.email or self._local.email_of(principal.user_id)

    def _require_session(self, principal: Principal) -> None:
        require_accounts(principal)
        if principal.kind == "api_key":
            raise Forbidden("An API key has no session. Log in with a password.", code="session_required")


def require_accounts(principal: Principal) -> None:
    """Returns where the principal has an account. Raises Conflict (`accounts_off`)."""
    if principal.kind == "nobody":
        raise _no_accounts()


def _no_accounts() -> Conflict:
    return Conflict(
        "This server runs without accounts: nobody has to log in. The operator can set DOCATLAS_ACCOUNTS.",
        code="accounts_off",
    )
