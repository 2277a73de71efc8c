"""The Postgres store: pgvector and full text in the database, row level security under every statement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from sqlalchemy import func, literal, select, update

from database import jobs, schema
from database.ids import now
from database.job_status import show_status
from database.postgres import keywords, migrations, vectors
from database.postgres.engine import PostgresConnections, PostgresOptions
from database.records import SERVICE_ACTOR, Actor, DocumentFilter, JobRecord, RowHit, Vector, VectorMatches, worker_for
from database.store import MigrationState, Transaction


class PostgresStore:
    """See database.store.Store. Any number of processes, on any number of nodes, may use the same database."""

    kind: Literal["postgresql"] = "postgresql"

    def __init__(self, options: PostgresOptions, *, admin_url: str | None = None, exact_rows: int = 20_000) -> None:
        """`admin_url` is what migrations log in with; nothing else uses it."""
        self._connections = PostgresConnections(options)
        self._admin_url = admin_url
        self._exact_rows = exact_rows

    @contextmanager
    def begin(self, actor: Actor, *, write: bool = False) -> Iterator[Transaction]:
        with self._connections.begin(actor, write=write) as connection:
            yield Transaction(actor, connection)

    def upgrade(self) -> Sequence[str]:
        return migrations.upgrade(self._admin_url, server_url=self._connections.options.url)

    def migration_status(self) -> Sequence[MigrationState]:
        with self.begin(SERVICE_ACTOR) as tx:
            return migrations.status(tx.connection)

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
        with self.begin(actor) as tx:
            return vectors.search_vectors(
                tx, query, space=space, kind=kind, k=k, only=only, exact=exact, exact_rows=self._exact_rows
            )

    def search_keywords(self, actor: Actor, query: str, *, k: int, only: DocumentFilter) -> Sequence[RowHit]:
        with self.begin(actor) as tx:
            return keywords.search_keywords(tx, query, k=k, only=only)

    def claim_job(self, worker_id: str) -> JobRecord | None:
        table = schema.jobs
        while True:
            with self.begin(SERVICE_ACTOR) as tx:
                found = tx.connection.execute(
                    select(table.c.job_id, table.c.user_id)
                    .where(jobs.claimable(now()))
                    .order_by(table.c.created_at, table.c.job_id)
                    .limit(1)
                ).one_or_none()
            if found is None:
                return None
            # As the owner's worker: that is the lock under which every other change to the owner's jobs is made, and
            # so two workers that saw the same job, or two jobs of one document, follow one another here.
            with self.begin(worker_for(found.user_id), write=True) as tx:
                moment = now()
                claimed = tx.connection.execute(
                    update(table)
                    .where(table.c.job_id == found.job_id, jobs.claimable(moment))
                    .values(
                        status="in_progress",
                        worker_id=worker_id,
                        attempts=table.c.attempts + 1,
                        started_at=func.coalesce(table.c.started_at, literal(moment, table.c.started_at.type)),
                        heartbeat_at=moment,
                        run_after=None,
                    )
                ).rowcount
                job = jobs.get(tx, found.job_id) if claimed else None
                if job is not None:
                    show_status(tx, job, "in_progress")
                    return job

    def close(self) -> None:
        self._connections.close()
