"""Supabase's accounts: which tokens are good, keys that rotate, logins behind our endpoints, and Supabase away."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from database.accounts.tables import accounts
from database.ids import new_id
from database.records import SERVICE_ACTOR
from services.accounts.jwks import MAX_AGE_S, MIN_INTERVAL_S, KeySet, read_keys
from services.admin.users import add_user, disable_user
from services.errors import TransientError
from services.runtime import Runtime
from tests.support.account_cases import PASSWORD, Clock, account_server, bearer, refresh
from tests.support.api_server import assert_problem
from tests.support.auth_server import PUBLISHABLE_KEY, AuthServer, auth_server
from tests.support.databases import Databases

LEGACY_SECRET = "the legacy secret of a project, long enough"


@pytest.fixture
def auth() -> Iterator[AuthServer]:
    with auth_server() as running:
        yield running


def given(auth: AuthServer, **more: Any) -> dict[str, Any]:
    return {"accounts": "supabase", "supabase_url": auth.url, "supabase_anon_key": PUBLISHABLE_KEY, **more}


@pytest.fixture
def server(auth: AuthServer, databases: Databases, tmp_path: Path) -> Iterator[tuple[Runtime, httpx.Client]]:
    with account_server(databases, tmp_path / "data", **given(auth)) as (runtime, client, _):
        yield runtime, client


def ask(client: httpx.Client, token: str) -> httpx.Response:
    return client.get("/v1/documents", headers=bearer(token))


def try_login(client: httpx.Client, email: str, password: str = PASSWORD) -> httpx.Response:
    return client.post("/v1/auth/login", json={"email": email, "password": password})


def test_a_token_of_supabase_is_good_and_makes_its_owner(client: httpx.Client, auth: AuthServer) -> None:
    user_id = auth.add_user("ada@example.org", PASSWORD)
    reply = client.post("/v1/documents", files=[("files", ("a.txt", b"text"))], headers=bearer(auth.token(user_id)))
    assert reply.status_code == 202, reply.text
    me = client.get("/v1/auth/me", headers=bearer(auth.token(user_id))).json()
    assert (me["id"], me["email"], me["authenticated_by"]) == (user_id, "ada@example.org", "supabase")
    assert me["quotas"]["documents"]["used"] == 1


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"exp": int(time.time()) - 60}, "token_expired"),
        ({"exp": None}, "invalid_token"),
        ({"aud": "anon"}, "invalid_token"),
        ({"aud": None}, "invalid_token"),
        ({"iss": "https://other.supabase.co/auth/v1"}, "invalid_token"),
        ({"iss": "docatlas"}, "invalid_token"),
        ({"role": "anon"}, "invalid_token"),
        ({"role": "service_role"}, "invalid_token"),
        ({"sub": "not a uuid"}, "invalid_token"),
        ({"sub": None}, "invalid_token"),
        ({"iat": int(time.time()) + 3600}, "invalid_token"),
    ],
)
def test_a_token_that_says_something_else_is_refused(
    client: httpx.Client, auth: AuthServer, changed: dict[str, Any], code: str
) -> None:
    assert_problem(ask(client, auth.token(str(uuid4()), **changed)), 401, code)


def unsigned(claims: dict[str, Any], key_id: str) -> str:
    return jwt.encode(claims, "", algorithm="none", headers={"kid": key_id})


def signed_with_the_public_key(claims: dict[str, Any], key: Any, key_id: str) -> str:
    """The classic confusion: HS256 with the published key's text as its secret. PyJWT itself refuses to make one."""
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    header = {"alg": "HS256", "typ": "JWT", "kid": key_id}
    text = b".".join(_part(json.dumps(piece).encode()) for piece in (header, claims))
    return (text + b"." + _part(hmac.new(public, text, hashlib.sha256).digest())).decode()


