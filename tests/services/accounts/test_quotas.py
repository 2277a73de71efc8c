"""Quotas: documents, bytes, and requests a minute of each user."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from database.ids import new_id
from services.accounts.buckets import MAX_KEYS, Buckets
from services.runtime import Runtime
from tests.support.account_cases import Clock, bearer, local_server, make_key, register
from tests.support.api_server import assert_problem
from tests.support.databases import Databases


@pytest.fixture(scope="module")
def server(
    module_databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Runtime, httpx.Client]]:
    given = {"quota_documents": 3, "quota_bytes": 1000}
    with local_server(module_databases, tmp_path_factory.mktemp("quotas"), **given) as both:
        yield both


@pytest.fixture
def user(client: httpx.Client) -> dict[str, str]:
    return bearer(register(client, f"{new_id()}@example.org"))


def upload(client: httpx.Client, headers: dict[str, str], *contents: bytes) -> httpx.Response:
    files = [("files", (f"{number}.txt", content)) for number, content in enumerate(contents)]
    return client.post("/v1/documents", files=files, headers=headers)


def outcomes(reply: httpx.Response) -> list[str]:
    assert reply.status_code == 202, reply.text
    return [
        entry["outcome"] if entry["error"] is None else f"{entry['outcome']} {entry['error']['code']}"
        for entry in reply.json()["data"]
    ]


def test_documents_over_the_quota_are_rejected_and_the_others_stored(
    client: httpx.Client, user: dict[str, str]
) -> None:
    reply = upload(client, user, b"one", b"two", b"three", b"four")
    assert outcomes(reply) == ["created", "created", "created", "rejected quota_documents"]
    single = upload(client, user, b"five")
    problem = assert_problem(single, 429, "quota_documents")
    assert (problem["limit"], problem["used"]) == (3, 3)
    assert problem["retryable"] is False
    assert "retry-after" not in single.headers


def test_the_same_content_is_not_counted_again(client: httpx.Client, user: dict[str, str]) -> None:
    assert outcomes(upload(client, user, b"one", b"one", b"two")) == ["created", "duplicate", "created"]
    upload(client, user, b"three")
    assert outcomes(upload(client, user, b"one", b"three")) == ["duplicate", "duplicate"]
    document = client.get("/v1/documents", headers=user).json()["data"][0]["id"]
    assert client.post(f"/v1/documents/{document}/reprocess", json={}, headers=user).status_code == 202


def test_bytes_over_the_quota_are_rejected(client: httpx.Client, user: dict[str, str]) -> None:
    assert outcomes(upload(client, user, b"a" * 600, b"b" * 600, b"c" * 400)) == [
        "created",
        "rejected quota_bytes",
        "created",
    ]
    problem = assert_problem(upload(client, user, b"d"), 429, "quota_bytes")
    assert (problem["limit"], problem["used"]) == (1000, 1000)


def test_what_was_deleted_makes_room(client: httpx.Client, user: dict[str, str]) -> None:
    upload(client, user, b"one", b"two", b"three")
    document = client.get("/v1/documents", headers=user).json()["data"][0]["id"]
    assert client.delete(f"/v1/documents/{document}", headers=user).status_code == 204
    assert outcomes(upload(client, user, b"four")) == ["created"]


def test_one_users_documents_take_no_room_from_another(client: httpx.Client, user: dict[str, str]) -> None:
    upload(client, user, b"one", b"two", b"three")
    other = bearer(register(client, f"{new_id()}@example.org"))
    assert outcomes(upload(client, other, b"one", b"two", b"three")) == ["created"] * 3


def test_uploads_at_once_cannot_slip_through_together(client: httpx.Client, user: dict[str, str]) -> None:
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda number: upload(client, user, b"%d" % number), range(8)))
    statuses = sorted(reply.status_code for reply in replies)
    assert statuses == [202] * 3 + [429] * 5
    assert len(client.get("/v1/documents", headers=user).json()["data"]) == 3


def test_a_rejected_file_leaves_nothing_behind(
    server: tuple[Runtime, httpx.Client], user: dict[str, str], client: httpx.Client
) -> None:
    upload(client, user, b"one", b"two", b"three")
    content = f"rejected {new_id()}".encode()
    assert upload(client, user, content).status_code == 429
    kept = [path for path in Path(server[0].settings.data_dir).rglob("*") if path.is_file()]
    assert kept
    assert not any(path.stat().st_size == len(content) and path.read_bytes() == content for path in kept)


def test_the_account_says_how_much_is_used(client: httpx.Client, user: dict[str, str]) -> None:
    upload(client, user, b"one", b"two")
    quotas = client.get("/v1/auth/me", headers=user).json()["quotas"]
    assert quotas["documents"] == {"used": 2, "limit": 3}
    assert quotas["bytes"] == {"used": 6, "limit": 1000}
    assert quotas["requests_per_minute"]["limit"] == 600


def test_requests_of_one_user_are_limited_and_the_answers_say_so(databases: Databases, tmp_path: Path) -> None:
    with local_server(databases, tmp_path / "data", quota_requests_per_minute=5) as (_, client):
        session = register(client, "ada@example.org")
        key = {"X-API-Key": make_key(client, session, "read")}
        first = client.get("/v1/documents", headers=bearer(session))
        assert first.headers["ratelimit-policy"] == '"requests";q=5;w=60'
        told = re.fullmatch(r'"requests";r=(\d+);t=(\d+)', first.headers["ratelimit"])
        assert told is not None
        assert int(told[1]) == 3
        statuses = [client.get("/v1/documents", headers=key).status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        refused = client.get("/v1/documents", headers=bearer(session))
        problem = assert_problem(refused, 429, "rate_limited")
        assert problem["retryable"]
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.headers["ratelimit"].startswith('"requests";r=0;')
        other = register(client, "bob@example.org")
        assert client.get("/v1/documents", headers=bearer(other)).status_code == 200
        assert client.get("/livez").status_code == 200


def test_a_bucket_gives_what_it_holds_and_fills_up_again() -> None:
    clock = Clock()
    buckets = Buckets(3, 60.0, clock=clock)
    assert [buckets.take("a").is_granted for _ in range(4)] == [True, True, True, False]
    refused = buckets.take("a")
    assert (refused.remaining, refused.retry_after_s, refused.reset_s) == (0, 20, 60)
    assert buckets.take("b").is_granted
    clock.seconds += 20
    assert [buckets.take("a").is_granted for _ in range(2)] == [True, False]
    clock.seconds += 1000
    assert buckets.take("a").remaining == 2
    buckets.give_back("a")
    buckets.give_back("a")
    assert buckets.take("a").remaining == 2


def test_the_memory_of_buckets_is_bounded() -> None:
    buckets = Buckets(1, 60.0)
    for number in range(MAX_KEYS + 10):
        buckets.take(str(number))
    held: Any = vars(buckets)["_levels"]
    assert len(held) == MAX_KEYS
