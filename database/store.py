"""The Store's Protocol: what has a version for each database.

Everyday reads and writes are functions on a Transaction, in database.documents, database.jobs and database.accounts.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from sqlalchemy import ColumnElement, Connection, Table, true

from database.records import Actor, DocumentFilter, JobRecord, RowHit, Vector, VectorMatches


@dataclass(frozen=True, slots=True)
class Transaction:
    """A running transaction on behalf of an actor.

    It ends with the `with` of `Store.begin`.
    """

    actor: Actor
    connection: Connection
    is_partial: bool = False
    """True where rows may be in a database that cannot be asked now: what is not found may be there all the same."""

    def owns(self, table: Table) -> ColumnElement[bool]:
        """True for the rows of `table` that the actor may see."""
        if self.actor.is_service:
            return true()
        return table.c.user_id == self.actor.user_id

    def writes_for(self, user_id: str) -> None:
        """Returns when the actor may write rows of this owner. Raises LookupError."""
        if not self.actor.is_service and user_id != self.actor.user_id:
            raise LookupError("the owner of these rows is another one")


@dataclass(frozen=True, slots=True)
class MigrationState:
    """A migration that the program knows, and when this database got it."""

    version: str
    """14 digits."""
    name: str
    applied_at: str | None
    """None while it is missing; empty where the database does not keep the time, as Postgres does not."""


class Store(Protocol):
    """A database. Thread-safe."""

    @property
    def kind(self) -> Literal["sqlite", "postgresql"]:
        """Which database it is, for people to read."""
        ...

    def begin(self, actor: Actor, *, write: bool = False) -> AbstractContextManager[Transaction]:
        """A transaction that commits at the end of the `with`.

        It leaves nothing when that raises. Only `write=True` may write. An owner's such transactions follow one
        another, and the service's follow all, so keep them short and never nest two. Raises StoreBusy when another
        writer holds on for longer than the time-out, StoreUnavailable when the database cannot be reached or takes no
        writes.
        """
        ...

    def upgrade(self) -> Sequence[str]:
        """Applies the migrations that are missing.

        Returns their version ids, oldest first. Raises MigrationError when an applied one was changed since, or the
        database is newer than the program.
        """
        ...

    def migration_status(self) -> Sequence[MigrationState]:
        """Every migration that the program knows, oldest first."""
        ...

    def ping(self) -> None:
        """Returns when the database answers. Raises StoreUnavailable or StoreBusy."""
        ...

    def search_vectors(
        self,
        actor: Actor,
        query: Vector,
        *,
        space: str,
        kind: Literal["text", "image"],
        k: int,
        only: DocumentFilter,
        exact: bool = False,
    ) -> VectorMatches:
        """The `k` nearest chunks or images by cosine, best first.

        Of two equal ones the one that was stored first comes first. Fewer than `k` only when fewer match. With `exact`
        an index that might miss some is not used. Raises ValueError for a wrong width or a filter that is wrong.
        """
        ...

    def search_keywords(self, actor: Actor, query: str, *, k: int, only: DocumentFilter) -> Sequence[RowHit]:
        """The `k` chunks with the best BM25 for any word of `query`, best first.

        Any text is safe.
        """
        ...

    def claim_job(self, worker_id: str) -> JobRecord | None:
        """The oldest job that may run, now in progress under `worker_id`.

        None when there is none. No two calls get the same one, and none is given while another job of its document
        runs.
        """
        ...

    def close(self) -> None:
        """Closes every connection and frees the vectors."""
        ...
