"""Which tables are copied, in which order, and their rows by their keys."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    ForeignKeyConstraint,
    Select,
    Table,
    and_,
    exists,
    func,
    literal,
    select,
    tuple_,
)

from database import schema

# Imported for the tables that it adds to the schema.
from database.accounts import tables as account_tables  # noqa: F401
from database.copying.forms import Form, form_of
from database.errors import StoreError

Key = tuple[Any, ...]
"""Values of a primary key, as they travel."""

BATCH_ROWS: Mapping[str, int] = {"document_pages": 50}
"""A page's layout may have a megabyte; everything else is small."""
DEFAULT_BATCH_ROWS = 500
"""A chunk with its vector takes about 5 KB: a batch is a few megabytes."""


class RowUnreadable(StoreError):
    """A row holds what its column cannot hold; the text names the row."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row, ready to be compared and written."""

    key: Key
    values: tuple[Any, ...]
    """One for each column of the table, in its order."""
    fields: tuple[bytes | None, ...]
    """The same in canonical form."""


@dataclass(frozen=True)
class Part:
    """Rows of one table that are copied together.

    All of them, or those of one depth of nesting.
    """

    table: Table
    depth: int = 0
    """How many parents a row has above it; 0 where the table does not refer to itself."""

    @property
    def batch_rows(self) -> int:
        return BATCH_ROWS.get(self.table.name, DEFAULT_BATCH_ROWS)


def tables() -> Sequence[Table]:
    """Every table that is copied, those that are referred to first.

    What exists on one kind of database only is rebuilt there by its own triggers.
    """
    return [table for table in schema.metadata.sorted_tables if "only" not in table.info]


def parts_of(table: Table, *connections: Connection) -> Sequence[Part]:
    """The parts of a table, the parents' before the children's.

    There are as many as the deeper of the two databases needs.
    """
    if _to_parent(table) is None:
        return [Part(table)]
    found = [Part(table)]
    while any(connection.scalar(select(exists(_rows_at(Part(table, len(found)))))) for connection in connections):
        found.append(Part(table, len(found)))
    return found


def count_rows(connection: Connection, table: Table) -> int:
    """How many rows a table has."""
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


def read_rows(connection: Connection, part: Part, after: Key | None) -> list[Row]:
    """The next batch of rows whose keys are greater than `after`, by key.

    `after=None` begins. Raises RowUnreadable.
    """
    table = part.table
    keys = list(table.primary_key)
    is_postgres = connection.dialect.name == "postgresql"
    forms = forms_of(table)
    columns = [
        (form.from_postgres(column) if is_postgres else form.from_sqlite(column)).label(column.name)
        for column, form in zip(table.c, forms, strict=True)
    ]
    statement = _rows_at(part, columns).order_by(*keys).limit(part.batch_rows)
    if after is not None:
        given = [literal(value, column.type) for column, value in zip(keys, after, strict=True)]
        statement = statement.where(keys[0] > given[0] if len(keys) == 1 else tuple_(*keys) > tuple_(*given))
    places = key_places(table)
    return [_row(table, forms, places, found) for found in connection.execute(statement).all()]


@cache
def forms_of(table: Table) -> Sequence[Form]:
    """How each column of the table travels."""
    return [form_of(column) for column in table.c]


@cache
def key_places(table: Table) -> Sequence[int]:
    """Where in a row the columns of the primary key are."""
    names = [column.name for column in table.c]
    return [names.index(column.name) for column in table.primary_key]


def show_key(table: Table, key: Key) -> str:
    """The row as a person may look for it: `jobs (job_id=...)`.

    Hashes of secrets are cut.
    """
    named = (f"{column.name}={str(value)[:36]}" for column, value in zip(table.primary_key, key, strict=True))
    return f"{table.name} ({', '.join(named)})"


class Checksum:
    """SHA-256 over the rows of a table in the order of their keys, and their number.

    The same on either database.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._hash = hashlib.sha256()

    def add(self, row: Row) -> None:
        """Takes in the next row: of each field its length, -1 for NULL, and its bytes."""
        self.rows += 1
        for field in row.fields:
            self._hash.update(struct.pack(">q", -1 if field is None else len(field)))
            if field is not None:
                self._hash.update(field)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def _row(table: Table, forms: Sequence[Form], places: Sequence[int], found: Sequence[Any]) -> Row:
    values: list[Any] = []
    fields: list[bytes | None] = []
    for column, form, given in zip(table.c, forms, found, strict=True):
        if given is None:
            values.append(None)
            fields.append(None)
            continue
        try:
            value = form.read(given)
            fields.append(form.canonical(value))
        except (ValueError, TypeError, ArithmeticError, RecursionError, struct.error) as error:
            named = show_key(table, tuple(found[place] for place in places))
            raise RowUnreadable(
                f"the row {named} has in {column.name} what cannot be kept there. Mend or delete it, and run again"
            ) from error
        values.append(value)
    return Row(tuple(values[place] for place in places), tuple(values), tuple(fields))


def _to_parent(table: Table) -> ForeignKeyConstraint | None:
    """The foreign key by which rows of the table refer to others of it."""
    return next((key for key in table.foreign_key_constraints if key.referred_table is table), None)


def _rows_at(part: Part, columns: Sequence[ColumnElement[Any]] | None = None) -> Select[Any]:
    """The rows of a part: with as many parents as its depth says, and none above."""
    table = part.table
    statement = select(*(columns or [literal(1)])).select_from(table)
    reference = _to_parent(table)
    if reference is None:
        return statement
    below: Any = table
    joined: Any = table
    for _ in range(part.depth):
        above = table.alias()
        joined = joined.join(
            above, and_(*(below.c[pair.parent.name] == above.c[pair.column.name] for pair in reference.elements))
        )
        below = above
    # The owner is part of the reference, and never NULL.
    top = next(pair.parent for pair in reference.elements if pair.parent.nullable)
    return select(*(columns or [literal(1)])).select_from(joined).where(below.c[top.name].is_(None))
