"""One real Postgres for a run of the tests, and databases on it that cost a tenth of a second each."""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from database.postgres.cluster import ADMIN_ROLE
from database.postgres.embedded import FAST, EmbeddedPostgres
from database.postgres.migrations import SERVER_ROLE, upgrade

PREFIX = "docatlas-tests-"
_TEMPLATE = "migrated"


@dataclass(frozen=True)
class DatabaseUrls:
    """One database, as the migrations and as the server see it; `postgresql://...`."""

    admin_url: str
    server_url: str
    name: str


class PostgresServer:
    """A server with nothing in it that anybody needs after the tests. Not thread-safe."""

    def __init__(self, embedded: EmbeddedPostgres) -> None:
        self.embedded = embedded
        self._names = (f"test_{os.getpid()}_{number}" for number in itertools.count())
        self._has_template = False
        self._admin: psycopg.Connection[tuple[Any, ...]] | None = None

    def close(self) -> None:
        """Ends its own connection; the server goes on."""
        if self._admin is not None:
            self._admin.close()

    def new_database(self, *, migrated: bool = True) -> DatabaseUrls:
        """A database of its own: with every migration applied, or as Postgres makes it."""
        name = next(self._names)
        template = self._template() if migrated else "template0"
        # Copied as files: half the CPU time of a copy that is written to the log, which nobody needs here.
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        self._run(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return self._urls(name)

    def drop(self, database: DatabaseUrls) -> None:
        """Removes it, whoever is still connected to it."""
        self._run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database.name)))

    def _template(self) -> str:
        if not self._has_template:
            self._run(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(_TEMPLATE)))
            urls = self._urls(_TEMPLATE)
            upgrade(urls.admin_url, server_url=urls.server_url)
            self._has_template = True
        return _TEMPLATE

    def _urls(self, name: str) -> DatabaseUrls:
        return DatabaseUrls(self.embedded.url(ADMIN_ROLE, name), self.embedded.url(SERVER_ROLE, name), name)

    def _run(self, statement: sql.Composed) -> None:
        if self._admin is None or self._admin.closed:
            self._admin = psycopg.connect(self.embedded.admin_url, autocommit=True)
        self._admin.execute(statement)


@contextmanager
def open_server() -> Iterator[PostgresServer]:
    """A server on a folder of its own, removed afterwards, or by the next run where this one is killed."""
    place = Path(tempfile.gettempdir())
    for left in _abandoned(place):
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    try:
        with EmbeddedPostgres(folder, settings=FAST, sync=False) as embedded, closing(PostgresServer(embedded)) as made:
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def rows(url: str, question: str, *values: Any) -> list[tuple[Any, ...]]:
    """What the server answers."""
    with psycopg.connect(url) as connection:
        return connection.execute(question.encode(), values).fetchall()


def _abandoned(folder: Path) -> Iterator[Path]:
    """The folders of earlier runs in `folder` on which no process uses a server any more."""
    for path in folder.glob(PREFIX + "*"):
        try:
            lock = os.open(path / "users.lock", os.O_RDWR)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield path
        except BlockingIOError:
            continue
        finally:
            os.close(lock)
