"""Migrations on Postgres: applied once and whole, readable by the server's role, and in step with the tables."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from database import schema
from database.documents import documents
from database.errors import MigrationError, StoreUnavailable
from database.migrations import read_migrations
from database.postgres import migrations
from database.postgres.engine import PostgresOptions
from database.postgres.install import find_install
from database.postgres.statements import same_statements, split_statements
from database.postgres.store import PostgresStore
from database.records import LOCAL_ACTOR, LOCAL_USER_ID, DocumentFilter
from tests.support.paths import ROOT
from tests.support.postgres_server import DatabaseUrls, PostgresServer, rows
from tests.support.store_cases import add_document, prepare, unit

OURS = migrations.migrations_folder()
UPGRADER = """
import sys
from pathlib import Path
from database.postgres.migrations import upgrade
print(len(upgrade(sys.argv[1], server_url=sys.argv[2])))
"""


@pytest.fixture
def empty(postgres_server: PostgresServer) -> Iterator[DatabaseUrls]:
    """A database as Postgres makes it."""
    database = postgres_server.new_database(migrated=False)
    yield database
    postgres_server.drop(database)


def written(folder: Path, **files: str) -> Path:
    """A folder with these migrations, named by their number and what they do."""
    folder.mkdir(exist_ok=True)
    for name, sql in files.items():
        (folder / f"2026112100{name[1:5]}{name[5:]}.sql").write_text(sql, "utf-8")
    return folder


def recorded(url: str) -> list[tuple[Any, ...]]:
    return rows(url, "SELECT version, name, statements FROM supabase_migrations.schema_migrations ORDER BY version")


def test_each_migration_is_applied_once_and_kept_with_its_statements(empty: DatabaseUrls) -> None:
    known = read_migrations(OURS)
    assert migrations.upgrade(empty.admin_url, server_url=empty.server_url) == [m.version for m in known]
    assert migrations.upgrade(empty.admin_url, server_url=empty.server_url) == []
    assert recorded(empty.admin_url) == [(m.version, m.name, split_statements(m.sql)) for m in known]


def test_two_processes_upgrade_at_once_and_each_migration_runs_once(empty: DatabaseUrls) -> None:
    command = [sys.executable, "-c", UPGRADER, empty.admin_url, empty.server_url]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    counts = [int(process.communicate()[0]) for process in both]
    assert sum(counts) == len(read_migrations(OURS))


def test_the_role_of_the_server_logs_in_and_sees_what_is_applied(postgres: DatabaseUrls) -> None:
    states = migrations.status(postgres.server_url)
    assert [state.version for state in states] == [m.version for m in read_migrations(OURS)]
    assert all(state.applied_at == "" for state in states)
    assert migrations.status(postgres.admin_url) == states


def test_what_is_missing_is_named(postgres: DatabaseUrls, tmp_path: Path) -> None:
    for path in OURS.glob("*.sql"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "20990101000000_create_more.sql").write_text("create table public.more (n int);")
    states = migrations.status(postgres.server_url, folder=tmp_path)
    assert [(s.version, s.name) for s in states if s.applied_at is None] == [("20990101000000", "create_more")]


def test_a_failing_migration_leaves_nothing_and_says_where(empty: DatabaseUrls, tmp_path: Path) -> None:
    folder = written(
        tmp_path / "sql",
        m0001_create_one="create table public.one (n int);",
        m0002_create_two="create table public.two (n int);\n\n-- Why.\ncreate tabel public.three (n int);",
    )
    with pytest.raises(MigrationError) as caught:
        migrations.upgrade(empty.admin_url, folder=folder)
    said = str(caught.value)
    assert "20261121000002_create_two.sql fails at statement 2 (create tabel public.three (n int))" in said
    assert 'syntax error at or near "tabel"' in said
    tables = rows(empty.admin_url, "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace")
    assert tables == [("one",)]
    assert [row[0] for row in recorded(empty.admin_url)] == ["20261121000001"]


def test_a_migration_that_was_changed_after_it_was_applied_is_refused(empty: DatabaseUrls, tmp_path: Path) -> None:
    folder = written(tmp_path / "sql", m0001_create_one="create table public.one (n int);")
    migrations.upgrade(empty.admin_url, folder=folder)
    written(folder, m0001_create_one="create table public.one (n bigint);")
    for call in (migrations.upgrade, migrations.status):
        with pytest.raises(MigrationError, match="20261121000001_create_one was changed after it was applied"):
            call(empty.admin_url, folder=folder)


def test_line_ends_and_space_between_statements_are_no_change(empty: DatabaseUrls, tmp_path: Path) -> None:
    folder = written(tmp_path / "sql", m0001_create_one="create table public.one (n int);\nselect 1;\n")
    migrations.upgrade(empty.admin_url, folder=folder)
    (folder / "20261121000001_create_one.sql").write_bytes(b"create table public.one (n int);\r\n\r\n\r\nselect 1;")
    assert migrations.upgrade(empty.admin_url, folder=folder) == []


def test_a_database_of_a_newer_program_is_refused(empty: DatabaseUrls, tmp_path: Path) -> None:
    folder = written(tmp_path / "sql", m0001_create_one="select 1;", m0002_create_two="select 2;")
    migrations.upgrade(empty.admin_url, folder=folder)
    (folder / "20261121000002_create_two.sql").unlink()
    for call in (migrations.upgrade, migrations.status):
        with pytest.raises(MigrationError, match="20261121000002_create_two, which this program does not know"):
            call(empty.admin_url, folder=folder)


def test_what_a_migration_sets_for_its_session_does_not_reach_the_next(empty: DatabaseUrls, tmp_path: Path) -> None:
    folder = written(
        tmp_path / "sql",
        m0001_set_path="create schema aside; set search_path = aside; set statement_timeout = '1ms';",
        m0002_create_one="select pg_sleep(0.01); create table one (n int);",
    )
    migrations.upgrade(empty.admin_url, folder=folder)
    assert rows(empty.admin_url, "SELECT to_regclass('public.one') IS NOT NULL") == [(True,)]


def test_the_password_reaches_the_server_as_a_verifier_only(empty: DatabaseUrls) -> None:
    migrations.upgrade(empty.admin_url, server_url=empty.server_url)
    password = empty.server_url.split(":")[2].split("@")[0]
    [(kept,)] = rows(empty.admin_url, "SELECT rolpassword FROM pg_authid WHERE rolname = 'docatlas_server'")
    assert kept.startswith("SCRAM-SHA-256$")
    assert password not in kept


def test_the_url_of_another_role_opens_no_login(postgres: DatabaseUrls) -> None:
    before = rows(postgres.admin_url, "SELECT rolname, rolpassword FROM pg_authid ORDER BY 1")
    other = postgres.server_url.replace("docatlas_server:", "anon:")
    migrations.upgrade(postgres.admin_url, server_url=other)
    assert rows(postgres.admin_url, "SELECT rolname, rolpassword FROM pg_authid ORDER BY 1") == before


def test_a_server_that_does_not_answer_is_unavailable_not_broken() -> None:
    with pytest.raises(StoreUnavailable):
        migrations.status("postgresql://docatlas_server:x@127.0.0.1:1/postgres")


def test_the_role_of_the_server_has_no_rights_of_its_own(postgres: DatabaseUrls) -> None:
    [flags] = rows(
        postgres.admin_url,
        "SELECT rolcanlogin, rolinherit, rolsuper, rolbypassrls, rolcreatedb, rolcreaterole, rolreplication "
        "FROM pg_roles WHERE rolname = 'docatlas_server'",
    )
    assert flags == (True, False, False, False, False, False, False)
    member = rows(
        postgres.admin_url,
        "SELECT r.rolname::text, m.inherit_option, m.set_option, m.admin_option FROM pg_auth_members m "
        "JOIN pg_roles r ON r.oid = m.roleid WHERE m.member = 'docatlas_server'::regrole ORDER BY 1",
    )
    assert member == [(name, False, True, False) for name in ("anon", "authenticated", "service_role")]
    with psycopg.connect(postgres.server_url, autocommit=True) as connection:
        for table in schema.metadata.tables.values():
            if table.info == schema.ONLY_SQLITE:
                continue
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"SELECT 1 FROM public.{table.name}".encode())


@pytest.mark.parametrize(
    ("setting", "value", "function", "expected"),
    [
        ("request.jwt.claims", f'{{"sub": "{LOCAL_USER_ID}"}}', "uid", LOCAL_USER_ID),
        ("request.jwt.claim.sub", LOCAL_USER_ID, "uid", LOCAL_USER_ID),
        ("request.jwt.claims", "", "uid", None),
        ("request.jwt.claims", "{}", "uid", None),
        ("request.jwt.claims", '{"role": "authenticated"}', "role", "authenticated"),
        ("request.jwt.claims", '{"email": "a@b.c"}', "email", "a@b.c"),
        ("request.jwt.claims", '{"aal": "aal1"}', "jwt", {"aal": "aal1"}),
    ],
)  # fmt: skip
def test_who_asks_is_read_as_supabase_reads_it(
    postgres: DatabaseUrls, setting: str, value: str, function: str, expected: object
) -> None:
    with psycopg.connect(postgres.admin_url) as connection:
        connection.execute("SET LOCAL ROLE authenticated")
        connection.execute("SELECT set_config(%s, %s, true)", (setting, value))
        row = connection.execute(f"SELECT auth.{function}()".encode()).fetchone()
    assert row is not None
    assert (row[0] if row[0] is None or isinstance(row[0], dict) else str(row[0])) == expected


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("select 1; select 2;", ["select 1", "select 2"]),
        ("select ';'; select \"a;b\"", ["select ';'", 'select "a;b"']),
        ("select 'it''s;'; x", ["select 'it''s;'", "x"]),
        ("do $$ begin a; b; end $$; c", ["do $$ begin a; b; end $$", "c"]),
        ("do $x$ $$ ; $$ $x$; c", ["do $x$ $$ ; $$ $x$", "c"]),
        ("-- one; two\nselect 1;\n-- last", ["-- one; two\nselect 1", "-- last"]),
        ("/* a; /* b; */ c; */ select 1; d", ["/* a; /* b; */ c; */ select 1", "d"]),
        ("create rule r as do (a; b); c", ["create rule r as do (a; b)", "c"]),
        (
            "create function f() returns int begin atomic select 1; select case 1 when 1 then 2 end; end; c",
            ["create function f() returns int begin atomic select 1; select case 1 when 1 then 2 end; end", "c"],
        ),
        (";;  ;\n", []),
    ],
)
def test_scripts_are_cut_into_statements(script: str, expected: list[str]) -> None:
    assert split_statements(script) == expected


def test_statements_are_the_same_whatever_cut_them() -> None:
    assert same_statements(["select 1;\n\n select 2"], ["select 1", "select 2"])
    assert not same_statements(["select 1", "select 2"], ["select 1", "select 3"])
    assert not same_statements(["select 'a b'"], ["select 'ab'"])


def test_a_dump_is_restored_as_the_operators_manual_says(
    postgres: DatabaseUrls, empty: DatabaseUrls, tmp_path: Path
) -> None:
    store = PostgresStore(PostgresOptions(postgres.server_url), admin_url=postgres.admin_url)
    prepare(store)
    document, chunks = add_document(store, "heron", [unit(1)])
    store.close()
    programs, dump = find_install().bin, tmp_path / "docatlas.dump"
    schemas = ["--schema=public", "--schema=supabase_migrations"]
    subprocess.run(
        [str(programs / "pg_dump"), "--format=custom", f"--file={dump}", postgres.admin_url, *schemas], check=True
    )
    migrations.upgrade(empty.admin_url, server_url=empty.server_url)
    with psycopg.connect(empty.admin_url) as connection:
        connection.execute("truncate public.users cascade")
    restore = [str(programs / "pg_restore"), "--data-only", "--disable-triggers", "--schema=public", "--exit-on-error"]
    subprocess.run([*restore, f"--dbname={empty.admin_url}", str(dump)], check=True)
    restored = PostgresStore(PostgresOptions(empty.server_url))
    found = restored.search_keywords(LOCAL_ACTOR, "heron", k=5, only=DocumentFilter())
    assert len(found) == len(chunks)
    with restored.begin(LOCAL_ACTOR) as tx:
        kept = documents.get(tx, document)
    restored.close()
    assert kept is not None
    assert all(state.applied_at is not None for state in migrations.status(empty.server_url))
