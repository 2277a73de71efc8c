"""`docatlas models`: the weights in the user's cache folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import (
    AsJson,
    DataDir,
    as_called,
    human_bytes,
    load_settings,
    print_error,
    print_json,
    print_table,
    progress_console,
)
from cli.progress import open_progress
from services.errors import error_from
from services.settings import Settings

if TYPE_CHECKING:
    from services.embedding.weights import ModelState

app = typer.Typer(help="Model weights: list, pull, verify.", no_args_is_help=True)

Names = Annotated[list[str] | None, typer.Argument(help="Models by name, or `text`, `pictures`; all when left out.")]


@app.command("list")
def list_(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Lists the models and whether their weights are there."""
    from services.embedding import weights

    _report(weights.list_models(load_settings(data_dir)), as_json=as_json)


@app.command()
def pull(names: Names = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Fetches the weights that are missing. Exits with 1 when one could not be had."""
    from services.embedding import weights

    with open_progress() as report:
        states = weights.pull(load_settings(data_dir), names or (), progress=report)
    told = [state if state.problem is None else replace(state, advice="see the error") for state in states]
    _report(states if as_json else told, as_json=as_json)
    failed = [state for state in states if state.problem is not None]
    for state in failed:
        assert state.problem is not None
        print_error(state.problem.detail, state.problem.code)
    if failed:
        raise typer.Exit(1)


@app.command()
def verify(names: Names = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Reads every byte of the weights and compares it with the pinned SHA-256. Exits with 1 when one is damaged."""
    from services.embedding import weights

    with open_progress() as report:
        states = weights.verify(load_settings(data_dir), names or (), progress=report)
    _report(states, as_json=as_json)
    if any(state.status == "damaged" for state in states):
        raise typer.Exit(1)


def require_text_model(settings: Settings) -> None:
    """Returns once the weights of the text model are there.

    They are fetched with a progress bar if need be. Raises what made fetching them impossible.
    """
    if settings.text_model == "hash":
        return
    from services.embedding import weights
    from services.embedding.models import TEXT_MODEL

    if weights.is_present(settings, TEXT_MODEL):
        return
    progress_console().print(f"The text model is missing; fetching it ({human_bytes(TEXT_MODEL.size)}).")
    with open_progress() as report:
        states = weights.pull(settings, [TEXT_MODEL.name], progress=report)
    for state in states:
        if state.problem is not None:
            raise error_from(state.problem)


def state_json(state: ModelState) -> dict[str, Any]:
    """What is known of a model."""
    return {
        "name": state.name,
        "purpose": state.purpose,
        "status": state.status,
        "folder": str(state.folder),
        "size_bytes": state.size_bytes,
        "licence": state.licence,
        "source": state.source,
        "advice": state.advice,
        "error": state.problem.as_json() if state.problem else None,
    }


def _report(states: Sequence[ModelState], *, as_json: bool) -> None:
    if as_json:
        print_json([state_json(state) for state in states])
        return
    print_table(
        ("model", "for", "status", "size", "licence", "source", "what to do"),
        [
            (s.name, s.purpose, s.status, human_bytes(s.size_bytes), s.licence, s.source, as_called(s.advice))
            for s in states
        ],
        right=("size",),
    )
