"""Every test that has a store in it runs on both; what is about one of them is named here, and says why."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from database.records import SERVICE_ACTOR
from database.store import Store
from tests.support.databases import KINDS, Databases

TESTS = Path(__file__).resolve().parent
FIXTURES = frozenset({"store_kind", "databases", "module_databases", "start_server"})
"""Those of conftest that choose the stores: a module that made its own would leave one out."""
OF_ONE_STORE = frozenset(
    {
        "open_store",
        "SqliteStore",
        "SqliteConnections",
        "PostgresStore",
        "PostgresConnections",
        "sqlite3",
        "postgres",
        "postgres_server",
        "EmbeddedPostgres",
    }
)
"""Names of what is one store and no other: functions, classes, modules and fixtures."""
NAMED_FOR_ONE = ("database/sqlite/", "database/postgres/", "database/fallback/")
"""Folders of modules whose name already says that they are about one, or about the one that stands in for the other."""
REASONS = {
    "services/accounts/test_fallback": "The SQLite store stands in for the other one.",
    "services/accounts/test_postgres": "Triggers on Supabase's `auth.users`, and column rights, which SQLite lacks.",
    "cli/test_db_commands": "What is said about a Postgres that cannot be used; SQLite's part is in cli/test_commands.",
    "database/copying/test_copying": "Moves between the two stores.",
    "database/copying/test_refusals": "Moves between the two stores.",
    "database/blobs/test_storage": "Files in a bucket; the rows beside them are read by the same functions on either.",
}
"""Other modules that use a name of one store, and why."""


def used_names(source: str) -> Iterator[str]:
    """Names that a module reads, imports or takes as fixtures."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.name for alias in node.names)


def settings_on_sqlite(source: str) -> Iterator[int]:
    """Lines that open a runtime on settings which name a folder and not whatever database belongs to it."""
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open_runtime"):
            continue
        for given in node.args:
            # `settings.model_copy(...)` keeps the database of the fixture.
            if not (isinstance(given, ast.Call) and isinstance(given.func, ast.Name)):
                continue
            if all(keyword.arg is not None for keyword in given.keywords):
                yield given.lineno


def modules() -> dict[str, str]:
    """The text of each test module, by its path below tests/ without its ending."""
    found = (path for path in sorted(TESTS.rglob("test_*.py")) if path != Path(__file__))
    return {path.relative_to(TESTS).with_suffix("").as_posix(): path.read_text("utf-8") for path in found}


def test_a_module_about_one_store_says_so() -> None:
    one = {name for name, source in modules().items() if OF_ONE_STORE & set(used_names(source))}
    unnamed = {name for name in one if not name.startswith(NAMED_FOR_ONE)}
    assert unnamed == set(REASONS)
    assert all(REASONS.values())


def test_no_runtime_is_opened_past_the_databases_of_the_test() -> None:
    found = {name: list(settings_on_sqlite(source)) for name, source in modules().items()}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_no_module_makes_its_own_of_the_fixtures_that_know_the_stores() -> None:
    made = {
        f"{name}.{node.name}"
        for name, source in modules().items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.name in FIXTURES
    }
    assert made == set()


def test_the_stores_are_sqlite_and_postgres(databases: Databases, store: Store) -> None:
    assert set(KINDS) == {"sqlite", "postgresql"}
    assert databases.kind == store.kind
    with store.begin(SERVICE_ACTOR) as tx:
        assert tx.connection.dialect.name == store.kind


def test_a_module_left_out_would_be_told() -> None:
    assert OF_ONE_STORE & set(used_names("from database.opening import open_store"))
    assert OF_ONE_STORE & set(used_names("def test_x(postgres: DatabaseUrls) -> None: ..."))
    assert list(settings_on_sqlite("open_runtime(Settings(data_dir=x))")) == [1]
    assert list(settings_on_sqlite("open_runtime(Settings(data_dir=x, **databases.given(x)))")) == []
    assert list(settings_on_sqlite("open_runtime(settings.model_copy(update={}))")) == []
