"""The README says what is so: its session works as printed, and its commands exist."""

from __future__ import annotations

import json
import re
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


def _names(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {name for item in value.values() for name in _names(item)}
    if isinstance(value, list):
        return {name for item in value for name in _names(item)}
    return set()


def _answers(text: str) -> Iterator[Any]:
    """The JSON documents in `text`, one behind the other."""
    while text.strip():
        found, end = json.JSONDecoder().raw_decode(text.strip())
        yield found
        text = text.strip()[end:]


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
                found = list(_answers(printed.output))
                assert set(re.findall(r'"(\w+)":', output)) <= _names(found), command
                answers += found
    assert len(statuses) >= 8
    jobs = [answer for answer in answers if answer.get("object") == "job"]
    assert [job["status"] for job in jobs] == ["completed", "completed"]
    assert any("quay wall leans by 40 mm" in str(answer.get("sources")) for answer in answers)
    assert (folder / "page.webp").read_bytes()[8:12] == b"WEBP"


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
