"""Connections: nobody's role or claims stay on one, however a transaction ended; and one way leads to one."""

from __future__ import annotations

import ast
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from database.documents import contents, documents
from database.errors import StoreBusy, StoreUnavailable
from database.postgres.engine import PostgresOptions
from database.postgres.store import PostgresStore
from database.records import SERVICE_ACTOR, Actor, worker_for
from database.store import Store
from services.errors import CapabilityMissing
from services.settings import Settings
from services.stores import open_configured_store
from tests.support.isolation_cases import STRANGER, VICTIM, Ground, open_ground
from tests.support.postgres_server import DatabaseUrls, PostgresServer
from tests.support.store_cases import EVERYTHING, page, unit

ROOT = Path(__file__).resolve().parents[3]
OWNERS = (VICTIM, STRANGER)
OWN_SETTINGS = (
    "role",
    "request.jwt.claims",
    "request.jwt.claim.sub",
    "search_path",
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "transaction_read_only",
    "transaction_isolation",
    "hnsw.ef_search",
    "hnsw.iterative_scan",
)


@pytest.fixture(scope="module")
def ground(postgres_server: PostgresServer) -> Iterator[Ground]:
    with open_ground(postgres_server) as opened:
        yield opened


@pytest.fixture(scope="module")
def narrow(ground: Ground) -> Iterator[PostgresStore]:
    """A store whose pool is one connection, so that every transaction follows on another owner's."""
    store = PostgresStore(PostgresOptions(ground.urls.server_url, pool_size=1, lock_timeout_s=60.0), exact_rows=0)
    for number in range(30):
        for owner in OWNERS:
            with store.begin(worker_for(owner.user_id), write=True) as tx:
                mine = ground.victim if owner is VICTIM else ground.stranger
                contents.write_page(tx, mine.document_id, 1, page(number + 1, f"of {owner.user_id}"))
    yield store
    store.close()


def own_documents(store: Store, owner: Actor) -> set[str]:
    """The owners of all rows that a statement without a condition returns."""
    with store.begin(owner) as tx:
        return {str(row[0]) for row in tx.connection.execute(text("SELECT user_id FROM documents_metadata"))}


def read_all(store: Store, owner: Actor) -> None:
    assert own_documents(store, owner) == {owner.user_id}


def roll_back(store: Store, owner: Actor) -> None:
    with pytest.raises(RuntimeError), store.begin(owner, write=True) as tx:  # noqa: PT012
        tx.connection.execute(text("UPDATE documents_metadata SET title = 'x'"))
        raise RuntimeError("the power went")


def fail_first(store: Store, owner: Actor) -> None:
    with pytest.raises(DBAPIError), store.begin(owner, write=True) as tx:
        tx.connection.execute(text("SELECT 1 / 0"))


def fail_then_go_on(store: Store, owner: Actor) -> None:
    with pytest.raises(DBAPIError), store.begin(owner) as tx:  # noqa: PT012
        with pytest.raises(DBAPIError):
            tx.connection.execute(text("SELECT no_such_column FROM documents_metadata"))
        tx.connection.execute(text("SELECT user_id FROM documents_metadata"))


def time_out(store: Store, owner: Actor) -> None:
    with pytest.raises(StoreBusy), store.begin(owner) as tx:  # noqa: PT012
        tx.connection.execute(text("SELECT set_config('statement_timeout', '5ms', true), pg_sleep(0)"))
        tx.connection.execute(text("SELECT pg_sleep(5)"))


def cancel_oneself(store: Store, owner: Actor) -> None:
    with pytest.raises(StoreBusy), store.begin(owner) as tx:  # noqa: PT012
        tx.connection.execute(text("RESET ROLE"))
        tx.connection.execute(text("SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(5)"))


def end_the_session(store: Store, owner: Actor) -> None:
    with pytest.raises(StoreUnavailable), store.begin(owner) as tx:  # noqa: PT012
        tx.connection.execute(text("RESET ROLE"))
        tx.connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(5)"))


def lose_the_connection(store: Store, owner: Actor) -> None:
    with pytest.raises((StoreUnavailable, DBAPIError)), store.begin(owner) as tx:  # noqa: PT012
        driver = tx.connection.connection.driver_connection
        assert driver is not None
        driver.close()
        tx.connection.execute(text("SELECT 1"))


