"""Opens the SQLite store of a data folder."""

from __future__ import annotations

from pathlib import Path

from database.sqlite.store import SqliteStore
from database.store import Store

BUSY_TIMEOUT_S = 30.0
"""How long a writer waits for another one. Every transaction of ours is short; nobody should ever wait this long."""


def open_store(data_dir: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Store:
    """The SQLite store in `data_dir`.

    The folder is made if it is missing, readable by its owner only. Does not migrate.
    """
    return SqliteStore(data_dir / "docatlas.sqlite3", busy_timeout_s=busy_timeout_s)
