"""Checks the filters, cursors and times of searches and lists."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, cast

from database.filters import FIELDS, MAX_VALUES, OPERATORS, condition_sql
from database.ids import parse_time
from database.records import Condition
from services.errors import FieldError, InvalidOption
from services.options import pointer_step

INVALID_FILTER = "invalid_filter"
MAX_CONDITIONS = 50
MAX_INTEGER = 2**53
"""Larger integers are not told apart by JSON readers that use doubles. Source: RFC 8259, section 6."""

Operator = Literal["$eq", "$in", "$gte", "$lte"]


@contextmanager
def refusing_bad_queries(pointer: str = "/query/cursor", *, code: str = "invalid_cursor") -> Iterator[None]:
    """Turns the store's ValueError about what stands at `pointer` into InvalidOption."""
    try:
        yield
    except ValueError as error:
        message = str(error)
        detail = f"{message[:1].upper()}{message[1:]}."
        raise InvalidOption(detail, code=code, errors=(FieldError(pointer, message),)) from error


def check_conditions(conditions: Sequence[Condition], *, at: str = "/filters") -> None:
    """Returns when the store can answer every condition.

    Raises InvalidOption that points to the first field, below `at`, that it cannot.
    """
    if len(conditions) > MAX_CONDITIONS:
        message = f"may hold at most {MAX_CONDITIONS} conditions"
        raise InvalidOption(f"{at} {message}.", code=INVALID_FILTER, errors=(FieldError(at, message),))
    for condition in conditions:
        try:
            condition_sql(condition)
        except ValueError as error:
            pointer = f"{at}/{pointer_step(condition.field)}"
            message = str(error).removeprefix(f"{condition.field}: ").removeprefix(f"{condition.field[:80]} ")
            raise InvalidOption(
                f"{pointer} {message}.", code=INVALID_FILTER, errors=(FieldError(pointer, message),)
            ) from error


def check_time(given: str | None, *, at: str) -> None:
    """Returns when `given` is None or a time.

    Raises InvalidOption that points to `at`.
    """
    if given is not None:
        with refusing_bad_queries(at, code=INVALID_FILTER):
            parse_time(given)


def parse_filters(given: Mapping[str, Any] | None) -> tuple[Condition, ...]:
    """The conditions of a JSON object such as `{"metadata.year": {"$gte": 2020}}`.

    A bare value means `$eq`, null is absent. Raises InvalidOption with a pointer for each thing that is wrong.
    """
    wrong: list[FieldError] = []
    conditions: list[Condition] = []
    for field, wanted in (given or {}).items():
        pointer = f"/filters/{pointer_step(field)}"
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
                wrong.append(FieldError(f"{pointer}/{pointer_step(operator)}", message))
                continue
            conditions.append(Condition(field, cast("Operator", operator), value))
    if len(conditions) > MAX_CONDITIONS:
        wrong.append(FieldError("/filters", f"may hold at most {MAX_CONDITIONS} conditions"))
    if wrong:
        raise InvalidOption(
            "; ".join(f"{error.pointer} {error.message}" for error in wrong[:5]) + ".",
            code=INVALID_FILTER,
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
