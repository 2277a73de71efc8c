"""What an attacker tries: paths that look like others, broken text, locking others out, and races."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx
import jwt
import pytest
from pydantic import SecretStr
from sqlalchemy import func, select

from database import schema
from database.accounts import accounts
from database.accounts.tables import accounts as account_table
from database.errors import StoreError
from database.ids import format_time, new_id
from database.records import LOCAL_USER_ID, SERVICE_ACTOR, Actor, worker_for
from database.store import Store, Transaction
from services.accounts.api_keys import create_key, revoke_key
from services.accounts.attempts import PER_ACCOUNT, PER_ACCOUNT_ANYWHERE, PER_ADDRESS, LoginAttempts, network_of
from services.accounts.gate import Gate
from services.accounts.local import LocalAccounts, add_account, set_password, wrong_credentials
from services.accounts.principal import Principal
from services.accounts.sessions import Sessions
from services.accounts.tokens import AccessTokens
from services.admin.users import add_user, disable_user
from services.errors import Forbidden, RateLimited, TransientError, Unauthenticated
from services.runtime import Runtime
from tests.support.account_cases import (
    PASSWORD,
    SECRET,
    CountingHasher,
    bearer,
    local_server,
    login,
    make_key,
    refresh,
    register,
)
from tests.support.api_server import assert_problem
from tests.support.databases import Databases


@pytest.mark.parametrize("path", ["/v1/api-keys%0A", "/v1/api-keys/%0A", "/v1/auth/logout%0A"])
def test_a_path_that_the_router_takes_for_another_needs_the_same_scope(
    client: httpx.Client, session: dict[str, object], path: str
) -> None:
    key = make_key(client, session, "read", "write")
    for method in ("GET", "POST"):
        body = {"name": "k", "scopes": ["read"]}
        reply = client.request(method, path, json=body, headers={"X-API-Key": key})
        assert_problem(reply, 403, "scope_missing")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/auth/login", {"email": "a@example.org", "password": "\ud800aaaaaaaa"}),
        ("/v1/auth/login", {"email": "a\ud800@example.org", "password": PASSWORD}),
        ("/v1/auth/register", {"email": "b@example.org", "password": "\ud800bcdefgh"}),
        ("/v1/auth/register", {"email": "c@example.org", "password": PASSWORD, "display_name": "\ud800"}),
        ("/v1/auth/refresh", {"refresh_token": "drt_\ud800"}),
    ],
)
def test_half_of_a_surrogate_pair_is_no_text(client: httpx.Client, path: str, body: dict[str, str]) -> None:
    reply = client.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert reply.status_code in (401, 422), reply.text


def test_half_of_a_surrogate_pair_is_no_current_password_either(
    client: httpx.Client, session: dict[str, object]
) -> None:
    body = '{"current_password": "\\ud800aaaaaaaa", "new_password": "another horse entirely"}'
    headers = {**bearer(session), "Content-Type": "application/json"}
    reply = client.post("/v1/auth/change-password", content=body, headers=headers)
    assert reply.status_code in (401, 422), reply.text


def test_who_was_deleted_a_moment_ago_writes_nothing(
    runtime: Runtime, client: httpx.Client, session: dict[str, object]
) -> None:
    headers = bearer(session)
    assert client.get("/v1/documents", headers=headers).status_code == 200
    user = session["user"]
    assert isinstance(user, dict)
    # As another process does it: this one still believes the token for seconds.
    with runtime.store.begin(worker_for(user["id"]), write=True) as tx:
        assert accounts.delete_user(tx, user["id"])
    for reply in (
        client.post("/v1/documents", files=[("files", ("a.txt", b"text"))], headers=headers),
        client.post("/v1/api-keys", json={"name": "k", "scopes": ["read"]}, headers=headers),
        client.post("/v1/search", json={"query": "text"}, headers=headers),
    ):
        assert reply.status_code in (200, 401), reply.text
    with runtime.store.begin(worker_for(user["id"])) as tx:
        assert not accounts.is_known(tx, user["id"])
        assert accounts.storage_use(tx).documents == 0


@pytest.mark.parametrize(
    "changed",
    [
        {"sub": LOCAL_USER_ID.upper().replace("0", "A")},
        {"sub": "{00000000-0000-7000-8000-000000000001}"},
        {"sub": "00000000000070008000000000000001"},
        {"sub": f"{LOCAL_USER_ID}\n"},
        {"sub": "somebody"},
        {"sid": "a session"},
    ],
)
def test_an_id_in_another_spelling_makes_no_second_owner(client: httpx.Client, changed: dict[str, str]) -> None:
    moment = int(time.time())
    usual = {"iss": "docatlas", "aud": "docatlas", "iat": moment, "exp": moment + 60, "jti": new_id()}
    claims = {**usual, "sub": new_id(), "sid": new_id(), **changed}
    token = jwt.encode(claims, SECRET, algorithm="HS256", headers={"typ": "at+jwt"})
    assert_problem(client.get("/v1/documents", headers=bearer(token)), 401, "invalid_token")


@pytest.mark.parametrize(
    ("header", "payload"),
    [
        ({"alg": "none"}, {}),
        ({"alg": "HS256", "typ": "at+jwt", "jwk": {"kty": "oct", "k": "c2VjcmV0"}}, {}),
        ({"alg": "HS256", "typ": "at+jwt", "jku": "http://127.0.0.1:9/keys", "kid": "../../etc/passwd"}, {}),
        ({"alg": "HS256", "typ": "at+jwt", "b64": False, "crit": ["b64"]}, {}),
        ({"alg": ["HS256"], "typ": "at+jwt", "kid": {}}, {}),
        ({"alg": "HS256", "typ": "at+jwt"}, {"exp": 1e308, "sub": [1]}),
        ("[" * 3000, {}),
        ({"alg": "HS256", "typ": "at+jwt"}, "[" * 3000),
        ({"alg": "HS256", "typ": "at+jwt"}, '{"exp": ' + "9" * 5000 + "}"),
        ("null", "null"),
    ],
)
def test_a_token_with_an_odd_header_or_payload_is_only_refused(client: httpx.Client, header: Any, payload: Any) -> None:
    parts = [part if isinstance(part, str) else json.dumps(part) for part in (header, payload)]
    token = ".".join(jwt.utils.base64url_encode(part.encode()).decode() for part in (*parts, "signature"))
    assert_problem(client.get("/v1/documents", headers=bearer(token)), 401, "invalid_token")


def test_an_address_is_one_account_however_it_is_typed(client: httpx.Client) -> None:
    name = new_id()
    register(client, f"{name}\u0390\u03b4\u00df@example.org")
    for form in ("\u0399\u0308\u0301\u0394SS", "\u03b9\u0308\u0301\u03b4ss", "\u1fd3\u0394\u1e9e"):
        assert login(client, f"{name}{form}@EXAMPLE.org")
        again = client.post("/v1/auth/register", json={"email": f"{name}{form}@example.org", "password": PASSWORD})
        assert_problem(again, 409, "email_taken")


def test_one_address_registered_many_times_at_once_is_one_account(runtime: Runtime, client: httpx.Client) -> None:
    email = f"{new_id()}@example.org"
    with runtime.store.begin(SERVICE_ACTOR) as tx:
        before = tx.connection.scalar(select(func.count()).select_from(schema.users))
    with ThreadPoolExecutor(6) as pool:
        asked = [{"email": form, "password": PASSWORD} for form in (email, email.upper(), f" {email}") * 2]
        replies = list(pool.map(lambda body: client.post("/v1/auth/register", json=body), asked))
    assert sorted(reply.status_code for reply in replies) == [201] + [409] * 5
    with runtime.store.begin(SERVICE_ACTOR) as tx:
        found = tx.connection.execute(select(account_table).where(account_table.c.email == email)).all()
        after = tx.connection.scalar(select(func.count()).select_from(schema.users))
    assert len(found) == 1
    assert after == (before or 0) + 1


def wrong_password(attempts: LoginAttempts, email: str, address: str) -> str:
    """The code of the refusal of a wrong password."""
    try:
        with attempts.trying(email, address):
            raise wrong_credentials()
    except (Unauthenticated, RateLimited) as refusal:
        return refusal.code


def test_guesses_from_one_address_do_not_lock_the_owner_out_elsewhere() -> None:
    attempts = LoginAttempts()
    codes = [wrong_password(attempts, "ada@example.org", "192.0.2.1") for _ in range(5 * PER_ACCOUNT)]
    assert codes == ["invalid_credentials"] * PER_ACCOUNT + ["too_many_attempts"] * 4 * PER_ACCOUNT
    with attempts.trying("ada@example.org", "198.51.100.7"):
        pass


def test_guesses_from_many_addresses_at_one_account_are_limited_together() -> None:
    attempts = LoginAttempts()
    codes = [wrong_password(attempts, "ada@example.org", f"192.0.2.{number}") for number in range(200)]
    assert codes == ["invalid_credentials"] * PER_ACCOUNT_ANYWHERE + ["too_many_attempts"] * (
        200 - PER_ACCOUNT_ANYWHERE
    )


def test_one_subscriber_of_ipv6_is_one_address() -> None:
    attempts = LoginAttempts()
    codes = [
        wrong_password(attempts, f"{number}@example.org", f"2001:db8:1:2::{number:x}%eth0")
        for number in range(PER_ADDRESS + 1)
    ]
    assert codes[-1] == "too_many_attempts"
    assert wrong_password(attempts, "ada@example.org", "2001:db8:1:3::1") == "invalid_credentials"
    assert network_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert network_of("no address") == "no address"


@pytest.mark.parametrize("away", [StoreError("away"), TransientError("away", code="database_unavailable")])
def test_who_tries_while_the_database_is_away_is_not_locked_out_afterwards(away: Exception) -> None:
    attempts = LoginAttempts()
    for _ in range(2 * PER_ADDRESS):
        with pytest.raises(type(away)), attempts.trying("ada@example.org", "192.0.2.1"):
            raise away
        with pytest.raises(type(away)), attempts.refreshing("192.0.2.1"):
            raise away
    assert wrong_password(attempts, "ada@example.org", "192.0.2.1") == "invalid_credentials"


def test_guessed_refresh_tokens_are_limited_and_right_ones_not_counted(
    databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with local_server(databases, tmp_path_factory.mktemp("guessed")) as (_, client):
        session = register(client, "ada@example.org")
        for _ in range(5):
            session = refresh(client, session["refresh_token"]).json()
        # Registering counted one.
        statuses = [refresh(client, f"drt_{number}").status_code for number in range(PER_ADDRESS)]
        assert statuses == [401] * (PER_ADDRESS - 1) + [429]
        refused = refresh(client, session["refresh_token"])
        assert_problem(refused, 429, "too_many_attempts")
        assert int(refused.headers["retry-after"]) >= 1
        assert client.get("/v1/documents", headers=bearer(session)).status_code == 200


class Watched:
    """A real store after whose next transaction something else happens, as another thread does it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.after: Callable[[], object] | None = None

    @contextmanager
    def begin(self, actor: Actor, *, write: bool = False) -> Iterator[Transaction]:
        with self._store.begin(actor, write=write) as tx:
            yield tx
        after, self.after = self.after, None
        if after is not None:
            after()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_a_key_that_is_revoked_while_it_is_looked_up_is_not_believed_afterwards(store: Store) -> None:
    watched: Any = Watched(store)
    gate = Gate(watched, local_tokens=None, supabase_tokens=None, requests_per_minute=0)
    owner = Principal(add_account(store, CountingHasher(), "ada@example.org", PASSWORD), "local")
    made = create_key(store, owner, name="k", scopes=["read"], expires_at=None)

    def revoke() -> None:
        revoke_key(store, owner.actor, made.record.key_id)
        gate.forget(owner.user_id)

    watched.after = revoke
    gate.look_up(made.secret)  # began before
    assert gate.recall(made.secret) is None
    with pytest.raises(Unauthenticated):
        gate.look_up(made.secret)


