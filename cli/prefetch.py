"""`python -m cli.prefetch [text] [pictures]`: fetches model weights that are missing; what the launcher runs first.

A model that cannot be had is no obstacle: one line says so, and the command that follows says what it lacks. After a
failure the pictures' model is asked for again only a day later, so that a start without the hub is not slow each time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cli.console import load_settings
from services.embedding.weights import ModelState, list_models, pull
from services.settings import Settings

RETRY_S = 24 * 3600.0
"""Seconds before the pictures' model is asked for again; `docatlas models pull` asks at once."""


def main(purposes: Sequence[str]) -> None:
    """Fetches the models of `purposes` (all when empty) that are missing; prints to stderr only."""
    settings = load_settings(None)
    for state in list_models(settings):
        wanted = not purposes or state.purpose in purposes
        if wanted and state.status != "present" and _is_due(settings, state):
            _fetch(settings, state)


def _is_due(settings: Settings, state: ModelState) -> bool:
    if settings.offline or state.source == "folder" or (state.purpose == "text" and settings.text_model == "hash"):
        return False
    tried = _tried(settings, state)
    return state.purpose == "text" or not (tried.exists() and time.time() - tried.stat().st_mtime < RETRY_S)


def _fetch(settings: Settings, state: ModelState) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def report(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done)

        (result,) = pull(settings, [state.purpose], progress=report)
    tried = _tried(settings, state)
    if result.problem is None:
        tried.unlink(missing_ok=True)
        return
    print(f"docatlas: {result.problem.detail}", file=sys.stderr)
    if state.purpose == "pictures":
        print("docatlas: until then pictures are kept, and cannot be searched", file=sys.stderr)
        if tried.parent.is_dir():
            tried.touch()


def _tried(settings: Settings, state: ModelState) -> Path:
    return settings.cache_dir / "models" / f".{state.name}.tried"


if __name__ == "__main__":
    main(sys.argv[1:])
