"""Fixtures of the tests of accounts: one server a module with local accounts, unless a module has its own `server`."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from pydantic import SecretStr

from database.ids import new_id
from services.accounts.tokens import AccessTokens
from services.runtime import Runtime
from tests.support.account_cases import SECRET, Clock, local_server, register
from tests.support.databases import Databases


@pytest.fixture(scope="module")
def server(
    module_databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Runtime, httpx.Client]]:
    with local_server(module_databases, tmp_path_factory.mktemp("accounts")) as both:
        yield both


@pytest.fixture
def runtime(server: tuple[Runtime, httpx.Client]) -> Runtime:
    return server[0]


@pytest.fixture
def client(server: tuple[Runtime, httpx.Client]) -> httpx.Client:
    return server[1]


@pytest.fixture
def session(client: httpx.Client) -> dict[str, object]:
    """The first session of a new account."""
    return register(client, f"{new_id()}@example.org")


@pytest.fixture
def tokens() -> AccessTokens:
    return AccessTokens(SecretStr(SECRET), 900)


@pytest.fixture
def clock() -> Clock:
    return Clock()
