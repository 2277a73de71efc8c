"""The queue of one process: its threads announce jobs and run them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from services.queue.queue import RunNext


class EmbeddedQueue:
    """Wakes threads of this process.

    Jobs that other processes store are found by the sweep alone.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._announced = 0

    def announce(self, job_id: str) -> None:
        with self._condition:
            self._announced += 1
            self._condition.notify_all()

    @contextmanager
    def dispatching(self, run_next: RunNext, *, threads: int, sweep_s: float) -> Iterator[None]:
        stopping = threading.Event()
        started: list[threading.Thread] = []
        try:
            for number in range(threads):
                arguments = (run_next, sweep_s, stopping)
                thread = threading.Thread(target=self._work, args=arguments, name=f"worker-{number + 1}", daemon=True)
                thread.start()
                started.append(thread)
            yield
        finally:
            stopping.set()
            with self._condition:
                self._condition.notify_all()
            for thread in started:
                thread.join()

    def close(self) -> None:
        """Nothing is held."""

    def _work(self, run_next: RunNext, sweep_s: float, stopping: threading.Event) -> None:
        while not stopping.is_set():
            # Before the look at the table: what is announced during it is worth another look.
            seen = self._announced
            if run_next():
                continue
            self._wait(seen, sweep_s, stopping)

    def _wait(self, seen: int, timeout_s: float, stopping: threading.Event) -> None:
        """Returns at an announcement after `seen`, at the stop, or when the time is up."""
        with self._condition:
            self._condition.wait_for(lambda: self._announced != seen or stopping.is_set(), timeout_s)
