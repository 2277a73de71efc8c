"""The README says what is so: its session works as printed, and its commands exist."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.formats.registry import Format
from tests.support.api_server import opened
from tests.support.databases import SqliteDatabases
from tests.support.paths import ROOT
from tests.support.shell import Shell

README = (ROOT / "README.md").read_text(encoding="utf-8")


def _session() -> Iterator[tuple[str, str]]:
    """Each command of the README's console blocks with the output printed below it."""
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command, output


def _answers(text: str) -> Iterator[Any]:
    """The JSON documents in `text`, one behind the other."""
    while text.strip():
        found, end = json.JSONDecoder().raw_decode(text.strip())
        yield found
        text = text.strip()[end:]


def _comparable(text: str) -> str:
    """`text` without white space outside of strings, and without what differs each time: ids, times and scores."""
    text = re.sub(r'("(?:[^"\\]|\\.)*")|\s+', lambda match: match[1] or "", text)
    text = re.sub(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>", text)
    return re.sub(r"\d+\.\d{3,}(?:e-\d+)?", "<number>", text)


def _compare(shown: str, real: str) -> None:
    """Fails unless `real` is `shown` with something at each `…`."""
    real, at = _comparable(real), 0
    parts = [part.strip(" ,") for part in _comparable(shown).split("…")]  # what stands beside `…` may be left out
    assert real.startswith(parts[0]), f"shown: {parts[0]}\nreal: {real}"
    assert real.endswith(parts[-1]), f"shown: {parts[-1]}\nreal: {real}"
    for part in parts:
        assert part in real[at:], f"shown: {part}\nreal: {real[at:]}"
        at = real.index(part, at) + len(part)


def test_the_comparison_finds_what_is_stale() -> None:
    real = '{"id":"01a1fccb-b797-7331-b9aa-f28d47e18068","text":"a b. c","n":[1, 2],"took":3.1415,"end":false}'
    _compare('{"id": "01a22c4d-b17d-70c7-8dae-8030ba009617", "text": "a …",\n "n": …, "took": 2.718, …}', real)
    for stale in (
        '{"text": "a b", …}',
        '{…"text": "b …", …}',
        '{… "end": false, "n": …}',
        '{… "n": [1, 2]}',
        '{… "gone": …}',
    ):
        with pytest.raises(AssertionError):
            _compare(stale, real)


def test_session_works_as_printed(tmp_path: Path) -> None:
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "tests").symlink_to(ROOT / "tests")
    statuses: list[int] = []
    answers: list[Any] = []
    with opened(SqliteDatabases(), tmp_path / "data") as (_, client):
        shell = Shell(folder, client.base_url.port or 0, folder)
        for command, output in _session():
            printed = shell.run(command, names=tuple(re.findall(r"^([A-Z]+)=", command)))
            assert all(status < 300 for status in printed.statuses), f"{command}: {printed.output[:300]}"
            statuses += printed.statuses
            if output:
                _compare(output, printed.output)
                answers += _answers(printed.output)
    assert len(statuses) >= 8
    jobs = [answer for answer in answers if answer.get("object") == "job"]
    assert [job["status"] for job in jobs] == ["completed", "completed"]
    assert any("quay wall leans by 40 mm" in str(answer.get("sources")) for answer in answers)
    assert (folder / "page.webp").read_bytes()[8:12] == b"WEBP"


def test_the_command_line_works_as_printed(tmp_path: Path) -> None:
    [block] = re.findall(r"^## Command line$.*?```sh\n(.*?)```", README, re.DOTALL | re.MULTILINE)
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    program = tmp_path / "docatlas"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m cli "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DOCATLAS_DATA_DIR": str(tmp_path / "data"),
        "DOCATLAS_TEXT_MODEL": "hash",
    }
    printed: dict[str, str] = {}
    for line in block.splitlines():
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        assert "error [" not in done.stderr, line
        printed[line.split()[1]] = done.stdout
    assert set(printed) == {"ingest", "search", "context", "documents", "jobs", "models", "users", "db"}
    assert "2 files, 0 rejected or failed" in printed["ingest"]
    assert "three months notice" in printed["search"]
    assert "quay wall leans by 40 mm" in printed["context"]
    assert "scanned.pdf" in printed["documents"]
    assert printed["jobs"].count("completed") == 2


def test_variables_of_the_session_are_set_before_they_are_used() -> None:
    known: set[str] = set()
    used: set[str] = set()
    for command, _ in _session():
        known |= set(re.findall(r"^([A-Z]+)=", command)) | set(re.findall(r"^for ([A-Z]+) in ", command))
        used |= set(re.findall(r"\$([A-Z]+)", command))
        assert used <= known, command
    assert {"DOCUMENT", "JOB"} <= used


@pytest.mark.parametrize("command", re.findall(r"^\./docatlas (\w+(?: (?:list|status))?)", README, re.MULTILINE))
def test_named_commands_exist(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    from cli.main import main

    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    assert not ended.value.code
    assert "Usage" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "others"), re.findall(r"^\./docatlas (\w+) (?:list|status) +# ([a-z, -]+)$", README, re.MULTILINE)
)
def test_named_subcommands_exist(command: str, others: str, capsys: pytest.CaptureFixture[str]) -> None:
    from cli.main import main

    for other in others.split(", "):
        with pytest.raises(SystemExit) as ended:
            main([command, other, "--help"])
        assert not ended.value.code
        assert "Usage" in capsys.readouterr().out


def test_the_number_of_formats_is_that_of_the_table() -> None:
    assert f"**{len(Format)} formats.**" in README
