"""Runs the migrations in `supabase/migrations`.

The bookkeeping is the one of the Supabase command line. Either tool goes on from where the other stopped: the table
`supabase_migrations.schema_migrations` is made and filled as `supabase db push` does it. Source: supabase/cli,
apps/cli-go/pkg/migration (history.go, file.go, apply.go).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import unquote, urlsplit

import psycopg
from psycopg import sql

from database.errors import MigrationError
from database.migrations import Migration, read_migrations, unknown_version, was_changed
from database.postgres.errors import translated_error
from database.postgres.statements import same_statements, split_statements
from database.store import MigrationState

SERVER_ROLE = "docatlas_server"
_BOOTSTRAP = Path(__file__).with_name("bootstrap.sql")
_LOCK = 7_402_113
"""Key of the advisory lock that upgrades hold; any number that is ours."""
_LOCK_WAIT_S = 600
"""Another upgrade may build an index over many rows."""
_TABLE_LOCK_WAIT_S = 10
"""A migration that waits for a table makes everybody behind it wait too, so it gives up soon."""
_BOOKKEEPING = (
    "CREATE SCHEMA IF NOT EXISTS supabase_migrations",
    "CREATE TABLE IF NOT EXISTS supabase_migrations.schema_migrations (version text NOT NULL PRIMARY KEY)",
    "ALTER TABLE supabase_migrations.schema_migrations ADD COLUMN IF NOT EXISTS statements text[]",
    "ALTER TABLE supabase_migrations.schema_migrations ADD COLUMN IF NOT EXISTS name text",
)
_ROLE_TRIES = 20


@dataclass(frozen=True, slots=True)
class Connecting:
    """How a single connection is made, in libpq's words.

    What the URL itself says goes first.
    """

    sslmode: str | None = None
    sslrootcert: Path | None = None
    timeout_s: float = 5.0


def migrations_folder() -> Path:
    """Where the SQL files are.

    Beside the packages in a checkout, else where the wheel puts them. Raises MigrationError where there are none.
    """
    places = (
        Path(__file__).resolve().parents[2] / "supabase" / "migrations",
        Path(sys.prefix) / "share" / "docatlas" / "supabase" / "migrations",
    )
    for place in places:
        if place.is_dir():
            return place
    raise MigrationError(f"the migrations for Postgres are missing: there is no folder {places[-1]}; install anew")


def upgrade(
    admin_url: str,
    *,
    server_url: str | None = None,
    connecting: Connecting | None = None,
    folder: Path | None = None,
) -> Sequence[str]:
    """Applies what is missing, each file in a transaction of its own.

    Returns the versions applied, oldest first. `admin_url` is of a role that may create tables and roles. Where
    `server_url` is of the role docatlas_server, that role can log in with the URL's password afterwards. Several
    processes may call it at once. Raises MigrationError when an applied migration was changed, one is unknown here, or
    one fails (nothing of it stays); StoreUnavailable and StoreBusy.
    """
    migrations = read_migrations(folder or migrations_folder())
    done: list[str] = []
    with _connected(admin_url, connecting) as connection:
        with _locked(connection):
            _prepare(connection)
        for migration in migrations:
            with _locked(connection):
                if migration.version in check_applied(connection, migrations):
                    continue
                _apply(connection, migration)
            done.append(migration.version)
        with _locked(connection):
            check_applied(connection, migrations)
            if server_url is not None:
                _open_login(connection, server_url)
    return done


def status(url: str, *, connecting: Connecting | None = None, folder: Path | None = None) -> Sequence[MigrationState]:
    """Every known migration and whether it is applied, oldest first.

    The time is not kept: an empty text. `url` may be of the administrator's role or of the server's. Raises as
    `check_applied`, and StoreUnavailable.
    """
    migrations = read_migrations(folder or migrations_folder())
    with _connected(url, connecting) as connection, connection.transaction():
        _become_reader(connection)
        applied = check_applied(connection, migrations)
    return [MigrationState(m.version, m.name, "" if m.version in applied else None) for m in migrations]


def check_applied(connection: psycopg.Connection[tuple[object, ...]], migrations: Sequence[Migration]) -> set[str]:
    """The versions that are applied.

    Raises MigrationError when one was changed since, is unknown here, or may not be looked at.
    """
    if not _has_bookkeeping(connection):
        return set()
    known = {migration.version: migration for migration in migrations}
    try:
        rows = connection.execute(
            "SELECT version, coalesce(name, ''), statements FROM supabase_migrations.schema_migrations ORDER BY version"
        ).fetchall()
    except psycopg.errors.InsufficientPrivilege as error:
        raise MigrationError(
            "the role of DOCATLAS_DATABASE_URL may not see which migrations are applied: run `docatlas db upgrade` "
            "with DOCATLAS_DATABASE_ADMIN_URL, or `supabase db push`"
        ) from error
    applied: set[str] = set()
    for row in rows:
        version, name = cast(str, row[0]), cast(str, row[1])
        statements = cast("list[str] | None", row[2])
        if version not in known:
            raise unknown_version(version, name)
        # Without statements, `supabase migration repair` or an old version of that tool made the row.
        if statements and not same_statements(statements, split_statements(known[version].sql)):
            raise was_changed(version, known[version].name)
        applied.add(version)
    return applied


@contextmanager
def _connected(url: str, connecting: Connecting | None) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    how = connecting or Connecting()
    given = psycopg.conninfo.conninfo_to_dict(url)
    arguments: dict[str, str | int] = {"connect_timeout": max(2, round(how.timeout_s)), "application_name": "docatlas"}
    if how.sslmode is not None and "sslmode" not in given:
        arguments["sslmode"] = how.sslmode
    if how.sslrootcert is not None and "sslrootcert" not in given:
        arguments["sslrootcert"] = str(how.sslrootcert)
    try:
        with psycopg.connect(url, autocommit=True, prepare_threshold=None, **arguments) as connection:  # type: ignore[arg-type]
            yield connection
    except psycopg.Error as error:
        translated = translated_error(error, writes=True)
        if translated is None:
            raise
        raise translated from error


@contextmanager
def _locked(connection: psycopg.Connection[tuple[object, ...]]) -> Iterator[None]:
    """A transaction in which nobody else upgrades this database.

    The lock is the transaction's, not the session's, which a pooler may share out.
    """
    with connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_WAIT_S}s'")
        connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
        # Whatever an earlier file set for the session, as the Supabase command line does it.
        connection.execute("RESET ALL")
        connection.execute(f"SET LOCAL lock_timeout = '{_TABLE_LOCK_WAIT_S}s'")
        # Supabase gives its administrator two minutes, too few for an index over many vectors.
        connection.execute("SET LOCAL statement_timeout = 0")
        yield


def _prepare(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Makes the parts of Supabase that plain Postgres lacks, and the bookkeeping.

    Where they are missing.
    """
    has_auth = connection.execute("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'auth')").fetchone()
    if has_auth == (False,):
        _run(connection, _BOOTSTRAP.name, _BOOTSTRAP.read_text("utf-8"))
    # Asked first: even where nothing is to be made, IF NOT EXISTS wants the right to make it.
    if not _has_bookkeeping(connection):
        for statement in _BOOKKEEPING:
            connection.execute(statement.encode())


