"""What a broken Supabase, somebody who stands in its place, or one with invented tokens can do to the server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pydantic import ValidationError

from services.accounts.attempts import PER_ADDRESS
from services.accounts.jwks import MAX_BYTES, MAX_WAITING, MIN_INTERVAL_S, KeySet, VerifyingKey, read_keys
from services.errors import TransientError
from services.settings import Settings
from tests.support.account_cases import PASSWORD, Clock, account_server, bearer, refresh
from tests.support.api_server import assert_problem
from tests.support.auth_server import PUBLISHABLE_KEY, AuthServer, auth_server
from tests.support.databases import SqliteDatabases


@pytest.fixture
def auth() -> Iterator[AuthServer]:
    with auth_server() as running:
        yield running
        running.may_send_keys.set()


@pytest.fixture
def thief() -> Iterator[AuthServer]:
    with auth_server() as running:
        yield running


@pytest.fixture
def keys(auth: AuthServer, tmp_path: Path, clock: Clock) -> Iterator[KeySet]:
    with httpx.Client() as client:
        yield KeySet(f"{auth.url}/auth/v1/.well-known/jwks.json", tmp_path / "keys.json", client, clock=clock)


@pytest.fixture
def client(auth: AuthServer, tmp_path: Path) -> Iterator[httpx.Client]:
    given = {"accounts": "supabase", "supabase_url": auth.url, "supabase_anon_key": PUBLISHABLE_KEY}
    with account_server(SqliteDatabases(), tmp_path / "data", **given) as (_, client, _):
        yield client


def test_keys_are_not_fetched_from_where_a_redirect_leads(auth: AuthServer, thief: AuthServer, keys: KeySet) -> None:
    auth.redirects_to = thief.url
    with pytest.raises(TransientError):
        keys.find(thief.signing)
    assert auth.requests
    assert thief.requests == []


def test_a_password_is_not_sent_where_a_redirect_leads(
    auth: AuthServer, thief: AuthServer, client: httpx.Client
) -> None:
    auth.redirects_to = thief.url
    thief.add_user("ada@example.org", PASSWORD)
    reply = client.post("/v1/auth/login", json={"email": "ada@example.org", "password": PASSWORD})
    assert reply.status_code in (401, 503)
    assert auth.requests
    assert thief.requests == []


def endless(clock: Clock) -> Iterator[bytes]:
    while True:
        clock.seconds += 1.0
        yield b" "


@pytest.mark.parametrize("kind", ["huge", "endless", "deep", "html"])
def test_an_answer_that_is_no_key_set_leaves_the_known_keys(
    auth: AuthServer, keys: KeySet, clock: Clock, kind: str
) -> None:
    assert keys.find(auth.signing) is not None
    texts = {"huge": [b" " * 65536] * (2 * MAX_BYTES // 65536), "deep": [b"[" * 100_000], "html": [b"<html>"]}
    auth.keys_text = texts.get(kind) or endless(clock)
    clock.seconds += MIN_INTERVAL_S + 1
    with pytest.raises(TransientError) as caught:
        keys.find("another")
    assert caught.value.code == "auth_unavailable"
    assert keys.find(auth.signing) is not None


def test_a_broken_key_costs_no_other_one(auth: AuthServer) -> None:
    published = auth.public_keys()
    good = published["keys"][0]
    odd: list[Any] = [
        {**good, "kid": "1", "crv": ["P-256"]},
        {**good, "kid": "2", "x": 1, "y": None},
        {"kty": ["RSA"], "kid": "3", "alg": {}},
        {"kty": "RSA", "kid": "4", "n": 5, "e": "AQAB"},
        {"kty": "RSA", "kid": "5", "n": "", "e": ""},
        {"kty": "RSA", "kid": "6", "n": "A" * 400, "e": "AQAB"},
    ]
    assert set(read_keys(json.dumps({"keys": [*odd, good]}).encode())) == {good["kid"]}


def test_a_token_whose_key_nobody_can_tell_of_now_is_not_called_invalid(
    auth: AuthServer, keys: KeySet, clock: Clock
) -> None:
    assert keys.find(auth.signing) is not None
    rotated = auth.rotate()
    auth.is_down = True
    clock.seconds += MIN_INTERVAL_S + 1
    for _ in range(2):
        with pytest.raises(TransientError):
            keys.find(rotated)
    assert len(auth.requests) == 2
    auth.is_down = False
    clock.seconds += MIN_INTERVAL_S + 1
    assert keys.find(rotated) is not None
    assert keys.find("invented") is None


def test_invented_keys_hold_nobody_back_while_supabase_hangs(auth: AuthServer, keys: KeySet, clock: Clock) -> None:
    known = auth.signing
    assert keys.find(known) is not None
    clock.seconds += MIN_INTERVAL_S + 1
    auth.may_send_keys.clear()
    with ThreadPoolExecutor(2 * MAX_WAITING) as pool:
        asked: set[Future[VerifyingKey | None]] = {
            pool.submit(keys.find, f"invented {number}") for number in range(2 * MAX_WAITING)
        }
        waiting = asked
        while len(waiting) > MAX_WAITING:
            done, waiting = wait(waiting, timeout=20, return_when=FIRST_COMPLETED)
            assert done, "threads wait that need not"
        assert keys.find(known) is not None
        auth.may_send_keys.set()
    errors = [future.exception() for future in asked]
    assert sum(isinstance(error, TransientError) for error in errors) == MAX_WAITING
    assert len(auth.requests) == 2


def test_guessed_refresh_tokens_do_not_use_up_what_supabase_grants_the_server(
    auth: AuthServer, client: httpx.Client
) -> None:
    auth.add_user("ada@example.org", PASSWORD)
    session = client.post("/v1/auth/login", json={"email": "ada@example.org", "password": PASSWORD}).json()
    for number in range(PER_ADDRESS):
        assert_problem(refresh(client, f"guess {number}"), 401, "invalid_refresh_token")
    asked = len(auth.requests)
    assert_problem(refresh(client, "one more"), 429, "too_many_attempts")
    assert len(auth.requests) == asked
    assert client.get("/v1/documents", headers=bearer(session)).status_code == 200


def test_a_user_has_one_spelling(auth: AuthServer, client: httpx.Client) -> None:
    user_id = str(uuid4())
    assert client.get("/v1/documents", headers=bearer(auth.token(user_id))).status_code == 200
    for other in (user_id.upper(), user_id.replace("-", ""), f"{{{user_id}}}", f"urn:uuid:{user_id}", f"{user_id}\n"):
        reply = client.get("/v1/documents", headers=bearer(auth.token(other)))
        assert_problem(reply, 401, "invalid_token")


@pytest.mark.parametrize("name", ["token_secret", "supabase_jwt_secret"])
def test_a_secret_that_can_be_guessed_is_no_setting(tmp_path: Path, name: str) -> None:
    given: dict[str, Any] = {"accounts": "supabase", "supabase_url": "https://x.supabase.co", "supabase_anon_key": "k"}
    with pytest.raises(ValidationError, match=name) as caught:
        Settings(data_dir=tmp_path, **{**given, name: "hunter2"})
    assert "hunter2" not in str(caught.value)
    assert Settings(data_dir=tmp_path, **given).accounts == "supabase"
