"""The record of searches that were made."""

from __future__ import annotations

import logging

from database.documents import searches
from database.errors import StoreBusy, StoreUnavailable
from database.records import Actor, Json, ListPage, SearchRecord, Vector
from services.runtime import Runtime
from services.storage import refusing_bad_queries

_log = logging.getLogger(__name__)


def note_search(runtime: Runtime, actor: Actor, *, text: str, vector: Vector | None, results: int, facts: Json) -> None:
    """Records a search. One that cannot be recorded because the database does not take it is only logged."""
    try:
        with runtime.store.begin(actor, write=True) as tx:
            searches.record(tx, query_text=text, query_embedding=vector, results_found=results, metadata=facts)
    except (StoreBusy, StoreUnavailable):
        # The answer is there; a note that cannot be written now must not take it away.
        _log.warning("a search could not be recorded: the database did not take it")


def list_searches(runtime: Runtime, actor: Actor, *, limit: int, cursor: str | None) -> ListPage[SearchRecord]:
    """The recorded searches, newest first. Raises InvalidOption for a malformed cursor."""
    with runtime.store.begin(actor) as tx, refusing_bad_queries():
        return searches.list_page(tx, limit, cursor)
