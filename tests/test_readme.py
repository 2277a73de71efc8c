"""The README says what is so: each setting has its line, and its curl session works as printed."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic.fields import FieldInfo

from services.settings import Settings
from tests.support.server_process import Server

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BASE = "http://127.0.0.1:8000"

MACHINE_DEFAULTS = {
    "data_dir": "the user's data folder",
    "cache_dir": "the user's cache folder",
    "worker_threads": "one per core, at most 8",
    "ocr_processes": "one per core, at most 8",
}
"""Settings whose default depends on the machine."""


def settings_table() -> str:
    """The table that the README has to hold."""
    rows = [_row(name, field) for name, field in Settings.model_fields.items()]
    return "\n".join(["| setting | default | meaning |", "| --- | --- | --- |", *rows])


def _row(name: str, field: FieldInfo) -> str:
    if name in MACHINE_DEFAULTS:
        default = MACHINE_DEFAULTS[name]
    elif field.default is None or field.default == "":
        default = "none"
    elif isinstance(field.default, tuple):
        default = f"`{json.dumps(list(field.default))}`"
    else:
        default = f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"
    return f"| `DOCATLAS_{name.upper()}` | {default} | {field.description} |"


def test_each_setting_has_its_line() -> None:
    shown = re.search(r"<!-- settings:.*?-->\n(.*?)\n<!-- /settings -->", README, re.DOTALL)
    assert shown
    assert shown[1] == settings_table()


def test_named_files_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
    for path in re.findall(r"^\| `([a-z]+/?)` \|", README, re.MULTILINE):
        assert (ROOT / path).exists(), path


def _session() -> Iterator[tuple[str, str]]:
    """Each command of the README's console blocks with the output printed below it."""
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command, output


def _curl(client: httpx.Client, command: str) -> httpx.Response:
    """Does what the curl command does, for the options that the README uses."""
    words = iter(shlex.split(command)[1:])
    method, url, body = "GET", "", None
    headers: dict[str, str] = {}
    files: list[tuple[str, tuple[str, bytes]]] = []
    for word in words:
        if word == "-s":
            continue
        if word == "-o":
            next(words)
        elif word == "-X":
            method = next(words)
        elif word == "-H":
            name, _, value = next(words).partition(":")
            headers[name] = value.strip()
        elif word == "-d":
            method, body = "POST", next(words)
        elif word == "-F":
            field, _, path = next(words).partition("=@")
            method = "POST"
            files.append((field, (Path(path).name, (ROOT / path).read_bytes())))
        else:
            assert word.startswith(BASE), f"{word} is no option that this test knows"
            url = word.removeprefix(BASE)
    return client.request(method, url, headers=headers, content=body, files=files or None)


def _names(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {name for item in value.values() for name in _names(item)}
    if isinstance(value, list):
        return {name for item in value for name in _names(item)}
    return set()


def test_curl_session_works_as_printed(start_server: Callable[..., Server]) -> None:
    server = start_server()
    known: dict[str, str] = {}
    done = 0
    with server.client() as client:
        for command, output in _session():
            assert command.startswith("curl "), command
            for name, value in known.items():
                command = command.replace(f"${name}", value)
            answer = _curl(client, command)
            assert answer.is_success, f"{command}: {answer.status_code} {answer.text[:300]}"
            done += 1
            if "json" in answer.headers.get("content-type", ""):
                found = answer.json()
                assert set(re.findall(r'"(\w+)":', output)) <= _names(found), command
                for entry in found.get("data", []) if answer.status_code == 202 else []:
                    _wait(client, entry["job"]["id"])
                    known.setdefault("JOB", entry["job"]["id"])
                    known.setdefault("DOCUMENT", entry["document"]["id"])
    assert done >= 8


def _wait(client: httpx.Client, job_id: str) -> None:
    job = client.get(f"/v1/jobs/{job_id}", params={"wait": 60}).json()
    assert job["status"] == "completed", job


@pytest.mark.parametrize("command", re.findall(r"^\./docatlas (\w+(?: (?:list|status))?)", README, re.MULTILINE))
def test_named_commands_exist(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    from cli.main import main

    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    assert not ended.value.code
    assert "Usage" in capsys.readouterr().out
