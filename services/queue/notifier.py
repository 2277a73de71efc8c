"""Tells clients that wait for a job when it has ended."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from database.records import Actor
from services.errors import TransientError
from services.queue.job_view import JobView

_log = logging.getLogger(__name__)

FIRST_LOOK_S = 30.0
"""How long a client waits at most for the first look at the table, beside what it asked for."""


@dataclass(slots=True, eq=False)
class _Waiter:
    actor: Actor
    job_id: str
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[JobView | None]
    until_terminal: bool
    latest: JobView | None = None


ReadJobs = Callable[[Actor, Sequence[str]], Mapping[str, JobView]]


class JobNotifier:
    """Answers clients that wait for jobs, with one thread for all of them.

    It holds one connection at most. Jobs that other processes run are seen by looking every `poll_s` seconds, for as
    long as somebody waits.
    """

    def __init__(self, read: ReadJobs, *, poll_s: float = 0.25) -> None:
        self._read, self._poll_s = read, poll_s
        self._condition = threading.Condition()
        self._waiters: set[_Waiter] = set()
        self._news = False
        self._closed = False
        self._thread: threading.Thread | None = None

    def changed(self) -> None:
        """Says that a job may have ended: the clients that wait for one are answered soon."""
        with self._condition:
            self._news = True
            self._condition.notify_all()

    async def wait(self, job_id: str, actor: Actor, timeout_s: float) -> JobView | None:
        """The job once it is terminal, or as it is after `timeout_s` seconds.

        None where there is none for `actor`.
        """
        loop = asyncio.get_running_loop()
        waiter = _Waiter(actor, job_id, loop, loop.create_future(), until_terminal=timeout_s > 0)
        with self._condition:
            if self._closed:
                return None
            self._waiters.add(waiter)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="job-notifier", daemon=True)
                self._thread.start()
            self._news = True
            self._condition.notify_all()
        try:
            await asyncio.wait_for(asyncio.shield(waiter.done), timeout_s if timeout_s > 0 else FIRST_LOOK_S)
        except TimeoutError:
            if waiter.latest is None:
                return await self._first_look(waiter)
            return waiter.latest
        finally:
            with self._condition:
                self._waiters.discard(waiter)
        return waiter.done.result()

    async def _first_look(self, waiter: _Waiter) -> JobView | None:
        """The job as the next look finds it, for a wait that is shorter than a look."""
        waiter.until_terminal = False
        self.changed()
        try:
            return await asyncio.wait_for(asyncio.shield(waiter.done), FIRST_LOOK_S)
        except TimeoutError:
            raise TransientError("The job cannot be looked up at the moment. Try again.") from None

    def close(self) -> None:
        """Ends the thread; who still waits gets the job as it was last seen."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._news or self._closed, self._poll_s if self._waiters else None)
                self._news = False
                waiters, closed = list(self._waiters), self._closed
            by_actor: dict[Actor, list[_Waiter]] = {}
            for waiter in waiters:
                by_actor.setdefault(waiter.actor, []).append(waiter)
            try:
                for actor, group in by_actor.items():
                    views = self._read(actor, sorted({waiter.job_id for waiter in group}))
                    for waiter in group:
                        self._show(waiter, views.get(waiter.job_id), final=closed)
            except Exception:
                # The boundary of the thread: a fault of the store delays the waiters and must not strand them.
                _log.exception("waiting jobs could not be looked up; it is tried again")
                time.sleep(self._poll_s)
            if closed:
                return

    def _show(self, waiter: _Waiter, view: JobView | None, *, final: bool) -> None:
        waiter.latest = view
        if view is None or view.is_terminal or final or not waiter.until_terminal:
            with self._condition:
                self._waiters.discard(waiter)
            with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
                waiter.loop.call_soon_threadsafe(_resolve, waiter.done, view)


def _resolve(done: asyncio.Future[JobView | None], view: JobView | None) -> None:
    if not done.done():
        done.set_result(view)