def read_half(store: Store, owner: Actor) -> None:
    with store.begin(owner) as tx:
        mine = tx.connection.scalars(text("SELECT document_id::text FROM document_pages LIMIT 1")).one()
        pages = contents.read_pages(tx, mine)
        assert owner.user_id in next(pages).text


def read_half_and_fail(store: Store, owner: Actor) -> None:
    with pytest.raises(RuntimeError), store.begin(owner) as tx:  # noqa: PT012
        mine = tx.connection.scalars(text("SELECT document_id::text FROM document_pages LIMIT 1")).one()
        next(contents.read_pages(tx, mine))
        raise RuntimeError("the client went away")


def leave_settings(store: Store, owner: Actor) -> None:
    with store.begin(owner) as tx:
        tx.connection.execute(text("SET LOCAL search_path = pg_catalog"))
        tx.connection.execute(text("SELECT set_config('hnsw.ef_search', '7', true)"))


def drop_the_role(store: Store, owner: Actor) -> None:
    with pytest.raises(DBAPIError, match="permission denied"), store.begin(owner) as tx:  # noqa: PT012
        tx.connection.execute(text("RESET ROLE"))
        tx.connection.execute(text("SELECT user_id FROM documents_metadata"))


def search(store: Store, owner: Actor) -> None:
    hits = store.search_vectors(owner, unit(1), space="test-space@1", kind="text", k=9, only=EVERYTHING).hits
    found = own_documents_of(store, owner, [hit.document_id for hit in hits])
    assert found == len({hit.document_id for hit in hits}) > 0
    assert len(store.search_keywords(owner, "victim stranger passage", k=9, only=EVERYTHING)) == len(hits)


def write(store: Store, owner: Actor) -> None:
    with store.begin(owner, write=True) as tx:
        changed = tx.connection.execute(text("UPDATE documents_metadata SET author = 'a' RETURNING user_id"))
        assert {str(row[0]) for row in changed} == {owner.user_id}


def serve(store: Store, owner: Actor) -> None:
    for actor in (SERVICE_ACTOR, worker_for(owner.user_id)):
        with store.begin(actor) as tx:
            assert len(set(tx.connection.scalars(text("SELECT user_id FROM documents_metadata")))) == 2


def own_documents_of(store: Store, owner: Actor, ids: list[str]) -> int:
    with store.begin(owner) as tx:
        return len(documents.get_many(tx, ids))


CALM = (
    *(read_all, roll_back, fail_first, fail_then_go_on, read_half, read_half_and_fail, leave_settings),
    *(drop_the_role, search, write, serve),
)
ROUGH = (time_out, cancel_oneself, end_the_session, lose_the_connection)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(steps=st.lists(st.tuples(st.sampled_from(CALM + ROUGH), st.sampled_from(OWNERS)), min_size=10, max_size=25))
def test_one_connection_in_any_order_of_owners_and_endings_shows_own_rows_only(
    narrow: PostgresStore, steps: list[tuple[Any, Actor]]
) -> None:
    for step, owner in steps:
        step(narrow, owner)
        other = VICTIM if owner is STRANGER else STRANGER
        read_all(narrow, other)


