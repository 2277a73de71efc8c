"""Opens the accounts that the settings ask for."""

from __future__ import annotations

from dataclasses import dataclass

import httpx
from pydantic import SecretStr

from database.store import Store
from services.accounts.attempts import LoginAttempts
from services.accounts.gate import Gate
from services.accounts.jwks import KeySet
from services.accounts.local import LocalAccounts
from services.accounts.login import Login
from services.accounts.passwords import Argon2Hasher, PasswordHasher
from services.accounts.sessions import Sessions
from services.accounts.signed_urls import UrlSigner, open_signer
from services.accounts.supabase_login import SupabaseLogin
from services.accounts.supabase_tokens import SupabaseTokens
from services.accounts.tokens import AccessTokens
from services.settings import MIN_SECRET_CHARS, Settings

SUPABASE_TIMEOUT = httpx.Timeout(10.0, connect=3.0)
"""A login at Supabase takes about 0.2 s; whoever waits longer than this wants to know that it does not work."""


@dataclass(frozen=True, slots=True)
class Accounts:
    """The parts of accounts that the settings ask for. Thread-safe."""

    mode: str
    gate: Gate
    login: Login
    hasher: PasswordHasher
    signer: UrlSigner | None
    """Signs the addresses of files; None without accounts."""
    http: httpx.Client | None
    """Connections to Supabase."""

    def close(self) -> None:
        """Closes the connections to Supabase."""
        if self.http is not None:
            self.http.close()


def open_accounts(settings: Settings, store: Store, *, hasher: PasswordHasher | None = None) -> Accounts:
    """Opens the accounts that the settings ask for.

    Nothing is connected to before the first request.
    """
    hashes = hasher or Argon2Hasher()
    attempts = LoginAttempts()
    tokens = _local_tokens(settings)
    local = None
    if tokens is not None:
        local = LocalAccounts(store, hashes, tokens, Sessions(store, settings.refresh_token_s), attempts)
    http = supabase = supabase_tokens = None
    if settings.accounts == "supabase":
        http = httpx.Client(timeout=SUPABASE_TIMEOUT, follow_redirects=False)
        base = settings.supabase_url.rstrip("/")
        keys = KeySet(f"{base}/auth/v1/.well-known/jwks.json", settings.data_dir / "supabase-keys.json", http)
        supabase_tokens = SupabaseTokens(f"{base}/auth/v1", keys, settings.supabase_jwt_secret)
        supabase = SupabaseLogin(base, settings.supabase_anon_key or SecretStr(""), http)
    gate = Gate(
        store,
        local_tokens=tokens,
        supabase_tokens=supabase_tokens,
        requests_per_minute=0 if settings.accounts == "none" else settings.quota_requests_per_minute,
    )
    is_open = settings.registration == "open"
    login = Login(gate, attempts, local=local, supabase=supabase, is_registration_open=is_open)
    return Accounts(settings.accounts, gate, login, hashes, open_signer(settings), http)


def _local_tokens(settings: Settings) -> AccessTokens | None:
    """With Supabase's accounts, those kept here are there where a secret is."""
    secret = settings.token_secret
    if settings.accounts == "none" or secret is None or len(secret.get_secret_value()) < MIN_SECRET_CHARS:
        return None
    return AccessTokens(secret, settings.access_token_s)
