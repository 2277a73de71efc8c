"""Says of a setting that is wrong what it must be, from its type and bounds."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from services.settings import PREFIX, Settings

MAX_SHOWN = 80
"""Characters of a wrong value that are repeated."""


def describe_wrong_setting(error: Mapping[str, Any]) -> str:
    """What is wrong with one setting, and what it must be.

    `error` is one of pydantic's. The value is repeated unless it is a secret.
    """
    if not error["loc"]:
        return str(error["msg"]).removeprefix("Value error, ")
    field = str(error["loc"][0])
    name = f"{PREFIX}{field.upper()}"
    info = Settings.model_fields[field]
    wanted = _wanted(info)
    if wanted is None:
        return f"{name}: {str(error['msg']).removeprefix('Value error, ')}"
    if SecretStr in _alternatives(info.annotation):
        return f"{name} must be {wanted}"
    return f"{name} must be {wanted}, and is {_shown(error['input'])}"


def _wanted(info: FieldInfo) -> str | None:
    """What a value of the setting must be; None where neither its type nor its bounds say."""
    for kind in _alternatives(info.annotation):
        if get_origin(kind) is Literal:
            return _one_of([str(word) for word in get_args(kind)])
        if kind is bool:
            return "true or false"
        if kind is int:
            return f"a whole number{_bounds(info)}"
        if kind is float:
            return f"a number{_bounds(info)}"
        if get_origin(kind) is tuple:
            return "a list of texts, written as JSON"
        if kind is str and _bound(info, "min_length"):
            return f"a text of at least {_bound(info, 'min_length')} character"
    return None


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _one_of(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]


def _bounds(info: FieldInfo) -> str:
    least, above, most = (_bound(info, name) for name in ("ge", "gt", "le"))
    if least is not None and most is not None:
        return f" from {least} to {most:.17g}"
    parts = [f"of at least {least}"] if least is not None else []
    parts += [f"above {above}"] if above is not None else []
    parts += [f"at most {most:.17g}"] if most is not None else []
    return f" {' and '.join(parts)}" if parts else ""


def _bound(info: FieldInfo, name: str) -> Any:
    return next((getattr(one, name) for one in info.metadata if hasattr(one, name)), None)


def _shown(value: object) -> str:
    text = repr(str(value))
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…'"
