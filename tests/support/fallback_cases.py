"""What the tests of the fallback share: a Postgres that can be taken away, and both stores in one place."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg import sql
from pydantic import SecretStr
from sqlalchemy import func, select

from database import schema
from database.accounts import users
from database.documents import document_aliases as aliases
from database.fallback import journal
from database.fallback.replay import Replay
from database.fallback.store import FallbackStore
from database.jobs import jobs
from database.opening import open_store
from database.postgres.engine import PostgresOptions
from database.postgres.store import PostgresStore
from database.records import LOCAL_ACTOR, SERVICE_ACTOR, JobRecord
from database.store import Store
from services.jobs.worker import Worker
from services.runtime import Runtime
from services.settings import Settings
from tests.support.api_server import serving
from tests.support.postgres_server import DatabaseUrls
from tests.support.runtimes import open_runtime
from tests.support.store_cases import OTHER_ACTOR, chunk, summary, unit

PATIENCE_S = 30.0


def open_main(database: DatabaseUrls) -> PostgresStore:
    """The main database, with two owners."""
    store = PostgresStore(PostgresOptions(database.server_url, pool_size=4, lock_timeout_s=5.0))
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        users.ensure(tx, OTHER_ACTOR.user_id, display_name="other")
    return store


def open_local(folder: Path) -> Store:
    """This node's database, which is served."""
    store = open_store(folder)
    store.upgrade()
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        users.ensure(tx, OTHER_ACTOR.user_id)
        journal.prepare(tx.connection)
        journal.serve(tx.connection, "local")
    return store


def open_fallback(
    database: DatabaseUrls, folder: Path, *, prepare: Callable[[PostgresStore], None] | None = None, **given: Any
) -> FallbackStore:
    """A store that notices what happens to Postgres within a tenth of a second; `prepare` makes that ready."""
    main = PostgresStore(PostgresOptions(database.server_url, pool_size=4, lock_timeout_s=5.0, connect_timeout_s=2.0))

    def make_ready() -> None:
        main.check_login()
        if prepare is not None:
            prepare(main)

    return FallbackStore(main, open_store(folder), prepare=make_ready, **{"probe_s": 0.1, **given})


class Access:
    """Whether a database takes connections: without them it is as good as gone."""

    def __init__(self, database: DatabaseUrls) -> None:
        self._name = database.name
        self._url = database.admin_url.rpartition("/")[0] + "/postgres"

    def take_away(self) -> None:
        """Refuses connections and cuts those that are there."""
        self._allow(False)
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [self._name]
            )

    def give_back(self) -> None:
        self._allow(True)

    def _allow(self, is_allowed: bool) -> None:
        statement = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(statement.format(sql.Identifier(self._name), sql.Literal(is_allowed)))


@dataclass
class Node:
    """A server on a Postgres that can be taken away."""

    client: httpx.Client
    runtime: Runtime
    access: Access

    def take_away(self) -> None:
        self.access.take_away()
        eventually(lambda: self.breaker() == "open")

    def give_back(self) -> None:
        self.access.give_back()
        eventually(lambda: self.breaker() == "closed")

    def breaker(self) -> str:
        state = self.runtime.fallback.state()
        assert state is not None
        return state.breaker

    def health(self) -> Any:
        return self.client.get("/health").json()

    def found(self, query: str) -> httpx.Response:
        return self.client.post("/v1/search", json={"query": query, "mode": "keyword"})


@contextmanager
def open_node(database: DatabaseUrls, folder: Path, *, runs_jobs: bool = True, **given: Any) -> Iterator[Node]:
    """A server on `database` with its data in `folder`; settings are `given`."""
    usual = {"text_model": "hash", "worker_threads": 1, "sweep_s": 0.1, "fallback_probe_s": 0.1}
    address = {"database_url": SecretStr(database.server_url), "database_connect_timeout_s": 2}
    runtime = open_runtime(Settings(data_dir=folder, **{**usual, **address, **given}))
    access = Access(database)
    try:
        with Worker(runtime) if runs_jobs else nullcontext() as worker:
            try:
                with serving(runtime, worker) as client:
                    yield Node(client, runtime, access)
            finally:
                access.give_back()
    finally:
        runtime.close()


@dataclass
class Pair:
    """The main database, this node's, and what moves from one to the other."""

    main: Store
    local: Store
    happened: Counter[str] = field(default_factory=Counter)

    @property
    def replay(self) -> Replay:
        """A new one, as after a restart."""

        def count(what: str, number: int) -> None:
            self.happened[what] += number

        return Replay(self.main, self.local, count)

    def move_all(self) -> None:
        """A whole replay."""
        replay = self.replay
        replay.copy(settled_only=True)
        replay.copy(settled_only=False)
        replay.switch()
        replay.drop()

    def close(self) -> None:
        self.local.close()
        self.main.close()


def counts(store: Store) -> dict[str, int]:
    """How many rows the tables of documents have."""
    tables = (schema.documents, schema.pages, schema.images, schema.chunks, schema.jobs, schema.searches)
    with store.begin(SERVICE_ACTOR) as tx:
        return {
            table.name: tx.connection.execute(select(func.count()).select_from(table)).scalar_one() for table in tables
        }


def is_empty(store: Store) -> bool:
    return not any(counts(store).values())


def job_of(store: Store, document_id: str) -> JobRecord:
    """The newest job of a document."""
    with store.begin(SERVICE_ACTOR) as tx:
        found = jobs.newest_of(tx, document_id, ())
    assert found is not None
    return found


def finish(store: Store, document_id: str, words: str, *, worker: str = "test.1") -> JobRecord:
    """Runs the document's job as a worker would: one page, two chunks with vectors, published and ended."""
    from database.documents import contents, generations
    from database.records import worker_for
    from tests.support.store_cases import page

    while (job := store.claim_job(worker)) is not None:
        assert job.document_id is not None
        with store.begin(worker_for(job.user_id), write=True) as tx:
            contents.write_page(tx, job.document_id, job.generation, page(1, words))
            parts = [chunk(index, f"{words} {index}", vector=unit(index)) for index in range(2)]
            contents.write_chunks(tx, job.document_id, job.generation, parts)
            generations.publish(tx, job.document_id, job.generation, summary(2, title=words))
            jobs.finish(tx, job.job_id, worker_id=worker, status="completed")
        if job.document_id == document_id:
            return job_of(store, document_id)
    raise AssertionError("the document has no job to run")


def resolved(store: Store, alias_id: str) -> str | None:
    with store.begin(LOCAL_ACTOR) as tx:
        return aliases.resolve(tx, alias_id)


def eventually(condition: Callable[[], bool]) -> None:
    """Returns when `condition` holds, which it does soon."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.01)
