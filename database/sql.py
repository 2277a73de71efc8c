"""Expressions that the two dialects spell differently, each under one name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, Text, bindparam, cast, column, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from database.columns import NO_ID, Id, JsonNumber, StorableText, known_id, to_json


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
    """A subquery with `values`, for `column.in_(...)`.

    It is one parameter, however many they are.
    """
    array = bindparam(None, to_json(list(values)), type_=Text, unique=True)
    rows = _Elements(array).table_valued(column("value", Text))
    return select(rows.c.value)


def among_ids(ids: Iterable[str]) -> Select[tuple[str]]:
    """As `among`, for a column of ids; what is no id is left out."""
    array = bindparam(None, to_json([id for id in ids if known_id(id) != NO_ID]), type_=Text, unique=True)
    rows = _Elements(array).table_valued(column("value", Text))
    return select(cast(rows.c.value, Id))


def upsert(
    connection: Connection,
    table: Table,
    rows: list[dict[str, Any]],
    *,
    key: Iterable[str],
    set_: Mapping[str, Any] | None = None,
    keep: Iterable[str] = (),
) -> None:
    """Inserts `rows`.

    One whose `key` is taken is overwritten, but for the columns in `keep`. `set_` has expressions for columns of the
    row that is overwritten; in them `table.c.x` is the old value.
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
        steps = "$" + "".join(f'."{key}"' for key in path)
        self._parts = (document, _bound(steps), *(_bound(key) for key in path))

    def kind_is(self, *kinds: str) -> ColumnElement[bool]:
        """True where the value's JSON type is one of `kinds`.

        These are integer, real, text, true, false, null, array, object. Postgres does not tell integers from other
        numbers: they are all `real` there.
        """
        return _JsonKind(*self._parts).in_(kinds)

    def number(self) -> ColumnElement[Any]:
        """The value as a number; undefined where it is none, NULL on Postgres."""
        return _JsonNumber(*self._parts)

    def text(self) -> ColumnElement[Any]:
        """The value as a text, compared by code points.

        Undefined where it is none, NULL on Postgres.
        """
        return _JsonText(*self._parts)


def _bound(text: str) -> Any:
    return bindparam(None, text, type_=StorableText, unique=True)


class _JsonKind(FunctionElement[str]):
    """Of (document, SQLite's path, key, key, ...)."""

    inherit_cache = True
    name = "json_kind"
    type = Text()


class _JsonNumber(FunctionElement[Any]):
    inherit_cache = True
    name = "json_number"
    type = JsonNumber()


class _JsonText(FunctionElement[str]):
    inherit_cache = True
    name = "json_text"
    type = StorableText()


@compiles(_JsonKind, "sqlite")
def _kind_in_sqlite(element: _JsonKind, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_type({_sqlite_place(element, compiler, options)})"


@compiles(_JsonNumber, "sqlite")
@compiles(_JsonText, "sqlite")
def _value_in_sqlite(element: FunctionElement[Any], compiler: SQLCompiler, **options: Any) -> str:
    return f"json_extract({_sqlite_place(element, compiler, options)})"


@compiles(_JsonKind, "postgresql")
def _kind_in_postgres(element: _JsonKind, compiler: SQLCompiler, **options: Any) -> str:
    value, text = _postgres_place(element, compiler, options)
    return (
        f"CASE jsonb_typeof({value}) WHEN 'number' THEN 'real' WHEN 'string' THEN 'text' "
        f"WHEN 'boolean' THEN {text} ELSE jsonb_typeof({value}) END"
    )


@compiles(_JsonNumber, "postgresql")
def _number_in_postgres(element: _JsonNumber, compiler: SQLCompiler, **options: Any) -> str:
    # A CASE, because the terms of an AND are evaluated in any order and a cast of a text would fail.
    value, text = _postgres_place(element, compiler, options)
    return f"CASE WHEN jsonb_typeof({value}) = 'number' THEN ({text})::numeric END"


@compiles(_JsonText, "postgresql")
def _text_in_postgres(element: _JsonText, compiler: SQLCompiler, **options: Any) -> str:
    value, text = _postgres_place(element, compiler, options)
    return f"(CASE WHEN jsonb_typeof({value}) = 'string' THEN {text} END COLLATE \"C\")"


def _sqlite_place(element: FunctionElement[Any], compiler: SQLCompiler, options: dict[str, Any]) -> str:
    document, path, *_ = element.clauses
    return f"{compiler.process(document, **options)}, {compiler.process(path, **options)}"


def _postgres_place(element: FunctionElement[Any], compiler: SQLCompiler, options: dict[str, Any]) -> tuple[str, str]:
    """The value as jsonb, and as text.

    Steps are `->` with texts, which looks into objects only, never at a list's places.
    """
    document, _, *keys = element.clauses
    steps = [compiler.process(document, **options), *(compiler.process(key, **options) for key in keys)]
    return f"({' -> '.join(steps)})", f"({' -> '.join(steps[:-1])} ->> {steps[-1]})"
