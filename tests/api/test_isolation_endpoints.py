"""Every endpoint with another owner's ids: answered as an id that exists nowhere, never a row, never a count."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from api.app import create_app
from services.runtime import Runtime
from tests.support.api_server import upload
from tests.support.child_cases import mail_with
from tests.support.databases import Databases
from tests.support.endpoint_cases import (
    BODIES,
    QUERIES,
    WITHOUT_IDS,
    Account,
    Pair,
    fuzz,
    routes_of,
    takes_ids,
    two_accounts,
)

Accounts = tuple[Runtime, Account, Account]
Asked = tuple[list[Pair], dict[str, Any], dict[str, Any]]


@pytest.fixture(scope="module")
def accounts(module_databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Accounts]:
    with two_accounts(module_databases, tmp_path_factory.mktemp("accounts")) as opened:
        yield opened


@pytest.fixture(scope="module")
def asked(accounts: Accounts) -> Asked:
    """Every pair of answers, with what the victim had before and after; asked once for all tests."""
    runtime, victim, stranger = accounts
    before = everything(victim.client)
    pairs = list(fuzz(create_app(runtime), victim, stranger))
    return pairs, before, everything(victim.client)


def test_the_ids_of_another_owner_are_answered_like_ids_of_nobody(accounts: Accounts, asked: Asked) -> None:
    _, victim, _ = accounts
    pairs, before, after = asked
    assert len(pairs) > 500
    assert [line for pair in pairs for line in pair.differences] == []
    for pair in pairs:
        status, headers, body = pair.foreign
        assert status in (200, 404, 422, 400, 503), pair
        if "_id}" in pair.route and status != 503:
            assert status == 404, pair
        for mine in (victim.word, *(id for kind, id in victim.ids.items() if kind != pair.kind)):
            assert mine not in body, pair
            assert mine not in str(headers), pair
    assert after == before


def test_the_same_ids_open_everything_to_their_owner(accounts: Accounts) -> None:
    runtime, victim, _ = accounts
    kinds = {"document_id": "picture document", "image_id": "image", "job_id": "job", "key_id": "api key"}
    opened = 0
    for route in routes_of(create_app(runtime)):
        method, path = route.split()
        if method not in ("GET", "HEAD") or "_id}" not in path:
            continue
        for name, kind in kinds.items():
            path = path.replace(f"{{{name}}}", victim.ids[kind])
        assert victim.client.request(method, path.replace("{number}", "1")).status_code == 200, route
        opened += 1
    assert opened >= 20


def test_every_route_is_declared_with_or_without_ids(accounts: Accounts) -> None:
    known = {route for route in routes_of(create_app(accounts[0])) if not route.startswith("HEAD")}
    assert set(WITHOUT_IDS) | set(BODIES) | set(QUERIES) <= known
    undeclared = {route for route in known - set(WITHOUT_IDS) - set(BODIES) - set(QUERIES) if "_id}" not in route}
    assert undeclared == set()
    assert not {route for route in WITHOUT_IDS if "{" in route}


def test_every_route_that_takes_an_id_is_asked(accounts: Accounts, asked: Asked) -> None:
    app = create_app(accounts[0])
    served = {
        f"{method} {route.path}"
        for route in app.state.routes
        if isinstance(route, APIRoute)
        for method in (route.methods or set()) - {"HEAD"}
    }
    in_schema = {route for route in routes_of(app) if not route.startswith("HEAD")}
    assert served - in_schema == NOT_IN_THE_SCHEMA
    routes = {pair.route for pair in asked[0]}
    assert routes == {route for route in routes_of(app) if takes_ids(route)}
    assert {route for route in routes_of(app) if route not in routes} == {
        of for route in WITHOUT_IDS for of in (route, route.replace("GET", "HEAD", 1))
    }


NOT_IN_THE_SCHEMA = {"GET /docs"}
"""Routes that are served and not described, none of which takes an id."""


@pytest.mark.parametrize("path", ["/v1/documents", "/v1/jobs", "/v1/searches", "/v1/api-keys"])
def test_lists_hold_own_rows_only(accounts: Accounts, path: str) -> None:
    _, victim, stranger = accounts
    listed = [
        {item["id"] for item in account.client.get(path, params={"limit": 200}).json()["data"]}
        for account in (victim, stranger)
    ]
    assert all(listed)
    assert listed[0].isdisjoint(listed[1])


def test_bytes_that_another_owner_has_are_new(accounts: Accounts) -> None:
    _, victim, stranger = accounts
    content = victim.client.get(f"/v1/documents/{victim.ids['document']}/file").content
    entry = upload(stranger.client, "mine.txt", content)
    assert entry["outcome"] == "created"
    assert entry["document"]["id"] not in victim.ids.values()
    assert stranger.client.delete(f"/v1/documents/{entry['document']['id']}").status_code == 204
    kept = victim.client.get(f"/v1/documents/{victim.ids['document']}/file")
    assert (kept.status_code, kept.content) == (200, content)


def test_an_idempotency_key_of_another_owner_replays_nothing(accounts: Accounts) -> None:
    _, victim, stranger = accounts
    name, content = "same.eml", mail_with(note_txt=b"The same bytes and the same key.")
    made: list[dict[str, Any]] = []
    for account in (victim, stranger):
        reply = account.client.post(
            "/v1/documents", files=[("files", (name, content))], headers={"Idempotency-Key": "the-same-key"}
        )
        assert reply.status_code == 202
        made.append(reply.json()["data"][0])
    assert made[0]["outcome"] == made[1]["outcome"] == "created"
    assert made[0]["document"]["id"] != made[1]["document"]["id"]
    for account, entry in zip((victim, stranger), made, strict=True):
        assert account.client.delete(f"/v1/documents/{entry['document']['id']}").status_code == 204


def test_a_page_picture_in_the_cache_is_not_served_to_another(accounts: Accounts) -> None:
    _, victim, stranger = accounts
    for path in (
        f"/v1/documents/{victim.ids['picture document']}/pages/1/image",
        f"/v1/images/{victim.ids['image']}/thumbnail",
    ):
        cached = victim.client.get(path)
        assert cached.status_code == 200
        tag = {"If-None-Match": cached.headers["etag"]}
        assert victim.client.get(path, headers=tag).status_code == 304
        assert stranger.client.get(path).status_code == 404
        assert stranger.client.get(path, headers=tag).status_code == 404


def everything(client: httpx.Client) -> dict[str, Any]:
    """All that an owner sees, but for when the key was used last."""
    seen = {
        path: client.get(path, params={"limit": 200}).json()["data"]
        for path in ("/v1/documents", "/v1/jobs", "/v1/searches", "/v1/api-keys")
    }
    for document in list(seen["/v1/documents"]):
        for part in ("pages", "images", "chunks"):
            seen[f"{document['id']} {part}"] = client.get(f"/v1/documents/{document['id']}/{part}").json()["data"]
    return seen
