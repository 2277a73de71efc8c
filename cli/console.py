"""Shared by the commands: options, settings, runtime, printing results and errors.

Results go to stdout, progress and errors to stderr; with `--json` stdout holds one JSON document and nothing else.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.wrong_settings import describe_wrong_setting
from services.settings import PREFIX, Settings, program_name, unknown_variables

if TYPE_CHECKING:
    from services.runtime import Runtime

PIPE_WIDTH = 1_000_000
"""Columns of what goes into a file or a pipe: more than any cell has, so that a table is as wide as its content."""

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder of the database and the files.", show_default="DOCATLAS_DATA_DIR"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=200, help="Rows at most.")]
Cursor = Annotated[str | None, typer.Option("--cursor", help="Where the last page ended, as it said.")]


class WrongSetting(Exception):
    """Settings that the product cannot start with; exit code 2.

    `detail` names each, `code` is stable.
    """

    def __init__(self, detail: str, code: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code


def load_settings(data_dir: Path | None = None, *, allow_unknown: bool = False, **given: Any) -> Settings:
    """The settings of the environment, with those of the command line laid over them.

    None means that the command line does not say it.
    Raises WrongSetting: a value that is not allowed, or, unless `allow_unknown`, a variable that is no setting.
    """
    unknown = [] if allow_unknown else [unknown_setting(*pair) for pair in unknown_variables().items()]
    said = {name: value for name, value in {"data_dir": data_dir, **given}.items() if value is not None}
    try:
        settings = Settings(**said)
    except ValidationError as error:
        wrong = [describe_wrong_setting(one) for one in error.errors()]
        raise WrongSetting("; ".join(unknown + wrong), "invalid_setting") from error
    except SettingsError as error:
        wrong = [_list_error(error)]
        raise WrongSetting("; ".join(unknown + wrong), "invalid_setting") from error
    if unknown:
        raise WrongSetting("; ".join(unknown), "unknown_setting")
    return settings


def unknown_setting(name: str, closest: str) -> str:
    """What is said of a variable that nothing reads."""
    if closest:
        return f"{name} is no setting: did you mean {closest}?"
    return f"{name} is no setting: unset it, or look its name up in the README under Settings"


def _list_error(error: SettingsError) -> str:
    """The message for a setting whose value has to be a list and is no JSON.

    pydantic-settings names the setting in its text alone.
    """
    named = re.search(r'field "(\w+)"', str(error))
    name = f"{PREFIX}{named[1].upper()}: " if named else ""
    return f'{name}a list is written as JSON, as in \'["eng", "deu"]\''


@contextmanager
def open_data(data_dir: Path | None) -> Iterator[Runtime]:
    """A runtime on the data folder, closed at the end of the block.

    It runs no jobs unless it is told to.
    """
    from services.runtime import open_runtime

    runtime = open_runtime(load_settings(data_dir))
    try:
        yield runtime
    finally:
        runtime.close()


def result_console() -> Console:
    """Where results go."""
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def progress_console() -> Console:
    """Where everything goes that is no result."""
    return Console(stderr=True, highlight=False, markup=False)


def print_json(value: object) -> None:
    """Prints one JSON document on stdout.

    Characters stay as they are where the stream can carry them.
    """
    text = json.dumps(value, ensure_ascii=False, indent=2)
    encoding = sys.stdout.encoding or "ascii"
    if text.encode(encoding, "replace").decode(encoding, "replace") != text:
        text = json.dumps(value, indent=2)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_page_json(data: Sequence[object], next_cursor: str | None) -> None:
    """Prints one page of a list as JSON, as the API answers with one."""
    print_json({"data": data, "has_more": next_cursor is not None, "next_cursor": next_cursor})


def print_cursor(next_cursor: str | None) -> None:
    """Prints how to see the next page, where there is one."""
    if next_cursor is not None:
        print_line(f"There are more: --cursor {next_cursor}")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """Prints rows under their headings.

    The columns named in `right` are aligned to the right.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(plain(value) for value in row))
    console = result_console()
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as printed:
        console.print(table)
    for line in printed.get().splitlines():
        console.print(Text(line.rstrip()), soft_wrap=True)  # the last column is padded to its longest cell


def print_line(text: str) -> None:
    """Prints one result line on stdout, as it is."""
    result_console().print(plain(text), soft_wrap=True)


def print_text(text: str) -> None:
    """Writes text of any length on stdout, unwrapped.

    On a terminal, control characters that could drive it are left out.
    """
    shown = text if not sys.stdout.isatty() else "".join(c for c in text if c in "\n\t" or c.isprintable())
    encoding = sys.stdout.encoding or "ascii"
    sys.stdout.write(shown.encode(encoding, "replace").decode(encoding))
    if not shown.endswith("\n"):
        sys.stdout.write("\n")
    sys.stdout.flush()


def plain(value: object) -> Text:
    """`value` as text for a cell.

    No markup is read in it and no control character reaches the terminal.
    """
    text = "" if value is None else str(value)
    return Text("".join(c if c.isprintable() else " " for c in text))


def print_error(detail: str, code: str) -> None:
    """Prints the one line on stderr with which a command fails."""
    _print_message("error", detail, code)


def print_warning(detail: str, code: str) -> None:
    """Prints one line on stderr about something that a result lacks."""
    _print_message("warning", detail, code)


def _print_message(kind: str, detail: str, code: str) -> None:
    sys.stderr.write(f"{kind} [{code}]: {escaped(as_called(' '.join(detail.split())))}\n")
    sys.stderr.flush()


def escaped(text: str) -> str:
    """`text` with every control and bidi character but line breaks and tabs written as an escape."""
    return "".join(c if c in "\n\t" or c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def as_called(text: str) -> str:
    """`text` with the commands in it written as this command was called, such as `./docatlas`."""
    return text.replace("`docatlas ", f"`{program_name()} ")


def human_bytes(count: float) -> str:
    """`count` bytes in a unit that a person reads; units are powers of ten."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 999.5 or unit == "TB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" or count >= 99.95 else f"{count:.1f} {unit}"


def counted(count: int, noun: str) -> str:
    """`count` with its noun, as in `1 file` and `2 files`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def parse_object(text: str | None, option: str) -> dict[str, Any] | None:
    """The JSON object that an option holds. Raises typer.BadParameter when it is none."""
    if text is None:
        return None
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise typer.BadParameter(f"{option} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise typer.BadParameter(f"{option} must be a JSON object, as in '{{\"year\": 2024}}'")
    return value
