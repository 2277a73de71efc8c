"""Passwords: hashed with argon2id, checked with the same work whoever asks, and hashed again when the cost grows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import argon2
import httpx
import pytest
from argon2.exceptions import VerifyMismatchError

from database.accounts import accounts
from database.records import SERVICE_ACTOR
from services.accounts.attempts import PER_ADDRESS, LoginAttempts
from services.accounts.passwords import MEMORY_KIB, PARALLELISM, TIME_COST, Argon2Hasher
from services.accounts.wiring import open_accounts
from services.admin.users import add_user
from services.errors import RateLimited
from services.runtime import Runtime
from services.settings import Settings
from tests.support.account_cases import PASSWORD, SECRET, CountingHasher, account_server
from tests.support.databases import SqliteDatabases


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Runtime, httpx.Client, CountingHasher]]:
    with account_server(SqliteDatabases(), tmp_path / "data", accounts="local") as everything:
        yield everything


def hash_of(runtime: Runtime, email: str) -> str:
    with runtime.store.begin(SERVICE_ACTOR) as tx:
        account = accounts.by_email(tx, email)
    assert account is not None
    return account.password_hash


def test_the_shipped_hash_has_the_parameters_of_the_rfc() -> None:
    made = Argon2Hasher().hash(PASSWORD)
    assert made.startswith(f"$argon2id$v=19$m={MEMORY_KIB},t={TIME_COST},p={PARALLELISM}$")
    assert Argon2Hasher().verify(made, PASSWORD)
    assert not Argon2Hasher().verify(made, PASSWORD + " ")


def test_one_password_is_verified_whether_the_account_exists_or_not(
    server: tuple[Runtime, httpx.Client, CountingHasher],
) -> None:
    runtime, client, hasher = server
    add_user(runtime, "ada@example.org", PASSWORD)
    add_user(runtime, "off@example.org", PASSWORD)
    for email, password in (
        ("ada@example.org", PASSWORD),
        ("ada@example.org", "not the password"),
        ("nobody@example.org", PASSWORD),
    ):
        before = hasher.verified
        client.post("/v1/auth/login", json={"email": email, "password": password})
        assert hasher.verified == before + 1


def test_nobodys_hash_costs_what_a_real_one_does() -> None:
    hasher = Argon2Hasher(time_cost=2, memory_kib=128, parallelism=1)
    assert not hasher.verify(None, PASSWORD)
    nobodys, real = vars(hasher)["_nobodys"], hasher.hash(PASSWORD)
    assert nobodys.rsplit("$", 2)[0] == real.rsplit("$", 2)[0]
    assert [len(part) for part in nobodys.split("$")] == [len(part) for part in real.split("$")]
    with pytest.raises(VerifyMismatchError):  # compared to the end, not refused as malformed
        argon2.PasswordHasher().verify(nobodys, PASSWORD)


@pytest.mark.parametrize("stored", ["", "x", "$argon2id$v=19$m=65536,t=3,p=4$broken", "plain text"])
def test_a_damaged_hash_matches_nothing(stored: str) -> None:
    assert not CountingHasher().verify(stored, stored)


def test_a_login_hashes_again_when_the_parameters_have_changed(
    server: tuple[Runtime, httpx.Client, CountingHasher],
) -> None:
    runtime, _, _ = server
    add_user(runtime, "ada@example.org", PASSWORD)
    old = hash_of(runtime, "ada@example.org")
    stronger = open_accounts(runtime.settings, runtime.store, hasher=CountingHasher(time_cost=2))
    stronger.login.login("ada@example.org", PASSWORD, address="127.0.0.1")
    new = hash_of(runtime, "ada@example.org")
    assert "t=1" in old
    assert "t=2" in new
    stronger.login.login("ada@example.org", PASSWORD, address="127.0.0.1")
    assert hash_of(runtime, "ada@example.org") == new


def test_attempts_from_one_address_are_limited_whatever_the_account() -> None:
    attempts = LoginAttempts()
    for number in range(PER_ADDRESS):
        attempts.begin(f"{number}@example.org", "192.0.2.1")
    with pytest.raises(RateLimited) as caught:
        attempts.begin("another@example.org", "192.0.2.1")
    assert caught.value.retry.after_s >= 1
    attempts.begin("another@example.org", "192.0.2.2")


def test_hashing_is_bounded_in_the_server(server: tuple[Runtime, httpx.Client, CountingHasher]) -> None:
    from api.app import create_app

    runtime, _, _ = server
    app = create_app(runtime)

    async def tokens() -> float:
        async with app.router.lifespan_context(app):
            return float(app.state.hashers.total_tokens)

    import anyio

    assert 1 <= anyio.run(tokens) <= 4


def test_secrets_of_the_settings_are_not_in_what_is_printed(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, accounts="local", token_secret=SECRET)
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings.model_dump())
