"""Merges one upload into the main database, in one transaction.

What becomes of content that is there already is decided here; the table of conflicts in docs/fallback.md says the same
in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import delete, insert, select, update

from database import change_counter, schema
from database.documents import document_aliases
from database.errors import StoreError
from database.fallback.document_parts import Destination, PartsDigest, copy_parts, delete_parts, digest_parts
from database.fallback.upload_trees import RowValues, UploadTree
from database.ids import now
from database.jobs.jobs import ACTIVE_STATUSES, supersede
from database.sql import among_ids
from database.store import Transaction

_documents = schema.documents
_jobs = schema.jobs
_READING = ("author", "language", "page_count", "total_chunks", "total_chars", "image_count", "warnings", "options")
"""What a document shows of the reading that readers see, beside its status."""


class ReplayMismatch(StoreError):
    """What the main database holds after the copy is not what was sent."""


def has_arrived(target: Transaction, tree: UploadTree) -> bool:
    """True when the upload has arrived in the main database.

    Under its own id, or as another id of a document that was there.
    """
    found = target.connection.scalar(
        select(_documents.c.document_id).where(_documents.c.document_id == tree.document_id, target.owns(_documents))
    )
    return found is not None or document_aliases.resolve(target, tree.document_id) is not None


def remove_merged(target: Transaction, document_ids: Sequence[str], job_ids: Sequence[str]) -> None:
    """Deletes what was merged before under these ids.

    A document that was there already stays.
    """
    merged = target.connection.execute(
        select(_jobs.c.job_id, _jobs.c.document_id, _jobs.c.generation).where(
            _jobs.c.job_id.in_(among_ids(job_ids)), _jobs.c.document_id.not_in(among_ids(document_ids))
        )
    ).all()
    for job in merged:
        delete_parts(target.connection, job.document_id, job.generation)
        shown = (_documents.c.document_id == job.document_id, _documents.c.generation == job.generation)
        target.connection.execute(update(_documents).where(*shown).values(generation=0))
        target.connection.execute(delete(_jobs).where(_jobs.c.job_id == job.job_id))
    target.connection.execute(delete(_documents).where(_documents.c.document_id.in_(among_ids(document_ids))))
    document_aliases.remove(target, list(document_ids))


def merge_upload(source: Transaction, tree: UploadTree, target: Transaction) -> Literal["confirmed", "dropped"]:
    """Writes an upload into the main database, and proves that it is there whole.

    What can be read there is compared with what was sent. Call it in a transaction of its own. `dropped`: its owner is
    gone, and nothing was written. Raises ReplayMismatch when the two differ.
    """
    owner = select(schema.users.c.user_id).where(schema.users.c.user_id == tree.user_id)
    if target.connection.scalar(owner) is None:
        return "dropped"
    remove_merged(target, [row["document_id"] for row in tree.documents], [job["job_id"] for job in tree.jobs])
    merge = _Merge(source, tree, target)
    merge.write()
    merge.verify()
    return "confirmed"


class _Merge:
    """One upload on its way into the main database: `write`, then `verify`."""

    def __init__(self, source: Transaction, tree: UploadTree, target: Transaction) -> None:
        self._source, self._tree, self._target = source, tree, target
        self._destinations: dict[str, Destination] = {}
        self._sent: dict[str, PartsDigest] = {}
        self._aliases: dict[str, str] = {}
        self._keeps_own = False

    def write(self) -> None:
        """Writes documents, parts, jobs and other ids."""
        for row in self._tree.documents:
            self._write_document(dict(row))
        jobs = [self._of_target(job) for job in self._tree.jobs]
        if jobs:
            self._target.connection.execute(insert(_jobs), jobs)
            self._reserve_generations(jobs)
        document_aliases.add(self._target, self._tree.user_id, self._aliases)
        for document_id, destination in self._destinations.items():
            if document_id in self._sent:
                change_counter.mark_changed(self._target, destination.document_id, self._tree.user_id)

    def verify(self) -> None:
        """Compares what is read from the target with what was sent. Raises ReplayMismatch."""
        for document_id, sent in self._sent.items():
            found = digest_parts(self._target.connection, self._destinations[document_id], sent.generations)
            if found != sent:
                raise ReplayMismatch(
                    f"document {document_id}: {sent.rows} rows were sent, {found.rows} are there, or their sums differ"
                )

    def _write_document(self, row: RowValues) -> None:
        document_id = row["document_id"]
        if row["parent_id"] is not None:
            parent = self._destinations[row["parent_id"]]
            row["parent_id"] = parent.document_id
            row["parent_generation"] += parent.generation_offset
        existing = self._find_existing(row)
        if existing is None and self._keeps_own:
            # The parent that is there was read without this member; its id leads to the parent.
            self._add_alias(document_id, Destination(row["parent_id"], self._last_generation(row["parent_id"])))
            return
        if existing is None:
            self._target.connection.execute(insert(_documents).values({**row, "change": 0}))
            destination = Destination(document_id)
        else:
            if row["parent_id"] is None:
                self._keeps_own = self._is_enough(existing, row)
            destination = Destination(existing["document_id"], existing["last_generation"])
            self._add_readings(row, existing, destination)
            self._add_alias(document_id, destination)
            if self._keeps_own:
                return
        self._destinations[document_id] = destination
        self._sent[document_id] = copy_parts(self._source.connection, document_id, self._target.connection, destination)

    def _reserve_generations(self, jobs: Sequence[RowValues]) -> None:
        """Raises the last generation of documents that were there.

        Their next job then gets a generation that is new.
        """
        last: dict[str, int] = {}
        for job in jobs:
            last[job["document_id"]] = max(job["generation"], last.get(job["document_id"], 0))
        for document_id in set(last) & set(self._aliases.values()):
            behind = (_documents.c.document_id == document_id, _documents.c.last_generation < last[document_id])
            self._target.connection.execute(update(_documents).where(*behind).values(last_generation=last[document_id]))

    def _add_alias(self, document_id: str, destination: Destination) -> None:
        self._aliases[document_id] = destination.document_id
        self._destinations[document_id] = destination

    def _last_generation(self, document_id: str) -> int:
        """The generation after which the jobs of a document that is there may be numbered."""
        used = _jobs.c.generation
        query = select(used).where(_jobs.c.document_id == document_id).order_by(used.desc()).limit(1)
        of_jobs = self._target.connection.scalar(query) or 0
        planned = [
            destination.generation_offset
            for destination in self._destinations.values()
            if destination.document_id == document_id
        ]
        most = max((job["generation"] for job in self._tree.jobs), default=0)
        return max(of_jobs, max(planned, default=0) + most)

    def _find_existing(self, row: RowValues) -> RowValues | None:
        """The document that is there with the same content, at the same place."""
        same = [_documents.c.sha256 == row["sha256"], _documents.c.user_id == row["user_id"]]
        if row["parent_id"] is None:
            same.append(_documents.c.parent_id.is_(None))
        else:
            same += [_documents.c.parent_id == row["parent_id"], _documents.c.filename == row["filename"]]
        found = self._target.connection.execute(select(_documents).where(*same)).one_or_none()
        return None if found is None else dict(found._mapping)

    def _is_enough(self, existing: RowValues, row: RowValues) -> bool:
        """True when what is there shows all that was read here.

        Then nothing of the reading has to be moved.
        """
        active = self._target.connection.scalar(
            select(_jobs.c.job_id)
            .where(_jobs.c.document_id == existing["document_id"], _jobs.c.status.in_(ACTIVE_STATUSES))
            .limit(1)
        )
        same = existing["generation"] > 0 and existing["options"] == row["options"]
        return same and active is None and self._tree.is_settled

    def _add_readings(self, row: RowValues, existing: RowValues, destination: Destination) -> None:
        """Adds the readings of `row` to the document that is there, as later ones.

        As if it had been uploaded again.
        """
        values: dict[str, Any] = {
            "last_generation": destination.generation_offset + row["last_generation"],
            "parent_generation": max(existing["parent_generation"], row["parent_generation"]),
            "updated_at": now(),
        }
        if row["metadata"]:
            values["metadata"] = row["metadata"]
        if not self._keeps_own:
            values.update({name: row[name] for name in ("filename", "file_type", "media_type")})
            if row["generation"] > 0:
                self._end_jobs(existing, row)
                values.update({name: row[name] for name in _READING})
                values["generation"] = destination.generation_offset + row["generation"]
                values["title"] = existing["title"] or row["title"]
            if row["generation"] > 0 or row["status"] == "queued" or existing["generation"] == 0:
                values["status"] = row["status"]
        mine = _documents.c.document_id == existing["document_id"]
        self._target.connection.execute(update(_documents).where(mine).values(values))

    def _end_jobs(self, existing: RowValues, row: RowValues) -> None:
        """Ends the jobs under way for the document that is there.

        Their work has been done here, or is overtaken by other options.
        """
        unfinished = (_jobs.c.document_id == existing["document_id"], _jobs.c.status.in_(("queued", "in_progress")))
        for job in self._target.connection.execute(select(_jobs.c.job_id, _jobs.c.options).where(*unfinished)).all():
            if job.options == row["options"] and row["status"] in ("completed", "completed_with_errors"):
                done = {"status": row["status"], "warnings": row["warnings"], "percent": 100.0, "finished_at": now()}
                self._target.connection.execute(update(_jobs).where(_jobs.c.job_id == job.job_id).values(done))
        supersede(self._target, existing["document_id"])

    def _of_target(self, job: RowValues) -> RowValues:
        destination = self._destinations[job["document_id"]]
        return {
            **job,
            "document_id": destination.document_id,
            "generation": job["generation"] + destination.generation_offset,
        }
