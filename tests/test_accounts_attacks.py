"""What an attacker tries: paths that look like others, broken text, locking others out, and races."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from database import accounts
from database.ids import new_id
from database.records import worker_for
from services.runtime import Runtime
from tests.account_cases import PASSWORD, bearer, local_server, make_key, register
from tests.api_server import assert_problem
from tests.databases import Databases


@pytest.fixture(scope="module")
def server(
    module_databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Runtime, httpx.Client]]:
    with local_server(module_databases, tmp_path_factory.mktemp("attacks")) as both:
        yield both


@pytest.fixture
def runtime(server: tuple[Runtime, httpx.Client]) -> Runtime:
    return server[0]


@pytest.fixture
def client(server: tuple[Runtime, httpx.Client]) -> httpx.Client:
    return server[1]


@pytest.fixture
def session(client: httpx.Client) -> dict[str, object]:
    return register(client, f"{new_id()}@example.org")


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
    import json

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