def test_a_password_changed_meanwhile_is_not_changed_back_with_the_old_one(store: Store) -> None:
    watched: Any = Watched(store)
    hasher, tokens = CountingHasher(), AccessTokens(SecretStr(SECRET), 900)
    people = LocalAccounts(watched, hasher, tokens, Sessions(store, 3600), LoginAttempts())
    owner = Principal(add_account(store, hasher, "ada@example.org", PASSWORD), "local")
    watched.after = lambda: set_password(store, hasher, owner.user_id, "another horse entirely")
    with pytest.raises(Unauthenticated):
        people.change_password(owner, PASSWORD, "the horse of a thief", address="")
    people.login("ada@example.org", "another horse entirely", address="")


def test_a_new_password_is_never_set_without_the_end_of_the_sessions(store: Store) -> None:
    hasher, tokens, sessions = CountingHasher(), AccessTokens(SecretStr(SECRET), 900), Sessions(store, 3600)
    owner = add_account(store, hasher, "ada@example.org", PASSWORD)
    session = LocalAccounts(store, hasher, tokens, sessions, LoginAttempts()).login(
        "ada@example.org", PASSWORD, address=""
    )
    set_password(store, hasher, owner, "another horse entirely")
    with pytest.raises(Unauthenticated):
        sessions.rotate(session.refresh_token)


