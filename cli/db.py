"""`docatlas db`: the schema of the database that the settings name."""

from __future__ import annotations

import typer

from cli.console import AsJson, DataDir, load_settings, print_json, print_line, print_table
from cli.db_copy import copy, verify

app = typer.Typer(help="The database's schema: what is applied and what is missing.", no_args_is_help=True)
app.command()(copy)
app.command()(verify)


@app.command()
def upgrade(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Applies the migrations that are missing: to SQLite, an embedded Postgres, or DOCATLAS_DATABASE_ADMIN_URL.

    Where DOCATLAS_DATABASE_URL is of the role docatlas_server, that role can log in with its password afterwards.
    """
    from services.admin.schema import open_schema

    settings = load_settings(data_dir)
    with open_schema(settings) as schema:
        applied = list(schema.upgrade())
        place = schema.place
    if as_json:
        print_json({"data_dir": str(settings.data_dir), "database": place, "applied": applied})
    else:
        print_line(f"{len(applied)} migrations applied to {place}." if applied else f"Nothing to apply to {place}.")


@app.command()
def status(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Lists the migrations and whether each is applied. Exits with 1 while one is missing."""
    from services.admin.schema import open_schema
    from services.stores import copies_on_node

    settings = load_settings(data_dir)
    with open_schema(settings) as schema:
        states = list(schema.status())
        place = schema.place
    if as_json:
        print_json(
            [
                {
                    "version": s.version,
                    "name": s.name,
                    "is_applied": s.applied_at is not None,
                    "applied_at": s.applied_at or None,
                }
                for s in states
            ]
        )
    else:
        print_line(f"Migrations of {place}:")
        print_table(
            ("version", "name", "applied at"),
            [
                (s.version, s.name, "missing" if s.applied_at is None else s.applied_at or "applied, time not kept")
                for s in states
            ],
        )
        waiting = copies_on_node(settings)
        if any(waiting.values()):
            told = ", ".join(f"{number} {kind}" for kind, number in waiting.items())
            print_line(f"On this node {told} wait to be moved to Postgres: see docs/fallback.md.")
    if any(state.applied_at is None for state in states):
        raise typer.Exit(1)
