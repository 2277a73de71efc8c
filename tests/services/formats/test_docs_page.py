"""docs/formats.md says what is so: every format, limit, warning and refusal stands in it, as the tables have them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from docs.build_formats import LIMITS, PAGE, REFUSALS, WARNINGS, formats_page
from services.content import Limits
from services.errors import error_classes
from services.settings import Settings
from tests.support.paths import ROOT

_READING = ("services/formats", "services/sandbox", "services/ocr")
"""Where files are read: what is raised here ends the job of a file."""


def test_page_is_what_the_generator_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == formats_page(), "run `python -m docs.build_formats`"


def test_every_limit_is_on_the_page() -> None:
    assert list(LIMITS) == [field.name for field in fields(Limits)]
    known = set(WARNINGS) | set(REFUSALS)
    for _, codes, setting in LIMITS.values():
        assert {code for code in codes.split(", ") if code} <= known
        assert not setting or setting.lower() in Settings.model_fields


def _calls(*folders: str) -> Iterator[tuple[str, ast.Call]]:
    """(name of what is called, call) in all modules below `folders`."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    yield node.func.id, node


def _words(node: ast.expr | None) -> set[str]:
    """The strings that an expression may be, where it says so itself."""
    if isinstance(node, ast.IfExp):
        return _words(node.body) | _words(node.orelse)
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def _argument(call: ast.Call, name: str, place: int) -> ast.expr | None:
    named = next((keyword.value for keyword in call.keywords if keyword.arg == name), None)
    return named or (call.args[place] if len(call.args) > place else None)


def test_every_warning_is_on_the_page() -> None:
    given = {w for name, call in _calls("services") if name == "Issue" for w in _words(_argument(call, "code", 0))}
    assert len(given) > 20
    assert given <= set(WARNINGS)


def test_every_refusal_is_on_the_page() -> None:
    classes = error_classes()
    raised: set[str] = set()
    for name, call in _calls(*_READING):
        if name == "Problem":
            raised |= _words(_argument(call, "code", 1))
        elif name in classes and name not in ("NotFound", "InternalError"):
            code = next((keyword.value for keyword in call.keywords if keyword.arg == "code"), None)
            raised |= _words(code) if code is not None else {classes[name].default_code}
    assert len(raised) > 30
    assert raised <= set(REFUSALS) | {"invalid_option", "unreadable_document"}


def test_no_code_on_the_page_is_left_of_one_that_is_gone() -> None:
    used = {
        node.value
        for path in (ROOT / "services").rglob("*.py")
        for node in ast.walk(ast.parse(Path(path).read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert set(WARNINGS) | set(REFUSALS) <= used
