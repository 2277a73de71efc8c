"""Who is let in: every route needs something, credentials are read in one way, and a database that is away."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from pydantic import SecretStr

from api.app import create_app
from api.http.addresses import is_signed
from api.http.authentication import OPEN_PATHS, READ_METHODS, required_scope
from api.openapi import SECURITY_SCHEMES
from database.errors import StoreError
from database.ids import new_id
from database.records import Actor, worker_for
from database.store import Store, Transaction
from services.accounts.api_keys import create_key
from services.accounts.gate import FRESH_S, USABLE_S, Gate
from services.accounts.local import add_account
from services.accounts.principal import Principal
from services.accounts.tokens import AccessTokens
from services.errors import TransientError, Unauthenticated
from services.runtime import Runtime
from tests.support.account_cases import SECRET, Clock, CountingHasher, bearer, make_key, register
from tests.support.api_server import assert_problem, opened
from tests.support.databases import SqliteDatabases

READING_POSTS = {"/v1/search", "/v1/search/image", "/v1/context", "/chat/prepare-context"}


def routes_of(runtime: Runtime) -> list[tuple[str, str]]:
    """Method and path of every route of the application, those of the framework too."""
    app = create_app(runtime)
    found = []
    for route in (*app.routes, *app.state.routes):
        for method in getattr(route, "methods", None) or ():
            found.append((method, route.path))
    assert len(found) > 40
    return found


def test_every_route_needs_a_scope_that_fits_it(runtime: Runtime) -> None:
    for method, path in routes_of(runtime):
        scope = required_scope(method, path)
        if path in OPEN_PATHS:
            assert scope is None
        elif path.startswith(("/v1/api-keys", "/v1/auth")) and path != "/v1/auth/me":
            assert scope == "admin", (method, path)
        elif method in READ_METHODS or path in READING_POSTS:
            assert scope == "read", (method, path)
        else:
            assert scope == "write", (method, path)


def test_every_route_that_is_not_named_as_open_is_closed(runtime: Runtime, client: httpx.Client) -> None:
    let_in = set()
    for method, path in routes_of(runtime):
        reply = client.request(method, path.replace("{", "").replace("}", ""))
        if reply.status_code != 401:
            let_in.add(path)
        elif method != "HEAD":
            assert_problem(reply, 401, "unauthenticated")
            assert reply.headers["www-authenticate"] == "Bearer"
    assert let_in == set(OPEN_PATHS)


@pytest.mark.parametrize(
    "path", ["/v1/nothing", "/", "/v1/documents/", "/livez/x", "//livez", "/v1/auth/login/../me", "/LIVEZ", "/metrics"]
)
def test_what_does_not_exist_is_closed_too(client: httpx.Client, path: str) -> None:
    assert_problem(client.get(path), 401, "unauthenticated")


def test_an_unknown_path_is_not_found_for_who_is_logged_in(client: httpx.Client) -> None:
    session = register(client, f"{new_id()}@example.org")
    assert_problem(client.get("/v1/nothing", headers=bearer(session)), 404, "route_not_found")


@pytest.mark.parametrize("path", sorted(OPEN_PATHS - {"/v1/auth/login", "/v1/auth/register", "/v1/auth/refresh"}))
def test_open_paths_are_open(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code in (200, 405)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Basic YTpi"},
        {"Authorization": "Bearer"},
        {"Authorization": "a.b.c"},
        {"Authorization": "Bearer a.b.c"},
        {"Authorization": "Bearer " + "x" * 9000},
        {"X-API-Key": "dak_x"},
        {"Authorization": "Bearer a.b.c", "X-API-Key": "dak_x"},
    ],
)
def test_what_is_no_credential_is_refused(client: httpx.Client, headers: dict[str, str]) -> None:
    reply = client.get("/v1/documents", headers=headers)
    assert reply.status_code == 401
    assert reply.json()["code"] in ("invalid_token", "invalid_api_key")
    assert reply.headers["www-authenticate"] == 'Bearer error="invalid_token"'


def test_two_credentials_are_never_weighed_against_each_other(client: httpx.Client) -> None:
    session = register(client, f"{new_id()}@example.org")
    headers = {**bearer(session), "X-API-Key": make_key(client, session, "read")}
    assert_problem(client.get("/v1/documents", headers=headers), 401, "invalid_token")


def test_a_refused_upload_is_told_so_with_cors_headers(client: httpx.Client) -> None:
    reply = client.post(
        "/v1/documents",
        files=[("files", ("a.txt", b"x" * 2_000_000))],
        headers={"Origin": "http://localhost:3000", "Authorization": "Bearer a.b.c"},
    )
    assert_problem(reply, 401, "invalid_token")
    assert reply.headers["access-control-allow-origin"] == "http://localhost:3000"


def test_a_browser_may_ask_before_it_shows_a_key(client: httpx.Client) -> None:
    headers = {
        "Origin": "http://localhost:3000",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "x-api-key, authorization",
    }
    reply = client.options("/v1/documents", headers=headers)
    assert reply.status_code == 204
    allowed = reply.headers["access-control-allow-headers"].lower()
    assert "x-api-key" in allowed
    assert "authorization" in allowed


def test_the_document_of_the_api_says_what_each_call_needs(client: httpx.Client) -> None:
    described = client.get("/openapi.json").json()
    assert described["components"]["securitySchemes"] == json.loads(json.dumps(SECURITY_SCHEMES))
    for path, calls in described["paths"].items():
        for method, call in calls.items():
            scope = required_scope(method.upper(), path)
            assert call.get("x-required-scope") == scope
            shown = ["bearer", "api_key", *(["signed_url"] if is_signed(path) else [])]
            assert call["security"] == ([] if scope is None else [{name: []} for name in shown])
            assert ("401" in call["responses"]) == (scope is not None or path.endswith(("/login", "/refresh")))


def test_capabilities_say_which_accounts_there_are(client: httpx.Client) -> None:
    session = register(client, f"{new_id()}@example.org")
    found = client.get("/v1/capabilities", headers=bearer(session)).json()
    assert found["accounts"] == {"mode": "local", "registration": "open"}


def test_without_accounts_everybody_is_the_local_user_and_there_are_no_limits(tmp_path: Path) -> None:
    with opened(SqliteDatabases(), tmp_path / "data", runs_jobs=False, quota_requests_per_minute=1) as (_, client):
        for _ in range(3):
            reply = client.get("/v1/documents", headers=bearer("whatever"))
            assert reply.status_code == 200
            assert "ratelimit" not in reply.headers
        me = client.get("/v1/auth/me").json()
        assert (me["authenticated_by"], me["email"]) == ("nobody", None)
        assert all(quota["limit"] is None for quota in me["quotas"].values())
        for path, body in (
            ("/v1/auth/login", {"email": "a@b.org", "password": "x"}),
            ("/v1/auth/register", {"email": "a@b.org", "password": "x"}),
            ("/v1/auth/refresh", {"refresh_token": "x"}),
            ("/v1/auth/logout", None),
            ("/v1/auth/change-password", {"current_password": "x", "new_password": "y"}),
            ("/v1/api-keys", {"name": "k", "scopes": ["read"]}),
        ):
            assert_problem(client.post(path, json=body), 409, "accounts_off")


def test_a_route_that_the_gate_did_not_see_is_refused(runtime: Runtime) -> None:
    app = create_app(runtime)
    app.user_middleware = [m for m in app.user_middleware if getattr(m.cls, "__name__", "") != "Authentication"]
    routes = [route for route in app.state.routes if isinstance(route, APIRoute)]
    assert routes
    transport = httpx.ASGITransport(app)

    async def ask() -> int:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return (await client.get("/v1/documents")).status_code

    import anyio

    assert anyio.run(ask) == 401


class Interruptible:
    """A store that can be cut off, as a network does; everything else is the real one's."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.is_down = False
        self.begun = 0

    def begin(self, actor: Actor, *, write: bool = False) -> AbstractContextManager[Transaction]:
        self.begun += 1
        if self.is_down:
            raise StoreError("the database does not answer")
        return self._store.begin(actor, write=write)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@pytest.fixture
