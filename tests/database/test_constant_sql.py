"""Statements are constants of the program: what a user says is bound, and never becomes a part of one."""

from __future__ import annotations

import ast

from tests.support.paths import ROOT


def test_no_text_of_a_request_becomes_sql() -> None:
    """A statement that could be chosen by a user could say SET ROLE: so all of them are constants of the program."""
    found: set[str] = set()
    for path in sorted((ROOT / "database").rglob("*.py")):
        module = ast.parse(path.read_text("utf-8"))
        constants = _constant_names(module)
        for node in ast.walk(module):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in ("text", "literal_column", "exec_driver_sql") and not _is_constant(node.args[0], constants):
                found.add(path.relative_to(ROOT).as_posix())
    assert found == VARIABLE_SQL


VARIABLE_SQL = {
    "database/copying/writing.py",  # names of the program's own tables and columns
    "database/migrations.py",  # files of the program
    "database/sqlite/engine.py",  # one of two constants
}
"""Modules with statements that are put together, and of what; nobody but the program has a say in it."""


def _constant_names(module: ast.Module) -> set[str]:
    """Names that the module gives a string, or strings put together, once."""
    names: set[str] = set()
    for node in module.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if _is_constant(value, names):
                names.add(name)
    return names


def _is_constant(node: ast.expr, constants: set[str]) -> bool:
    if isinstance(node, ast.Constant):
        return True
    if isinstance(node, ast.Name):
        return node.id in constants
    if isinstance(node, ast.JoinedStr):
        return all(_is_constant(part, constants) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return _is_constant(node.value, constants)
    if isinstance(node, ast.BinOp):
        return _is_constant(node.left, constants) and _is_constant(node.right, constants)
    return False
