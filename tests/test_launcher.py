"""The real launcher, in a folder of its own with locks of its own, so that nothing has to be fetched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

PREFETCH = "import sys; print('prefetch', *sys.argv[1:], file=sys.stderr)\n"
COMMAND = (
    "import json, os, sys; program = os.environ.get('DOCATLAS_PROGRAM')\n"
    "print(json.dumps({'arguments': sys.argv[1:], 'python': sys.prefix, 'program': program}))\n"
    "raise SystemExit(3 if 'fail' in sys.argv else 0)\n"
)


def _run(
    project: Path, *arguments: str, folder: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(project / "docatlas"), *arguments],
        capture_output=True,
        text=True,
        cwd=folder or project,
        env={**os.environ, **environment},
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a clone")
    shutil.copy(ROOT / "docatlas", folder / "docatlas")
    (folder / "requirements.lock").write_text("# nothing\n", encoding="utf-8")
    (folder / "requirements-dev.lock").write_text("# nothing\n", encoding="utf-8")
    (folder / "cli").mkdir()
    (folder / "cli" / "__init__.py").touch()
    (folder / "cli" / "__main__.py").write_text(COMMAND, encoding="utf-8")
    (folder / "cli" / "prefetch.py").write_text(PREFETCH, encoding="utf-8")
    return folder


def test_the_first_start_installs_and_the_second_only_runs(project: Path, tmp_path: Path) -> None:
    first = _run(project, "serve", "--port", "0", folder=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "installing the dependencies" in first.stderr
    ran = json.loads(first.stdout)
    assert ran["arguments"] == ["serve", "--port", "0"]
    assert Path(ran["python"]) == project / ".venv"
    second = _run(project, "documents", "list")
    assert (second.returncode, second.stderr) == (0, "")


def test_an_environment_that_is_named_by_a_relative_path_lies_where_the_command_was_given(
    project: Path, tmp_path: Path
) -> None:
    first = _run(project, "serve", folder=tmp_path, DOCATLAS_VENV="of my own")
    assert first.returncode == 0, first.stderr
    assert Path(json.loads(first.stdout)["python"]) == tmp_path / "of my own"
    assert "prefetch" in first.stderr
    second = _run(project, "documents", "list", folder=tmp_path, DOCATLAS_VENV="of my own/")
    assert (second.returncode, second.stderr) == (0, "")


def test_the_command_learns_how_it_was_called(project: Path, tmp_path: Path) -> None:
    path = f"{project}{os.pathsep}{os.environ['PATH']}"
    for command, folder, program in (
        (["./docatlas", "jobs"], project, "./docatlas"),
        ([sys.executable, "docatlas", "jobs"], project, "./docatlas"),
        (["docatlas", "jobs"], tmp_path, "docatlas"),
        ([str(project / "docatlas"), "jobs"], tmp_path, f"'{project}/docatlas'"),
    ):
        environment = {**os.environ, "PATH": path if command[0] == "docatlas" else os.environ["PATH"]}
        done = subprocess.run(["env", *command], capture_output=True, text=True, cwd=folder, env=environment)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["program"] == program
    assert json.loads(_run(project, "test").stdout)["program"] is None


def test_an_environment_that_cannot_be_made_there_is_one_line(project: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = _run(project, "jobs", folder=tmp_path, DOCATLAS_VENV="file/venv")
    assert refused.returncode == 1
    assert refused.stderr.splitlines() == [
        f"docatlas: {tmp_path / 'file'}: File exists. Set DOCATLAS_VENV to a folder that you may write to."
    ]


def test_two_launchers_at_once_install_once(project: Path) -> None:
    (project / "requirements.lock").write_text("# changed for two\n", encoding="utf-8")
    command = [sys.executable, str(project / "docatlas"), "jobs"]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=project)
        for _ in range(2)
    ]
    said = [launcher.communicate()[1] for launcher in both]
    assert [launcher.returncode for launcher in both] == [0, 0]
    assert "".join(said).count("installing the dependencies") == 1


def test_an_interrupted_installation_is_made_anew(project: Path) -> None:
    half = project / ".venv" / "half-a-package"
    half.touch()
    (project / ".venv" / ".docatlas-installed").unlink()
    (project / ".venv" / ".docatlas-installing").touch()
    repaired = _run(project, "jobs")
    assert repaired.returncode == 0, repaired.stderr
    assert "making" in repaired.stderr
    assert not half.exists()


def test_a_failed_installation_is_said_and_tried_again(project: Path) -> None:
    (project / "requirements.lock").write_text("absent @ file:///nowhere/absent-1-py3-none-any.whl\n", encoding="utf-8")
    failed = _run(project, "serve")
    assert failed.returncode == 1
    assert "the installation failed" in failed.stderr
    assert "Traceback" not in failed.stderr.split("docatlas:")[-1]
    (project / "requirements.lock").write_text("# mended\n", encoding="utf-8")
    mended = _run(project, "jobs")
    assert mended.returncode == 0, mended.stderr
    assert "making" not in mended.stderr


def test_models_are_fetched_only_before_commands_that_need_them(project: Path) -> None:
    assert "prefetch" in _run(project, "ingest", "a.pdf").stderr
    assert "prefetch" not in _run(project, "doctor").stderr
    assert "prefetch" not in _run(project, "serve", "--help").stderr
    assert "prefetch text" in _run(project, "test").stderr


def test_the_command_is_the_launchers_own_wherever_it_is_started(project: Path, tmp_path: Path) -> None:
    (tmp_path / "cli").mkdir()
    (tmp_path / "cli" / "__init__.py").touch()
    (tmp_path / "cli" / "__main__.py").write_text("print('another program')\n", encoding="utf-8")
    assert json.loads(_run(project, "jobs", folder=tmp_path).stdout)["arguments"] == ["jobs"]


def test_the_exit_code_is_the_commands(project: Path) -> None:
    assert _run(project, "fail").returncode == 3


def test_it_is_executable_and_an_older_python_can_read_it() -> None:
    import ast

    launcher = ROOT / "docatlas"
    assert os.access(launcher, os.X_OK)
    assert launcher.read_text(encoding="utf-8").startswith("#!/usr/bin/env python3\n")
    ast.parse(launcher.read_text(encoding="utf-8"), feature_version=(3, 6))


def test_the_lock_holds_what_the_project_asks_for_and_no_build_or_index() -> None:
    import tomllib

    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet
    from packaging.utils import canonicalize_name

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned: dict[str, SpecifierSet] = {}
    for name, asked in (
        ("requirements.lock", project["dependencies"]),
        ("requirements-dev.lock", project["optional-dependencies"]["dev"]),
    ):
        lines = [line for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        assert not [line for line in lines if line.startswith("-") or "+" in line or "://" in line or "--hash" in line]
        pinned |= {canonicalize_name(Requirement(line).name): Requirement(line).specifier for line in lines}
        for requirement in map(Requirement, asked):
            (version,) = pinned[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version.version), requirement
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "\ntorch==2.13.0\n" in text
    assert "\ntorchvision==0.28.0\n" in text
    assert "nvidia" not in text
