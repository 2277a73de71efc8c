"""A queue whose messages go through a named pipe, as through a broker: between processes, each to one receiver."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from services.queue.queue import RunNext

MESSAGE = b"\n"
"""Says that some job can be claimed; which one, the table tells."""


class PipeQueue:
    """One end of the queue at `path`; processes and objects that open the same path share its messages.

    Messages wait in the pipe as long as anybody has it open. What a full pipe does not take is dropped.
    """

    def __init__(self, path: Path) -> None:
        with suppress(FileExistsError):
            os.mkfifo(path)
        # For reading and writing, so that opening it waits for nobody and no message needs a reader yet.
        self._pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._lock = threading.Lock()
        self._is_closed = False

    def announce(self, job_id: str) -> None:
        with self._lock:  # the number of a closed pipe may soon be another file's
            if not self._is_closed:
                with suppress(BlockingIOError):
                    os.write(self._pipe, MESSAGE)

    @contextmanager
    def dispatching(self, run_next: RunNext, *, threads: int, sweep_s: float) -> Iterator[None]:
        stopping = threading.Event()
        woken, waker = os.pipe()

        def work() -> None:
            while not stopping.is_set():
                if run_next():
                    continue
                ready, _, _ = select.select([self._pipe, woken], [], [], sweep_s)
                if self._pipe in ready:
                    with suppress(BlockingIOError):  # another receiver was faster
                        os.read(self._pipe, len(MESSAGE))

        started = [threading.Thread(target=work, name=f"pipe-{number}") for number in range(threads)]
        try:
            for thread in started:
                thread.start()
            yield
        finally:
            stopping.set()
            os.close(waker)
            for thread in started:
                thread.join()
            os.close(woken)

    def close(self) -> None:
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                os.close(self._pipe)
