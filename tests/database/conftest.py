"""The fixtures of the tests of the stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.pgbouncer import pooler
from tests.support.postgres_server import PostgresServer


@pytest.fixture(scope="session")
def through(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], str]]:
    """Turns a URL into that of a pooler which has two connections."""
    with pooler(postgres_server.embedded.server_url, folder=tmp_path_factory.mktemp("pooler"), pool_size=2) as turned:
        yield turned
