"""What the commands take and print: statuses, passwords, tables in pipes, `--json` before the command."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from services.jobs.worker import WorkerLease
from tests.support.account_cases import PASSWORD
from tests.support.command_line import Cli
from tests.support.paths import DATA

LOCKED = str(DATA / "encrypted.pdf")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file whose first line is the password of encrypted.pdf."""
    file = tmp_path / "secret"
    file.write_text("open sesame\nnot this line\n", encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("documents", "list", "--status", "foo"), "'foo' is not one of 'queued', 'in_progress'"),
        (("jobs", "list", "--status", "foo"), "'foo' is not one of 'queued', 'in_progress'"),
        (("documents", "list", "--format", "foo"), "'foo' is not one of avif, bmp, csv"),
        (("ingest", LOCKED, "--ask-password"), "no terminal to ask for the password on: give it with --password-file"),
        (("ingest", LOCKED, "--password-file", "/nowhere/secret"), "/nowhere/secret: No such file or directory"),
        (("ingest", LOCKED, "--ask-password", "--password-file", LOCKED), "not both"),
        (("users", "add", "ada@example.org"), "give it with --password-stdin and pipe it in, or with --password-file"),
    ],
    ids=lambda value: " ".join(value[:4]) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_taken_is_a_usage_error_that_says_what_can(
    cli: Cli, arguments: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    done = cli.run(*arguments, code=2)
    assert done.stdout == ""
    assert done.stderr.startswith("error [usage_error]: ")
    assert said in done.stderr


def test_each_status_can_be_asked_for(cli: Cli, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("The harbour opens at dawn.", encoding="utf-8")
    cli.run("ingest", str(note))
    for status in ("queued", "in_progress", "completed", "completed_with_errors", "failed", "cancelled"):
        for group in ("documents", "jobs"):
            found = cli.json(group, "list", "--status", status)["data"]
            assert len(found) == (status == "completed"), (group, status)


def test_an_encrypted_file_is_opened_with_a_password_from_a_file(cli: Cli, secret: Path) -> None:
    failed = cli.run("ingest", LOCKED, code=1)
    assert "Send its password with `--ask-password` or `--password-file`." in failed.stdout
    document = cli.json("documents", "list")["data"][0]
    assert document["error"]["code"] == "password_required"
    shown = cli.run("documents", "show", document["id"]).stdout
    assert f"{document['job']['id']} (failed)" in shown
    assert "[password_required]" in shown
    assert "--password-file" in shown
    assert "options.password" not in shown + cli.run("jobs", "show", document["job"]["id"]).stdout
    opened = cli.json("ingest", LOCKED, "--password-file", str(secret))["data"][0]
    assert (opened["outcome"], opened["document"]["status"], opened["document"]["error"]) == (
        "updated",
        "completed",
        None,
    )
    assert cli.json("documents", "show", document["id"])["job"] == {
        "id": opened["job"]["id"],
        "object": "job",
        "status": "completed",
    }


def test_a_document_is_read_again_with_a_password_that_is_asked_for(
    cli: Cli, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document_id = cli.json("ingest", LOCKED, code=1)["data"][0]["document"]["id"]
    wrong = secret.with_name("wrong")
    wrong.write_text("close sesame", encoding="utf-8")
    refused = cli.run("documents", "reprocess", document_id, "--password-file", str(wrong), code=1)
    assert "error [password_wrong]" in refused.stderr
    assert "close sesame" not in refused.stdout + refused.stderr
    assert (
        cli.json("documents", "reprocess", document_id, "--password-file", str(secret))["job"]["status"] == "completed"
    )


def test_a_password_is_not_handed_to_a_process_that_cannot_have_it(cli: Cli, secret: Path) -> None:
    cli.run("documents", "list")
    lease = WorkerLease(cli.data_dir)
    assert lease.take()
    try:
        done = cli.run("ingest", LOCKED, "--password-file", str(secret), code=1)
        assert "error [server_running]" in done.stderr
        assert "options.password" in done.stderr
        assert cli.json("documents", "list")["data"] == []
    finally:
        lease.give_back()
    waits = cli.run("ingest", LOCKED, "--password-file", str(secret), "--no-wait", code=2)
    assert "leave --no-wait out" in waits.stderr


def test_a_user_is_added_with_a_password_from_a_file(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n", encoding="utf-8")
    user_id = cli.json("users", "add", "ada@example.org", "--password-file", str(file))["id"]
    assert user_id in cli.run("users", "set-password", "ada@example.org", "--password-file", str(file)).stdout
    both = cli.run("users", "add", "b@example.org", "--password-file", str(file), "--password-stdin", code=2)
    assert "not both" in both.stderr


def test_a_table_in_a_pipe_is_as_wide_as_its_content(cli: Cli, tmp_path: Path) -> None:
    names = (f"{'long ' * 45}name.txt", "b.txt")
    for name in names:
        (tmp_path / name).write_text(f"The harbour opens at dawn, says {name[:9]}.", encoding="utf-8")
        cli.run("ingest", str(tmp_path / name))
    printed = cli.run("documents", "list").stdout.splitlines()
    assert len(printed) == 3
    assert printed[2].endswith(names[0])
    assert printed[1].endswith("b.txt")
    assert all(line == line.rstrip() for line in printed)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--json", "documents", "list"),
        ("documents", "--json", "list"),
        ("--json", "documents", "list", "--limit", "3"),
        ("documents", "list", "--json"),
    ],
    ids=" ".join,
)
def test_json_may_stand_before_the_command(cli: Cli, arguments: tuple[str, ...]) -> None:
    assert json.loads(cli.run(*arguments).stdout) == {"data": [], "has_more": False, "next_cursor": None}


def test_json_before_a_command_that_takes_none_is_told(cli: Cli) -> None:
    assert "No such option: --json" in cli.run("--json", "users", "enable", "ada@example.org", code=2).stderr


def test_a_second_ingest_says_what_was_kept_and_what_changed(cli: Cli, tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        (tmp_path / name).write_text("The rope is paid by the fathom.", encoding="utf-8")
    cli.run("ingest", str(tmp_path / "a.txt"))
    assert "keeps its filename a.txt" in cli.run("ingest", str(tmp_path / "b.txt")).stdout
    entry = cli.json("ingest", str(tmp_path / "b.txt"))["data"][0]
    assert entry["kept"] == [{"member": "filename", "stored": "a.txt", "given": "b.txt"}]
    renamed = cli.run("ingest", str(tmp_path / "c.txt"), "--chunk-size", "300", "--chunk-overlap", "0").stdout
    assert "its filename was a.txt" in renamed
