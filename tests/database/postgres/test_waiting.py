"""Who waits for whom on Postgres: every wait ends, with a word that tells to try again; nobody waits for a stranger."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from database.documents import documents
from database.errors import StoreBusy, StoreUnavailable
from database.jobs import jobs
from database.postgres.embedded import FAST, EmbeddedPostgres
from database.postgres.engine import PostgresOptions
from database.postgres.hanging import GuardedConnection
from database.postgres.store import PostgresStore
from database.records import LOCAL_ACTOR, SERVICE_ACTOR, Actor
from services.jobs.worker import Worker
from services.runtime import Runtime
from services.settings import Settings
from tests.support.api_server import assert_problem, opened
from tests.support.databases import PostgresDatabases
from tests.support.postgres_server import DatabaseUrls, PostgresServer
from tests.support.runtimes import open_runtime
from tests.support.store_cases import EVERYTHING, OTHER_ACTOR, prepare, submit
from tests.support.waiting import wait_for

WAIT_S = 0.4
"""How long anybody waits for a lock or a connection here."""


@pytest.fixture
def opening(postgres: DatabaseUrls) -> Iterator[Callable[[int], PostgresStore]]:
    """A function that opens a store with so many connections."""
    with ExitStack() as opened_stores:

        def open_one(pool_size: int) -> PostgresStore:
            options = PostgresOptions(postgres.server_url, pool_size=pool_size, lock_timeout_s=WAIT_S)
            store = PostgresStore(options, admin_url=postgres.admin_url)
            opened_stores.callback(store.close)
            prepare(store)
            return store

        yield open_one


@contextmanager
def held(store: PostgresStore, actor: Actor) -> Iterator[None]:
    """Somebody who began to write and says nothing more."""
    holding, enough = threading.Event(), threading.Event()

    def hold() -> None:
        with store.begin(actor, write=True):
            holding.set()
            enough.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert holding.wait(30)
        yield
    finally:
        enough.set()
        thread.join()


def can_write(store: PostgresStore, actor: Actor) -> bool:
    try:
        with store.begin(actor, write=True) as tx:
            tx.connection.execute(text("SELECT 1"))
    except StoreBusy:
        return False
    return True


def test_a_transaction_inside_another_one_ends_with_an_error_where_there_is_one_connection(
    opening: Callable[[int], PostgresStore],
) -> None:
    store = opening(1)
    for write in (False, True):
        with (
            store.begin(LOCAL_ACTOR),
            pytest.raises(StoreBusy, match="connection"),
            store.begin(LOCAL_ACTOR, write=write),
        ):
            pass
    assert can_write(store, LOCAL_ACTOR)


def test_a_writer_inside_a_writer_is_told_at_once_that_it_is_a_mistake(
    opening: Callable[[int], PostgresStore],
) -> None:
    store = opening(3)
    for actor in (LOCAL_ACTOR, OTHER_ACTOR, SERVICE_ACTOR):
        with store.begin(LOCAL_ACTOR, write=True):
            with pytest.raises(RuntimeError, match="inside another"), store.begin(actor, write=True):
                pass
            with store.begin(actor) as tx:
                tx.connection.execute(text("SELECT 1"))
        assert can_write(store, actor)


def test_a_silent_writer_stops_its_own_owner_and_the_service_and_nobody_else(
    opening: Callable[[int], PostgresStore],
) -> None:
    store = opening(5)
    with held(store, LOCAL_ACTOR):
        assert not can_write(store, LOCAL_ACTOR)
        assert not can_write(store, SERVICE_ACTOR)
        assert can_write(store, OTHER_ACTOR)
        with ThreadPoolExecutor(2) as pool:
            # Behind a waiting service everybody waits, but no longer than the service does: then they have a turn.
            service = pool.submit(can_write, store, SERVICE_ACTOR)
            others = pool.submit(lambda: [can_write(store, OTHER_ACTOR) for _ in range(6)])
            assert not service.result()
            assert any(others.result())
        assert can_write(store, OTHER_ACTOR)
    for actor in (LOCAL_ACTOR, OTHER_ACTOR, SERVICE_ACTOR):
        assert can_write(store, actor)


def test_the_service_has_its_turn_among_owners_who_never_stop(opening: Callable[[int], PostgresStore]) -> None:
    store = opening(6)
    finished = threading.Event()
    counts = dict.fromkeys(range(4), 0)

    def write(number: int) -> None:
        while not finished.is_set():
            counts[number] += can_write(store, (LOCAL_ACTOR, OTHER_ACTOR)[number % 2])

    threads = [threading.Thread(target=write, args=(number,)) for number in counts]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: all(counts.values()))
        before = sum(counts.values())
        turns = 0
        for _ in range(200):
            turns += can_write(store, SERVICE_ACTOR)
            if turns >= 20:
                break
        assert turns >= 20
        wait_for(lambda: sum(counts.values()) > before)
    finally:
        finished.set()
        for thread in threads:
            thread.join()


def test_the_job_of_another_owner_is_claimed_while_the_first_ones_owner_is_locked(
    opening: Callable[[int], PostgresStore],
) -> None:
    store = opening(4)
    first, second = submit(store, "first").job, submit(store, "second", actor=OTHER_ACTOR).job
    assert first is not None
    assert second is not None
    with held(store, LOCAL_ACTOR):
        claimed = store.claim_job("node.one")
        assert claimed is not None
        assert claimed.job_id == second.job_id
        assert store.claim_job("node.one") is None
    claimed = store.claim_job("node.one")
    assert claimed is not None
    assert claimed.job_id == first.job_id


def test_a_transaction_that_its_node_forgot_is_ended_by_the_server(postgres: DatabaseUrls) -> None:
    """A node that was stopped in the middle of a write holds what everybody waits for."""
    store = PostgresStore(PostgresOptions(postgres.server_url), admin_url=postgres.admin_url)
    try:
        limits = {}
        for write in (False, True):
            with store.begin(LOCAL_ACTOR, write=write) as tx:
                limits[write] = tx.connection.scalar(
                    text("SELECT extract(epoch FROM current_setting('idle_in_transaction_session_timeout')::interval)")
                )
        assert 0 < limits[True] <= 30
        assert limits[True] <= limits[False] <= 120
    finally:
        store.close()


@contextmanager
def busy_server(server: PostgresServer, folder: Path, **given: object) -> Iterator[tuple[Runtime, httpx.Client]]:
    databases = PostgresDatabases(server)
    try:
        with opened(databases, folder, runs_jobs=False, database_lock_timeout_s=WAIT_S, **given) as both:
            yield both
    finally:
        databases.drop()


def test_requests_that_find_every_connection_taken_are_told_to_come_again(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    with busy_server(postgres_server, tmp_path, database_pool_size=2) as (runtime, client):

        def ask(_: int) -> httpx.Response:
            with httpx.Client(base_url=client.base_url, timeout=60) as own:
                return own.get("/v1/documents")

        with ThreadPoolExecutor(64) as pool:
            with runtime.store.begin(LOCAL_ACTOR), held(runtime.store, OTHER_ACTOR):  # type: ignore[arg-type]
                answers = list(pool.map(ask, range(64)))
            for answer in answers:
                assert_problem(answer, 503, "store_busy")
                assert int(answer.headers["retry-after"]) >= 1
        assert [ask(number).status_code for number in range(5)] == [200] * 5


def test_a_write_behind_a_silent_writer_is_told_to_come_again(postgres_server: PostgresServer, tmp_path: Path) -> None:
    with busy_server(postgres_server, tmp_path) as (runtime, client):
        entry = client.post("/v1/documents", files=[("files", ("a.txt", b"text"))]).json()["data"][0]
        path = f"/v1/documents/{entry['document']['id']}"
        with held(runtime.store, LOCAL_ACTOR):  # type: ignore[arg-type]
            assert_problem(client.patch(path, json={"title": "new"}), 503, "store_busy")
            assert client.get(path).status_code == 200
        assert client.patch(path, json={"title": "new"}).status_code == 200


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server that the tests below may stop."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("restarted") / "postgres", settings=FAST, sync=False) as server:
        yield server


def test_pooled_connections_survive_a_restart_of_the_server(own_server: EmbeddedPostgres) -> None:
    options = PostgresOptions(own_server.server_url, pool_size=3, connect_timeout_s=2)
    store = PostgresStore(options, admin_url=own_server.admin_url)
    try:
        prepare(store)
        kept = submit(store).document.document_id
        with ExitStack() as three:
            for _ in range(3):
                three.enter_context(store.begin(LOCAL_ACTOR))
        own_server.stop()
        for write in (False, True):
            with pytest.raises(StoreUnavailable), store.begin(LOCAL_ACTOR, write=write):
                pass
        with pytest.raises(StoreUnavailable):
            store.claim_job("node.one")
        assert own_server.pid is None
        own_server.start()
        with store.begin(LOCAL_ACTOR) as tx:
            assert documents.get(tx, kept) is not None
        assert can_write(store, SERVICE_ACTOR)
    finally:
        store.close()


def test_a_restart_in_the_middle_of_a_transaction_undoes_it_and_the_next_one_works(
    own_server: EmbeddedPostgres,
) -> None:
    store = PostgresStore(PostgresOptions(own_server.server_url), admin_url=own_server.admin_url)
    try:
        prepare(store)
        with pytest.raises(StoreUnavailable), store.begin(SERVICE_ACTOR, write=True) as tx:  # noqa: PT012
            jobs.add(tx, type="never")
            own_server.stop()
            own_server.start()
            jobs.add(tx, type="never")
        with store.begin(SERVICE_ACTOR) as tx:
            assert all(job.type != "never" for job in jobs.list_page(tx, limit=50, cursor=None).data)
            assert documents.list_page(tx, only=EVERYTHING, limit=1, cursor=None) is not None
    finally:
        store.close()


def test_a_worker_without_its_database_asks_in_measure(
    own_server: EmbeddedPostgres, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = {"database_url": SecretStr(own_server.server_url), "database_admin_url": SecretStr(own_server.admin_url)}
    settings = Settings(
        data_dir=tmp_path,
        text_model="hash",
        worker_threads=1,
        sweep_s=0.2,
        fallback=False,
        **given,  # type: ignore[arg-type]
    )
    runtime = open_runtime(settings)
    try:
        with Worker(runtime):
            before = submit(runtime.store, "without a file").job
            assert before is not None
            wait_for(lambda: _status(runtime, before.job_id) == "failed")
            own_server.stop()

            def refusals() -> list[float]:
                return [record.created for record in caplog.records if "until the database works" in record.message]

            wait_for(lambda: len(refusals()) >= 6)
            times = refusals()
            assert all(after - before > 0.15 for before, after in pairwise(times))
            own_server.start()
            taken = submit(runtime.store, "without one either").job
            assert taken is not None
            wait_for(lambda: _status(runtime, taken.job_id) == "failed")
    finally:
        runtime.close()


def _status(runtime: Runtime, job_id: str) -> str:
    with runtime.store.begin(LOCAL_ACTOR) as tx:
        job = jobs.get(tx, job_id)
    assert job is not None
    return job.status


def test_a_connection_in_use_when_the_store_is_closed_is_closed_with_its_transaction(postgres: DatabaseUrls) -> None:
    store = PostgresStore(PostgresOptions(postgres.server_url, pool_size=2))
    with store.begin(SERVICE_ACTOR) as tx:
        session = tx.connection.connection.driver_connection
        assert isinstance(session, GuardedConnection)
        store.close()
        assert not session.closed
        assert tx.connection.scalar(text("SELECT 1")) == 1
    assert session.closed
