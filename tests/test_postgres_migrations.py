"""Migrations on Postgres: applied once and whole, readable by the server's role, and in step with the tables."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import ForeignKeyConstraint, MetaData, Table, UniqueConstraint
from sqlalchemy.dialects import postgresql

from database import account_tables, documents, schema
from database.errors import MigrationError, StoreUnavailable
from database.migrations import read_migrations
from database.postgres import migrations
from database.postgres.engine import PostgresOptions
from database.postgres.install import find_install
from database.postgres.statements import same_statements, split_statements
from database.postgres.store import PostgresStore
from database.records import LOCAL_ACTOR, LOCAL_USER_ID, DocumentFilter
from tests.conftest import ROOT
from tests.postgres_server import DatabaseUrls, PostgresServer
from tests.store_cases import add_document, prepare, unit

OURS = migrations.migrations_folder()
WITHOUT_OWNER = {"users", "blocked_users", "write_probes"}
"""Tables whose rows do not go with a user: the users themselves, who is kept out after having been deleted, and what
only shows whether the database takes writes."""
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


def rows(url: str, question: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(question.encode(), values).fetchall()


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
    migrations.require_current(postgres.server_url)


def test_what_is_missing_is_named_with_the_command(postgres: DatabaseUrls, tmp_path: Path) -> None:
    for path in OURS.glob("*.sql"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "20990101000000_create_more.sql").write_text("create table public.more (n int);")
    assert migrations.status(postgres.server_url, folder=tmp_path)[-1].applied_at is None
    with pytest.raises(MigrationError, match=r"lacks 1 migrations, from 20990101.*`docatlas db upgrade`"):
        migrations.require_current(postgres.server_url, folder=tmp_path)


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


# The tables and the catalog of a migrated server.


def tables() -> list[Table]:
    assert account_tables.accounts.metadata is schema.metadata
    return [table for table in schema.metadata.tables.values() if table.info != schema.ONLY_SQLITE]


def differences(url: str, metadata: MetaData) -> list[str]:
    """What the tables say otherwise than the server; empty when both describe the same schema."""
    wanted = {name: table for name, table in metadata.tables.items() if table.info != schema.ONLY_SQLITE}
    found = {
        name
        for (name,) in rows(
            url,
            "SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace",
        )
    }
    said = [f"{name} is on one side only" for name in found ^ set(wanted)]
    for name in sorted(found & set(wanted)):
        said += [f"{name}: {difference}" for difference in _table_differences(url, wanted[name])]
    return said


def _table_differences(url: str, table: Table) -> list[str]:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    words = {"FLOAT": "double precision"}
    ours = {
        column.name: (
            words.get(column.type.compile(dialect), column.type.compile(dialect).lower()),
            bool(column.nullable),
        )
        for column in table.columns
    }
    theirs = {
        name: (kind.removeprefix("extensions."), not required)
        for name, kind, required, generated in rows(
            url,
            "SELECT attname::text, format_type(atttypid, atttypmod), attnotnull, attgenerated <> '' FROM pg_attribute "
            "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
            f"public.{table.name}",
        )
        # What the server makes of other columns, for its own use.
        if not (generated and name not in ours)
    }
    said = [
        f"{name} is {ours.get(name)} in the tables and {theirs.get(name)} on the server"
        for name in sorted(set(ours) | set(theirs))
        if ours.get(name) != theirs.get(name)
    ]
    declared: set[tuple[Any, ...]] = {("p", tuple(column.name for column in table.primary_key), "", (), " ")}
    if not table.primary_key:
        declared.clear()
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            declared.add(("u", tuple(column.name for column in constraint.columns), "", (), " "))
        elif isinstance(constraint, ForeignKeyConstraint):
            targets = tuple(element.column.name for element in constraint.elements)
            action = "c" if constraint.ondelete == "CASCADE" else "a"
            declared.add(("f", tuple(constraint.column_keys), constraint.referred_table.name, targets, action))
    made = {
        (kind, tuple(columns), target or "", tuple(targets or ()), action)
        for kind, columns, target, targets, action in rows(
            url,
            """
            SELECT c.contype::text,
                (SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest(c.conkey) WITH ORDINALITY k (number, n)
                 JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number),
                (SELECT relname::text FROM pg_class WHERE oid = c.confrelid),
                (SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest(c.confkey) WITH ORDINALITY k (number, n)
                 JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.number),
                c.confdeltype::text
            FROM pg_constraint c WHERE c.conrelid = %s::regclass AND c.contype IN ('p', 'u', 'f')
            """,
            f"public.{table.name}",
        )
    }
    return said + [f"constraint {constraint} is on one side only" for constraint in sorted(declared ^ made)]


def test_the_tables_describe_the_schema_that_the_migrations_make(postgres: DatabaseUrls) -> None:
    assert len(tables()) >= 10
    assert differences(postgres.admin_url, schema.metadata) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("ALTER TABLE public.jobs ADD COLUMN extra int", "jobs: extra"),
        ("ALTER TABLE public.jobs ALTER COLUMN pages_done TYPE bigint", "jobs: pages_done"),
        ("ALTER TABLE public.jobs ALTER COLUMN percent DROP NOT NULL", "jobs: percent"),
        ("ALTER TABLE public.document_embeddings ALTER COLUMN embedding TYPE extensions.vector", "embedding"),
        ("ALTER TABLE public.api_keys DROP CONSTRAINT api_keys_pkey", "'p', ('key_id',)"),
        (
            "ALTER TABLE public.similarity_searches DROP CONSTRAINT similarity_searches_user_id_fkey",
            "'f', ('user_id',)",
        ),
        ("CREATE TABLE public.stray (n int)", "stray is on one side only"),
        ("DROP TABLE public.similarity_searches", "similarity_searches is on one side only"),
    ],
)
def test_the_comparison_notices_a_change_on_the_server(postgres: DatabaseUrls, change: str, named: str) -> None:
    with psycopg.connect(postgres.admin_url) as connection:
        connection.execute(change.encode())
    found = differences(postgres.admin_url, schema.metadata)
    assert any(named in difference for difference in found), found


def test_every_table_is_guarded_and_described(postgres: DatabaseUrls) -> None:
    found = rows(
        postgres.admin_url,
        "SELECT relname::text, relrowsecurity, relforcerowsecurity, obj_description(oid, 'pg_class') FROM pg_class "
        "WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace",
    )
    assert {name for name, *_ in found} == {table.name for table in tables()}
    assert [name for name, enabled, forced, _ in found if not (enabled and forced)] == []
    assert [name for name, _, _, comment in found if not comment] == []


def test_every_foreign_key_has_an_index_that_its_check_can_use(postgres: DatabaseUrls) -> None:
    lacking = rows(
        postgres.admin_url,
        """
        SELECT c.conrelid::regclass::text, c.conname::text FROM pg_constraint c
        WHERE c.contype = 'f' AND c.connamespace = 'public'::regnamespace AND NOT EXISTS (
            SELECT FROM pg_index i WHERE i.indrelid = c.conrelid AND i.indisvalid
            -- The key's columns are the first ones of the index, in any order.
            AND (SELECT array_agg(k ORDER BY k) FROM unnest((i.indkey::int2[])[0:cardinality(c.conkey) - 1]) k)
                = (SELECT array_agg(k ORDER BY k) FROM unnest(c.conkey) k)
            AND (i.indpred IS NULL OR pg_get_expr(i.indpred, i.indrelid) ~ '^\\(\\w+ IS NOT NULL\\)$')
        )
        """,
    )
    # Those whose first column alone is nearly unique are served by an index on it.
    lacking = [
        (table, name)
        for table, name in lacking
        if not rows(
            postgres.admin_url,
            "SELECT FROM pg_index i, pg_constraint c WHERE c.conname = %s AND c.conrelid = %s::regclass "
            "AND i.indrelid = c.conrelid AND i.indkey[0] = c.conkey[1] AND i.indpred IS NULL AND i.indkey[0] <> "
            "(SELECT attnum FROM pg_attribute WHERE attrelid = c.conrelid AND attname = 'user_id')",
            name,
            table,
        )
    ]
    assert lacking == []


def test_no_row_can_outlive_its_owner_or_have_another_owner_than_its_document(postgres: DatabaseUrls) -> None:
    for table in tables():
        if table.name in WITHOUT_OWNER:
            continue
        assert not table.c.user_id.nullable
        keys = [key for key in table.foreign_key_constraints if "user_id" in key.column_keys]
        assert keys, f"{table.name} has rows that nothing takes along"
        assert all(key.ondelete == "CASCADE" for key in table.foreign_key_constraints)
    for table in tables():
        for key in table.foreign_key_constraints:
            if key.referred_table.name == "documents_metadata":
                assert "user_id" in key.column_keys, f"{table.name} may name another owner's document"


def test_indices_that_begin_with_the_owner_exist_where_owners_search(postgres: DatabaseUrls) -> None:
    led = {
        name
        for (name,) in rows(
            postgres.admin_url,
            "SELECT i.indrelid::regclass::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid "
            "AND a.attnum = i.indkey[0] WHERE a.attname = 'user_id'",
        )
    }
    assert {table.name for table in tables() if "user_id" in table.c} - led == set()


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
    migrations.require_current(empty.server_url)
