"""Replays on the main database what this node took while that was away.

Uploads go in order, each once. Killed at any instant, the next run goes on: what is sent is noted here before, what has
arrived is noted after, and copies are removed only once everything is confirmed and the main database is served again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

from sqlalchemy import Connection, Table, delete, insert, select
from sqlalchemy.exc import DBAPIError

from database import schema
from database.documents import documents
from database.errors import RowRefused, StoreBusy
from database.fallback import journal, merge
from database.fallback.journal import Entry, Outcome
from database.fallback.merge import ReplayMismatch
from database.fallback.upload_trees import UploadTree, read_upload_trees
from database.records import SERVICE_ACTOR, worker_for
from database.sql import among_ids
from database.store import Store, Transaction

_log = logging.getLogger(__name__)

_Noting = Callable[[], AbstractContextManager[Connection]]
"""A connection to this node's database on which the journal is written, until the `with` ends."""
BATCH_ROWS = 500
_ALONE: tuple[tuple[Table, str], ...] = ((schema.jobs, "job_id"), (schema.searches, "search_id"))
"""What belongs to no document: jobs of the whole installation, and the record of searches."""


class Replay:
    """Moves uploads from `local` to `main`.

    For one thread at a time, in one process at a time.
    """

    def __init__(
        self, main: Store, local: Store, count: Callable[[str, int], None], *, write_turn: threading.Lock | None = None
    ) -> None:
        """`count` is told what happened, in the words of the counters.

        Who writes here takes `write_turn` to begin.
        """
        self._main, self._local, self._count = main, local, count
        self._write_turn = write_turn or threading.Lock()

    def copy(self, *, settled_only: bool, retry_refused: bool = False) -> int:
        """Copies what is not there yet, while this node is still served from here.

        Returns how many uploads it sent. With `settled_only` those that have a job to run are left for later. Raises
        StoreUnavailable and StoreBusy.
        """
        sent = 0
        with self._local.begin(SERVICE_ACTOR) as tx:
            trees, known = read_upload_trees(tx.connection), journal.entries(tx.connection)
        for tree in trees:
            entry = known.get(tree.document_id)
            if settled_only and not tree.is_settled:
                continue
            if entry is not None and entry.outcome == "refused" and not retry_refused and entry.stamp == tree.stamp:
                continue
            sent += self._send(tree, entry, self._noting)
        self._delete_removed(trees, list(known.values()), self._noting)
        self._copy_alone()
        return sent

    def switch(self) -> None:
        """Copies what has changed since `copy`, and has the main database served.

        Nobody can write here meanwhile. Raises StoreUnavailable and StoreBusy, and then this node goes on being served
        from here.
        """
        with self._writing() as gate:
            trees, known = read_upload_trees(gate.connection), journal.entries(gate.connection)
            if any(tree.is_running for tree in trees):
                raise StoreBusy("jobs still run on this node")

            @contextmanager
            def noting() -> Iterator[Connection]:
                yield gate.connection

            for tree in trees:
                entry = known.get(tree.document_id)
                if entry is None or entry.outcome != "refused":
                    self._send(tree, entry, noting)
            self._delete_removed(trees, list(known.values()), noting)
            self._copy_alone()
            journal.serve(gate.connection, "main")

    def drop(self) -> None:
        """Removes the copies that have arrived.

        None where this node is served from here again.
        """
        self.drop_documents()
        self._drop_alone()

    def drop_documents(self) -> None:
        """As `drop`, but only what was noted as confirmed: the main database is not asked."""
        with self._local.begin(SERVICE_ACTOR) as tx:
            trees = {tree.document_id: tree for tree in read_upload_trees(tx.connection)}
            known = journal.entries(tx.connection)
        for entry in known.values():
            tree = trees.get(entry.document_id)
            if entry.outcome not in ("confirmed", "dropped") or (tree and tree.stamp != entry.stamp):
                continue
            with self._writing() as tx:
                if journal.serving(tx.connection) == "local":
                    return
                documents.delete(tx, entry.document_id)
                journal.forget(tx.connection, entry.document_id)

    @contextmanager
    def _writing(self) -> Iterator[Transaction]:
        """A writing transaction here.

        Those that write without a pause have to stand back for it.
        """
        with ExitStack() as stack:
            with self._write_turn:
                tx = stack.enter_context(self._local.begin(SERVICE_ACTOR, write=True))
            yield tx

    @contextmanager
    def _noting(self) -> Iterator[Connection]:
        with self._writing() as tx:
            yield tx.connection

    def _send(self, tree: UploadTree, entry: Entry | None, noting: _Noting) -> bool:
        """False where it had arrived already."""
        stamp = tree.stamp

        def note(outcome: Outcome) -> None:
            with noting() as connection:
                journal.note(connection, Entry(tree.document_id, tree.user_id, stamp, outcome))

        if entry is not None and entry.stamp == stamp:
            if entry.outcome in ("confirmed", "dropped"):
                return False
            if entry.outcome == "sent" and self._has_arrived(tree):
                note("confirmed")
                self._count("replayed", 1)
                return False
        note("sent")
        try:
            with (
                self._local.begin(SERVICE_ACTOR) as source,
                self._main.begin(worker_for(tree.user_id), write=True) as target,
            ):
                outcome = merge.merge_upload(source, tree, target)
        except (DBAPIError, RowRefused, ReplayMismatch):
            # One upload that cannot be stored there must not keep all others, and this node, waiting.
            _log.exception("upload %s cannot be moved to the main database; it stays on this node", tree.document_id)
            note("refused")
            self._count("replay_refused", 1)
            return True
        note(outcome)
        if outcome == "dropped":
            _log.warning("upload %s is dropped: its owner %s is gone", tree.document_id, tree.user_id)
        self._count("replayed" if outcome == "confirmed" else "replay_dropped", 1)
        return True

    def _has_arrived(self, tree: UploadTree) -> bool:
        with self._main.begin(worker_for(tree.user_id)) as tx:
            return merge.has_arrived(tx, tree)

    def _delete_removed(self, trees: Sequence[UploadTree], known: Sequence[Entry], noting: _Noting) -> None:
        """Deletes in the main database what was deleted here after it had been sent."""
        here = {tree.document_id for tree in trees}
        for entry in known:
            if entry.document_id in here:
                continue
            if entry.outcome in ("sent", "confirmed"):
                with self._main.begin(worker_for(entry.user_id), write=True) as target:
                    merge.remove_merged(target, [entry.document_id], [])
            with noting() as connection:
                journal.forget(connection, entry.document_id)

    def _copy_alone(self) -> None:
        for table, key in _ALONE:
            for user_id, ids in self._alone(table, key).items():
                with self._main.begin(worker_for(user_id), write=True) as target:
                    owner = select(schema.users.c.user_id).where(schema.users.c.user_id == user_id)
                    if target.connection.scalar(owner) is None:
                        continue
                    missing = _missing(target.connection, table, key, ids)
                    for start in range(0, len(missing), BATCH_ROWS):
                        self._insert(target.connection, table, key, missing[start : start + BATCH_ROWS])

    def _insert(self, target: Connection, table: Table, key: str, ids: Sequence[str]) -> None:
        with self._local.begin(SERVICE_ACTOR) as source:
            rows = source.connection.execute(
                select(table).where(table.c[key].in_(among_ids(ids))).order_by(table.c[key])
            )
            target.execute(insert(table), [dict(row._mapping) for row in rows])

    def _drop_alone(self) -> None:
        for table, key in _ALONE:
            for user_id, ids in self._alone(table, key).items():
                with self._main.begin(worker_for(user_id)) as target:
                    owner = select(schema.users.c.user_id).where(schema.users.c.user_id == user_id)
                    is_gone = target.connection.scalar(owner) is None
                    missing = set() if is_gone else set(_missing(target.connection, table, key, ids))
                moved = [id for id in ids if id not in missing]
                with self._writing() as tx:
                    tx.connection.execute(delete(table).where(table.c[key].in_(among_ids(moved))))

    def _alone(self, table: Table, key: str) -> dict[str, list[str]]:
        """The ids of rows on this node that belong to no document, by owner, oldest first."""
        query = select(table.c[key], table.c.user_id).order_by(table.c[key])
        if "document_id" in table.c:
            query = query.where(table.c.document_id.is_(None))
        found: dict[str, list[str]] = {}
        with self._local.begin(SERVICE_ACTOR) as tx:
            for id, user_id in tx.connection.execute(query):
                found.setdefault(user_id, []).append(id)
        return found


def _missing(target: Connection, table: Table, key: str, ids: Sequence[str]) -> list[str]:
    there = set(target.scalars(select(table.c[key]).where(table.c[key].in_(among_ids(ids)))))
    return [id for id in ids if id not in there]
