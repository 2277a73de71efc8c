"""The container's recipe: no engine builds it here, so its rules are checked on its text."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from services.settings import Settings

ROOT = Path(__file__).resolve().parents[1]


def _instructions() -> Iterator[tuple[str, str]]:
    """Each instruction and what follows it, with continued lines joined and comments left out."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            yield name, rest.strip()


INSTRUCTIONS = list(_instructions())


def _all(name: str) -> list[str]:
    return [rest for found, rest in INSTRUCTIONS if found == name]


def _last_stage() -> list[tuple[str, str]]:
    start = max(number for number, (name, _) in enumerate(INSTRUCTIONS) if name == "FROM")
    return INSTRUCTIONS[start:]


def _environment() -> dict[str, str]:
    found: dict[str, str] = {}
    for name, rest in _last_stage():
        if name == "ENV":
            for part in rest.split():
                key, _, value = part.partition("=")
                found[key] = value
    return found


def test_base_images_are_pinned_to_a_release() -> None:
    stages: set[str] = set()
    for image in _all("FROM"):
        base, _, name = image.partition(" AS ")
        assert name, f"the stage of {image} has no name"
        if base not in stages:
            tag = base.partition(":")[2]
            assert re.match(r"\d+\.\d+-", tag), f"{base} may change its meaning"
        stages.add(name)
    assert len(stages) >= 2


def test_the_server_does_not_run_as_root_and_cannot_change_its_program() -> None:
    stage = _last_stage()
    users = [rest for name, rest in stage if name == "USER"]
    assert users
    assert users[-1] not in ("root", "0")
    after = stage[[name for name, _ in stage].index("USER") :]
    assert not [rest for name, rest in after if name in ("RUN", "COPY", "ADD")]
    assert not [rest for name, rest in stage if name == "COPY" and "--chown" in rest]


def test_health_check_asks_readyz_with_python() -> None:
    (check,) = _all("HEALTHCHECK")
    command = json.loads(check[check.index("[") :])
    assert command[0].endswith("/python")
    compile(command[2], "HEALTHCHECK", "exec")
    assert "127.0.0.1:8000/readyz" in command[2]


def test_its_steps_are_the_launchers() -> None:
    assert any(step.endswith("./docatlas --version") for step in _all("RUN"))
    (command,) = [rest for name, rest in _last_stage() if name == "CMD"]
    assert json.loads(command) == ["/app/docatlas", "serve"]
    assert not any("pip install" in step for step in _all("RUN"))


def test_torch_index_is_a_build_argument_known_to_both_stages() -> None:
    assert _all("ARG") == ['DOCATLAS_TORCH_INDEX=""'] * 2
    assert _all("ENV").count("DOCATLAS_TORCH_INDEX=$DOCATLAS_TORCH_INDEX") == 2


def test_tesseract_comes_with_english_and_orientation_data() -> None:
    (step,) = [step for step in _all("RUN") if "apt-get" in step]
    assert {"tesseract-ocr", "tesseract-ocr-eng", "tesseract-ocr-osd"} <= set(step.split())
    assert "--no-install-recommends" in step
    assert "rm -rf /var/lib/apt/lists/*" in step


def test_its_environment_is_valid_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {name: value for name, value in _environment().items() if name.startswith("DOCATLAS_")}
    known = {f"DOCATLAS_{name.upper()}" for name in Settings.model_fields} | {"DOCATLAS_TORCH_INDEX"}
    assert set(environment) <= known
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.host == "0.0.0.0"
    assert settings.allow_remote
    volumes = json.loads(_all("VOLUME")[0])
    assert sorted(volumes) == sorted([str(settings.data_dir), str(settings.cache_dir)])
    assert _all("EXPOSE") == [str(settings.port)]


def test_the_image_gets_all_that_the_server_needs_and_nothing_made_here() -> None:
    patterns = [
        line
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
        if line and not line.startswith("#")
    ]
    needed = ["docatlas", "requirements.lock", "pyproject.toml", "README.md", "api", "cli", "database", "services"]
    for name in needed:
        assert (ROOT / name).exists()
        assert not any(fnmatch(name, pattern) for pattern in patterns), f"{name} is left out of the image"
    for name in (".venv", ".git", "tests"):
        assert name in patterns
    assert os.access(ROOT / "docatlas", os.X_OK)
