"""Runtimes as the product opens them, whose files are read by the children of one template for all tests."""

from __future__ import annotations

import atexit
from functools import cache
from pathlib import Path
from typing import IO

from services import runtime
from services.queue.queue import Queue
from services.runtime import Runtime
from services.sandbox.pool import Child, ChildPool
from services.settings import Settings


class SharedPool(ChildPool):
    """A pool that outlives its runtimes: a template takes a second to load, and is loaded once a process."""

    def child(self, folder: Path, noise: IO[bytes]) -> Child:
        """A child of the template from the first on, where the system can fork."""
        self.warm_up(wait_s=60.0)
        return super().child(folder, noise)

    def close(self) -> None:
        """Leaves the template to the next runtime."""

    def end(self) -> None:
        """Ends the template."""
        super().close()


@cache
def shared_pool() -> SharedPool:
    """The pool of this process's tests."""
    pool = SharedPool()
    atexit.register(pool.end)
    return pool


def open_runtime(settings: Settings, *, queue: Queue | None = None) -> Runtime:
    """A runtime as services.runtime opens it, which reads files in the shared pool unless its model has a tokenizer."""
    opened = runtime.open_runtime(settings, queue=queue)
    if opened.text_embedder.tokenizer_path is None:
        opened.children = shared_pool()
    return opened
