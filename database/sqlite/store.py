"""The SQLite store: everything in one file, vectors searched in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from sqlalchemy import select

from database import migrations
from database.jobs import claims
from database.records import SERVICE_ACTOR, Actor, DocumentFilter, JobRecord, RowHit, Vector, VectorMatches
from database.sqlite import keywords
from database.sqlite.engine import SqliteConnections
from database.sqlite.vectors import VectorIndexes
from database.store import MigrationState, Store, Transaction


class SqliteStore(Store):
    """See database.store.Store. Any number of processes may have the same file open."""

    kind: Literal["sqlite"] = "sqlite"

    def __init__(self, path: Path, *, busy_timeout_s: float) -> None:
        self._connections = SqliteConnections(path, busy_timeout_s=busy_timeout_s)
        self._indexes = VectorIndexes(self.begin)

    @contextmanager
    def begin(self, actor: Actor, *, write: bool = False) -> Iterator[Transaction]:
        with self._connections.write() if write else self._connections.read() as connection:
            yield Transaction(actor, connection)

    def upgrade(self) -> Sequence[str]:
        with self._connections.writer() as connection:
            return migrations.upgrade(connection, migrations.read_migrations())

    def migration_status(self) -> Sequence[MigrationState]:
        with self._connections.read() as connection:
            return migrations.status(connection, migrations.read_migrations())

    def ping(self) -> None:
        with self.begin(SERVICE_ACTOR) as tx:
            tx.connection.execute(select(1))

    def search_vectors(
        self,
        actor: Actor,
        query: Vector,
        *,
        space: str,
        kind: Literal["text", "image"],
        k: int,
        only: DocumentFilter,
        exact: bool = False,
    ) -> VectorMatches:
        found = self._indexes.search(actor, query, space=space, kind=kind, k=k, only=only)
        return VectorMatches(found, is_exact=True)

    def search_keywords(self, actor: Actor, query: str, *, k: int, only: DocumentFilter) -> Sequence[RowHit]:
        with self.begin(actor) as tx:
            return keywords.search_keywords(tx, query, k=k, only=only)

    def claim_job(self, worker_id: str) -> JobRecord | None:
        # Idle workers ask often: they look before they take the write lock.
        with self.begin(SERVICE_ACTOR) as tx:
            if claims.oldest_claimable(tx) is None:
                return None
        with self.begin(SERVICE_ACTOR, write=True) as tx:
            found = claims.oldest_claimable(tx)
            return None if found is None else claims.claim(tx, found.job_id, worker_id)

    def close(self) -> None:
        self._indexes.clear()
        self._connections.close()
