"""Shows the progress of transfers on stderr.

Bars on a terminal, else a line every few seconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from cli.console import plain, progress_console

Report = Callable[[str, int, int], None]
"""Called with a label, the bytes done and the bytes in all (0 where unknown), as often as one likes."""

EVERY_S = 5.0
"""Seconds between two lines where no bar can be drawn."""


class Bars:
    """One bar a label, on a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, name: str, done: int, total: int) -> None:
        """Moves the bar of `name`."""
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(plain(name).plain, total=total or None)
        self._progress.update(self._tasks[name], completed=done, total=total or None)


class Lines:
    """Prints the progress of each label as lines.

    One at its start, one every `every_s` seconds after it, and one at its end.
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._said: dict[str, tuple[float, int]] = {}

    def __call__(self, name: str, done: int, total: int) -> None:
        """Prints where `name` is, if it is time to."""
        now = time.monotonic()
        when, before = self._said.get(name, (-self._every_s, -1))
        if done == before or (now - when < self._every_s and done != total):
            return
        self._said[name] = now, done
        share = f" of {total / 1e6:.0f} MB ({100 * done // total} %)" if total else " MB"
        print(f"docatlas: {plain(name).plain}: {done / 1e6:.0f}{share}", file=sys.stderr, flush=True)


@contextmanager
def open_progress(every_s: float = EVERY_S) -> Iterator[Report]:
    """What shows progress on stderr as long as the block runs."""
    console = progress_console()
    if not console.is_terminal:
        yield Lines(every_s)
        return
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=console,
    ) as progress:
        yield Bars(progress)
