"""What developers start from names things that exist: Makefile, hooks, workflow, CONTRIBUTING, AGENTS."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import tomllib

import pytest
import yaml

from cli.checks import CHECKS
from tests.support.paths import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def _recipes() -> dict[str, list[str]]:
    """The commands of each target."""
    found: dict[str, list[str]] = {}
    for target, body in re.findall(r"^([a-z]+):.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE):
        found[target] = [line.strip() for line in body.splitlines()]
    return found


def _module_of(command: str) -> str | None:
    found = re.search(r"(?:\$\(PYTHON\)|\.venv/bin/python) -m ([\w.]+)", command)
    return found[1] if found else None


def test_targets_are_those_that_are_promised() -> None:
    recipes = _recipes()
    assert {"setup", "test", "fast", "lint", "goldens"} <= set(recipes)
    phony = re.search(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)
    assert phony
    assert set(phony[1].split()) == set(recipes)
    assert recipes["test"] == ["./docatlas test"]
    assert os.access(ROOT / "docatlas", os.X_OK)


def test_commands_of_the_targets_exist() -> None:
    for target, commands in _recipes().items():
        for command in commands:
            module = _module_of(command)
            if module is not None:
                assert importlib.util.find_spec(module), f"{target}: {module}"
            for path in re.findall(r"\b((?:tests|docs|\.ci)/[\w/.]+)", command):
                assert (ROOT / path).exists(), f"{target}: {path}"


def test_lint_is_what_the_checks_run() -> None:
    commands = [shlex.split(command)[1:] for command in _recipes()["lint"]]
    assert commands == [list(arguments) for _, arguments in CHECKS]


def test_hooks_run_the_projects_own_tools() -> None:
    configuration = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook for repository in configuration["repos"] for hook in repository["hooks"]]
    assert {repository["repo"] for repository in configuration["repos"]} == {"local"}
    assert {hook["id"] for hook in hooks} == {"ruff-check", "ruff-format", "mypy"}
    locked = (ROOT / "requirements-dev.lock").read_text(encoding="utf-8")
    for hook in hooks:
        assert hook["language"] == "system"
        module = _module_of(hook["entry"])
        assert module
        assert importlib.util.find_spec(module), hook["id"]
        assert re.search(rf"^{module}==", locked, re.MULTILINE), hook["id"]


def test_workflow_runs_every_check_on_pythons_that_are_supported() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    checks = workflow["jobs"]["checks"]
    assert [step["run"] for step in checks["steps"] if "run" in step] == ["bash .ci/run"]
    assert (ROOT / ".ci" / "run").is_file()
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    assert oldest.removeprefix(">=") in checks["strategy"]["matrix"]["python"]


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "AGENTS.md", "docs/architecture.md", "docs/design.md"])
def test_named_targets_and_tests_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert set(
        re.findall(r"make ([a-z]+)\b(?= |`|\n)", " ".join(re.findall(r"`make [^`]+`|^make .*$", text, re.M)))
    ) <= set(_recipes())
    for path in re.findall(r"\./docatlas test (tests/[\w/.]+)", text):
        assert (ROOT / path).exists(), path


def test_bench_modules_that_are_named_are_all_there_are() -> None:
    named = set(re.findall(r"`bench\.(\w+)`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))
    programs = {
        path.stem
        for path in (ROOT / "bench").glob("*.py")
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
    }
    assert named == programs
