"""The few expressions that the two dialects spell differently, each under one name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, Text, bindparam, column, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from database.columns import StorableText, to_json


class _Elements(FunctionElement[str]):
    """The strings of a JSON array as rows of one column, `value`."""

    inherit_cache = True
    name = "json_elements"


@compiles(_Elements, "sqlite")
def _elements_in_sqlite(element: _Elements, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


@compiles(_Elements, "postgresql")
def _elements_in_postgres(element: _Elements, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_array_elements_text(CAST({compiler.process(element.clauses, **options)} AS json))"


def among(values: Iterable[str]) -> Select[tuple[str]]:
    """A subquery with `values`, for `column.in_(...)`; one parameter, however many they are."""
    array = bindparam(None, to_json(list(values)), type_=Text, unique=True)
    rows = _Elements(array).table_valued(column("value", Text))
    return select(rows.c.value)


def upsert(
    connection: Connection,
    table: Table,
    rows: list[dict[str, Any]],
    *,
    key: Iterable[str],
    set_: Mapping[str, Any] | None = None,
    keep: Iterable[str] = (),
) -> None:
    """Inserts `rows`; one whose `key` is taken is overwritten, but for the columns in `keep`.

    `set_` has expressions for columns of the row that is overwritten; in them `table.c.x` is the old value.
    """
    key = tuple(key)
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(table)
    fixed = {*key, *keep}
    values: dict[str, Any] = {name: statement.excluded[name] for name in rows[0] if name not in fixed}
    values.update(set_ or {})
    connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=values), rows)


def json_scalar(document: ColumnElement[Any], path: tuple[str, ...]) -> JsonScalar:
    """The value at `path` (keys of nested objects) in a JSON column, with its kind."""
    return JsonScalar(document, path)


class JsonScalar:
    """A value inside a JSON column, to be compared with values of its own kind only."""

    def __init__(self, document: ColumnElement[Any], path: tuple[str, ...]) -> None:
        self._document = document
        self._path = bindparam(None, "$" + "".join(f'."{key}"' for key in path), type_=StorableText, unique=True)

    def kind_is(self, *kinds: str) -> ColumnElement[bool]:
        """True where the value's JSON type is one of `kinds`: integer, real, text, true, false, null, array, object."""
        return _JsonType(self._document, self._path).in_(kinds)

    def value(self) -> ColumnElement[Any]:
        """The value as a number or a text."""
        return _JsonValue(self._document, self._path)


class _JsonType(FunctionElement[str]):
    inherit_cache = True
    name = "json_kind"
    type = Text()


class _JsonValue(FunctionElement[Any]):
    inherit_cache = True
    name = "json_value"


@compiles(_JsonType, "sqlite")
def _type_in_sqlite(element: _JsonType, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_type({compiler.process(element.clauses, **options)})"


@compiles(_JsonValue, "sqlite")
def _value_in_sqlite(element: _JsonValue, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_extract({compiler.process(element.clauses, **options)})"
