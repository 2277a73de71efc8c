"""Writes many rows or vectors at once, as it is fastest in either database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Table, and_, update

from database.columns import checked_vector
from database.records import Vector
from database.sql import upsert


def replace_rows(
    connection: Connection, table: Table, rows: Sequence[dict[str, Any]], *, within: Sequence[str], number: str
) -> None:
    """Stores `rows`, which replace those with the same `number`, id included.

    All are alike in the columns `within`. Of two with the same number the later counts. Raises ValueError for a vector
    that `checked_vector` refuses.
    """
    if not rows:
        return
    unique = list({row[number]: row for row in rows}.values())
    if connection.dialect.name == "postgresql":
        from database.postgres import copy

        same = and_(*(table.c[name] == unique[0][name] for name in within))
        numbers = [row[number] for row in unique]
        if copy.replace_rows(connection, table, unique, and_(same, table.c[number].in_(numbers))):
            return
    upsert(connection, table, unique, key=[*within, number])


def write_vectors(
    connection: Connection,
    table: Table,
    key: Column[Any],
    vectors: Mapping[Any, Vector],
    *,
    space: str,
    where: ColumnElement[bool],
) -> None:
    """Stores vectors of `space` by `key` in the rows of `table` that `where` names.

    Others are passed over. Raises ValueError for a vector that `checked_vector` refuses.
    """
    if not vectors:
        return
    if connection.dialect.name == "postgresql":
        from database.postgres import copy

        copy.update_vectors(connection, table, key, vectors, space, where)
        return
    for value, vector in vectors.items():
        connection.execute(
            update(table).where(key == value, where).values(space=space, embedding=checked_vector(vector))
        )