def cut(store: Store) -> Interruptible:
    return Interruptible(store)


@pytest.fixture
def gate(cut: Interruptible, tokens: AccessTokens, clock: Clock) -> Gate:
    return Gate(cut, local_tokens=tokens, supabase_tokens=None, requests_per_minute=0, clock=clock)


def new_user(store: Store) -> str:
    return add_account(store, CountingHasher(), f"{new_id()}@example.org", "correct horse battery")


def test_what_is_known_is_not_asked_again_for_seconds(
    gate: Gate, cut: Interruptible, store: Store, tokens: AccessTokens, clock: Clock
) -> None:
    token = tokens.issue(new_user(store), new_id())
    assert gate.recall(token) is None
    principal = gate.look_up(token)
    asked = cut.begun
    assert gate.recall(token) == principal
    assert cut.begun == asked
    clock.seconds += FRESH_S
    assert gate.recall(token) is None


def test_issued_tokens_stay_good_while_the_database_is_away(
    gate: Gate, cut: Interruptible, store: Store, tokens: AccessTokens
) -> None:
    user_id = new_user(store)
    cut.is_down = True
    assert gate.look_up(tokens.issue(user_id, new_id())).user_id == user_id


def test_a_token_is_refused_the_moment_it_expires_although_it_is_remembered(
    gate: Gate, store: Store, clock: Clock
) -> None:
    user_id = new_user(store)
    short = AccessTokens(SecretStr(SECRET), -3)
    token = short.issue(user_id, new_id())
    assert gate.look_up(token).user_id == user_id
    assert gate.recall(token) is None


