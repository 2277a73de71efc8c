"""The one runner of the SQL migrations beside this module.

A migration is `<14 digits>_<verb>_<object>.sql`; its digits are the version. The files are append-only: what has been
released is never edited, a later file mends it.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from database.errors import MigrationError
from database.ids import now
from database.store import MigrationState

FOLDER = Path(__file__).with_name("migrations")
_FILE_NAME = re.compile(r"(\d{14})_([a-z0-9]+(?:_[a-z0-9]+)+)\.sql")
_BOOKKEEPING = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at TEXT NOT NULL
)
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file; `checksum` is the SHA-256 (hex) of its text with Unix line ends."""

    version: str
    name: str
    checksum: str
    sql: str


def read_migrations(folder: Path = FOLDER) -> Sequence[Migration]:
    """The migrations in `folder`, oldest first.

    Raises MigrationError for a file whose name is not one of a migration, or a version that is there twice.
    """
    found: dict[str, Migration] = {}
    for path in sorted(folder.glob("*.sql")):
        name = _FILE_NAME.fullmatch(path.name)
        if name is None or name[1] in found:
            raise MigrationError(f"{path.name} is not named <14 digits>_<verb>_<object>.sql with digits of its own")
        sql = path.read_text("utf-8")
        found[name[1]] = Migration(name[1], name[2], hashlib.sha256(sql.encode()).hexdigest(), sql)
    return list(found.values())


def split_statements(sql: str) -> list[str]:
    """The statements of a script.

    Semicolons in strings, comments and triggers do not end one. Raises MigrationError when the last one is not ended.
    """
    statements: list[str] = []
    pending = ""
    for piece in re.split(r"(?<=;)", sql):
        pending += piece
        if sqlite3.complete_statement(pending):
            statements.append(pending.strip())
            pending = ""
    if re.sub(r"--[^\n]*|/\*.*?\*/", "", pending, flags=re.DOTALL).strip():
        raise MigrationError(f"a statement does not end: {pending.strip()[:200]}")
    return statements


def upgrade(connection: Connection, migrations: Sequence[Migration]) -> list[str]:
    """Applies what is missing, each migration in a transaction of its own.

    Returns the versions applied. `connection` is in no transaction. Two processes may call it at once: the second finds
    the work of the first done. Raises MigrationError when an applied migration was changed, is unknown here, or one of
    them fails.
    """
    done: list[str] = []
    # Off, as rebuilding a table needs it (sqlite.org/lang_altertable.html#otheralter); checked before each commit.
    # Inside a transaction the pragma does nothing, so it goes past the layer that would begin one.
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA foreign_keys=OFF")
    try:
        with connection.begin():
            connection.exec_driver_sql(_BOOKKEEPING)
        for migration in migrations:
            with connection.begin():
                if migration.version in check_applied(connection, migrations):
                    continue
                _apply(connection, migration)
            done.append(migration.version)
        with connection.begin():
            check_applied(connection, migrations)
    finally:
        driver.execute("PRAGMA foreign_keys=ON")
    return done


def check_applied(connection: Connection, migrations: Sequence[Migration]) -> dict[str, str]:
    """When each applied migration was applied, by version.

    Raises MigrationError when one was changed since, or is unknown here: the database is newer than the program.
    """
    tables = connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = 'schema_migrations'").all()
    if not tables:
        return {}
    known = {migration.version: migration for migration in migrations}
    applied: dict[str, str] = {}
    rows = connection.exec_driver_sql("SELECT version, name, checksum, applied_at FROM schema_migrations")
    for version, name, checksum, applied_at in rows:
        if version not in known:
            raise unknown_version(version, name)
        if known[version].checksum != checksum:
            raise was_changed(version, name)
        applied[version] = applied_at
    return applied


def unknown_version(version: str, name: str) -> MigrationError:
    """The error for a database that is newer than the program."""
    return MigrationError(
        f"the database has migration {version}_{name}, which this program does not know: "
        "it was made by a newer version of Docatlas; run that one, or restore an older copy of the data"
    )


def was_changed(version: str, name: str) -> MigrationError:
    """The error for a file that is not what was applied."""
    return MigrationError(
        f"migration {version}_{name} was changed after it was applied to this database: "
        "restore the file, and put the change into a new migration"
    )


def status(connection: Connection, migrations: Sequence[Migration]) -> list[MigrationState]:
    """Every known migration with the time at which it was applied, oldest first.

    Raises as `check_applied`.
    """
    applied = check_applied(connection, migrations)
    return [MigrationState(m.version, m.name, applied.get(m.version)) for m in migrations]


def _apply(connection: Connection, migration: Migration) -> None:
    for statement in split_statements(migration.sql):
        connection.exec_driver_sql(statement)
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    if broken:
        raise MigrationError(f"migration {migration.version}_{migration.name} leaves rows without their parent")
    connection.exec_driver_sql(
        "INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES (?, ?, ?, ?)",
        (migration.version, migration.name, migration.checksum, now()),
    )