def test_two_owners_in_several_threads_on_one_connection_never_meet(narrow: PostgresStore) -> None:
    crossed: list[str] = []
    rounds = 0

    def work(owner: Actor, seed: int) -> None:
        nonlocal rounds
        try:
            for number in range(250):
                steps = CALM if number % 25 else ROUGH
                steps[(number + seed) % len(steps)](narrow, owner)
                read_all(narrow, owner)
                rounds += 1
        except BaseException as error:
            crossed.append(repr(error))
            raise

    threads = [threading.Thread(target=work, args=(OWNERS[number % 2], 3 * number)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert crossed == []
    assert rounds >= 990


@pytest.mark.parametrize("step", CALM + ROUGH)
def test_nothing_of_a_transaction_stays_on_its_connection(ground: Ground, narrow: PostgresStore, step: Any) -> None:
    step(narrow, VICTIM)
    with narrow.begin(STRANGER) as tx:
        driver = tx.connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    with psycopg.connect(ground.urls.server_url) as fresh:
        assert _settings(driver) == _settings(fresh)
    for table in ("documents_metadata", "document_embeddings", "jobs", "users", "api_keys"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            driver.execute(f"SELECT FROM public.{table}")
        driver.rollback()


def _settings(connection: psycopg.Connection[tuple[Any, ...]]) -> dict[str, str]:
    """What the session has where nothing was set, with an empty text for what was never heard of."""
    found = {}
    for name in OWN_SETTINGS:
        row = connection.execute("SELECT current_setting(%s, true)", [name]).fetchone()
        assert row is not None
        found[name] = row[0] or _DEFAULTS.get(name, "")
    connection.rollback()
    return found


_DEFAULTS = {"hnsw.ef_search": "40", "hnsw.iterative_scan": "off"}
"""Of pgvector, which a session loads when it first needs it. Source: pgvector README, "Query Options"."""


def test_a_claim_left_in_a_session_by_somebody_else_counts_for_nothing(ground: Ground) -> None:
    store = PostgresStore(PostgresOptions(ground.urls.server_url, pool_size=1))
    try:
        with store.begin(VICTIM) as tx:
            driver = tx.connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        driver.execute("SELECT set_config('request.jwt.claim.sub', %s, false)", [VICTIM.user_id])
        driver.execute("SELECT set_config('request.jwt.claims', %s, false)", [f'{{"sub": "{VICTIM.user_id}"}}'])
        driver.commit()
        assert own_documents(store, STRANGER) == {STRANGER.user_id}
        assert own_documents(store, Actor("nobody")) == set()
    finally:
        store.close()


def test_the_server_does_not_start_with_a_role_that_has_rights(postgres: DatabaseUrls, tmp_path: Path) -> None:
    kinds = {
        "is a superuser": "SUPERUSER NOINHERIT",
        "passes row level security": "BYPASSRLS NOINHERIT",
        "inherits other roles": "INHERIT IN ROLE authenticated",
        "has rights on tables": "NOINHERIT",
    }
    host = postgres.server_url.rpartition("@")[2]
    with psycopg.connect(postgres.admin_url, autocommit=True) as admin:
        for number, (fault, rights) in enumerate(kinds.items()):
            role = f"tests_login_{number}"
            admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'tests' {rights}")
            try:
                admin.execute(f"GRANT anon, authenticated, service_role TO {role} WITH INHERIT FALSE")
                if fault == "has rights on tables":
                    admin.execute(f"GRANT SELECT (title) ON documents_metadata TO {role}")
                given = Settings(
                    data_dir=tmp_path / role,
                    text_model="hash",
                    database_url=SecretStr(f"postgresql://{role}:tests@{host}"),
                    fallback=False,
                )
                with pytest.raises(CapabilityMissing, match=fault) as refused:
                    open_configured_store(given)
                assert refused.value.code == "database_role_unsafe"
                assert "tests@" not in refused.value.detail
            finally:
                admin.execute(f"DROP OWNED BY {role}")
                admin.execute(f"DROP ROLE {role}")


def test_the_role_of_the_migrations_is_let_in(postgres: DatabaseUrls) -> None:
    store = PostgresStore(PostgresOptions(postgres.server_url))
    store.check_login()
    store.close()


DRIVERS = {"psycopg", "sqlite3"}
MAKES_CONNECTIONS = {"create_engine", "connect", "begin_nested", "raw_connection", "get_dialect", "engine_from_config"}


def test_only_the_store_makes_connections() -> None:
    """`store.begin(actor)` is the only way to one: nobody else imports a driver or asks an engine for a connection."""
    outside: set[str] = set()
    for folder in ("api", "cli", "services", "database"):
        for path in (ROOT / folder).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            if name.startswith(("database/postgres/", "database/sqlite/")):
                continue
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if _imported(node) & DRIVERS or (_from_sqlalchemy(node) & MAKES_CONNECTIONS) or _asks_engine(node):
                    outside.add(name)
    assert outside == CONNECTS_BY_ITSELF


CONNECTS_BY_ITSELF = {
    "database/copying/copying.py",
    "database/copying/writing.py",
    "database/migrations.py",
    "services/admin/doctor.py",
    "services/admin/copy_database.py",
}
"""Modules outside of the two stores that need a connection of their own, none of which serves a request."""


def _imported(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.module:
        return {node.module.split(".")[0]}
    return set()


def _from_sqlalchemy(node: ast.AST) -> set[str]:
    is_import = isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sqlalchemy")
    return {alias.name for alias in node.names} if is_import and isinstance(node, ast.ImportFrom) else set()


def _asks_engine(node: ast.AST) -> bool:
    if not isinstance(node, ast.Attribute):
        return False
    return node.attr == "driver_connection" or ast.unparse(node).endswith("connection.engine")