def _has_bookkeeping(connection: psycopg.Connection[tuple[object, ...]]) -> bool:
    found = connection.execute(
        "SELECT count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
        "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'supabase_migrations' "
        "AND c.relname = 'schema_migrations' AND a.attname IN ('version', 'name', 'statements')"
    ).fetchone()
    return found == (3,)


def _become_reader(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Takes the role that may see the bookkeeping.

    Where the session's own may see nothing.
    """
    row = connection.execute("SELECT session_user").fetchone()
    if row == (SERVER_ROLE,):
        connection.execute("SET LOCAL ROLE service_role")


def _apply(connection: psycopg.Connection[tuple[object, ...]], migration: Migration) -> None:
    file = f"{migration.version}_{migration.name}.sql"
    statements = _run(connection, file, migration.sql)
    connection.execute(
        "INSERT INTO supabase_migrations.schema_migrations (version, name, statements) VALUES (%s, %s, %s)",
        (migration.version, migration.name, statements),
    )


def _run(connection: psycopg.Connection[tuple[object, ...]], file: str, script: str) -> list[str]:
    """Runs a script.

    Returns its statements. Raises MigrationError that says which one failed, and why.
    """
    statements = split_statements(script)
    for number, statement in enumerate(statements, 1):
        try:
            connection.execute(statement.encode())
        except psycopg.Error as error:
            if translated_error(error, writes=True) is not None:
                raise
            first = next((line for line in statement.splitlines() if not line.lstrip().startswith("--")), statement)
            raise MigrationError(
                f"{file} fails at statement {number} ({first.strip()[:120]}): "
                f"{error.diag.message_primary or 'no reason given'}; nothing of the file was applied"
            ) from error
    return statements


def _open_login(connection: psycopg.Connection[tuple[object, ...]], server_url: str) -> None:
    """Lets docatlas_server log in with the password of `server_url`.

    If that URL is of this role. Behind Supabase's pooler a user's name is `<role>.<project>`. Source: Supabase
    documentation, "Connect to your database", connection strings of the pooler.
    """
    parts = urlsplit(server_url)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if user.split(".")[0] != SERVER_ROLE or not password:
        return
    # The statement may end up in a log: it carries the verifier that Postgres keeps, never the password.
    verifier = connection.pgconn.encrypt_password(password.encode(), SERVER_ROLE.encode(), b"scram-sha-256")
    statement = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(SERVER_ROLE), verifier.decode("ascii"))
    for attempt in range(_ROLE_TRIES):
        try:
            with connection.transaction():
                connection.execute(statement)
            return
        except psycopg.errors.InternalError_ as error:
            # Roles are the whole server's, and the lock is this database's: another one's upgrade was faster.
            if "concurrently updated" not in str(error) or attempt == _ROLE_TRIES - 1:
                raise
            time.sleep(0.05)
