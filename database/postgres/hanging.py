"""Connections that never wait for ever.

A server that is paused, or a cable that is cut, says nothing at all.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import psycopg
from psycopg.abc import PQGen

TICK_S = 0.1
"""How often a wait looks whether it has to end. Source: psycopg's own interval for noticing Ctrl-C."""


class HangGuard:
    """Ends waits for the server that take too long, or all of them when it is told to.

    Thread-safe. The server's own time-outs do not help where the server itself stands still: its kernel goes on
    acknowledging.
    """

    def __init__(self, timeout_s: float) -> None:
        """`timeout_s`: how long one answer may take.

        More than the server's own time-out for a statement.
        """
        self.timeout_s = timeout_s
        self._cut = threading.Event()

    def cut(self) -> None:
        """Ends every wait within a tick, and lets none begin until `mend`."""
        self._cut.set()

    def mend(self) -> None:
        self._cut.clear()

    def refuse_when_cut(self) -> None:
        """Raises OperationalError while nothing may wait for the server."""
        if self._cut.is_set():
            raise psycopg.OperationalError("the connection was given up: the server is taken for dead")

    def watched(self, connection: psycopg.Connection[Any], waits: PQGen[Any]) -> PQGen[Any]:
        """`waits`, which ends with OperationalError when its time is up.

        The connection is closed then.
        """
        deadline = time.monotonic() + self.timeout_s
        try:
            state = next(waits)
            while True:
                if self._cut.is_set() or time.monotonic() > deadline:
                    # Closed at once: what the server might still answer belongs to nobody.
                    connection.pgconn.finish()
                    raise psycopg.OperationalError("the server did not answer in time, and the connection was closed")
                ready = yield state
                state = waits.send(ready)
        except StopIteration as end:
            return end.value


class GuardedConnection(psycopg.Connection[Any]):
    """A connection all of whose waits are watched by a guard.

    Those of pings, commits and rollbacks, too.
    """

    guard: HangGuard | None = None

    def wait(self, gen: PQGen[Any], interval: float = TICK_S, timeout: float | None = None) -> Any:
        watched = gen if self.guard is None else self.guard.watched(self, gen)
        return super().wait(watched, interval, timeout)


def connect(guard: HangGuard, *arguments: Any, **options: Any) -> GuardedConnection:
    """A connection under `guard`; making it is bounded by libpq's `connect_timeout`."""
    guard.refuse_when_cut()
    connection = GuardedConnection.connect(*arguments, **options)
    connection.guard = guard
    return connection
