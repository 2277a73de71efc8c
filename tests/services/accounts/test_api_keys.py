"""API keys: shown once, with scopes and an end, revoked at once, and never more than the key that made them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import select, update

from database.accounts.tables import api_keys
from database.ids import format_time, new_id
from database.records import SERVICE_ACTOR, worker_for
from services.accounts.api_keys import MAX_KEYS
from services.admin.users import disable_user
from services.runtime import Runtime
from tests.support.account_cases import bearer, make_key, register
from tests.support.api_server import assert_problem


def key_header(secret: str) -> dict[str, str]:
    return {"X-API-Key": secret}


def test_a_key_is_shown_once_and_listed_without_its_secret(client: httpx.Client, session: dict[str, object]) -> None:
    reply = client.post("/v1/api-keys", json={"name": "k", "scopes": ["write", "read"]}, headers=bearer(session))
    assert reply.status_code == 201
    made = reply.json()
    assert made["secret"].startswith(made["prefix"])
    assert made["scopes"] == ["read", "write"]
    assert reply.headers["location"] == f"/v1/api-keys/{made['id']}"
    assert reply.headers["cache-control"] == "no-store"
    shown = {name: value for name, value in made.items() if name != "secret"}
    assert client.get("/v1/api-keys", headers=bearer(session)).json()["data"] == [shown]
    one = client.get(f"/v1/api-keys/{made['id']}", headers=bearer(session))
    assert one.json() == shown
    assert made["secret"] not in one.text


def test_the_secret_is_stored_as_a_hash(runtime: Runtime, client: httpx.Client, session: dict[str, object]) -> None:
    secret = make_key(client, session, "read")
    with runtime.store.begin(SERVICE_ACTOR) as tx:
        rows = tx.connection.execute(select(api_keys)).all()
    assert rows
    assert secret not in str(rows)


@pytest.mark.parametrize("as_bearer", [True, False])
def test_a_key_serves_as_bearer_and_in_its_own_header(
    client: httpx.Client, session: dict[str, object], as_bearer: bool
) -> None:
    secret = make_key(client, session, "read")
    headers = bearer(secret) if as_bearer else key_header(secret)
    me = client.get("/v1/auth/me", headers=headers).json()
    assert (me["authenticated_by"], me["scopes"]) == ("api_key", ["read"])


def test_each_scope_allows_its_own_and_nothing_else(client: httpx.Client, session: dict[str, object]) -> None:
    keys = {scope: key_header(make_key(client, session, scope)) for scope in ("read", "write", "admin")}
    calls: dict[str, Callable[[dict[str, str]], httpx.Response]] = {
        "read": lambda headers: client.post("/v1/search", json={"query": "x"}, headers=headers),
        "write": lambda headers: client.post("/v1/documents", files=[("files", ("a.txt", b"text"))], headers=headers),
        "admin": lambda headers: client.get("/v1/api-keys", headers=headers),
    }
    for scope, call in calls.items():
        for held, headers in keys.items():
            reply = call(headers)
            if held == scope:
                assert reply.is_success, (scope, reply.text)
            else:
                assert assert_problem(reply, 403, "scope_missing")["scope"] == scope
                assert f'scope="{scope}"' in reply.headers["www-authenticate"]


def test_a_key_cannot_make_one_with_more_scopes(client: httpx.Client, session: dict[str, object]) -> None:
    headers = key_header(make_key(client, session, "read", "admin"))
    more = client.post("/v1/api-keys", json={"name": "k", "scopes": ["read", "write"]}, headers=headers)
    assert_problem(more, 403, "scope_missing")
    fewer = client.post("/v1/api-keys", json={"name": "k", "scopes": ["read"]}, headers=headers)
    assert fewer.status_code == 201


def test_a_key_cannot_make_one_that_outlives_it(client: httpx.Client, session: dict[str, object]) -> None:
    tomorrow, later = (format_time(datetime.now(UTC) + timedelta(days=days)) for days in (1, 2))
    headers = key_header(make_key(client, session, "read", "admin", expires_at=tomorrow))
    asked = {"name": "k", "scopes": ["read"]}
    reply = client.post("/v1/api-keys", json={**asked, "expires_at": later}, headers=headers)
    assert_problem(reply, 403, "expiry_too_late")
    assert client.post("/v1/api-keys", json=asked, headers=headers).json()["expires_at"] == tomorrow


@pytest.mark.parametrize("expires_at", ["tomorrow", "2001-01-01", "x" * 65, ""])
def test_an_end_that_is_no_time_to_come_is_refused(
    client: httpx.Client, session: dict[str, object], expires_at: str
) -> None:
    asked = {"name": "k", "scopes": ["read"], "expires_at": expires_at}
    problem = assert_problem(client.post("/v1/api-keys", json=asked, headers=bearer(session)), 422, "invalid_request")
    assert problem["errors"][0]["pointer"] == "/expires_at"


@pytest.mark.parametrize("asked", [{"scopes": ["read"]}, {"name": "k", "scopes": []}, {"name": "k", "scopes": ["all"]}])
def test_a_key_needs_a_name_and_known_scopes(
    client: httpx.Client, session: dict[str, object], asked: dict[str, object]
) -> None:
    assert_problem(client.post("/v1/api-keys", json=asked, headers=bearer(session)), 422, "invalid_request")


def test_an_expired_key_is_refused(runtime: Runtime, client: httpx.Client, session: dict[str, object]) -> None:
    secret = make_key(client, session, "read")
    _set_expiry(runtime, secret, timedelta(seconds=-1))
    assert_problem(client.get("/v1/documents", headers=key_header(secret)), 401, "api_key_expired")


def _set_expiry(runtime: Runtime, secret: str, distance: timedelta) -> None:
    with runtime.store.begin(SERVICE_ACTOR, write=True) as tx:
        tx.connection.execute(
            update(api_keys)
            .where(api_keys.c.prefix == secret[:12])
            .values(expires_at=format_time(datetime.now(UTC) + distance))
        )


def test_a_revoked_key_is_refused_at_once(client: httpx.Client, session: dict[str, object]) -> None:
    secret = make_key(client, session, "read")
    key_id = client.get("/v1/api-keys", headers=bearer(session)).json()["data"][0]["id"]
    assert client.get("/v1/documents", headers=key_header(secret)).status_code == 200
    assert client.delete(f"/v1/api-keys/{key_id}", headers=bearer(session)).status_code == 204
    assert_problem(client.get("/v1/documents", headers=key_header(secret)), 401, "invalid_api_key")
    assert_problem(client.delete(f"/v1/api-keys/{key_id}", headers=bearer(session)), 404, "api_key_not_found")


def test_keys_of_a_disabled_user_are_refused(
    runtime: Runtime, client: httpx.Client, session: dict[str, dict[str, str]]
) -> None:
    secret = make_key(client, session, "read")
    assert client.get("/v1/documents", headers=key_header(secret)).status_code == 200
    disable_user(runtime, session["user"]["id"])
    assert_problem(client.get("/v1/documents", headers=key_header(secret)), 401, "account_disabled")


def test_another_users_keys_are_not_there(client: httpx.Client, session: dict[str, object]) -> None:
    make_key(client, session, "read")
    key_id = client.get("/v1/api-keys", headers=bearer(session)).json()["data"][0]["id"]
    other = bearer(register(client, f"{new_id()}@example.org"))
    assert client.get("/v1/api-keys", headers=other).json()["data"] == []
    assert_problem(client.get(f"/v1/api-keys/{key_id}", headers=other), 404, "api_key_not_found")
    assert_problem(client.delete(f"/v1/api-keys/{key_id}", headers=other), 404, "api_key_not_found")
    assert client.get(f"/v1/api-keys/{key_id}", headers=bearer(session)).status_code == 200


@pytest.mark.parametrize("key_id", ["nothing", "00000000-0000-7000-8000-0000000000aa", "x" * 300])
def test_a_key_that_is_not_there_is_not_found(client: httpx.Client, session: dict[str, object], key_id: str) -> None:
    assert_problem(client.get(f"/v1/api-keys/{key_id}", headers=bearer(session)), 404, "api_key_not_found")


@pytest.mark.parametrize("secret", ["dak_", "dak_unknown", "dak_" + "A" * 43, "eyJ", "x"])
def test_an_unknown_key_is_refused(client: httpx.Client, secret: str) -> None:
    reply = client.get("/v1/documents", headers=key_header(secret))
    assert reply.status_code == 401
    assert reply.json()["code"] in ("invalid_api_key", "invalid_token")


def test_the_last_use_is_noted(runtime: Runtime, client: httpx.Client, session: dict[str, object]) -> None:
    secret = make_key(client, session, "read")
    before = client.get("/v1/api-keys", headers=bearer(session)).json()["data"][0]
    assert before["last_used_at"] is None
    client.get("/v1/documents", headers=key_header(secret))
    first = client.get("/v1/api-keys", headers=bearer(session)).json()["data"][0]["last_used_at"]
    assert first is not None
    runtime.accounts.gate.recall(secret)
    client.get("/v1/documents", headers=key_header(secret))
    assert client.get("/v1/api-keys", headers=bearer(session)).json()["data"][0]["last_used_at"] == first


def test_keys_are_listed_in_pages_newest_first(client: httpx.Client, session: dict[str, object]) -> None:
    for number in range(3):
        client.post("/v1/api-keys", json={"name": str(number), "scopes": ["read"]}, headers=bearer(session))
    names, cursor = [], None
    while True:
        page = client.get("/v1/api-keys", params={"limit": 2, "cursor": cursor or ""}, headers=bearer(session)).json()
        names += [item["name"] for item in page["data"]]
        cursor = page["next_cursor"]
        if not page["has_more"]:
            break
    assert names == ["2", "1", "0"]
    reply = client.get("/v1/api-keys", params={"cursor": "x"}, headers=bearer(session))
    assert_problem(reply, 422, "invalid_cursor")


def test_the_number_of_keys_is_bounded(
    runtime: Runtime, client: httpx.Client, session: dict[str, dict[str, str]]
) -> None:
    from database.accounts import api_keys as rows

    with runtime.store.begin(worker_for(session["user"]["id"]), write=True) as tx:
        for number in range(MAX_KEYS):
            digest = f"{number:02d}{new_id().replace('-', '')}".ljust(64, "0")
            rows.add(tx, name="k", prefix="dak_", key_hash=digest, scopes=["read"], expires_at=None)
    reply = client.post("/v1/api-keys", json={"name": "k", "scopes": ["read"]}, headers=bearer(session))
    assert_problem(reply, 409, "too_many_keys")


@pytest.mark.parametrize("path", ["/v1/auth/logout", "/v1/auth/change-password"])
def test_a_key_has_no_session(client: httpx.Client, session: dict[str, object], path: str) -> None:
    headers = key_header(make_key(client, session, "read", "write", "admin"))
    body = {"current_password": "x", "new_password": "another horse entirely"}
    assert_problem(client.post(path, json=body, headers=headers), 403, "session_required")
