"""Filters on documents as SQL."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, false, literal, or_, select

from database import schema
from database.columns import JsonNumber, storable, to_json
from database.ids import parse_time
from database.records import Condition, DocumentFilter
from database.sql import JsonScalar, among_ids, json_scalar

MAX_VALUES = 1000
"""Values of one `$in`."""
MAX_PATH = 16
"""Keys of one `metadata.` field."""

_TEXT_FIELDS = {
    "format": "file_type",
    "status": "status",
    "filename": "filename",
    "title": "title",
    "author": "author",
    "language": "language",
}
_TIME_FIELDS = {"created_at": "created_at", "updated_at": "updated_at"}
_NUMBER_FIELDS = {"size_bytes": "file_size", "page_count": "page_count"}
FIELDS = (*_TEXT_FIELDS, *_TIME_FIELDS, *_NUMBER_FIELDS)
"""Fields of a document that a condition may name, beside `metadata.<key>`."""
OPERATORS = ("$eq", "$in", "$gte", "$lte")

_EXACT = 2**53
"""Up to here every integer is a float too. Source: IEEE 754, binary64."""

# SQLite's JSON paths know no escape inside a quoted key (sqlite.org/json1.html, "PATH arguments").
_UNQUOTABLE = re.compile(r'["\\\x00-\x1f]')

_COMPARE: dict[str, Callable[[ColumnElement[Any], Any], ColumnElement[bool]]] = {
    "$eq": lambda left, right: left == right,
    "$gte": lambda left, right: left >= right,
    "$lte": lambda left, right: left <= right,
}


def matches(only: DocumentFilter) -> ColumnElement[bool]:
    """True for the rows of documents_metadata that `only` lets through.

    The owner is not looked at. Raises ValueError for an unknown field or operator, or a value that the field cannot be
    compared with.
    """
    parts = [condition_sql(condition) for condition in only.conditions]
    if only.document_ids is not None:
        parts.append(schema.documents.c.document_id.in_(families(only.document_ids)))
    return and_(literal(True), *parts)


def families(document_ids: Sequence[str]) -> Select[tuple[str]]:
    """A query for the ids of documents and of all that lie in them.

    Whatever their owner: whoever asks for an archive asks for what is in it.
    """
    inner = schema.documents.alias()
    family = select(inner.c.document_id).where(inner.c.document_id.in_(among_ids(document_ids))).cte(recursive=True)
    child = schema.documents.alias()
    family = family.union(select(child.c.document_id).join(family, child.c.parent_id == family.c.document_id))
    return select(family.c.document_id)


def condition_sql(condition: Condition) -> ColumnElement[bool]:
    """One condition as SQL over documents_metadata; see `matches`."""
    name, operator, value = condition.field, condition.operator, condition.value
    if operator not in OPERATORS:
        raise ValueError(f"{operator} is not an operator; known are {', '.join(OPERATORS)}")
    if operator == "$in":
        if not isinstance(value, (list, tuple)) or len(value) > MAX_VALUES:
            raise ValueError(f"{name}: $in needs a list of at most {MAX_VALUES} values")
        values = list(value)
    else:
        values = [value]
    if name.startswith("metadata."):
        path = tuple(name.split(".")[1:])
        if len(path) > MAX_PATH or not all(path) or any(_UNQUOTABLE.search(key) for key in path):
            raise ValueError(
                f"{name[:80]} is not a field: keys are joined by dots, are not empty "
                "and hold no quotation marks, backslashes or control characters"
            )
        return _metadata_condition(name, json_scalar(schema.documents.c.metadata, path), operator, values)
    return _column_condition(name, operator, values)


def filter_key(only: DocumentFilter) -> tuple[object, ...]:
    """A hashable key: equal only for filters that mean the same. Raises as `matches`."""
    for condition in only.conditions:
        condition_sql(condition)
    conditions = tuple((c.field, c.operator, to_json(c.value)) for c in only.conditions)
    return (None if only.document_ids is None else tuple(only.document_ids), conditions)


def _column_condition(name: str, operator: str, values: list[Any]) -> ColumnElement[bool]:
    if name in _NUMBER_FIELDS:
        column: ColumnElement[Any] = schema.documents.c[_NUMBER_FIELDS[name]]
        converted: list[Any] = [_number(name, value) for value in values]
        if any(value is None for value in converted):
            raise ValueError(f"{name}: is a number and cannot be compared with {_shown(values)}")
    elif name in _TEXT_FIELDS or name in _TIME_FIELDS:
        column = schema.documents.c[_TEXT_FIELDS.get(name) or _TIME_FIELDS[name]]
        if not all(isinstance(value, str) for value in values):
            raise ValueError(f"{name}: is a string and cannot be compared with {_shown(values)}")
        converted = [parse_time(value) for value in values] if name in _TIME_FIELDS else values
    else:
        raise ValueError(f"{name[:80]} is not a field; known are metadata.<key>, {', '.join(FIELDS)}")
    if name in _NUMBER_FIELDS:
        # The column's own type would round a fraction, and refuse what is larger than it.
        converted = [literal(value, JsonNumber()) for value in converted]
    if operator == "$in":
        return column.in_(converted)
    return _COMPARE[operator](column, converted[0])


def _metadata_condition(name: str, scalar: JsonScalar, operator: str, values: list[Any]) -> ColumnElement[bool]:
    parts: list[ColumnElement[bool]] = []
    numbers: list[ColumnElement[Any]] = []
    texts: list[str] = []
    for value in values:
        if isinstance(value, bool):
            if operator in ("$gte", "$lte"):
                raise ValueError(f"{name}: {operator} compares numbers or strings, not {_shown([value])}")
            parts.append(scalar.kind_is("true" if value else "false"))
        elif isinstance(value, str):
            texts.append(storable(value))
        elif (number := _number(name, value)) is not None:
            numbers.extend(_spellings(number))
        else:
            raise ValueError(f"{name}: compares with numbers, strings, true and false, not {_shown([value])}")
    if numbers:
        parts.append(and_(scalar.kind_is("integer", "real"), _compare_any(scalar.number(), operator, numbers)))
    if texts:
        parts.append(and_(scalar.kind_is("text"), _compare_any(scalar.text(), operator, texts)))
    return or_(false(), *parts)


def _compare_any(value: ColumnElement[Any], operator: str, values: list[Any]) -> ColumnElement[bool]:
    # Several values without `$in` are one number in its spellings.
    return value.in_(values) if operator == "$in" else or_(*(_COMPARE[operator](value, one) for one in values))


def _spellings(number: float) -> list[ColumnElement[Any]]:
    """The number as a document may hold it.

    From 2**53 on, the digits of a float are those of another integer than its value, and Postgres compares digits.
    """
    spelled: list[float] = [number]
    if isinstance(number, float) and number.is_integer() and abs(number) >= _EXACT:
        spelled.append(int(number))
    elif isinstance(number, int) and abs(number) >= _EXACT and int(float(number)) == number:
        spelled.append(float(number))
    return [literal(one, JsonNumber()) for one in spelled]


def _shown(values: list[Any]) -> str:
    """The values as JSON, as they were sent, cut to a length that fits a message."""
    text = ", ".join(json.dumps(value, ensure_ascii=False, default=str) for value in values[:10])
    return text if len(text) <= 80 else f"{text[:79]}…"


def _number(name: str, value: Any) -> float | None:
    """`value` as a number that a database takes, None when it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name}: {value} is not a number that can be compared")
    try:
        return value if -(2**63) <= value < 2**63 else float(value)
    except OverflowError as error:
        raise ValueError(f"{name}: the number is too large") from error
