"""The journal of this node: which database is served, which uploads were sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Column, Connection, MetaData, Table, Text, delete, exists, func, or_, select

from database import schema
from database.sql import upsert

Serving = Literal["main", "local"]
Outcome = Literal["sent", "confirmed", "dropped", "refused"]

_metadata = MetaData()
# Tables of this file alone, made by this program alone: they are no part of the product's schema.
_serving = Table(
    "fallback_serving", _metadata, Column("served", Text, primary_key=True), Column("place", Text, nullable=False)
)
_replays = Table(
    "fallback_replays",
    _metadata,
    Column("document_id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("stamp", Text, nullable=False),
    Column("outcome", Text, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """An upload, with the documents in it, that was sent to the main database."""

    document_id: str
    user_id: str
    stamp: str
    """Of the documents and jobs as they were sent; see database.fallback.upload_trees."""
    outcome: Outcome
    """`sent`: perhaps it arrived. `confirmed`: it is there. `dropped`: its owner is gone. `refused`: it cannot be
    stored there, and stays here."""


def prepare(connection: Connection) -> None:
    """Creates the tables where they are missing."""
    _metadata.create_all(connection)


def serving(connection: Connection) -> Serving:
    """Which database the processes on this data folder serve."""
    return "local" if connection.scalar(select(_serving.c.place)) == "local" else "main"


def serve(connection: Connection, place: Serving) -> None:
    """Changes which database is served, with the end of this transaction."""
    upsert(connection, _serving, [{"served": "documents", "place": place}], key=["served"])


def entries(connection: Connection) -> Mapping[str, Entry]:
    """All entries by the upload's id."""
    return {row.document_id: Entry(**row._mapping) for row in connection.execute(select(_replays))}


def note(connection: Connection, entry: Entry) -> None:
    """Writes an entry, in the place of an older one of the same upload."""
    row = {name: getattr(entry, name) for name in ("document_id", "user_id", "stamp", "outcome")}
    upsert(connection, _replays, [row], key=["document_id"])


def forget(connection: Connection, document_id: str) -> None:
    """Deletes the entry of an upload."""
    connection.execute(delete(_replays).where(_replays.c.document_id == document_id))


def count_waiting(connection: Connection) -> Mapping[str, int]:
    """How many documents, jobs and searches lie on this node."""
    return {
        name: connection.execute(select(func.count()).select_from(table)).scalar_one()
        for name, table in (("documents", schema.documents), ("jobs", schema.jobs), ("searches", schema.searches))
    }


def holds_copies(connection: Connection) -> bool:
    """True while anything lies on this node that the main database may lack."""
    refused = select(_replays.c.document_id).where(_replays.c.outcome == "refused")
    movable = exists().where(schema.documents.c.parent_id.is_(None), schema.documents.c.document_id.not_in(refused))
    alone = exists().where(schema.jobs.c.document_id.is_(None))
    sent = exists().where(_replays.c.outcome != "refused")
    anything = or_(movable, alone, sent, exists().where(schema.searches.c.search_id.is_not(None)))
    return bool(connection.scalar(select(anything)))