def _part(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


@pytest.mark.parametrize("legacy", [None, LEGACY_SECRET])
def test_algorithms_are_not_confused(
    databases: Databases, tmp_path: Path, auth: AuthServer, legacy: str | None
) -> None:
    with account_server(databases, tmp_path / "data", **given(auth, supabase_jwt_secret=legacy)) as (_, client, _):
        claims, key_id = auth.claims(str(uuid4())), auth.signing
        key = auth.keys[key_id]
        assert ask(client, auth.token(claims["sub"])).status_code == 200
        rotated = auth.rotate(kind="RS256")
        for token in (
            unsigned(claims, key_id),
            signed_with_the_public_key(claims, key, key_id),
            signed_with_the_public_key(claims, auth.keys[rotated], rotated),
            jwt.encode(claims, auth.keys[rotated], algorithm="RS256", headers={"kid": key_id}),
            jwt.encode(claims, auth.keys[rotated], algorithm="PS256", headers={"kid": rotated}),
            jwt.encode(claims, auth.keys[rotated], algorithm="RS256"),
        ):
            assert_problem(ask(client, token), 401, "invalid_token")


def test_the_legacy_secret_is_used_only_where_it_is_given(
    databases: Databases, tmp_path: Path, auth: AuthServer
) -> None:
    token = jwt.encode(auth.claims(str(uuid4())), LEGACY_SECRET, algorithm="HS256")
    with account_server(databases, tmp_path / "one", **given(auth)) as (_, client, _):
        assert_problem(ask(client, token), 401, "invalid_token")
    legacy = given(auth, supabase_jwt_secret=LEGACY_SECRET)
    with account_server(databases, tmp_path / "two", **legacy) as (_, client, _):
        assert ask(client, token).status_code == 200
        assert ask(client, auth.token(str(uuid4()))).status_code == 200
        other = jwt.encode(auth.claims(str(uuid4())), LEGACY_SECRET[::-1], algorithm="HS256")
        assert_problem(ask(client, other), 401, "invalid_token")


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client() as client:
        yield client


@pytest.fixture
def open_keys(auth: AuthServer, tmp_path: Path, http: httpx.Client) -> Callable[[Clock], KeySet]:
    url = f"{auth.url}/auth/v1/.well-known/jwks.json"
    return lambda clock: KeySet(url, tmp_path / "keys.json", http, clock=clock)


def test_keys_are_fetched_once_and_again_when_they_are_old(
    auth: AuthServer, open_keys: Callable[[Clock], KeySet]
) -> None:
    clock = Clock()
    keys = open_keys(clock)
    for _ in range(3):
        assert keys.find(auth.signing) is not None
    assert len(auth.requests) == 1
    clock.seconds += MAX_AGE_S + 1
    assert keys.find(auth.signing) is not None
    assert len(auth.requests) == 2


def test_a_new_key_is_found_and_invented_ones_do_not_hammer(
    auth: AuthServer, open_keys: Callable[[Clock], KeySet]
) -> None:
    clock = Clock()
    keys = open_keys(clock)
    assert keys.find(auth.signing) is not None
    rotated = auth.rotate(kind="RS256")
    for _ in range(5):
        assert keys.find("invented") is None
    assert len(auth.requests) == 1
    clock.seconds += MIN_INTERVAL_S + 1
    found = keys.find(rotated)
    assert found is not None
    assert found.algorithm == "RS256"
    assert len(auth.requests) == 2


def test_a_key_that_was_withdrawn_is_no_longer_good(auth: AuthServer, open_keys: Callable[[Clock], KeySet]) -> None:
    clock = Clock()
    keys = open_keys(clock)
    old = auth.signing
    assert keys.find(old) is not None
    auth.rotate()
    del auth.keys[old]
    clock.seconds += MAX_AGE_S + 1
    assert keys.find(old) is None


def test_known_keys_stay_in_use_while_nobody_answers_and_after_a_restart(
    auth: AuthServer, open_keys: Callable[[Clock], KeySet]
) -> None:
    clock = Clock()
    keys = open_keys(clock)
    assert keys.find(auth.signing) is not None
    auth.is_down = True
    clock.seconds += 10 * MAX_AGE_S
    assert keys.find(auth.signing) is not None
    assert open_keys(clock).find(auth.signing) is not None


def test_without_any_key_a_token_cannot_be_judged(auth: AuthServer, open_keys: Callable[[Clock], KeySet]) -> None:
    auth.is_down = True
    clock = Clock()
    keys = open_keys(clock)
    with pytest.raises(TransientError) as caught:
        keys.find(auth.signing)
    assert caught.value.code == "auth_unavailable"
    auth.is_down = False
    clock.seconds += MIN_INTERVAL_S + 1
    assert keys.find(auth.signing) is not None


def test_keys_of_other_kinds_are_left_out(auth: AuthServer) -> None:
    published = auth.public_keys()
    good = published["keys"][0]
    published["keys"] += [
        {"kty": "oct", "kid": "shared", "k": "c2VjcmV0", "alg": "HS256"},
        {**good, "kid": "for encryption", "use": "enc"},
        {**good, "kid": "another algorithm", "alg": "RS256"},
        {**good, "kid": "broken", "x": "!"},
        {"kid": "no kind"},
        "no key",
    ]
    assert set(read_keys(json.dumps(published).encode())) == {good["kid"]}
    for text in (b"[]", b"{}", b"<html>", b'{"keys": 1}'):
        with pytest.raises(ValueError, match=r"key set|Key Set|Expecting"):
            read_keys(text)


def test_login_refresh_and_logout_go_to_supabase(client: httpx.Client, auth: AuthServer) -> None:
    user_id = auth.add_user("ada@example.org", PASSWORD)
    session = try_login(client, "Ada@Example.org").json()
    assert session["user"] == {"id": user_id, "email": "ada@example.org"}
    assert session["token_type"] == "bearer"
    assert ask(client, session["access_token"]).status_code == 200
    following = refresh(client, session["refresh_token"]).json()
    assert following["refresh_token"] != session["refresh_token"]
    assert_problem(refresh(client, session["refresh_token"]), 401, "invalid_refresh_token")
    assert client.post("/v1/auth/logout", headers=bearer(following)).status_code == 204
    assert auth.ended == [(user_id, "local")]


def test_one_login_never_speaks_in_the_name_of_another(client: httpx.Client, auth: AuthServer) -> None:
    ids = [auth.add_user(f"{name}@example.org", PASSWORD) for name in ("ada", "bob")]
    sessions = [try_login(client, f"{name}@example.org").json() for name in ("ada", "bob")]
    client.post("/v1/auth/logout", headers=bearer(sessions[0]))
    client.post("/v1/auth/logout", headers=bearer(sessions[1]))
    assert [user_id for user_id, _ in auth.ended] == ids


def test_a_wrong_password_and_a_banned_user_are_refused(client: httpx.Client, auth: AuthServer) -> None:
    auth.add_user("ada@example.org", PASSWORD)
    assert_problem(try_login(client, "ada@example.org", "not the password"), 401, "invalid_credentials")
    assert_problem(try_login(client, "nobody@example.org"), 401, "invalid_credentials")
    auth.users["ada@example.org"]["banned"] = True
    assert_problem(try_login(client, "ada@example.org"), 403, "account_disabled")


def test_attempts_at_supabase_are_limited_here_too(client: httpx.Client, auth: AuthServer) -> None:
    auth.add_user("ada@example.org", PASSWORD)
    for _ in range(10):
        try_login(client, "ada@example.org", "not the password")
    asked = len(auth.requests)
    assert_problem(try_login(client, "ada@example.org"), 429, "too_many_attempts")
    assert len(auth.requests) == asked


def test_registration_goes_to_supabase(client: httpx.Client, auth: AuthServer) -> None:
    asked = {"email": "ada@example.org", "password": PASSWORD}
    reply = client.post("/v1/auth/register", json=asked)
    assert reply.status_code == 201, reply.text
    assert ask(client, reply.json()["session"]["access_token"]).status_code == 200
    assert_problem(client.post("/v1/auth/register", json=asked), 409, "email_taken")
    auth.needs_confirmation = True
    reply = client.post("/v1/auth/register", json={**asked, "email": "bob@example.org"})
    assert reply.status_code == 201
    assert (reply.json()["confirmation_required"], reply.json()["session"]) == (True, None)


def test_a_password_is_changed_at_supabase_and_other_sessions_end(client: httpx.Client, auth: AuthServer) -> None:
    user_id = auth.add_user("ada@example.org", PASSWORD)
    session = try_login(client, "ada@example.org").json()
    asked = {"current_password": "not the password", "new_password": "another horse entirely"}
    reply = client.post("/v1/auth/change-password", json=asked, headers=bearer(session))
    assert_problem(reply, 401, "invalid_credentials")
    reply = client.post(
        "/v1/auth/change-password", json={**asked, "current_password": PASSWORD}, headers=bearer(session)
    )
    assert reply.status_code == 200, reply.text
    assert auth.users["ada@example.org"]["password"] == "another horse entirely"
    assert auth.ended == [(user_id, "others")]


def test_while_supabase_is_away_tokens_stay_good_and_marked_accounts_log_in(
    runtime: Runtime, client: httpx.Client, auth: AuthServer
) -> None:
    user_id = auth.add_user("ada@example.org", PASSWORD)
    session = try_login(client, "ada@example.org").json()
    assert ask(client, session["access_token"]).status_code == 200
    add_user(runtime, "ada@example.org", "her offline password", is_offline=True, user_id=user_id)
    add_user(runtime, "bob@example.org", PASSWORD)
    assert_problem(try_login(client, "ada@example.org", "her offline password"), 401, "invalid_credentials")
    auth.is_down = True
    assert ask(client, session["access_token"]).status_code == 200
    assert ask(client, auth.token(user_id, session_id=new_id())).status_code == 200
    offline = try_login(client, "ada@example.org", "her offline password")
    assert offline.status_code == 200, offline.text
    assert offline.json()["user"]["id"] == user_id
    assert ask(client, offline.json()["access_token"]).status_code == 200
    assert refresh(client, offline.json()["refresh_token"]).status_code == 200
    for email, password in (
        ("bob@example.org", PASSWORD),
        ("ada@example.org", "not the password"),
        ("nobody@example.org", PASSWORD),
    ):
        reply = try_login(client, email, password)
        assert_problem(reply, 503, "auth_unavailable")
        assert reply.headers["retry-after"]
    assert_problem(refresh(client, session["refresh_token"]), 503, "auth_unavailable")


def test_an_offline_session_ends_when_its_day_is_over(runtime: Runtime, client: httpx.Client, auth: AuthServer) -> None:
    from database.accounts.tables import refresh_tokens

    add_user(runtime, "ada@example.org", PASSWORD, is_offline=True)
    auth.is_down = True
    session = try_login(client, "ada@example.org").json()
    refresh(client, session["refresh_token"])
    with runtime.store.begin(SERVICE_ACTOR) as tx:
        ends = {row.expires_at for row in tx.connection.execute(refresh_tokens.select())}
    assert len(ends) == 1


def test_a_user_of_supabase_can_be_kept_out_here(runtime: Runtime, client: httpx.Client, auth: AuthServer) -> None:
    token = auth.token(auth.add_user("ada@example.org", PASSWORD))
    assert ask(client, token).status_code == 200
    user_id = next(iter(auth.users.values()))["id"]
    disable_user(runtime, user_id)
    assert_problem(ask(client, token), 401, "account_disabled")


def test_no_password_of_supabase_is_kept_here(runtime: Runtime, client: httpx.Client, auth: AuthServer) -> None:
    auth.add_user("ada@example.org", PASSWORD)
    ask(client, try_login(client, "ada@example.org").json()["access_token"])
    with runtime.store.begin(SERVICE_ACTOR) as tx:
        assert tx.connection.execute(accounts.select()).all() == []
