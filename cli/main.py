"""The command `docatlas`: its subcommands, and how errors end it.

This is the one place where an error becomes a line and an exit code: 0 done, 1 something failed, 2 the command line
or a setting is wrong, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from cli import db, documents, jobs, models, users
from cli.console import WrongSetting, escaped, load_settings, print_error
from cli.doctor import doctor
from cli.ingest import ingest
from cli.search import context, search
from cli.serve import serve
from database.errors import LoginRefused, StoreBusy, StoreError
from services.errors import DocatlasError
from services.settings import program_name

app = typer.Typer(
    name="docatlas",
    help="Documents in, cited passages out. `docatlas serve` starts the server; `docatlas COMMAND --help` says more.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(serve)
app.command()(ingest)
app.command()(search)
app.command()(context)
app.add_typer(documents.app, name="documents")
app.add_typer(jobs.app, name="jobs")
app.add_typer(models.app, name="models")
app.command()(doctor)
app.add_typer(db.app, name="db")
app.add_typer(users.app, name="users")


def _version(wanted: bool) -> None:
    if wanted:
        from services.admin.health import product_version

        sys.stdout.write(f"docatlas {product_version()}\n")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Documents in, cited passages out."""


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def test(context: typer.Context) -> None:
    """Runs every check of the project: linters, types, layers, tests.

    `--fast` leaves out the tests that need Postgres, models or processes. Other arguments are handed to pytest.
    """
    from cli.checks import run_checks

    load_settings()
    raise typer.Exit(run_checks(context.args))


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs `arguments` (default: the process's own); an error is one line.

    Raises SystemExit with the exit code.
    """
    given = _json_behind_command(sys.argv[1:] if arguments is None else arguments)
    try:
        sys.exit(app(args=given, prog_name=escaped(program_name()), standalone_mode=False))
    except typer.TyperException as error:
        _print_usage_error(error)
        sys.exit(error.exit_code)
    except typer.Abort:
        print_error("Nothing was done: the question was not answered.", "aborted")
    except WrongSetting as error:
        print_error(error.detail, error.code)
        sys.exit(2)
    except DocatlasError as error:
        print_error(error.detail, error.code)
    except LoginRefused as error:
        print_error(f"{str(error)[:1].upper()}{str(error)[1:]}.", "database_login_refused")
    except StoreBusy as error:
        print_error(str(error), "database_busy")
    except StoreError as error:
        print_error(str(error), "database_unusable")
    except BrokenPipeError:
        # Whoever read the output has gone, as `head` does; the interpreter must not complain of it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        print_error(f"{named}{error.strerror or error}. Check the path, its rights and the free space.", "system_error")
    sys.exit(1)


def _json_behind_command(arguments: Sequence[str]) -> list[str]:
    """The arguments with a `--json` from before the command moved behind it, where each command takes it."""
    groups = {group.name for group in app.registered_groups}
    left = list(arguments)
    names: list[str] = []
    found = False
    while left and (left[0] == "--json" or not left[0].startswith("-")):
        word = left.pop(0)
        if word == "--json":
            found = True
            continue
        names.append(word)
        if len(names) == 2 or word not in groups:
            break
    return [*names, *(["--json"] if found else []), *left]


def _print_usage_error(error: typer.TyperException) -> None:
    """Says on one line what is wrong with the command line, and where its help is."""
    message = error.format_message().replace("Value error, ", "")
    if not message:
        return  # a group of commands without one: its help has been printed
    context = getattr(error, "ctx", None)  # typer exports no class that has it
    command = program_name() if context is None else context.command_path
    print_error(f"{message.rstrip('.?')}{'?' if message.endswith('?') else '.'} See `{command} --help`.", "usage_error")
