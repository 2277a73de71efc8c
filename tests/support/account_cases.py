"""What the tests of accounts share: servers with accounts, and short ways to log in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from services.accounts.passwords import Argon2Hasher
from services.accounts.wiring import open_accounts
from services.runtime import Runtime
from services.settings import Settings
from tests.support.api_server import serving
from tests.support.databases import Databases
from tests.support.runtimes import open_runtime

SECRET = "a secret of the tests, long enough for HS256"
PASSWORD = "correct horse battery staple"


class CountingHasher(Argon2Hasher):
    """argon2id with the least work, so that tests are fast; counts what it verifies."""

    def __init__(self, *, time_cost: int = 1) -> None:
        super().__init__(time_cost=time_cost, memory_kib=64, parallelism=1)
        self.verified = 0

    def verify(self, password_hash: str | None, password: str) -> bool:
        self.verified += 1
        return super().verify(password_hash, password)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@contextmanager
def account_server(
    databases: Databases, data_dir: Path, **given: Any
) -> Iterator[tuple[Runtime, httpx.Client, CountingHasher]]:
    """A server with accounts that runs no jobs, a client that shows nothing, and what hashes the passwords."""
    usual = {"text_model": "hash", "ocr_engine": "none", "token_secret": SECRET, "registration": "open"}
    runtime = open_runtime(Settings(data_dir=data_dir, **{**usual, **databases.given(data_dir), **given}))
    hasher = CountingHasher()
    runtime.accounts.close()
    runtime.accounts = open_accounts(runtime.settings, runtime.store, hasher=hasher)
    try:
        with serving(runtime) as client:
            yield runtime, client, hasher
    finally:
        runtime.close()


@contextmanager
def local_server(databases: Databases, data_dir: Path, **given: Any) -> Iterator[tuple[Runtime, httpx.Client]]:
    """A server with local accounts, and a client that shows nothing."""
    with account_server(databases, data_dir, accounts="local", **given) as (runtime, client, _):
        yield runtime, client


def register(client: httpx.Client, email: str, password: str = PASSWORD) -> dict[str, Any]:
    """The first session of a new account."""
    reply = client.post("/v1/auth/register", json={"email": email, "password": password})
    assert reply.status_code == 201, reply.text
    session: dict[str, Any] = reply.json()["session"]
    return session


def login(client: httpx.Client, email: str, password: str = PASSWORD) -> dict[str, Any]:
    """A new session."""
    reply = client.post("/v1/auth/login", json={"email": email, "password": password})
    assert reply.status_code == 200, reply.text
    session: dict[str, Any] = reply.json()
    return session


def refresh(client: httpx.Client, token: str) -> httpx.Response:
    return client.post("/v1/auth/refresh", json={"refresh_token": token})


def bearer(token: str | dict[str, Any]) -> dict[str, str]:
    """The header that shows a token, or a session's."""
    return {"Authorization": f"Bearer {token if isinstance(token, str) else token['access_token']}"}


def make_key(client: httpx.Client, session: dict[str, Any], *scopes: str, **given: Any) -> str:
    """The secret of a new API key."""
    asked = {"name": "a key", "scopes": list(scopes), **given}
    reply = client.post("/v1/api-keys", json=asked, headers=bearer(session))
    assert reply.status_code == 201, reply.text
    secret: str = reply.json()["secret"]
    return secret
