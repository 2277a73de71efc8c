"""The Supabase command line and `docatlas db upgrade` on the same database: either goes on from the other."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from database.migrations import read_migrations
from database.postgres import migrations
from tests.support.paths import ROOT
from tests.support.postgres_server import DatabaseUrls, PostgresServer, open_server
from tests.support.supabase_cli import run_supabase, supabase_program

OURS = ROOT / "supabase"
VERSIONS = [m.version for m in read_migrations(OURS / "migrations")]


@pytest.fixture(scope="module")
def program() -> Path:
    return supabase_program()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project's `supabase` folder, in which the program may leave what it likes."""
    shutil.copytree(OURS, tmp_path / "project" / "supabase", ignore=shutil.ignore_patterns(".temp"))
    return tmp_path / "project"


@pytest.fixture(scope="module")
def supabase_like() -> Iterator[PostgresServer]:
    """A server of its own, on which `project_admin` has the rights of Supabase's `postgres`, and no others.

    Source: supabase/postgres, migrations/db: 00000000000000-initial-schema.sql, 10000000000000_demote-postgres.sql and
    20250605172253_grant_with_admin_to_postgres_16_and_above.sql.
    """
    with open_server() as server:
        execute(
            server.embedded.admin_url,
            "CREATE ROLE anon NOLOGIN NOINHERIT",
            "CREATE ROLE authenticated NOLOGIN NOINHERIT",
            "CREATE ROLE service_role NOLOGIN NOINHERIT BYPASSRLS",
            "CREATE ROLE project_admin LOGIN NOSUPERUSER CREATEDB CREATEROLE REPLICATION BYPASSRLS PASSWORD 'secret'",
            "GRANT anon, authenticated, service_role TO project_admin WITH ADMIN OPTION",
        )
        yield server


