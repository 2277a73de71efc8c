"""Prints the structure of the code in figures: modules a folder, the largest modules and functions, imports.

    python -m bench.structure

Run it before and after a change of the layout. A room is a package; an arrow is one room whose modules import
another's; a circle is a set of modules that import one another, wherever the import stands (also inside a function, or
for types alone).
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = ("api", "cli", "database", "services")
SHOWN = 5

_BRANCHES = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case, ast.comprehension)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def main() -> None:
    """Prints the figures of the checkout that this file lies in."""
    files = sorted(path for package in PRODUCT for path in (ROOT / package).rglob("*.py"))
    tests = sorted((ROOT / "tests").rglob("*.py"))
    print("modules at each folder's root (without __init__):")
    for folder, count in sorted(modules_by_folder([*files, *tests]).items()):
        print(f"  {count:4} {folder}")
    print("largest modules (lines):")
    for lines, path in largest_modules(files):
        print(f"  {lines:4} {path}")
    print("functions of the highest complexity (branches and boolean operators, from 1):")
    for complexity, name in most_complex_functions(files):
        print(f"  {complexity:4} {name}")
    imports = imports_by_module()
    circles = circles_of(imports)
    print(f"import circles: {len(circles)}")
    for circle in circles:
        print(f"       {' '.join(circle)}")
    rooms = {room_of(module, imports) for module in imports}
    print(f"rooms: {len(rooms)}; arrows between rooms: {len(arrows_between_rooms(imports))}")


def modules_by_folder(files: Sequence[Path]) -> Mapping[str, int]:
    """How many modules lie directly in each folder."""
    return Counter(str(path.parent.relative_to(ROOT)) for path in files if path.name != "__init__.py")


def largest_modules(files: Sequence[Path]) -> list[tuple[int, str]]:
    """(lines, path) of the longest modules, longest first."""
    counted = ((len(path.read_text("utf-8").splitlines()), str(path.relative_to(ROOT))) for path in files)
    return sorted(counted, reverse=True)[:SHOWN]


def most_complex_functions(files: Sequence[Path]) -> list[tuple[int, str]]:
    """(complexity, path:line name) of the functions with the most ways through them, most first."""
    return sorted((found for path in files for found in _functions(path)), reverse=True)[:SHOWN]


def _functions(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, _FUNCTIONS):
            yield complexity_of(node), f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"


def complexity_of(function: ast.AST) -> int:
    """McCabe's number with each further operand of `and` and `or` counted as a branch; inner functions belong to it."""
    count = 1
    for node in ast.walk(function):
        if isinstance(node, ast.BoolOp):
            count += len(node.values) - 1
        elif isinstance(node, ast.comprehension):
            count += 1 + len(node.ifs)
        elif isinstance(node, _BRANCHES):
            count += 1
    return count


def imports_by_module() -> Mapping[str, frozenset[str]]:
    """The product's modules, and which of the others each imports."""
    graph = grimp.build_graph(*PRODUCT, cache_dir=None)
    return {
        module: frozenset(graph.find_modules_directly_imported_by(module)) - {module}
        for module in sorted(graph.modules)
    }


def circles_of(imports: Mapping[str, frozenset[str]]) -> list[list[str]]:
    """The sets of modules that import one another, largest first."""
    circles: list[list[str]] = []
    seen: set[str] = set()
    reached = {module: _reached_from(module, imports) for module in imports}
    for module in imports:
        if module in seen or module not in reached[module]:
            continue
        circle = sorted(other for other in reached[module] if module in reached[other])
        seen.update(circle)
        circles.append(circle)
    return sorted(circles, key=len, reverse=True)


def _reached_from(module: str, imports: Mapping[str, frozenset[str]]) -> frozenset[str]:
    found: set[str] = set()
    waiting = list(imports[module])
    while waiting:
        other = waiting.pop()
        if other not in found:
            found.add(other)
            waiting += imports[other]
    return frozenset(found)


def room_of(module: str, imports: Mapping[str, frozenset[str]]) -> str:
    """The package that the module lies in; a package's own __init__ lies in itself."""
    is_package = any(other.startswith(f"{module}.") for other in imports)
    return module if is_package else module.rpartition(".")[0]


def arrows_between_rooms(imports: Mapping[str, frozenset[str]]) -> set[tuple[str, str]]:
    """(importing room, imported room), each pair once."""
    arrows = {
        (room_of(module, imports), room_of(other, imports)) for module, others in imports.items() for other in others
    }
    return {(source, target) for source, target in arrows if source != target}


if __name__ == "__main__":
    main()