def test_a_known_key_stays_good_for_a_while_and_an_unknown_one_cannot_be_judged(
    gate: Gate, cut: Interruptible, store: Store, clock: Clock
) -> None:
    owner = Principal(new_user(store), "local")
    known, unknown = (create_key(store, owner, name="k", scopes=["read"], expires_at=None).secret for _ in range(2))
    gate.look_up(known)
    cut.is_down = True
    clock.seconds += FRESH_S + 1
    assert gate.look_up(known).scopes == {"read"}
    with pytest.raises(TransientError) as caught:
        gate.look_up(unknown)
    assert caught.value.code == "database_unavailable"
    clock.seconds += USABLE_S
    with pytest.raises(TransientError):
        gate.look_up(known)
    cut.is_down = False
    assert gate.look_up(unknown).user_id == owner.user_id


def test_a_revoked_key_is_not_remembered(gate: Gate, cut: Interruptible, store: Store) -> None:
    from services.accounts.api_keys import revoke_key

    user_id = new_user(store)
    made = create_key(store, Principal(user_id, "local"), name="k", scopes=["read"], expires_at=None)
    gate.look_up(made.secret)
    revoke_key(store, Actor(user_id), made.record.key_id)
    with pytest.raises(Unauthenticated):
        gate.look_up(made.secret)
    cut.is_down = True
    with pytest.raises(TransientError):
        gate.look_up(made.secret)


def test_the_first_token_of_a_user_makes_the_owners_row(gate: Gate, store: Store, tokens: AccessTokens) -> None:
    from database.accounts import accounts

    user_id = new_id()
    gate.look_up(tokens.issue(user_id, new_id()))
    with store.begin(worker_for(user_id)) as tx:
        assert accounts.is_known(tx, user_id)


def test_a_deleted_user_is_not_made_again_by_a_token(gate: Gate, store: Store, tokens: AccessTokens) -> None:
    from database.accounts import accounts

    user_id = new_user(store)
    with store.begin(worker_for(user_id), write=True) as tx:
        assert accounts.delete_user(tx, user_id)
    with pytest.raises(Unauthenticated) as caught:
        gate.look_up(tokens.issue(user_id, new_id()))
    assert caught.value.code == "account_deleted"
    with store.begin(worker_for(user_id)) as tx:
        assert not accounts.is_known(tx, user_id)


def test_secrets_are_not_in_what_is_printed(gate: Gate, store: Store, tokens: AccessTokens) -> None:
    principal = Principal(new_user(store), "local", email="ada@example.org")
    made = create_key(store, principal, name="k", scopes=["read"], expires_at=None)
    shown: Sequence[object] = (tokens, principal, made, gate)
    for thing in shown:
        assert SECRET not in repr(thing)
        assert "ada@example.org" not in repr(thing)
        assert made.secret not in repr(thing)
