"""Bulk writes to Postgres.

Rows by COPY in binary, vectors of rows that exist by one UPDATE.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection as DriverConnection
from psycopg import sql
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Float,
    Integer,
    Table,
    Text,
    bindparam,
    cast,
    column,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, dialect

from database.columns import (
    VECTOR_WIDTH,
    CompressedJson,
    Id,
    Json,
    Moment,
    StorableText,
    UnitVector,
    checked_vector,
    known_id,
    storable,
    to_json,
)
from database.records import Vector

_VECTOR_HEADER = struct.pack(">HH", VECTOR_WIDTH, 0)
"""Source: pgvector, src/vector.c, vector_recv: the width and a zero as int16, then float4, all big endian."""
_JSONB_VERSION = b"\x01"
"""Source: PostgreSQL, src/backend/utils/adt/jsonb.c, jsonb_recv."""
_COMPRESSED = CompressedJson()
_DIALECT = dialect()  # type: ignore[no-untyped-call]


def copy_rows(connection: Connection, table: Table, rows: Iterable[Mapping[str, Any]]) -> int:
    """Appends `rows`, which all have the same columns, in the transaction that runs.

    Returns how many they were. Rows are taken one at a time: they may come from a generator. Values are as for an
    insert through SQLAlchemy, also None. The role must not be subject to row level security on the table, which
    Postgres refuses COPY to (see `replace_rows`). Raises ValueError for a vector that `checked_vector` refuses, and the
    driver's errors.
    """
    iterator = iter(rows)
    first = next(iterator, None)
    if first is None:
        return 0
    columns = [table.c[name] for name in first]
    types, encoders = zip(*(_encoding(column) for column in columns), strict=True)
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier(*(part for part in (table.schema, table.name) if part)),
        sql.SQL(", ").join(sql.Identifier(column.name) for column in columns),
    )
    plan = [(column.name, encode) for column, encode in zip(columns, encoders, strict=True)]

    def encoded(row: Mapping[str, Any]) -> list[Any]:
        values = [row[name] for name, _ in plan]
        return [None if v is None else encode(v) for (_, encode), v in zip(plan, values, strict=True)]

    with _driver(connection).cursor() as cursor, cursor.copy(statement) as copying:
        copying.set_types(types)
        copying.write_row(encoded(first))
        count = 1
        for row in iterator:
            copying.write_row(encoded(row))
            count += 1
    return count


def replace_rows(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], gone: ColumnElement[bool]
) -> bool:
    """Deletes the rows for which `gone` is true and appends `rows` by COPY.

    Two round trips. False, and only the deletion done, where the role may not COPY.
    """
    deleted = delete(table).where(gone).cte("deleted")
    if not connection.scalar(select(_passes(table)).add_cte(deleted)):
        return False
    copy_rows(connection, table, rows)
    return True


def update_vectors(
    connection: Connection,
    table: Table,
    key: Column[Any],
    vectors: Mapping[Any, Vector],
    space: str,
    where: ColumnElement[bool],
) -> None:
    """Stores vectors of `space` by `key` in the rows of `table` that `where` names.

    In one statement. Arrays of parameters, unlike a temporary table to COPY into, work under row level security, need
    no right to make tables and leave nothing behind in a session that a pooler shares.
    """
    given = (
        func.unnest(
            cast(bindparam("keys", [str(value) for value in vectors], type_=ARRAY(Text)), ARRAY(Text)),
            cast(
                bindparam("vectors", [_as_text(vector) for vector in vectors.values()], type_=ARRAY(Text)), ARRAY(Text)
            ),
        )
        .table_valued(column("key", Text), column("vector", Text))
        .render_derived(name="given")
    )
    connection.execute(
        update(table)
        .where(key == cast(given.c.key, key.type), where)
        .values(space=space, embedding=cast(given.c.vector, table.c.embedding.type))
    )


def vector_bytes(vector: Vector) -> bytes:
    """`vector` as pgvector's type `vector` in binary.

    Raises ValueError as `checked_vector`.
    """
    return _VECTOR_HEADER + checked_vector(vector).astype(">f4").tobytes()


def _as_text(vector: Vector) -> str:
    return "[" + ",".join(map(str, checked_vector(vector).tolist())) + "]"


def _passes(table: Table) -> ColumnElement[bool]:
    return ~func.row_security_active(table.name)


def _driver(connection: Connection) -> DriverConnection[Any]:
    driver = connection.connection.driver_connection
    assert isinstance(driver, DriverConnection)
    return driver


def _encoding(column: Column[Any]) -> tuple[str, Callable[[Any], Any]]:
    """The type to send, and what makes its value.

    What is in the type's own binary form already goes as `bytea`.
    """
    for kind, sent, encode in _ENCODINGS:
        if isinstance(column.type, kind):
            return sent, encode
    raise TypeError(f"no binary form is known for the column {column}")


def _jsonb(value: Any) -> bytes:
    return _JSONB_VERSION + to_json(value).encode()


def _compressed(value: Any) -> bytes | None:
    return _COMPRESSED.process_bind_param(value, _DIALECT)


_ENCODINGS: tuple[tuple[type, str, Callable[[Any], Any]], ...] = (
    (Id, "uuid", lambda value: UUID(known_id(value))),
    (Moment, "timestamptz", datetime.fromisoformat),
    (StorableText, "text", storable),
    (Json, "bytea", _jsonb),
    (CompressedJson, "bytea", _compressed),
    (UnitVector, "bytea", vector_bytes),
    (BigInteger, "int8", int),
    (Integer, "int4", int),
    (Float, "float8", float),
)
