"""Migrations: applied once and whole, in step with the tables, and never silently out of step with the program."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect
from sqlalchemy.engine import Engine

from database import migrations, schema
from database.accounts import tables as account_tables
from database.errors import MigrationError
from database.opening import open_store
from database.sqlite.engine import SqliteConnections

ROOT = Path(__file__).resolve().parents[3]
UPGRADER = """
import sys
from pathlib import Path
from database.opening import open_store
store = open_store(Path(sys.argv[1]))
print(len(store.upgrade()))
store.close()
"""
BOOKKEEPING = {"schema_migrations"}
FULL_TEXT = "document_keywords"
TABLES = {name: table for name, table in schema.metadata.tables.items() if table.info.get("only") != "postgresql"}


def migration(version: int, sql: str) -> migrations.Migration:
    return migrations.Migration(f"{version:014d}", "make_thing", f"{hash(sql):x}", sql)


def run(folder: Path, *wanted: migrations.Migration) -> list[str]:
    connections = SqliteConnections(folder / "x.sqlite3", busy_timeout_s=5)
    try:
        with connections.writer() as connection:
            return migrations.upgrade(connection, wanted)
    finally:
        connections.close()


def tables(folder: Path) -> set[str]:
    connection = sqlite3.connect(folder / "x.sqlite3")
    try:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    finally:
        connection.close()


@pytest.fixture
def migrated(tmp_path: Path) -> Engine:
    store = open_store(tmp_path / "data")
    store.upgrade()
    store.close()
    return create_engine(f"sqlite:///{tmp_path / 'data' / 'docatlas.sqlite3'}")


def test_the_migrations_make_the_tables_that_the_program_uses(migrated: Engine) -> None:
    found = inspect(migrated)
    names = {name for name in found.get_table_names() if not name.startswith(FULL_TEXT)} - BOOKKEEPING
    assert names == set(TABLES)
    assert account_tables.api_keys.name in names
    for name, table in TABLES.items():
        columns = {column["name"]: column for column in found.get_columns(name)}
        assert set(columns) == set(table.columns.keys()), name
        for column in table.columns:
            assert columns[column.name]["nullable"] == column.nullable, f"{name}.{column.name}"
            ours = column.type.compile(migrated.dialect).replace("JSON", "TEXT").replace("BIGINT", "INTEGER")
            assert columns[column.name]["type"].compile(migrated.dialect) == ours.replace("FLOAT", "REAL"), column
        assert found.get_pk_constraint(name)["constrained_columns"] == [c.name for c in table.primary_key], name
        with migrated.connect() as connection:
            listed = connection.exec_driver_sql(f"PRAGMA foreign_key_list({name})").all()
        foreign = {
            tuple((key[2], key[6], key[3], key[4]) for key in sorted(listed) if key[0] == number)
            for number in {key[0] for key in listed}
        }
        assert foreign == {
            tuple((key.referred_table.name, key.ondelete, e.parent.name, e.column.name) for e in key.elements)
            for key in table.foreign_key_constraints
        }, name
    migrated.dispose()


def test_every_table_names_the_owner_of_its_rows() -> None:
    assert [name for name, table in TABLES.items() if "user_id" not in table.c] == []


def test_upgrading_twice_applies_nothing_and_the_status_says_when(tmp_path: Path) -> None:
    store = open_store(tmp_path / "data")
    assert {state.applied_at for state in store.migration_status()} == {None}
    applied = store.upgrade()
    assert applied == [state.version for state in store.migration_status()]
    assert store.upgrade() == []
    assert all(state.applied_at for state in store.migration_status())
    store.close()


def test_two_processes_that_start_at_once_apply_each_migration_once(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", UPGRADER, str(tmp_path / "data")], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        for _ in range(3)
    ]
    applied = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sum(applied) == len(migrations.read_migrations())


def test_a_migration_that_fails_leaves_nothing_and_those_before_it_stay(tmp_path: Path) -> None:
    good = migration(1, "CREATE TABLE good (x);")
    with pytest.raises(Exception, match="nowhere"):
        run(tmp_path, good, migration(2, "CREATE TABLE half (x); INSERT INTO nowhere VALUES (1);"))
    assert tables(tmp_path) == {"schema_migrations", "good"}
    assert run(tmp_path, good, migration(2, "CREATE TABLE half (x);")) == ["00000000000002"]


def test_a_migration_that_leaves_orphans_is_undone(tmp_path: Path) -> None:
    sql = "CREATE TABLE p (x PRIMARY KEY); CREATE TABLE c (x REFERENCES p (x)); INSERT INTO c VALUES (1);"
    with pytest.raises(MigrationError, match="without their parent"):
        run(tmp_path, migration(1, sql))
    assert tables(tmp_path) == {"schema_migrations"}


def test_a_changed_migration_is_told(tmp_path: Path) -> None:
    run(tmp_path, migration(1, "CREATE TABLE a (x);"))
    with pytest.raises(MigrationError, match="was changed after it was applied"):
        run(tmp_path, migration(1, "CREATE TABLE a (y);"))


def test_a_database_newer_than_the_program_is_told(tmp_path: Path) -> None:
    first = migration(1, "CREATE TABLE a (x);")
    run(tmp_path, first, migration(2, "CREATE TABLE b (x);"))
    with pytest.raises(MigrationError, match="newer version"):
        run(tmp_path, first)


def test_statements_are_split_where_they_end() -> None:
    sql = """
    -- a comment; with a semicolon
    CREATE TABLE a (x TEXT DEFAULT ';'); /* ; */
    CREATE TRIGGER t AFTER INSERT ON a BEGIN
        UPDATE a SET x = 1;
        DELETE FROM a;
    END;
    INSERT INTO a VALUES (1);
    -- the end
    """
    statements = migrations.split_statements(sql)
    assert len(statements) == 3
    assert statements[1].endswith("END;")
    with pytest.raises(MigrationError, match="does not end"):
        migrations.split_statements("CREATE TABLE a (x)")


def test_a_file_with_another_kind_of_name_is_told(tmp_path: Path) -> None:
    (tmp_path / "1_thing.sql").write_text("SELECT 1;")
    with pytest.raises(MigrationError, match="14 digits"):
        migrations.read_migrations(tmp_path)


def test_only_the_owner_may_read_the_database(tmp_path: Path) -> None:
    store = open_store(tmp_path / "data")
    store.upgrade()
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()}
    assert set(modes.values()) == {0o600}, modes
    store.close()
