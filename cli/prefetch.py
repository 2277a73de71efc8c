"""Fetches missing model weights: `python -m cli.prefetch [text] [pictures]`.

The launcher runs it first. A model that cannot be had is no obstacle: one line says so, and the command that follows
says what it lacks. With a wrong setting nothing is fetched, and the command says what is wrong. After a failure the
pictures' model is asked for again only a day later, so that a start without the hub is not slow each time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from cli.console import WrongSetting, as_called, escaped, load_settings
from cli.progress import EVERY_S, open_progress
from services.embedding.weights import ModelState, list_models, pull, tried_file
from services.settings import Settings

RETRY_S = 24 * 3600.0
"""Seconds before the pictures' model is asked for again; `docatlas models pull` asks at once."""

_KINDS = {"text": "text model", "pictures": "picture model"}


def main(purposes: Sequence[str], *, every_s: float = EVERY_S) -> None:
    """Fetches the models of `purposes` (all when empty) that are missing.

    Prints to stderr only. Where stderr is no terminal, progress is a line every `every_s` seconds.
    """
    try:
        settings = load_settings(None)
    except WrongSetting:
        return
    for state in list_models(settings):
        wanted = not purposes or state.purpose in purposes
        if wanted and state.status != "present" and _is_due(settings, state):
            _fetch(settings, state, every_s)


def _is_due(settings: Settings, state: ModelState) -> bool:
    if settings.offline or state.source == "folder" or (state.purpose == "text" and settings.text_model == "hash"):
        return False
    tried = tried_file(settings, state)
    return state.purpose == "text" or not (tried.exists() and time.time() - tried.stat().st_mtime < RETRY_S)


def _fetch(settings: Settings, state: ModelState, every_s: float) -> None:
    print(f"docatlas: fetching the {_KINDS[state.purpose]} {state.name}", file=sys.stderr, flush=True)
    with open_progress(every_s) as report:
        (result,) = pull(settings, [state.purpose], progress=report)
    tried = tried_file(settings, state)
    if result.problem is None:
        tried.unlink(missing_ok=True)
        return
    print(f"docatlas: {escaped(as_called(' '.join(result.problem.detail.split())))}", file=sys.stderr)
    if state.purpose == "pictures":
        print("docatlas: until then pictures are kept, and cannot be searched", file=sys.stderr)
        if tried.parent.is_dir():
            tried.touch()


if __name__ == "__main__":
    main(sys.argv[1:])
