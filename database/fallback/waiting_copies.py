"""What waits on a node, for commands that do not open the store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from database.fallback import journal
from database.opening import open_store
from database.records import SERVICE_ACTOR

FOLDER = "fallback"
"""Of this node's database, in the data folder."""


def waiting_copies(data_dir: Path) -> Mapping[str, int]:
    """How many documents, jobs and searches wait to be moved to Postgres.

    Empty where this node never worked alone.
    """
    folder = data_dir / FOLDER
    if not any(folder.glob("*.sqlite3")):
        return {}
    store = open_store(folder)
    try:
        with store.begin(SERVICE_ACTOR) as tx:
            return journal.count_waiting(tx.connection)
    finally:
        store.close()
