"""How values are kept in columns of either database.

Ids, times, text that any driver takes, JSON, vectors.
"""

from __future__ import annotations

import json
import re
import zlib
from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np
from pgvector.sqlalchemy import VECTOR
from sqlalchemy import JSON, DateTime, Integer, LargeBinary, Numeric, Text
from sqlalchemy.dialects.postgresql import JSONB, UUID
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from database.ids import format_time
from database.records import Vector

VECTOR_WIDTH = 768
"""Columns of every stored vector, float32 of unit length; a narrower model's are filled up with zeros.

Source: the width of all-mpnet-base-v2, the text model; the `vector(768)` columns of the migrations say the same."""
UNIT_TOLERANCE = 1e-3
"""How far from 1 a vector's length may be.

Source: measured on 100,000 random vectors of 768: rounding unit vectors to bfloat16 puts the length off by at most
5e-4. Normalising in bfloat16 puts it off by up to 2.8e-3, which is refused: normalise in float32.
"""
_REFUSED = re.compile("[\x00\ud800-\udfff]")
_ESCAPED_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
_CANONICAL_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NO_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"
"""An id that nothing has, for the Postgres column which cannot be asked for a text that is no UUID.

Source: RFC 9562, section 5.10, the Max UUID; no generator makes it.
"""


def storable(text: str) -> str:
    """`text` with NUL and lone surrogates, which no database takes, as U+FFFD.

    Lengths and offsets stay.
    """
    return _REFUSED.sub("\ufffd", text)


def to_json(value: Any) -> str:
    """`value` as compact JSON that every driver and `jsonb` take.

    NUL and lone surrogates are U+FFFD. Raises ValueError for NaN and infinities, TypeError for what JSON cannot say.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return storable(_ESCAPED_NUL.sub("\\1\ufffd", text) if "\\u0000" in text else text)


def checked_vector(vector: Vector) -> Vector:
    """`vector` as contiguous little-endian float32.

    Raises ValueError unless it has 768 finite numbers and unit length.
    """
    flat = np.ascontiguousarray(vector, dtype="<f4")
    if flat.shape != (VECTOR_WIDTH,):
        raise ValueError(f"a vector of shape {flat.shape} is not one of {VECTOR_WIDTH} numbers")
    length = float(np.linalg.norm(flat))
    if not abs(length - 1.0) <= UNIT_TOLERANCE:
        raise ValueError(f"a vector of length {length:.4f} is not of unit length")
    return flat


class StorableText(TypeDecorator[str]):
    """Text; see `storable`."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return value if value is None else storable(value)


class Id(TypeDecorator[str]):
    """A UUID, in canonical lower-case text.

    `uuid` on Postgres. What is no such text equals no id.
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(UUID(as_uuid=False) if _is_postgres(dialect) else Text())

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None or not _is_postgres(dialect):
            return value if value is None else storable(value)
        return known_id(value)


def known_id(value: str) -> str:
    """`value` where it is a UUID in canonical form, else NO_ID."""
    return value if _CANONICAL_ID.fullmatch(value) else NO_ID


class Moment(TypeDecorator[str]):
    """A time in the store's way of writing (see database.ids).

    `timestamptz` on Postgres.
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(DateTime(timezone=True) if _is_postgres(dialect) else Text())

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | datetime | None:
        return datetime.fromisoformat(value) if value is not None and _is_postgres(dialect) else value

    def process_result_value(self, value: str | datetime | None, dialect: Dialect) -> str | None:
        return format_time(value) if isinstance(value, datetime) else value


class JsonNumber(TypeDecorator[Any]):
    """A number of a JSON document, to compare with.

    Exact on Postgres, 64 bits or float64 on SQLite as in its JSON.
    """

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        # SQLite's own type would make every integer a float.
        return dialect.type_descriptor(Numeric() if _is_postgres(dialect) else Integer())

    def process_bind_param(self, value: float | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if _is_postgres(dialect):
            # The digits that Python writes are those that the document was stored with.
            return Decimal(value if isinstance(value, int) else repr(value))
        return value if -(2**63) <= value < 2**63 else float(value)


class Json(TypeDecorator[Any]):
    """JSON; `jsonb` on Postgres. None is the database's NULL."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        kind = JSONB(none_as_null=True) if _is_postgres(dialect) else JSON(none_as_null=True)
        return dialect.type_descriptor(kind)


class CompressedJson(TypeDecorator[Any]):
    """zlib of UTF-8 JSON.

    Word boxes shrink to about a quarter, and reading them takes less time than from disk.
    """

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> bytes | None:
        return None if value is None else zlib.compress(to_json(value).encode(), 1)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(zlib.decompress(value))


class UnitVector(TypeDecorator[Vector]):
    """768 float32: little-endian bytes, or `vector(768)` on Postgres.

    What comes back is read-only.
    """

    impl = LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(VECTOR(VECTOR_WIDTH) if _is_postgres(dialect) else LargeBinary())

    def process_bind_param(self, value: Vector | None, dialect: Dialect) -> Vector | bytes | None:
        if value is None:
            return None
        checked = checked_vector(value)
        return checked if _is_postgres(dialect) else checked.tobytes()

    def process_result_value(self, value: Any, dialect: Dialect) -> Vector | None:
        if value is None:
            return None
        if isinstance(value, bytes):
            return np.frombuffer(value, dtype="<f4")
        vector: Vector = np.asarray(value, dtype="<f4")
        vector.flags.writeable = False
        return vector


def _is_postgres(dialect: Dialect) -> bool:
    return dialect.name == "postgresql"
