"""`docatlas db`: the schema of the data folder."""

from __future__ import annotations

import typer

from cli.console import AsJson, DataDir, load_settings, print_json, print_line, print_table

app = typer.Typer(help="The database's schema: what is applied and what is missing.", no_args_is_help=True)


@app.command()
def upgrade(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Applies the migrations that are missing. Every other command does so by itself."""
    from database.store import open_store

    settings = load_settings(data_dir)
    store = open_store(settings.data_dir)
    try:
        applied = list(store.upgrade())
    finally:
        store.close()
    if as_json:
        print_json({"data_dir": str(settings.data_dir), "applied": applied})
    else:
        print_line(f"{len(applied)} migrations applied to {settings.data_dir}" if applied else "Nothing to apply.")


@app.command()
def status(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Lists the migrations and when each was applied. Exits with 1 while one is missing."""
    from database.store import open_store

    settings = load_settings(data_dir)
    store = open_store(settings.data_dir)
    try:
        states = list(store.migration_status())
    finally:
        store.close()
    if as_json:
        print_json([{"version": s.version, "name": s.name, "applied_at": s.applied_at} for s in states])
    else:
        print_table(("version", "name", "applied at"), [(s.version, s.name, s.applied_at or "missing") for s in states])
    if any(state.applied_at is None for state in states):
        raise typer.Exit(1)
