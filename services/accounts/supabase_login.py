"""Login, refresh and logout at Supabase, through its own client."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
from pydantic import SecretStr

from services.accounts.local import Grant, wrong_credentials
from services.errors import (
    Conflict,
    FieldError,
    Forbidden,
    InvalidOption,
    RateLimited,
    Retry,
    TransientError,
    Unauthenticated,
)

if TYPE_CHECKING:
    from supabase import Client
    from supabase_auth.errors import AuthError
    from supabase_auth.types import Session

_log = logging.getLogger(__name__)

_ENDED_CODES = frozenset({"refresh_token_not_found", "session_not_found", "session_expired", "invalid_grant"})
_TAKEN_CODES = frozenset({"user_already_exists", "email_exists"})
_REGISTRATION_CODES = frozenset({"signup_disabled", "email_provider_disabled", "provider_disabled"})


UNREACHABLE = "auth_unavailable"
"""Code of the TransientError that says: Supabase's auth does not answer."""


class SupabaseLogin:
    """Asks Supabase's auth endpoints with the publishable key. Thread-safe.

    The library's client remembers who logged in last and then speaks in that name, so each call has one of its own;
    they share the connections of `http`.
    """

    def __init__(self, url: str, publishable_key: SecretStr, http: httpx.Client) -> None:
        self._url, self._key, self._http = url, publishable_key, http

    def register(self, email: str, password: str, *, display_name: str) -> Grant | None:
        """A new account, logged in; None where Supabase first wants the address confirmed."""
        with _translating():
            reply = self._client().auth.sign_up(
                {
                    "email": email,
                    "password": password,
                    "options": {"data": {"display_name": display_name} if display_name else {}},
                }
            )
        return None if reply.session is None else _grant(reply.session)

    def login(self, email: str, password: str) -> Grant:
        """A new session."""
        with _translating():
            reply = self._client().auth.sign_in_with_password({"email": email, "password": password})
        if reply.session is None:
            raise wrong_credentials()
        return _grant(reply.session)

    def refresh(self, refresh_token: str) -> Grant:
        """The session continued."""
        with _translating():
            reply = self._client().auth.refresh_session(refresh_token)
        if reply.session is None:
            raise _session_ended()
        return _grant(reply.session)

    def logout(self, access_token: str) -> None:
        """Ends the session of the token; one that has ended already is fine."""
        from supabase_auth.errors import AuthApiError

        with _translating():
            try:
                self._client().auth.admin.sign_out(access_token, "local")
            except AuthApiError as error:
                if error.status not in (401, 403, 404):
                    raise

    def change_password(self, access_token: str, current: str, new: str) -> Grant:
        """Sets the password where `current` is right; returns a new session.

        Every other session ends.
        """
        with _translating():
            known = self._client().auth.get_user(access_token)
            email = known.user.email if known is not None else None
            if not email:
                raise Conflict("The account has no password: it logs in with a provider.", code="no_password")
            client = self._client()
            session = client.auth.sign_in_with_password({"email": email, "password": current}).session
            if session is None:
                raise wrong_credentials()
            client.auth.update_user({"password": new})
            client.auth.sign_out({"scope": "others"})
        return _grant(session)

    def _client(self) -> Client:
        from supabase import ClientOptions, create_client

        options = ClientOptions(auto_refresh_token=False, persist_session=False, httpx_client=self._http)
        # The client's own class for these options has a storage that this one, which persists nothing, does not need.
        return create_client(self._url, self._key.get_secret_value(), options)


def _grant(session: Session) -> Grant:
    return Grant(
        user_id=session.user.id,
        email=session.user.email or "",
        access_token=session.access_token,
        expires_in_s=session.expires_in,
        refresh_token=session.refresh_token,
    )


@contextmanager
def _translating() -> Iterator[None]:
    """Turns the library's errors into ours, once.

    What Supabase wrote goes neither into an answer nor into the log.
    """
    from supabase_auth.errors import AuthError

    try:
        yield
    except AuthError as error:
        raise _error_for(error) from error
    except httpx.HTTPError as error:
        raise _unreachable() from error


def _error_for(error: AuthError) -> Exception:
    from supabase_auth.errors import AuthApiError, AuthRetryableError, AuthWeakPasswordError

    if isinstance(error, AuthRetryableError):
        return _unreachable()
    if isinstance(error, AuthWeakPasswordError):
        return InvalidOption(
            "Supabase refuses the password as too weak. Choose a longer one.",
            code="weak_password",
            errors=(FieldError("/password", "is too weak"),),
        )
    code = str(error.code or "")
    status = error.status if isinstance(error, AuthApiError) else 0
    if status == 429 or code.startswith("over_"):
        return RateLimited(
            "Supabase limits how often this may be tried. Try again in a minute.",
            code="too_many_attempts",
            retry=Retry(60.0),
        )
    if code in _TAKEN_CODES:
        return Conflict("There is an account with this e-mail address. Log in instead.", code="email_taken")
    if code in _REGISTRATION_CODES:
        return registration_closed()
    if code == "email_not_confirmed":
        return Forbidden(
            "The e-mail address is not confirmed yet. Follow the link in the mail.", code="email_not_confirmed"
        )
    if code == "user_banned":
        return Forbidden("The account is disabled. Ask the operator.", code="account_disabled")
    if code == "same_password":
        return InvalidOption(
            "The new password is the old one.",
            code="weak_password",
            errors=(FieldError("/new_password", "is the old one"),),
        )
    if code in _ENDED_CODES:
        return _session_ended()
    if code == "invalid_credentials" or status in (400, 401, 403):
        return wrong_credentials()
    if code in ("email_address_invalid", "validation_failed"):
        return InvalidOption("Supabase cannot use the e-mail address.", errors=(FieldError("/email", "is refused"),))
    _log.warning("Supabase's auth answered with status %d, code %r", status, code[:40])
    return _unreachable()


def registration_closed() -> Forbidden:
    return Forbidden("Registration is closed. Ask the operator for an account.", code="registration_closed")


def _session_ended() -> Unauthenticated:
    return Unauthenticated("The session has ended. Log in again.", code="invalid_refresh_token")


def _unreachable() -> TransientError:
    return TransientError(
        "Supabase's accounts do not answer. Try again in a moment.", code=UNREACHABLE, retry=Retry(10.0)
    )
