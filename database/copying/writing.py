"""Writes rows as they are, in bulk.

Each kind of database is left as its own writers would have left it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from psycopg import sql
from sqlalchemy import BigInteger, Column, Connection, Table, func, select, text, update

from database import schema
from database.copying.rows import Row, forms_of
from database.sql import upsert
from database.sqlite.vectors import TOMBSTONES_KEPT
from database.store import Transaction

_COPY_SIGNATURE = b"PGCOPY\n\xff\r\n\x00" + struct.pack(">ii", 0, 0)
"""Source: PostgreSQL documentation, COPY, "Binary Format", as are the rows and the trailer."""
_COPY_TRAILER = struct.pack(">h", -1)
_COPY_BLOCK = 256 * 1024
_NUMBERS_AT_ONCE = 1_000_000
"""Numbers that one statement takes from a sequence. Source: measured on two busy cores: 1.3 s."""


def insert_rows(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Writes rows that are not there yet.

    Raises what the driver raises where one is not accepted.
    """
    if connection.dialect.name == "postgresql":
        _copy_in(connection, table, rows)
    else:
        names = ", ".join(f'"{column.name}"' for column in table.c)
        places = ", ".join("?" * len(table.c))
        connection.exec_driver_sql(
            f'INSERT INTO "{table.name}" ({names}) VALUES ({places})', [row.values for row in rows]
        )


def replace_row(connection: Connection, table: Table, row: Row) -> None:
    """Writes the values of `row` over those of the row with its key.

    For tables of texts, ids and times only.
    """
    keys = [column.name for column in table.primary_key]
    given = {column.name: value for column, value in zip(table.c, row.values, strict=True)}
    connection.execute(
        update(table)
        .where(*(table.c[name] == given[name] for name in keys))
        .values({name: value for name, value in given.items() if name not in keys})
    )


def reserve_numbers(tx: Transaction, table: Table, largest: int | None) -> None:
    """Sees to it that no later row gets a number up to `largest`.

    SQLite does that by itself. By taking the numbers, for which the server's role has the right, unlike for setting a
    sequence.
    """
    column = numbered_by(table)
    if column is None or largest is None or tx.connection.dialect.name != "postgresql":
        return
    sequence = tx.connection.execute(
        select(func.pg_get_serial_sequence(f"public.{table.name}", column.name))
    ).scalar_one()
    take = text("SELECT max(nextval(CAST(:sequence AS regclass))) FROM generate_series(1, :count)")
    missing = 1
    while missing > 0:
        taken = tx.connection.execute(
            take, {"sequence": sequence, "count": min(missing, _NUMBERS_AT_ONCE)}
        ).scalar_one()
        missing = largest - taken


def numbered_by(table: Table) -> Column[Any] | None:
    """The column whose numbers the database gives out by itself."""
    keys = list(table.primary_key)
    is_numbered = len(keys) == 1 and isinstance(keys[0].type, BigInteger) and keys[0].autoincrement is True
    return keys[0] if is_numbered else None


def announce_rows(tx: Transaction) -> None:
    """Makes indexes in memory, of whichever process, load everything afresh.

    Postgres has none. The counters go beyond every document's `change`, which is copied as it was, and so far that
    nobody can catch up.
    """
    if tx.connection.dialect.name == "postgresql":
        return
    counters, documents = schema.change_counters, schema.documents
    newest = tx.connection.execute(
        select(documents.c.user_id, func.max(documents.c.change).label("change")).group_by(documents.c.user_id)
    ).all()
    for owner in newest:
        upsert(
            tx.connection,
            counters,
            [{"user_id": owner.user_id, "value": owner.change + TOMBSTONES_KEPT, "revision": 1}],
            key=["user_id"],
            set_={
                "value": func.max(counters.c.value, owner.change) + TOMBSTONES_KEPT,
                "revision": counters.c.revision + 1,
            },
        )


def _copy_in(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    encoders = [form.to_postgres for form in forms_of(table)]
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier("public", table.name), sql.SQL(", ").join(sql.Identifier(column.name) for column in table.c)
    )
    driver: Any = connection.connection.driver_connection
    count = struct.pack(">h", len(encoders))
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        block = bytearray(_COPY_SIGNATURE)
        for row in rows:
            block += count
            for encode, value in zip(encoders, row.values, strict=True):
                if value is None:
                    block += b"\xff\xff\xff\xff"
                    continue
                field = encode(value)
                block += struct.pack(">i", len(field))
                block += field
            if len(block) >= _COPY_BLOCK:
                copy.write(bytes(block))
                block.clear()
        copy.write(bytes(block) + _COPY_TRAILER)
