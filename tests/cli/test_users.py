"""`docatlas users`: the operator's side of accounts."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from services.settings import Settings
from tests.support.account_cases import PASSWORD
from tests.support.command_line import Cli
from tests.support.databases import Databases
from tests.support.runtimes import open_runtime


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody pipes a password into each command."""

    class Piped:
        def readline(self) -> str:
            return f"{PASSWORD}\n"

    monkeypatch.setattr(sys, "stdin", Piped())


def add(cli: Cli, email: str, *options: str) -> str:
    made: dict[str, str] = cli.json("users", "add", email, "--password-stdin", *options)
    return made["id"]


@pytest.mark.usefixtures("typed")
def test_a_user_is_added_listed_disabled_enabled_and_deleted(cli: Cli, databases: Databases, tmp_path: Path) -> None:
    user_id = add(cli, "Ada@Example.org", "--name", "Ada", "--offline")
    listed = {user["id"]: user for user in cli.json("users", "list")}
    assert listed[user_id]["email"] == "ada@example.org"
    assert (listed[user_id]["display_name"], listed[user_id]["offline"], listed[user_id]["disabled"]) == (
        "Ada",
        True,
        False,
    )
    assert PASSWORD not in cli.run("users", "list").stdout
    cli.run("users", "disable", "ada@example.org")
    assert {user["id"]: user["disabled"] for user in cli.json("users", "list")}[user_id]
    cli.run("users", "enable", user_id)
    assert not {user["id"]: user["disabled"] for user in cli.json("users", "list")}[user_id]
    cli.run("users", "set-password", user_id, "--password-stdin")
    settings = Settings(data_dir=tmp_path / "data", text_model="hash", **databases.given(tmp_path / "data"))
    runtime = open_runtime(settings)
    try:
        from database.records import Actor
        from tests.support.store_cases import submit

        submit(runtime.store, "a.txt", actor=Actor(user_id))
    finally:
        runtime.close()
    assert cli.json("users", "delete", user_id, "--yes") == {"id": user_id, "documents": 1}
    assert user_id not in {user["id"] for user in cli.json("users", "list")}


@pytest.mark.usefixtures("typed")
def test_what_cannot_be_done_is_one_line_with_a_code(cli: Cli) -> None:
    add(cli, "ada@example.org")
    assert "[email_taken]" in cli.run("users", "add", "ADA@example.org", "--password-stdin", code=1).stderr
    assert "[user_not_found]" in cli.run("users", "disable", "bob@example.org", code=1).stderr
    local = "00000000-0000-7000-8000-000000000001"
    assert "[local_user]" in cli.run("users", "delete", local, "--yes", code=1).stderr
    assert "[local_user]" in cli.run("users", "disable", local, code=1).stderr
    assert "[account_not_found]" in cli.run("users", "set-password", local, "--password-stdin", code=1).stderr
    assert "UUID" in cli.run("users", "add", "b@example.org", "--user-id", "x", "--password-stdin", code=2).stderr


@pytest.mark.usefixtures("typed")
def test_an_account_is_given_to_a_user_who_is_there(cli: Cli) -> None:
    local = "00000000-0000-7000-8000-000000000001"
    assert add(cli, "me@example.org", "--user-id", local) == local


def test_nothing_is_deleted_without_a_yes(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PASSWORD}\n"))
    user_id = add(cli, "ada@example.org")
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    cli.run("users", "delete", user_id, code=1)
    assert user_id in {user["id"] for user in cli.json("users", "list")}
