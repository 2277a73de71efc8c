"""The databases that tests with a store run on, each of both kinds: SQLite, and Postgres with pgvector."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import SecretStr

from database.opening import open_store
from database.store import Store

if TYPE_CHECKING:
    from tests.support.postgres_server import DatabaseUrls, PostgresServer

Kind = Literal["sqlite", "postgresql", "pooled"]
"""`pooled` is Postgres behind a pooler with two connections, for tests of a store that need nothing else."""
KINDS: tuple[Kind, ...] = ("sqlite", "postgresql")

LOCK_TIMEOUT_S = 30.0
"""Of both stores where a test names no other, so that a slow machine fails none of them."""


class Databases(Protocol):
    """One database for each data folder: who opens the same folder again finds what was stored there."""

    @property
    def kind(self) -> Kind: ...

    def given(self, data_dir: Path) -> Mapping[str, Any]:
        """What `Settings` needs to be told, beside `data_dir`."""
        ...

    def environment(self, data_dir: Path) -> Mapping[str, str]:
        """The same for another process."""
        ...

    def open(self, data_dir: Path, *, lock_timeout_s: float = LOCK_TIMEOUT_S) -> Store:
        """The store of the folder; whoever opens it closes it. It may lack migrations until `Store.upgrade`."""
        ...

    def make_empty(self, data_dir: Path) -> None:
        """Makes a new folder's database one without any migration, and the other answers what migrating it needs."""
        ...

    def dump(self, data_dir: Path) -> bytes:
        """Everything that the database of the folder holds, as far as a reader of its files or rows could search it."""
        ...


class SqliteDatabases:
    """Files in the data folders, so that there is nothing to say and nothing to clear."""

    kind: Kind = "sqlite"

    def given(self, data_dir: Path) -> Mapping[str, Any]:
        return {}

    def environment(self, data_dir: Path) -> Mapping[str, str]:
        return {}

    def open(self, data_dir: Path, *, lock_timeout_s: float = LOCK_TIMEOUT_S) -> Store:
        return open_store(data_dir, busy_timeout_s=lock_timeout_s)

    def make_empty(self, data_dir: Path) -> None:
        assert not data_dir.exists()

    def dump(self, data_dir: Path) -> bytes:
        files = sorted(data_dir.glob("docatlas.sqlite3*"))
        assert files
        return b"".join(path.read_bytes() for path in files)


class PostgresDatabases:
    """Databases on one server, made from a migrated template when they are first asked for."""

    kind: Kind = "postgresql"

    def __init__(self, server: PostgresServer, through: Callable[[str], str] = str) -> None:
        self._server = server
        self._through = through
        self._made: dict[Path, DatabaseUrls] = {}
        self._empty: set[Path] = set()

    def given(self, data_dir: Path) -> Mapping[str, Any]:
        urls = self._of(data_dir)
        given = {"database_url": SecretStr(urls.server_url), "database_lock_timeout_s": LOCK_TIMEOUT_S}
        admin = {"database_admin_url": SecretStr(urls.admin_url)} if data_dir in self._empty else {}
        return {**given, **admin, "fallback": False}

    def environment(self, data_dir: Path) -> Mapping[str, str]:
        return {
            f"DOCATLAS_{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in self.given(data_dir).items()
        }

    def open(self, data_dir: Path, *, lock_timeout_s: float = LOCK_TIMEOUT_S) -> Store:
        return self._store(self._of(data_dir), lock_timeout_s)

    def make_empty(self, data_dir: Path) -> None:
        assert data_dir not in self._made
        self._made[data_dir] = self._server.new_database(migrated=False)
        self._empty.add(data_dir)

    def dump(self, data_dir: Path) -> bytes:
        import psycopg
        from psycopg import sql

        with psycopg.connect(self._of(data_dir).admin_url) as connection:
            names = connection.execute(
                "SELECT table_schema, table_name FROM information_schema.tables "
                "WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')"
            ).fetchall()
            assert len(names) > 5
            rows = [
                row
                for schema, name in names
                for (row,) in connection.execute(
                    sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(schema, name))
                ).fetchall()
            ]
        return "\n".join(rows).encode()

    def drop(self) -> None:
        """Removes what was made."""
        for made in self._made.values():
            self._server.drop(made)
        self._made.clear()

    def _of(self, data_dir: Path) -> DatabaseUrls:
        if data_dir not in self._made:
            self._made[data_dir] = self._server.new_database()
        return self._made[data_dir]

    def _store(self, urls: DatabaseUrls, lock_timeout_s: float) -> Store:
        from database.postgres.engine import PostgresOptions
        from database.postgres.store import PostgresStore

        options = PostgresOptions(self._through(urls.server_url), lock_timeout_s=lock_timeout_s)
        return PostgresStore(options, admin_url=urls.admin_url)


@contextmanager
def open_databases(
    kind: Kind, server: PostgresServer | None, through: Callable[[str], str] = str
) -> Iterator[Databases]:
    """Databases to test on, gone afterwards; `server` is needed for Postgres, `through` leads a URL to a pooler."""
    if server is None:
        assert kind == "sqlite"
        yield SqliteDatabases()
        return
    databases = PostgresDatabases(server, through)
    try:
        yield databases
    finally:
        databases.drop()
