"""Connections to one SQLite file: a pool of readers, and one writer.

The threads of a process queue for the writer.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from database.columns import to_json
from database.errors import RowRefused, StoreBusy

_WAL_LIMIT_BYTES = 64 * 1024**2


class SqliteConnections:
    """The connections to a database file.

    The file is made where it is missing, readable by its owner only, in a folder that only its owner enters.
    """

    def __init__(self, path: Path, *, busy_timeout_s: float) -> None:
        self._busy_timeout_s = busy_timeout_s
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._readers = _engine(path, busy_timeout_s, writes=False, pool_size=8, max_overflow=-1)
        self._writer = _engine(path, busy_timeout_s, writes=True, pool_size=1, max_overflow=0)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database and cannot write.

        Whatever others write meanwhile.
        """
        with self._readers.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that holds the write lock from its start.

        Raises StoreBusy when it does not get it in time.
        """
        with self.writer() as connection, connection.begin():
            yield connection

    @contextmanager
    def writer(self) -> Iterator[Connection]:
        """The writing connection without a transaction, for the migrations."""
        try:
            connection = self._writer.connect()
        except PoolTimeout as error:
            raise StoreBusy(f"another thread has been writing for {self._busy_timeout_s:g} s") from error
        with connection:
            try:
                yield connection
            except IntegrityError as error:
                raise RowRefused("the database refuses a row that breaks a rule of its schema") from error
            except OperationalError as error:
                if not _is_busy(error.orig):
                    raise
                raise StoreBusy(f"another process has been writing for {self._busy_timeout_s:g} s") from error

    def close(self) -> None:
        self._readers.dispose()
        self._writer.dispose()


def _engine(path: Path, timeout_s: float, *, writes: bool, pool_size: int, max_overflow: int) -> Engine:
    engine = create_engine(
        "sqlite://",
        creator=lambda: _connect(path, timeout_s, writes=writes),
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_timeout=timeout_s,
        pool_reset_on_return="rollback",
        json_serializer=to_json,
        # What a statement was given, such as a query or a hash, does not go into the log with its error.
        hide_parameters=True,
    )

    # The driver would begin transactions by its own lights; it runs in autocommit and we say BEGIN.
    # Source: SQLAlchemy, SQLite dialect, "Enabling Non-Legacy SQLite Transactional Modes with the sqlite3 driver".
    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _connect(path: Path, timeout_s: float, *, writes: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=timeout_s, isolation_level=None, check_same_thread=False)
    with ExitStack() as undo:
        undo.callback(connection.close)
        _enter_wal(connection, timeout_s)
        connection.execute("PRAGMA foreign_keys=ON")
        # FULL: a committed job survives a loss of power too, not only of the process.
        # Source: measured on a virtual disk, a heartbeat's transaction takes 4.6 ms with it and 0.7 ms with NORMAL.
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute(f"PRAGMA journal_size_limit={_WAL_LIMIT_BYTES}")
        # KiB; the writer keeps what a batch of chunks touches in its three indices.
        connection.execute(f"PRAGMA cache_size={-16_000 if writes else -4_000}")
        if not writes:
            connection.execute("PRAGMA query_only=ON")
        # SQLite's own folds ASCII only (sqlite.org/lang_corefunc.html#lower).
        connection.create_function("lower", 1, _lower, deterministic=True)
        undo.pop_all()
    return connection


def _enter_wal(connection: sqlite3.Connection, timeout_s: float) -> None:
    """Switches the file to WAL, which stays in it.

    The switch does not wait for a lock by itself, so we do.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _lower(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


def _is_busy(error: BaseException | None) -> bool:
    """True for SQLITE_BUSY and its extended codes."""
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
