"""`docatlas doctor`: what this installation has, lacks, and needs."""

from __future__ import annotations

import typer
from rich.table import Table
from rich.text import Text

from cli.console import AsJson, DataDir, WrongSetting, as_called, load_settings, plain, print_json, result_console

_STYLES = {"ok": "green", "warning": "yellow", "broken": "bold red"}


def doctor(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Says what is installed, which models and programs are used, and what to do. Exits with 1 when one is broken."""
    from services.admin.doctor import examine, wrong_settings

    try:
        checks = examine(load_settings(data_dir, allow_unknown=True))
    except WrongSetting as error:
        checks = wrong_settings(error.detail)
    is_broken = any(check.status == "broken" for check in checks)
    if as_json:
        print_json(
            {
                "status": "broken" if is_broken else "ok",
                "checks": [
                    {
                        "name": check.name,
                        "status": check.status,
                        "summary": check.summary,
                        "advice": check.advice,
                        "facts": dict(check.facts),
                    }
                    for check in checks
                ],
            }
        )
    else:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for column in ("what", "status", "found"):
            table.add_column(column, overflow="fold")
        for check in checks:
            found = plain(as_called(check.summary))
            if check.advice:
                found.append("\n").append_text(plain(as_called(f"→ {check.advice}")))
            table.add_row(plain(check.name), Text(check.status, style=_STYLES[check.status]), found)
        result_console().print(table)
    if is_broken:
        raise typer.Exit(1)
