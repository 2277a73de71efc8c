"""Which tests are quick: what a test needs is read from its parameters, its fixtures and the code that it reaches."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from functools import cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

PROCESSES = ("subprocess", "multiprocessing", "bench", "services.sandbox.pool", "tests.support.server_process")
MODELS = ("torch", "onnxruntime", "services.embedding.mpnet", "services.ocr.engines", "services.ocr.rapidocr")
PROGRAMS = ("tests.support.libreoffice_install", "tests.support.supabase_cli", "tests.support.pgbouncer")
SERVERS = ("database.postgres.embedded", "tests.support.postgres_server")
SLOW = tuple(f"{name}." for name in (*PROCESSES, *MODELS, *PROGRAMS, *SERVERS))
"""Modules that start programs, load models or need a server: a test that reaches one of them is not quick."""


def is_quick(item: pytest.Item) -> bool:
    """False for a test that needs Postgres, a model, a program or a process of its own; see `SLOW`."""
    assert isinstance(item, pytest.Function)
    kind = item.callspec.params.get("store_kind", "sqlite") if hasattr(item, "callspec") else "sqlite"
    return kind == "sqlite" and not needs_more_than_a_store(item)


def needs_more_than_a_store(item: pytest.Item) -> bool:
    """True for a test that reaches a module of `SLOW`, by its own code or by a fixture's."""
    assert isinstance(item, pytest.Function)
    fixtures = item._fixtureinfo.name2fixturedefs.values()
    return any(_reaches_slow(function) for function in (item.function, *(found[-1].func for found in fixtures)))


@cache
def _reaches_slow(function: Any) -> bool:
    """True where `function`, or what it calls in the tests, uses a module of `SLOW`."""
    seen: set[Any] = set()
    todo = [inspect.unwrap(function)]
    while todo:
        current = todo.pop()
        if not isinstance(current, FunctionType) or current in seen:
            continue
        seen.add(current)
        for value in _used(current):
            name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None) or ""
            if f"{name}.".startswith(SLOW):
                return True
            if name.startswith("tests.") and not isinstance(value, ModuleType):
                todo += [*vars(value).values()] if isinstance(value, type) else [inspect.unwrap(value)]
    return False


def _used(function: FunctionType) -> Iterator[Any]:
    """What the global names that the code of a function reads stand for, and the modules that it imports."""
    for code in _codes(function.__code__):
        for name in code.co_names:
            if name in function.__globals__:
                yield function.__globals__[name]
            elif name in sys.modules:
                yield sys.modules[name]


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
