"""The Postgres store: vectors by pgvector and full text, in the database.

Row level security is under every statement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from sqlalchemy import select

from database.errors import MigrationError, StoreBusy
from database.jobs import claims
from database.postgres import keywords, migrations, vectors
from database.postgres.engine import PostgresConnections, PostgresOptions, connection_arguments
from database.postgres.probe import PostgresProbe
from database.records import SERVICE_ACTOR, Actor, DocumentFilter, JobRecord, RowHit, Vector, VectorMatches, worker_for
from database.store import MigrationState, Store, Transaction

CLAIM_PATIENCE_S = 1.0
"""How long a claim waits for the owner's other writers, each of which takes milliseconds, before it looks further."""


class PostgresStore(Store):
    """A Store on Postgres.

    Any number of processes, on any number of nodes, may use the same database.
    """

    kind: Literal["postgresql"] = "postgresql"

    def __init__(
        self,
        options: PostgresOptions,
        *,
        admin_url: str | None = None,
        exact_rows: int = 8_000,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        """`admin_url` is what migrations log in with.

        Nothing else uses it. `on_close` is called after closing.
        """
        self._connections = PostgresConnections(options)
        self._admin_url = admin_url
        self._exact_rows = exact_rows
        self._on_close = on_close
        self._states: Sequence[MigrationState] | None = None
        self._probe = PostgresProbe(options.url, connection_arguments(options))

    @contextmanager
    def begin(self, actor: Actor, *, write: bool = False) -> Iterator[Transaction]:
        with self._connections.begin(actor, write=write) as connection:
            yield Transaction(actor, connection)

    def upgrade(self) -> Sequence[str]:
        if self._admin_url is None:
            raise MigrationError(
                "migrations need a role that may create tables: set DOCATLAS_DATABASE_ADMIN_URL or use the Supabase CLI"
            )
        self._states = None
        options = self._connections.options
        return migrations.upgrade(self._admin_url, server_url=options.url, connecting=_connecting(options))

    def check_login(self) -> None:
        """Returns when the server's role can do nothing by itself. Raises UnsafeLogin."""
        self._connections.check_login_role()

    def migration_status(self) -> Sequence[MigrationState]:
        # Asked whenever somebody wants to know whether the server is ready, and final once all of them are applied.
        states = self._states
        if states is None:
            options = self._connections.options
            states = migrations.status(options.url, connecting=_connecting(options))
            if all(state.applied_at is not None for state in states):
                self._states = states
        return states

    def probe(self, *, writes: bool) -> None:
        """Returns when the server works.

        It takes seconds at most, on a connection of its own, also while `suspend` holds. Raises StoreUnavailable, and
        StoreBusy while another node's probe writes.
        """
        self._probe.check(writes=writes)

    def suspend(self) -> None:
        """Ends every wait for the server with StoreUnavailable.

        None begins before `resume`.
        """
        self._connections.guard.cut()

    def resume(self) -> None:
        self._connections.guard.mend()

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
        locked: set[str] = set()
        while True:
            with self.begin(SERVICE_ACTOR) as tx:
                found = claims.oldest_claimable(tx, passing_over=locked)
            if found is None:
                return None
            # As the owner's worker: that is the lock under which every other change to the owner's jobs is made, and
            # so two workers that saw the same job, or two jobs of one document, follow one another here.
            worker = worker_for(found.user_id)
            try:
                with self._connections.begin(worker, write=True, patience_s=CLAIM_PATIENCE_S) as connection:
                    job = claims.claim(Transaction(worker, connection), found.job_id, worker_id)
            except StoreBusy:
                # Whoever writes for that owner is slow or dead: the other owners' jobs do not wait for it.
                locked.add(found.user_id)
                continue
            if job is not None:
                return job

    def close(self) -> None:
        self._probe.close()
        self._connections.close()
        if self._on_close is not None:
            self._on_close()


def _connecting(options: PostgresOptions) -> migrations.Connecting:
    return migrations.Connecting(
        sslmode=options.sslmode, sslrootcert=options.sslrootcert, timeout_s=options.connect_timeout_s
    )
