"""How values are kept in columns: text that any driver takes, JSON, compressed JSON, vectors."""

from __future__ import annotations

import json
import re
import zlib
from typing import Any

import numpy as np
from sqlalchemy import JSON, LargeBinary, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from database.records import Vector

VECTOR_WIDTH = 768
"""Columns of every stored vector; a narrower model is padded with zeros by whoever made it."""
UNIT_TOLERANCE = 1e-3
"""How far from 1 a vector's length may be.

Source: measured on 100,000 random vectors of 768: rounding unit vectors to bfloat16 puts the length off by at most
5e-4. Normalising in bfloat16 puts it off by up to 2.8e-3, which is refused: normalise in float32.
"""
_REFUSED = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """`text` with NUL and lone surrogates, which no database takes, as U+FFFD; lengths and offsets stay."""
    return _REFUSED.sub("\ufffd", text)


def to_json(value: Any) -> str:
    """`value` as compact JSON that every driver takes.

    Raises ValueError for NaN and infinities, TypeError for what JSON cannot say.
    """
    return storable(json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False))


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


class NullableJson(TypeDecorator[Any]):
    """JSON in which None is the database's NULL."""

    impl = JSON(none_as_null=True)
    cache_ok = True


class CompressedJson(TypeDecorator[Any]):
    """zlib of UTF-8 JSON. Word boxes shrink to about a quarter, and reading them takes less time than from disk."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> bytes | None:
        return None if value is None else zlib.compress(to_json(value).encode(), 1)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(zlib.decompress(value))


class UnitVector(TypeDecorator[Vector]):
    """768 float32, little-endian; what comes back is read-only."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Vector | None, dialect: Dialect) -> bytes | None:
        return None if value is None else checked_vector(value).tobytes()

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Vector | None:
        return None if value is None else np.frombuffer(value, dtype="<f4")
