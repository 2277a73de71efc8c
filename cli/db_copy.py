"""`docatlas db copy` and `docatlas db verify`: one database into another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from cli.console import AsJson, DataDir, load_settings, print_json, print_line, print_table, progress_console

if TYPE_CHECKING:
    from database.copying.comparison import TableComparison
    from database.copying.files import FileReport
    from services.admin.copy_database import Place

From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="URL",
        help="sqlite:<data folder or file>, or postgresql://user@host:port/database.",
        show_default="the configured database",
    ),
]
To = Annotated[
    str | None,
    typer.Option("--to", metavar="URL", help="As --from; one of the two is given.", show_default="the configured one"),
]
Files = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER", help="A folder `blobs`, or `supabase` for the configured bucket.", show_default=False
    ),
]
_SHOWN = 20


def copy(
    source: From = None,
    target: To = None,
    files_from: Files = None,
    files_to: Files = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Copies every row into another database, and compares the two. Begun again, it goes on where it was stopped.

    Stop the servers of both first. What the target has already is never overwritten. A password is best left out of the
    address: libpq reads it from ~/.pgpass or PGPASSWORD. Exits with 1 when the two are not the same in the end, or when
    files asked for by --files-from are missing.
    """
    from services.admin.copy_database import copy_database, copy_files

    settings = load_settings(data_dir)
    ours, theirs = _places(source, target, settings)
    with _showing_progress() as progress:
        copied = copy_database(ours, theirs, settings, progress)
        files = copy_files(theirs, settings, files_from=files_from, files_to=files_to)
    _report(ours, theirs, copied.comparisons, as_json=as_json, copied=copied.rows, files=files)
    if not copied.is_equal or (files_from is not None and files.missing):
        raise typer.Exit(1)


def verify(source: From = None, target: To = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Compares two databases row by row and writes nothing. Exits with 1 when they are not the same."""
    from services.admin.copy_database import compare_databases, copy_files

    settings = load_settings(data_dir)
    ours, theirs = _places(source, target, settings)
    with _showing_progress() as progress:
        comparisons = compare_databases(ours, theirs, settings, progress)
        files = copy_files(theirs, settings, files_from=None, files_to=None)
    _report(ours, theirs, comparisons, as_json=as_json, copied=None, files=files)
    if not all(comparison.is_equal for comparison in comparisons):
        raise typer.Exit(1)


def _places(source: str | None, target: str | None, settings: Any) -> tuple[Place, Place]:
    from services.admin.copy_database import find_place

    if source is None and target is None:
        raise typer.BadParameter("name at least one database with --from or --to; the other is the configured one")
    return find_place(source, settings), find_place(target, settings)


class _Bars:
    """See database.copying.comparison.Progress."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task: TaskID | None = None

    def begin(self, step: Literal["copy", "verify"], table: str, rows: int) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
        verb = "Copying" if step == "copy" else "Comparing"
        self._task = self._bars.add_task(f"{verb} {table}", total=rows)

    def advance(self, rows: int) -> None:
        if self._task is not None:
            self._bars.advance(self._task, rows)


@contextmanager
def _showing_progress() -> Iterator[_Bars]:
    """Shows one bar on stderr, of the table under way.

    Nothing where stderr is no terminal.
    """
    console = progress_console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        yield _Bars(bars)


def _report(
    source: Place,
    target: Place,
    comparisons: Sequence[TableComparison],
    *,
    as_json: bool,
    copied: dict[str, int] | None,
    files: FileReport,
) -> None:
    is_equal = all(comparison.is_equal for comparison in comparisons)
    if as_json:
        print_json(
            {
                "from": source.shown,
                "to": target.shown,
                "is_equal": is_equal,
                "tables": [_table_json(comparison, copied) for comparison in comparisons],
                "files": {
                    "referenced": files.referenced,
                    "copied": files.copied,
                    "missing": files.missing,
                    "documents": files.documents,
                },
            }
        )
        return
    print_line(f"From {source.shown}")
    print_line(f"to   {target.shown}")
    counts = ("copied now",) if copied is not None else ()
    print_table(
        ("table", *counts, "rows here", "rows there", "SHA-256", "same"),
        [
            (
                c.table,
                *((copied[c.table],) if copied is not None else ()),
                c.source_rows,
                c.target_rows,
                c.source_checksum[:16] if c.is_equal else f"{c.source_checksum[:16]} / {c.target_checksum[:16]}",
                "yes" if c.is_equal else f"no: {c.differing_rows} rows",
            )
            for c in comparisons
        ],
        right=(*counts, "rows here", "rows there"),
    )
    for comparison in comparisons:
        for difference in comparison.differences:
            print_line(f"  {difference}")
        if comparison.differing_rows > len(comparison.differences):
            print_line(f"  and {comparison.differing_rows - len(comparison.differences)} more of {comparison.table}")
    _report_files(files)
    print_line("Both databases hold the same rows." if is_equal else "The databases are NOT the same; see above.")


def _table_json(comparison: TableComparison, copied: dict[str, int] | None) -> dict[str, Any]:
    return {
        "table": comparison.table,
        **({"copied": copied[comparison.table]} if copied is not None else {}),
        "source": {"rows": comparison.source_rows, "sha256": comparison.source_checksum},
        "target": {"rows": comparison.target_rows, "sha256": comparison.target_checksum},
        "is_equal": comparison.is_equal,
        "differing_rows": comparison.differing_rows,
        "differences": [
            {"row": found.row, "kind": found.kind, "columns": list(found.columns)} for found in comparison.differences
        ],
    }


def _report_files(files: FileReport) -> None:
    brought = f", {files.copied} of them copied now" if files.copied else ""
    print_line(f"Files: {files.referenced} referred to{brought}, {files.missing} missing.")
    if not files.missing:
        return
    shown = ", ".join(files.documents[:_SHOWN])
    more = f" and {len(files.documents) - _SHOWN} more" if len(files.documents) > _SHOWN else ""
    print_line(f"  Documents without all their files: {shown}{more}")
