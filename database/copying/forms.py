"""How a column's values travel between two databases.

They are read as plain Python values from either, compared as bytes, and written raw. A value is None, str, int, float,
bool or bytes; ids and times are texts, JSON is a compact text, a vector 768 little-endian float32. Nothing is worked
out anew on the way: compressed layouts and vectors stay bit for bit.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
from sqlalchemy import BigInteger, Boolean, Column, ColumnElement, Float, Integer, LargeBinary, Text, cast, func
from sqlalchemy import type_coerce as taken_as
from sqlalchemy.types import TypeEngine

from database.columns import (
    NO_ID,
    VECTOR_WIDTH,
    CompressedJson,
    Id,
    Json,
    Moment,
    StorableText,
    UnitVector,
    known_id,
    storable,
    to_json,
)
from database.ids import parse_time

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
"""Of timestamps in Postgres' binary format. Source: PostgreSQL, src/include/datatype/timestamp.h."""
_VECTOR_HEADER = struct.pack(">HH", VECTOR_WIDTH, 0)
"""Source: pgvector, src/vector.c, vector_send: dimensions, an unused field, then big-endian float4."""
_TIME_PATTERN = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'
_CANONICAL_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_NEEDS_REWRITING = re.compile("\\\\u|[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Form:
    """How the values of one type of column are read, compared and written."""

    from_sqlite: Callable[[Column[Any]], ColumnElement[Any]]
    """The expression whose result `read` takes."""
    from_postgres: Callable[[Column[Any]], ColumnElement[Any]]
    read: Callable[[Any], Any]
    """The value, of what either database gives; never called with None. Raises ValueError."""
    canonical: Callable[[Any], bytes]
    """The same bytes for equal values, whichever database they came from."""
    to_postgres: Callable[[Any], bytes]
    """The value as COPY's binary format has it."""


def form_of(column: Column[Any]) -> Form:
    """How `column` travels. Raises TypeError for a type that has no form."""
    for kind, form in _FORMS.items():
        if isinstance(column.type, kind):
            return form
    raise TypeError(f"{column.table.name}.{column.name} has the type {column.type!r}, of which no copy is defined")


def _column(column: Column[Any]) -> ColumnElement[Any]:
    return column


def _coerced(type_: TypeEngine[Any]) -> Callable[[Column[Any]], ColumnElement[Any]]:
    return lambda column: taken_as(column, type_)


def _as_text(column: Column[Any]) -> ColumnElement[Any]:
    return cast(column, Text)


def _time_text(column: Column[Any]) -> ColumnElement[Any]:
    # Written by the server: a session's time zone does not matter, nor the range of Python's local times.
    return func.to_char(func.timezone("UTC", column), _TIME_PATTERN)


def _vector_bytes(column: Column[Any]) -> ColumnElement[Any]:
    return func.vector_send(column, type_=LargeBinary)


def _same(value: Any) -> Any:
    return value


def _read_id(value: str) -> str:
    if known_id(value) == NO_ID:
        raise ValueError("it is no UUID in canonical form")
    return value


def _read_time(value: str) -> str:
    return value if _CANONICAL_TIME.fullmatch(value) else parse_time(value)


def _read_json(value: str) -> str:
    return to_json(json.loads(value)) if _NEEDS_REWRITING.search(value) else value


def _read_vector(value: bytes) -> bytes:
    if len(value) == 4 * VECTOR_WIDTH:
        return value
    if len(value) != 4 * VECTOR_WIDTH + len(_VECTOR_HEADER) or not value.startswith(_VECTOR_HEADER):
        raise ValueError(f"it is no vector of {VECTOR_WIDTH} numbers")
    return np.frombuffer(value, ">f4", offset=len(_VECTOR_HEADER)).astype("<f4").tobytes()


def _canonical_json(value: str) -> bytes:
    """JSON with sorted keys, and with numbers by their value.

    `jsonb` writes 1e16 as 10000000000000000.
    """
    tree = json.loads(value, parse_float=_number)
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def _number(text: str) -> int | float:
    value = float(text)
    return int(Decimal(text)) if value.is_integer() else value


def _uuid_bytes(value: str) -> bytes:
    return bytes.fromhex(value.replace("-", ""))


def _time_bytes(value: str) -> bytes:
    return struct.pack(">q", (datetime.fromisoformat(value) - _EPOCH) // timedelta(microseconds=1))


def _vector_message(value: bytes) -> bytes:
    return _VECTOR_HEADER + np.frombuffer(value, "<f4").astype(">f4").tobytes()


def _packed(layout: str) -> Callable[[Any], bytes]:
    return struct.Struct(layout).pack


_PLAIN_BYTES = Form(_coerced(LargeBinary()), _coerced(LargeBinary()), bytes, bytes, bytes)

_FORMS: Mapping[type[TypeEngine[Any]], Form] = {
    Id: Form(_coerced(Text()), _as_text, _read_id, str.encode, _uuid_bytes),
    Moment: Form(_coerced(Text()), _time_text, _read_time, str.encode, _time_bytes),
    StorableText: Form(_column, _column, storable, str.encode, str.encode),
    Json: Form(_coerced(Text()), _as_text, _read_json, _canonical_json, lambda value: b"\x01" + str.encode(value)),
    CompressedJson: _PLAIN_BYTES,
    LargeBinary: _PLAIN_BYTES,
    UnitVector: Form(_coerced(LargeBinary()), _vector_bytes, _read_vector, bytes, _vector_message),
    # Before Integer, of which it is a kind.
    BigInteger: Form(_column, _column, _same, _packed(">q"), _packed(">q")),
    Integer: Form(_column, _column, _same, _packed(">q"), _packed(">i")),
    # Adding zero makes -0.0, which SQLite does not keep, 0.0.
    Float: Form(_column, _column, lambda value: float(value) + 0.0, _packed(">d"), _packed(">d")),
    Boolean: Form(_coerced(Integer()), _column, bool, _packed("?"), _packed("?")),
}
"""Looked through in this order."""
