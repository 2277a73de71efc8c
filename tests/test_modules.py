"""How the tests are divided: modules of tests, fixtures in conftest, everything that they share in support."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parent
IMPORT = re.compile(
    r"^\s*(?:from\s+(tests[\w.]*)\s+import\s+(?:\(([^)]*)\)|(.*))|import\s+(tests[\w.]*))", re.MULTILINE
)
"""Also inside of a string: a test may run a program."""
ONLY_PYTEST = re.compile(r"\b(test_\w+|conftest)\b")


def imports_of_tests(source: str) -> list[str]:
    """What `source` imports that only pytest may: modules of tests and of fixtures."""
    found = []
    for module, inside, after, whole in IMPORT.findall(source):
        names = [name.split()[0] for name in (inside or after).split(",") if name.strip()]
        # A function in support may well be named like a module of tests.
        inner = [] if module.startswith("tests.support.") else [f"{module}.{name}" for name in names]
        found += [path for path in (module or whole, *inner) if ONLY_PYTEST.search(path)]
    return found


def shared_by_a_conftest(source: str) -> Iterator[str]:
    """Names at the top of a conftest which are neither fixtures nor hooks, and which somebody could import."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.ClassDef):
            yield ast.unparse(node).partition("\n")[0]
        elif isinstance(node, ast.FunctionDef):
            is_fixture = any("fixture" in ast.unparse(decorator) for decorator in node.decorator_list)
            if not (is_fixture or node.name.startswith(("pytest_", "_"))):
                yield node.name


def test_nothing_imports_a_module_of_tests() -> None:
    sources = {path: path.read_text("utf-8") for path in TESTS.rglob("*.py") if path != Path(__file__)}
    found = {path: imports_of_tests(source) for path, source in sources.items()}
    assert {path: names for path, names in found.items() if names} == {}


def test_what_tests_share_is_in_support() -> None:
    others = {
        path.relative_to(TESTS).as_posix()
        for path in TESTS.rglob("*.py")
        if not (path.name.startswith("test_") or path.name in ("__init__.py", "conftest.py"))
    }
    assert {name for name in others if not name.startswith(("support/", "data/"))} == set()


def test_a_conftest_has_fixtures_and_hooks_only() -> None:
    found = {path: list(shared_by_a_conftest(path.read_text("utf-8"))) for path in TESTS.rglob("conftest.py")}
    assert TESTS / "conftest.py" in found
    assert {path: names for path, names in found.items() if names} == {}


def test_an_import_would_be_found() -> None:
    for line in (
        "from tests.api.test_jobs import wait",
        "from tests.api import test_jobs as jobs",
        "from tests.api import (\n    test_jobs,\n)",
        "import tests.conftest",
        "from tests import conftest",
        'run("""\n    from tests.api.test_jobs import wait\n""")',
    ):
        assert imports_of_tests(line), line
    assert imports_of_tests("from tests.support.api_server import wait") == []
    assert list(shared_by_a_conftest("ROOT = 1\nclass Server: ...\ndef wait() -> None: ...")) == [
        "ROOT = 1",
        "class Server:",
        "wait",
    ]
