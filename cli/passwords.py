"""Passwords on the command line: asked for unseen, or read from a file or stdin.

Never an argument, which others see.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from services.errors import Conflict
from services.settings import Settings

MAX_FILE_BYTES = 8192
"""Of which the first line is the password."""

PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from stdin; else it is asked for, unseen.")
]
PasswordFile = Annotated[
    Path | None,
    typer.Option("--password-file", help="Read the password from the first line of this file."),
]
AskPassword = Annotated[
    bool, typer.Option("--ask-password", help="Ask for the password of encrypted files, without showing it.")
]


def account_password(from_stdin: bool, file: Path | None) -> str:
    """The password of an account: from stdin, from the file, or asked for twice.

    Raises typer.BadParameter where nobody can be asked.
    """
    if from_stdin and file is not None:
        raise typer.BadParameter("give --password-stdin or --password-file, not both")
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if file is not None:
        return _first_line(file)
    _require_terminal("--password-stdin and pipe it in, or with --password-file")
    answer: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    return answer


def document_password(asks: bool, file: Path | None, *, waits: bool) -> str | None:
    """The password of encrypted files; None where none is given.

    Raises typer.BadParameter where nobody can be asked, and for a command that does not wait for its jobs.
    """
    if not asks and file is None:
        return None
    if asks and file is not None:
        raise typer.BadParameter("give --ask-password or --password-file, not both")
    if not waits:
        raise typer.BadParameter("a password is kept in memory until the job ends: leave --no-wait out")
    if file is not None:
        return _first_line(file)
    _require_terminal("--password-file")
    answer: str = typer.prompt("Password of the files", hide_input=True, err=True)
    return answer


def require_own_worker(settings: Settings) -> None:
    """Returns where this process will run its own jobs; only it knows their password.

    Raises Conflict (`server_running`).
    """
    from services.jobs.worker import lease_holder

    holder = lease_holder(settings.data_dir)
    if holder is not None:
        raise Conflict(
            f"Process {holder or 'unknown'} runs the jobs of this data folder, and would not have the password. "
            "Stop it, or send the file to the server with `options.password`.",
            code="server_running",
        )


def in_options(detail: str) -> str:
    """`detail` in the words of the command line, where it advises what only HTTP can do."""
    options = "with `--ask-password` or `--password-file`"
    for before in ("in", "with"):
        detail = detail.replace(f"{before} `options.password`", options)
    return detail


def _first_line(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline(MAX_FILE_BYTES).rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{path} is not UTF-8", param_hint="'--password-file'") from error
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}", param_hint="'--password-file'") from error


def _require_terminal(how: str) -> None:
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"there is no terminal to ask for the password on: give it with {how}")
