"""The store behind a real PgBouncer in transaction mode, where each transaction may get another session.

What every store promises (the mark `store_contract`) runs through one too: see `pytest_generate_tests` in conftest.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from database.postgres import migrations
from database.postgres.engine import PostgresOptions
from database.postgres.store import PostgresStore
from database.records import LOCAL_ACTOR, Actor
from database.store import Store
from tests.support.pgbouncer import pgbouncer_program, pooler
from tests.support.postgres_server import DatabaseUrls, PostgresServer
from tests.support.store_cases import OTHER_ACTOR, prepare, submit
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def through_one(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], str]]:
    """The same with a single connection, which everybody gets in turn."""
    with pooler(postgres_server.embedded.server_url, folder=tmp_path_factory.mktemp("pooler")) as turned:
        yield turned


@pytest.fixture
def single(postgres: DatabaseUrls, through_one: Callable[[str], str]) -> Iterator[Store]:
    """A store whose every transaction runs in one session of the server's."""
    opened = PostgresStore(PostgresOptions(through_one(postgres.server_url)), admin_url=postgres.admin_url)
    prepare(opened)
    yield opened
    opened.close()


def seen(store: Store, actor: Actor) -> set[str]:
    """Ids of the documents that a statement without any condition finds."""
    with store.begin(actor) as tx:
        return {str(row[0]) for row in tx.connection.execute(text("SELECT document_id FROM documents_metadata"))}


def sessions(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'docatlas_server'"
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_two_owners_in_turn_on_one_session_see_their_own_rows_only(single: Store, postgres: DatabaseUrls) -> None:
    owners = (LOCAL_ACTOR, OTHER_ACTOR)
    mine = {owner: {submit(single, actor=owner).document.document_id} for owner in owners}
    for _ in range(5):
        for owner in owners:
            assert seen(single, owner) == mine[owner]
    assert sessions(postgres.admin_url) == 1


def test_nothing_of_a_transaction_is_left_for_the_next_client(
    single: Store, postgres: DatabaseUrls, through_one: Callable[[str], str]
) -> None:
    submit(single)
    with pytest.raises(RuntimeError), single.begin(LOCAL_ACTOR, write=True) as tx:  # noqa: PT012
        tx.connection.execute(text("UPDATE documents_metadata SET title = 'never'"))
        raise RuntimeError("the request was cancelled")
    with psycopg.connect(through_one(postgres.server_url), autocommit=True, prepare_threshold=None) as stranger:
        row = stranger.execute(
            "SELECT current_user::text, session_user::text, coalesce(current_setting('request.jwt.claims', true), ''), "
            "current_setting('statement_timeout'), (SELECT count(*) FROM pg_prepared_statements), "
            "(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())"
        ).fetchone()
        assert row == ("docatlas_server", "docatlas_server", "", "0", 0, 0)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            stranger.execute("SELECT document_id FROM public.documents_metadata")


def test_many_threads_share_one_session_and_no_row_crosses(single: Store, postgres: DatabaseUrls) -> None:
    owners = (LOCAL_ACTOR, OTHER_ACTOR)
    mine = {owner.user_id: submit(single, actor=owner).document.document_id for owner in owners}
    wrong: list[set[str]] = []
    failed: list[BaseException] = []

    def look(owner: Actor) -> None:
        try:
            for number in range(15):
                found = seen(single, owner)
                if found != {mine[owner.user_id]}:
                    wrong.append(found)
                if number % 5 == 0:
                    with single.begin(owner, write=True) as tx:
                        tx.connection.execute(text("UPDATE documents_metadata SET title = title"))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=look, args=(owner,)) for owner in owners * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert wrong == []
    assert sessions(postgres.admin_url) == 1


def test_migrations_can_be_run_and_read_through_the_pooler(postgres_server: PostgresServer, tmp_path: Path) -> None:
    database = postgres_server.new_database(migrated=False)
    try:
        with pooler(database.admin_url, folder=tmp_path / "pooler") as turned:
            assert migrations.upgrade(turned(database.admin_url)) != []
            assert migrations.upgrade(turned(database.admin_url)) == []
            assert all(state.applied_at is not None for state in migrations.status(turned(database.admin_url)))
    finally:
        postgres_server.drop(database)


def test_a_connection_that_the_pooler_cut_is_replaced(single: Store, postgres: DatabaseUrls) -> None:
    document = submit(single).document.document_id
    with psycopg.connect(postgres.admin_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND usename = 'docatlas_server'"
        )
    wait_for(lambda: sessions(postgres.admin_url) == 0)
    assert seen(single, LOCAL_ACTOR) == {document}


def test_the_pooler_comes_from_packages_without_being_installed(tmp_path: Path) -> None:
    program, environment = pgbouncer_program(tmp_path)
    shown = subprocess.run([str(program), "--version"], env=environment, capture_output=True, text=True)
    assert shown.stdout.startswith("PgBouncer")
