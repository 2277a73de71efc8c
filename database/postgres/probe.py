"""Finds out within seconds whether the server works.

On a connection of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import psycopg
from sqlalchemy import make_url

from database.errors import StoreBusy, StoreUnavailable
from database.postgres.errors import translating
from database.postgres.hanging import GuardedConnection, HangGuard, connect

PROBE_TIMEOUT_S = 2.0
"""How long one answer to the probe may take. A server that needs longer for `SELECT 1` serves nobody."""
PROBE_ROWS = 512
"""Rows of 8 kB, 4 MB in all, that the writing probe stores.

The table is emptied in the same transaction, so that its file begins anew: on a full disk a single row would still find
room in a page, and in a segment of the log, that are there already.
"""
_BECOME = "SELECT set_config('role', 'service_role', true), set_config('lock_timeout', '1s', true)"
_WRITE = (
    "TRUNCATE public.write_probes",
    f"INSERT INTO public.write_probes (filling) SELECT repeat('x', 8000) FROM generate_series(1, {PROBE_ROWS})",
)


class PostgresProbe:
    """One connection for probing. Thread-safe: probes follow one another."""

    def __init__(self, url: str, arguments: Mapping[str, Any]) -> None:
        """`arguments` are those of the pool's connections."""
        self._address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._arguments = {**arguments, "connect_timeout": 2}  # the least that libpq takes
        self._guard = HangGuard(PROBE_TIMEOUT_S)
        self._lock = threading.Lock()
        self._connection: GuardedConnection | None = None

    def check(self, *, writes: bool) -> None:
        """Returns when the server answers.

        With `writes`, when it stores some megabytes. Raises StoreUnavailable, and StoreBusy while another node's probe
        writes.
        """
        with self._lock:
            if self._connection is not None:
                try:
                    self._ask(self._connection, writes=writes)
                    return
                except StoreUnavailable:
                    # A pooler or a restart may have closed an idle connection; a new one tells.
                    self._forget()
            with translating(writes=writes):
                self._connection = connect(self._guard, self._address, autocommit=True, **self._arguments)
            try:
                self._ask(self._connection, writes=writes)
            except StoreUnavailable:
                self._forget()
                raise

    def close(self) -> None:
        with self._lock:
            self._forget()

    def _ask(self, connection: GuardedConnection, *, writes: bool) -> None:
        try:
            with translating(writes=writes):
                if not writes:
                    connection.execute("SELECT 1")
                    return
                with connection.transaction():
                    connection.execute(_BECOME)
                    for statement in _WRITE:
                        connection.execute(statement)
        except StoreBusy:
            raise
        except psycopg.Error as error:
            # A table that is missing, a right that was taken: the server answers, and cannot be worked with.
            raise StoreUnavailable("the database refuses a write that it has to take") from error

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
