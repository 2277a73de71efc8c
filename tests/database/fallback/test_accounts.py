"""Owners while Postgres is away: who is let in, what they may ask, and that none sees another's rows on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from api.app import create_app
from database.accounts import accounts
from database.cursors import encode_cursor
from database.opening import open_store
from database.records import SERVICE_ACTOR
from services.admin.users import add_user
from tests.support.api_server import assert_problem, ingest, upload
from tests.support.child_cases import mail_with
from tests.support.endpoint_cases import DATA, Account, fuzz
from tests.support.fallback_cases import Node, eventually, open_node
from tests.support.postgres_server import DatabaseUrls
from tests.support.store_cases import digest

PASSWORD = "correct horse battery staple"


@pytest.fixture
def given() -> dict[str, Any]:
    return {
        "accounts": "local",
        "token_secret": SecretStr("s" * 40),
        "registration": "open",
        "quota_requests_per_minute": 0,
        "ocr_engine": "none",
    }


@pytest.fixture
def node(postgres: DatabaseUrls, tmp_path: Path, given: dict[str, Any]) -> Iterator[Node]:
    with open_node(postgres, tmp_path / "data", **given) as opened:
        yield opened


def _registered(node: Node, clients: ExitStack, word: str) -> tuple[httpx.Client, str]:
    """A client that is logged in, and the user's id."""
    reply = node.client.post("/v1/auth/register", json={"email": f"{word}@example.org", "password": PASSWORD})
    assert reply.status_code == 201, reply.text
    session = reply.json()["session"]
    # As they are: compressed, the length of an answer with a random fence in it differs from one to the next.
    headers = {"Authorization": f"Bearer {session['access_token']}", "Accept-Encoding": "identity"}
    client = clients.enter_context(httpx.Client(base_url=node.client.base_url, headers=headers, timeout=60))
    return client, session["user"]["id"]


def _keys_of(client: httpx.Client) -> tuple[str, str]:
    """The id of one of the user's keys, and a cursor behind it."""
    for name in ("first", "second"):
        client.post("/v1/api-keys", json={"name": name, "scopes": ["read"]})
    page = client.get("/v1/api-keys", params={"limit": 1}).json()
    return page["data"][0]["id"], page["next_cursor"]


def _holding(client: httpx.Client, word: str, ids: dict[str, str], cursors: dict[str, str]) -> Account:
    """The user with documents, a picture, a mail and searches that are on this node only."""
    filename, text = f"{word}.txt", f"The harbour of {word} opens at dawn."
    document_id = ingest(client, filename, text.encode())
    mail_id = ingest(client, f"{word}.eml", mail_with(note_txt=f"The harbour note of {word}.".encode()))
    picture_id = ingest(client, f"{word}.png", (DATA / "letter.png").read_bytes())
    for query in (f"harbour {word}", "second"):
        client.post("/v1/search", json={"query": query, "min_score": 0})
    cursors |= {
        name: client.get(f"/v1/{name}", params={"limit": 1}).json()["next_cursor"]
        for name in ("documents", "jobs", "searches")
    }
    held = {
        **ids,
        "document": document_id,
        "mail": mail_id,
        "picture document": picture_id,
        "child": client.get(f"/v1/documents/{mail_id}").json()["children"][0],
        "image": client.get(f"/v1/documents/{picture_id}/images").json()["data"][0]["id"],
        "job": client.get("/v1/jobs", params={"document_id": document_id}).json()["data"][0]["id"],
        "chunk": client.get(f"/v1/documents/{document_id}/chunks").json()["data"][0]["id"],
        "search": client.get("/v1/searches").json()["data"][0]["id"],
        "file": digest(text),
    }
    tags = [client.get(f"/v1/documents/{id}/file").headers["etag"] for id in (document_id, picture_id)]
    return Account(client, word, filename, held, {**cursors, "position": encode_cursor([0])}, tags)


