"""Every path, function and link that the pages of the documentation name exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "decisions").glob("*.md")],
    key=lambda page: page.as_posix(),
)
CURRENT = [page for page in PAGES if page.name != "CHANGELOG.md" and page.parent.name != "decisions"]
"""Pages that tell how it is now; the others tell how it was when they were written."""
TOP = ("api", "bench", "cli", "database", "docs", "services", "supabase", "tests")


def _id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _anchors(page: Path) -> set[str]:
    """The names that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in _anchors(file), target


@pytest.mark.parametrize("page", CURRENT, ids=_id)
def test_named_paths_exist(page: Path) -> None:
    named = re.findall(rf"`((?:{'|'.join(TOP)})/[\w./-]*)`", page.read_text(encoding="utf-8"))
    missing = [path for path in named if not (ROOT / path).exists() and not _is_of_a_reader(path)]
    assert missing == []


def _is_of_a_reader(path: str) -> bool:
    """True for a path that a reader of docs/adding-a-format.md makes."""
    return path.startswith("tests/data/golden/<")


@pytest.mark.parametrize("page", CURRENT, ids=_id)
def test_named_modules_can_be_run(page: Path) -> None:
    for module in re.findall(r"python -m ((?:bench|docs|services|cli)(?:\.\w+)+)", page.read_text(encoding="utf-8")):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module


@pytest.mark.parametrize("page", CURRENT, ids=_id)
def test_variables_of_commands_are_set_on_the_page(page: Path) -> None:
    blocks = re.findall(r"```(?:sh|console)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    commands = "\n".join(blocks)
    known = set(re.findall(r"\b([A-Z][A-Z_]*)=", commands)) | set(re.findall(r"\bfor ([A-Z_]+) in ", commands))
    assert set(re.findall(r"\$([A-Z][A-Z_]*)", commands)) <= known


def _defined(path: Path) -> set[str]:
    """The functions, classes, methods and constants of a module, or of all modules below a folder."""
    found: set[str] = set()
    for file in [path] if path.is_file() else path.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                found.add(node.name)
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def _steps() -> Iterator[tuple[str, list[str], list[str]]]:
    """Each step of the walks with the files and the names that it gives."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for step, files, names in re.findall(r"^\| (\d+\. [^|]+) \| ([^|]+) \| ([^|]+) \|$", page, re.MULTILINE):
        yield step, re.findall(r"`([^`]+)`", files), re.findall(r"`([^`]+)`", names)


def test_each_step_of_a_walk_names_what_is_in_its_files() -> None:
    steps = list(_steps())
    assert len(steps) >= 25
    for step, files, names in steps:
        assert files, step
        assert names, step
        defined = {name for file in files for name in _defined(ROOT / file)}
        wanted = {part for name in names for part in name.split(".")}
        assert wanted <= defined, f"{step}: {wanted - defined}"


def test_functions_named_with_their_file_are_there() -> None:
    named = 0
    for page in CURRENT:
        for name, file in re.findall(r"`(\w+)` (?:in|of)\s+`([\w/]+\.py)`", page.read_text(encoding="utf-8")):
            assert name in _defined(ROOT / file), f"{_id(page)}: {name} in {file}"
            named += 1
    assert named >= 10


def test_table_of_folders_names_every_room() -> None:
    """A new folder of services or database gets its line on the map, or stands below one that has it."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for folder in ("services", "database"):
        for room in (ROOT / folder).iterdir():
            if (room / "__init__.py").is_file():
                assert f"(../{folder}/{room.name})" in page, room
