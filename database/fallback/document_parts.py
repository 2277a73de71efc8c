"""Copies the parts of a document to another database, and compares them.

Parts are pages, pictures and chunks; they are compared by a digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, Table, delete, insert, select

from database import schema

BATCH_ROWS = 200
"""Rows that are sent together; a page with its layout takes some hundred kilobytes."""
_TABLES: tuple[tuple[Table, str], ...] = (
    (schema.pages, "page_number"),
    (schema.images, "ordinal"),
    (schema.chunks, "chunk_index"),
)


@dataclass(frozen=True, slots=True)
class PartsDigest:
    """What two databases must agree on about a document's parts."""

    rows: int
    sha256: str
    """Of all rows in order, without the id of their document."""
    generations: frozenset[int]
    """That the rows belong to, as they were numbered where they came from."""


@dataclass(frozen=True, slots=True)
class Destination:
    """The document that parts are copied to.

    Its generations are those of the source plus the offset.
    """

    document_id: str
    generation_offset: int = 0


def copy_parts(source: Connection, document_id: str, target: Connection, destination: Destination) -> PartsDigest:
    """Copies every part of a document; the digest of what was sent."""
    digest = _Digest()
    for table, key in _TABLES:
        own = select(table.c.generation).where(table.c.document_id == document_id).distinct()
        for generation in sorted(source.scalars(own)):
            for batch in _batches(source, table, key, document_id, generation):
                for row in batch:
                    digest.add(row)
                    row["document_id"] = destination.document_id
                    row["generation"] += destination.generation_offset
                target.execute(insert(table), batch)
    return digest.result()


def digest_parts(connection: Connection, destination: Destination, generations: Iterable[int]) -> PartsDigest:
    """The digest of what lies at `destination` under these generations.

    They are numbered as where they came from.
    """
    digest = _Digest()
    for table, key in _TABLES:
        for generation in sorted(generations):
            for batch in _batches(
                connection, table, key, destination.document_id, generation + destination.generation_offset
            ):
                for row in batch:
                    row["generation"] = generation
                    digest.add(row)
    return digest.result()


def delete_parts(connection: Connection, document_id: str, generation: int) -> None:
    """Deletes the parts of one generation."""
    for table, _ in _TABLES:
        mine = (table.c.document_id == document_id, table.c.generation == generation)
        connection.execute(delete(table).where(*mine))


def _batches(
    connection: Connection, table: Table, key: str, document_id: str, generation: int
) -> Iterator[list[dict[str, Any]]]:
    """The rows of one generation in order, a few at a time and by their key.

    A cursor would outlive a lost server.
    """
    columns = [column for column in table.c if column.name != "row_id"]
    mine = (table.c.document_id == document_id, table.c.generation == generation)
    last = -1
    while True:
        query = select(*columns).where(*mine, table.c[key] > last).order_by(table.c[key]).limit(BATCH_ROWS)
        batch = [dict(row._mapping) for row in connection.execute(query)]
        if not batch:
            return
        last = batch[-1][key]
        yield batch


class _Digest:
    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._rows = 0
        self._generations: set[int] = set()

    def add(self, row: dict[str, Any]) -> None:
        self._rows += 1
        self._generations.add(row["generation"])
        for name in sorted(row):
            if name != "document_id":
                self._hash.update(_canonical(row[name]))
                self._hash.update(b"\0")

    def result(self) -> PartsDigest:
        return PartsDigest(self._rows, self._hash.hexdigest(), frozenset(self._generations))


def _canonical(value: Any) -> bytes:
    """The value as bytes that are equal for what the databases take for equal."""
    if isinstance(value, np.ndarray):
        return np.ascontiguousarray(value, dtype="<f4").tobytes()
    return json.dumps(_plain(value), sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    """`jsonb` keeps no difference between 1, 1.0 and 1e0, nor between 0.0 and -0.0."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return float(value) + 0.0
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value]