def test_another_owners_ids_are_answered_like_ids_of_nobody_from_sqlite_too(node: Node) -> None:
    with ExitStack() as clients:
        opened = [(word, *_registered(node, clients, word)) for word in ("strangerown", "victimsword")]
        keys = [_keys_of(client) for _, client, _ in opened]
        node.take_away()
        stranger, victim = (
            _holding(client, word, {"api key": key, "user": user_id}, {"api-keys": cursor})
            for (word, client, user_id), (key, cursor) in zip(opened, keys, strict=True)
        )
        seen = [victim.client.get(f"/v1/{name}").json() for name in ("documents", "jobs", "searches")]
        pairs = list(fuzz(create_app(node.runtime), victim, stranger))
        assert len(pairs) > 500
        assert [pair for pair in pairs if pair.foreign != pair.absent] == []
        for pair in pairs:
            status, _, body = pair.foreign
            if "_id}" in pair.route:
                assert status in (503, 404, 422), pair
            assert victim.word not in body, pair
        missing = {pair.foreign[0] for pair in pairs if pair.route.startswith("GET /v1/documents/{document_id}")}
        assert missing == {503}
        assert [victim.client.get(f"/v1/{name}").json() for name in ("documents", "jobs", "searches")] == seen
        own = {item["id"] for item in stranger.client.get("/v1/documents").json()["data"]}
        assert own
        assert own.isdisjoint(victim.ids.values())


def test_tokens_and_known_keys_are_good_and_accounts_themselves_are_503(node: Node) -> None:
    with ExitStack() as clients:
        client, _ = _registered(node, clients, "ada")
        secret = client.post("/v1/api-keys", json={"name": "k", "scopes": ["read", "write"]}).json()["secret"]
        known = {"Authorization": f"Bearer {secret}"}
        assert node.client.get("/v1/documents", headers=known).status_code == 200
        node.take_away()
        entry = upload(client, "harbour.txt", b"The harbour opens at dawn.")
        listed = node.client.get("/v1/documents", headers=known)
        assert [item["id"] for item in listed.json()["data"]] == [entry["document"]["id"]]
        assert listed.json()["partial"] is True
        unknown = node.client.get("/v1/documents", headers={"Authorization": "Bearer " + secret[:-4] + "AAAA"})
        assert unknown.status_code in (401, 503)
        login = {"email": "ada@example.org", "password": PASSWORD}
        assert_problem(node.client.post("/v1/auth/login", json=login), 503, "database_unavailable")
        other = {"email": "bob@example.org", "password": PASSWORD}
        assert_problem(node.client.post("/v1/auth/register", json=other), 503, "database_unavailable")
        asked = client.post("/v1/api-keys", json={"name": "n", "scopes": ["read"]})
        assert_problem(asked, 503, "database_unavailable")
        assert node.client.get("/v1/documents").status_code == 401
        node.give_back()
        assert client.get(f"/v1/documents/{entry['document']['id']}").status_code == 200
        assert node.client.post("/v1/auth/login", json=login).status_code == 200


def test_quotas_hold_for_what_this_node_has_and_keep_nothing_from_being_moved(
    postgres: DatabaseUrls, tmp_path: Path, given: dict[str, Any]
) -> None:
    with open_node(postgres, tmp_path / "data", **given, quota_documents=2) as node, ExitStack() as clients:
        client, _ = _registered(node, clients, "ada")
        ingest(client, "before.txt", b"text of before")
        node.take_away()
        for number in range(2):
            ingest(client, f"{number}.txt", f"text {number}".encode())
        refused = client.post("/v1/documents", files=[("files", ("3.txt", b"one more"))])
        assert "quota" in refused.text
        node.give_back()
        assert len(client.get("/v1/documents").json()["data"]) == 3


def test_an_account_marked_for_it_logs_in_from_this_nodes_copy(
    postgres: DatabaseUrls, tmp_path: Path, given: dict[str, Any]
) -> None:
    data_dir = tmp_path / "data"
    with open_node(postgres, data_dir, runs_jobs=False, **given) as node:
        user_id = add_user(node.runtime, "ada@example.org", PASSWORD, is_offline=True)
        add_user(node.runtime, "bob@example.org", PASSWORD)
    with open_node(postgres, data_dir, **given) as node:
        eventually(lambda: _knows(data_dir / "fallback", "ada@example.org"))
        node.take_away()
        login = {"email": "ada@example.org", "password": PASSWORD}
        reply = node.client.post("/v1/auth/login", json=login)
        assert reply.status_code == 200, reply.text
        assert reply.json()["user"]["id"] == user_id
        token = {"Authorization": f"Bearer {reply.json()['access_token']}"}
        assert node.client.get("/v1/documents", headers=token).json()["partial"] is True
        for other in ({**login, "password": PASSWORD + "!"}, {**login, "email": "bob@example.org"}):
            assert_problem(node.client.post("/v1/auth/login", json=other), 503, "database_unavailable")


def _knows(folder: Path, email: str) -> bool:
    local = open_store(folder)
    try:
        with local.begin(SERVICE_ACTOR) as tx:
            return accounts.by_email(tx, email) is not None
    finally:
        local.close()