@pytest.fixture
def hosted(supabase_like: PostgresServer) -> Iterator[DatabaseUrls]:
    """A database as Supabase hands it over: `auth` and `extensions` are somebody else's, new tables open to its API."""
    made = supabase_like.new_database(migrated=False)
    api = "anon, authenticated, service_role"
    execute(
        made.admin_url,
        f"GRANT ALL ON DATABASE {made.name} TO project_admin",
        "GRANT ALL ON SCHEMA public TO project_admin WITH GRANT OPTION",
        f"GRANT USAGE ON SCHEMA public TO {api}",
        "CREATE SCHEMA extensions",
        "GRANT ALL ON SCHEMA extensions TO project_admin WITH GRANT OPTION",
        f"GRANT USAGE ON SCHEMA extensions TO {api}",
        # Supabase lets its administrator create these; the one here could not (supautils, `privileged_extensions`).
        "CREATE EXTENSION vector SCHEMA extensions",
        "CREATE EXTENSION unaccent SCHEMA extensions",
        # The program's own copy of what is in Supabase's `auth`, here made by somebody else than the administrator.
        (ROOT / "database" / "postgres" / "bootstrap.sql").read_text(),
        f"GRANT USAGE ON SCHEMA auth TO project_admin, {api}",
        "CREATE TABLE auth.users (id uuid PRIMARY KEY, email text, raw_user_meta_data jsonb)",
        "GRANT ALL ON auth.users TO project_admin",
        *(
            f"ALTER DEFAULT PRIVILEGES FOR ROLE project_admin IN SCHEMA public GRANT ALL ON {kind} TO {api}"
            for kind in ("TABLES", "FUNCTIONS", "SEQUENCES")
        ),
        "ALTER ROLE project_admin SET search_path = '$user', public, extensions",
    )
    place = made.admin_url.split("@")[1]
    yield DatabaseUrls(f"postgresql://project_admin:secret@{place}", made.server_url, made.name)
    supabase_like.drop(made)


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def rows(url: str, question: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(question.encode()).fetchall()


def history(url: str) -> list[tuple[Any, ...]]:
    return rows(url, "SELECT version, name, statements FROM supabase_migrations.schema_migrations ORDER BY version")


def push(program: Path, project: Path, database: DatabaseUrls, *more: str) -> str:
    """What `supabase db push` printed."""
    done = run_supabase(
        program, project, project, "db", "push", "--db-url", f"{database.admin_url}?sslmode=disable", "--yes", *more
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def keep_first(project: Path, count: int) -> None:
    """Takes all but the first migrations out of the project."""
    for path in sorted((project / "supabase" / "migrations").glob("*.sql"))[count:]:
        path.unlink()


def test_what_the_command_line_pushed_needs_no_upgrade(program: Path, project: Path, hosted: DatabaseUrls) -> None:
    assert VERSIONS[-1] in push(program, project, hosted)
    pushed = history(hosted.admin_url)
    assert migrations.upgrade(hosted.admin_url, server_url=hosted.server_url) == []
    assert history(hosted.admin_url) == pushed
    assert all(state.applied_at is not None for state in migrations.status(hosted.server_url))


def test_what_was_upgraded_needs_no_push(program: Path, project: Path, hosted: DatabaseUrls) -> None:
    assert migrations.upgrade(hosted.admin_url, server_url=hosted.server_url) == VERSIONS
    upgraded = history(hosted.admin_url)
    assert "up to date" in push(program, project, hosted).lower()
    assert history(hosted.admin_url) == upgraded


def test_both_leave_the_same_history_and_the_same_bookkeeping(
    program: Path, project: Path, hosted: DatabaseUrls, postgres: DatabaseUrls
) -> None:
    push(program, project, hosted)
    columns = (
        "SELECT column_name, data_type, is_nullable, column_default FROM information_schema.columns "
        "WHERE table_schema = 'supabase_migrations' AND table_name = 'schema_migrations' ORDER BY ordinal_position"
    )
    assert rows(hosted.admin_url, columns) == rows(postgres.admin_url, columns)
    assert history(hosted.admin_url) == history(postgres.admin_url)


@pytest.mark.parametrize("half", [1, len(VERSIONS) // 2])
def test_each_goes_on_from_where_the_other_stopped(
    program: Path, project: Path, hosted: DatabaseUrls, half: int
) -> None:
    whole = shutil.copytree(project, project.with_name("whole"))
    keep_first(project, half)
    push(program, project, hosted)
    middle = half + 2
    keep_first(whole, middle)
    assert migrations.upgrade(hosted.admin_url, folder=whole / "supabase" / "migrations") == VERSIONS[half:middle]
    rest = project.with_name("rest")
    shutil.copytree(OURS, rest / "supabase", ignore=shutil.ignore_patterns(".temp"))
    push(program, rest, hosted)
    assert [version for version, _, _ in history(hosted.admin_url)] == VERSIONS
    assert migrations.upgrade(hosted.admin_url) == []


def test_the_list_shows_what_is_applied_and_what_is_not(program: Path, project: Path, hosted: DatabaseUrls) -> None:
    keep_first(project, 2)
    migrations.upgrade(hosted.admin_url, folder=project / "supabase" / "migrations")
    whole = project.with_name("whole")
    shutil.copytree(OURS, whole / "supabase", ignore=shutil.ignore_patterns(".temp"))
    listed = run_supabase(program, whole, whole, "migration", "list", "--db-url", f"{hosted.admin_url}?sslmode=disable")
    assert listed.returncode == 0, listed.stderr
    shown = [line.split("|")[:3] for line in listed.stdout.splitlines() if VERSIONS[0][:8] in line]
    local_and_remote = [[cell.strip(" `│") for cell in cells] for cells in shown]
    assert [cells[:2] for cells in local_and_remote] == [
        [version, version if version in VERSIONS[:2] else ""] for version in VERSIONS
    ]


def test_the_seed_is_taken_and_may_be_run_again(program: Path, project: Path, hosted: DatabaseUrls) -> None:
    push(program, project, hosted, "--include-seed")
    users = rows(hosted.admin_url, "SELECT user_id::text, display_name FROM public.users")
    assert users == [("00000000-0000-7000-8000-000000000001", "local")]
    execute(hosted.admin_url, (OURS / "seed.sql").read_text())
    assert rows(hosted.admin_url, "SELECT user_id::text, display_name FROM public.users") == users


def test_the_interface_of_supabase_gets_no_table_that_was_not_granted(hosted: DatabaseUrls) -> None:
    """Supabase opens every new table to its API: the migrations take that away again."""
    migrations.upgrade(hosted.admin_url, server_url=hosted.server_url)
    open_to = rows(
        hosted.admin_url,
        "SELECT DISTINCT grantee::text, table_name::text FROM information_schema.role_table_grants "
        "WHERE table_schema = 'public' AND (grantee = 'anon' OR (grantee = 'authenticated' "
        "AND privilege_type IN ('TRUNCATE', 'TRIGGER', 'REFERENCES')))",
    )
    assert open_to == []
    functions = rows(
        hosted.admin_url,
        "SELECT p.proname::text FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace "
        # An immutable one reads no rows.
        "AND p.provolatile <> 'i' AND has_function_privilege('anon', p.oid, 'EXECUTE')",
    )
    assert functions == []


def test_an_administrator_without_superuser_rights_opens_the_login(hosted: DatabaseUrls) -> None:
    migrations.upgrade(hosted.admin_url, server_url=hosted.server_url)
    with psycopg.connect(hosted.server_url) as connection:
        connection.execute("SELECT set_config('role', 'service_role', true)")
        assert connection.execute("SELECT count(*) FROM public.users").fetchone() == (1,)


def test_a_user_of_supabase_becomes_an_owner_and_takes_everything_along(hosted: DatabaseUrls) -> None:
    migrations.upgrade(hosted.admin_url, server_url=hosted.server_url)
    user = "0190a1b2-0000-7000-8000-00000000abcd"
    insert = sql.SQL("INSERT INTO auth.users (id, raw_user_meta_data) VALUES ({}, {})")
    with psycopg.connect(hosted.admin_url) as connection:
        connection.execute(insert.format(user, '{"display_name": "Ada"}'))
        connection.commit()
        shown = connection.execute("SELECT display_name FROM public.users WHERE user_id = %s", (user,)).fetchall()
        assert shown == [("Ada",)]
        connection.execute("DELETE FROM auth.users WHERE id = %s", (user,))
        connection.commit()
        assert connection.execute("SELECT count(*) FROM public.users WHERE user_id = %s", (user,)).fetchone() == (0,)


def test_the_project_settings_are_of_this_project() -> None:
    settings = tomllib.loads((OURS / "config.toml").read_text())
    assert settings["project_id"] == "docatlas"
    assert settings["db"]["pooler"]["pool_mode"] == "transaction"
    assert settings["db"]["seed"]["sql_paths"] == ["./seed.sql"]


def test_a_mistake_in_the_project_settings_would_be_noticed(program: Path, project: Path, hosted: DatabaseUrls) -> None:
    config = project / "supabase" / "config.toml"
    config.write_text(config.read_text().replace("major_version = 17", 'major_version = "seventeen"'))
    done = run_supabase(
        program, project, project, "db", "push", "--db-url", f"{hosted.admin_url}?sslmode=disable", "--yes"
    )
    assert done.returncode != 0
