"""Parses the `filters` of a search and of a list into conditions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, cast

from database.filters import FIELDS, MAX_VALUES, OPERATORS
from database.records import Condition
from services.errors import FieldError, InvalidOption

MAX_CONDITIONS = 50
MAX_INTEGER = 2**53
"""Larger integers are not told apart by JSON readers that use doubles. Source: RFC 8259, section 6."""

Operator = Literal["$eq", "$in", "$gte", "$lte"]


@contextmanager
def refusing_bad_queries() -> Iterator[None]:
    """Turns the store's ValueError about a cursor, a filter or a time into InvalidOption, in the caller's terms."""
    try:
        yield
    except ValueError as error:
        text = str(error)
        raise InvalidOption(f"{text[:1].upper()}{text[1:]}.", code="invalid_request") from error


def parse_filters(given: Mapping[str, Any] | None) -> tuple[Condition, ...]:
    """Conditions from `{"format": "pdf", "metadata.year": {"$gte": 2020}}`; a bare value means `$eq`, null is absent.

    Raises InvalidOption with a pointer for each thing that is wrong.
    """
    wrong: list[FieldError] = []
    conditions: list[Condition] = []
    for field, wanted in (given or {}).items():
        pointer = f"/filters/{_escaped(field)}"
        if wanted is None:
            continue
        if field not in FIELDS and not re.fullmatch(r"metadata(\.[^.]+)+", field, re.DOTALL):
            wrong.append(FieldError(pointer, f"is no field; known are metadata.<key>, {', '.join(FIELDS)}"))
            continue
        if not isinstance(wanted, Mapping):
            wanted = {"$eq": wanted}
        elif not wanted:
            wrong.append(FieldError(pointer, f"names no operator; known are {', '.join(OPERATORS)}"))
        for operator, value in wanted.items():
            if value is None:
                continue
            message = _complaint(operator, value)
            if message:
                wrong.append(FieldError(f"{pointer}/{_escaped(operator)}", message))
                continue
            conditions.append(Condition(field, cast("Operator", operator), value))
    if len(conditions) > MAX_CONDITIONS:
        wrong.append(FieldError("/filters", f"may hold at most {MAX_CONDITIONS} conditions"))
    if wrong:
        raise InvalidOption(
            "; ".join(f"{error.pointer} {error.message}" for error in wrong[:5]) + ".",
            code="invalid_filter",
            errors=tuple(wrong),
        )
    return tuple(conditions)


def _complaint(operator: str, value: Any) -> str:
    if operator not in OPERATORS:
        return f"is no operator; known are {', '.join(OPERATORS)}"
    if operator == "$in":
        if not isinstance(value, list) or not 1 <= len(value) <= MAX_VALUES:
            return f"must be a list of 1 to {MAX_VALUES} values"
        return "" if all(_is_scalar(item) for item in value) else "may hold strings, numbers, true and false only"
    if operator in ("$gte", "$lte") and isinstance(value, bool):
        return "must be a number or a string"
    return "" if _is_scalar(value) else "must be a string, a number, true or false"


def _is_scalar(value: Any) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) <= MAX_INTEGER
    return isinstance(value, (str, float, bool))


def _escaped(name: str) -> str:
    """`name` as a step of an RFC 6901 pointer."""
    return name[:200].replace("~", "~0").replace("/", "~1")