def test_the_account_that_took_the_local_users_documents_can_be_disabled(
    runtime: Runtime, client: httpx.Client
) -> None:
    with pytest.raises(Forbidden):
        disable_user(runtime, LOCAL_USER_ID)
    email = f"{new_id()}@example.org"
    assert add_user(runtime, email, PASSWORD, user_id=LOCAL_USER_ID) == LOCAL_USER_ID
    session = login(client, email)
    assert client.get("/v1/auth/me", headers=bearer(session)).json()["id"] == LOCAL_USER_ID
    disable_user(runtime, email)
    assert_problem(client.get("/v1/documents", headers=bearer(session)), 401, "account_disabled")


def test_answers_to_a_user_are_kept_by_no_shared_cache(client: httpx.Client, session: dict[str, object]) -> None:
    key = {"X-API-Key": make_key(client, session, "read")}
    for path in ("/v1/documents", "/v1/jobs", "/v1/auth/me", "/v1/nothing"):
        assert "private" in client.get(path, headers=key).headers["cache-control"], path
    assert client.get("/v1/documents").headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize(
    "expires_at",
    ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "2099-13-01", "NaN", "1e400", "\u0662099-01-01"],
)
def test_an_end_at_the_edge_of_time_is_only_refused(
    client: httpx.Client, session: dict[str, object], expires_at: str
) -> None:
    asked = {"name": "k", "scopes": ["read"], "expires_at": expires_at}
    assert_problem(client.post("/v1/api-keys", json=asked, headers=bearer(session)), 422, "invalid_request")


def test_an_end_means_the_same_moment_in_every_zone(client: httpx.Client, session: dict[str, object]) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    for zone in (timezone(timedelta(hours=14)), timezone(-timedelta(hours=12)), UTC):
        asked = {"name": "k", "scopes": ["read"], "expires_at": soon.astimezone(zone).isoformat()}
        reply = client.post("/v1/api-keys", json=asked, headers=bearer(session))
        assert reply.json()["expires_at"] == format_time(soon)
    past = datetime.now(UTC) - timedelta(minutes=1)
    asked["expires_at"] = past.astimezone(timezone(timedelta(hours=14))).isoformat()  # tomorrow by its date
    assert_problem(client.post("/v1/api-keys", json=asked, headers=bearer(session)), 422, "invalid_request")
