"""Moves one upload into the main database, in one transaction, and decides what happens to what is there already.

The table of conflicts in docs/fallback.md says the same in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import delete, insert, select, update

from database import change_counter as changes
from database import schema
from database.documents import document_aliases as aliases
from database.errors import StoreError
from database.fallback.document_parts import Place, Proof, copy_parts, delete_parts, read_proof
from database.fallback.upload_trees import Family, RowValues
from database.ids import now
from database.jobs import jobs as job_rows
from database.sql import among_ids
from database.store import Transaction

_documents = schema.documents
_jobs = schema.jobs
_READING = ("author", "language", "page_count", "total_chunks", "total_chars", "image_count", "warnings", "options")
"""What a document shows of the reading that readers see, beside its status."""


class ReplayMismatch(StoreError):
    """What the main database holds after the copy is not what was sent."""


def is_there(target: Transaction, family: Family) -> bool:
    """True when the upload has arrived, under its own id or as another id of a document that was there."""
    found = target.connection.scalar(
        select(_documents.c.document_id).where(_documents.c.document_id == family.document_id, target.owns(_documents))
    )
    return found is not None or aliases.resolve(target, family.document_id) is not None


def remove(target: Transaction, document_ids: Sequence[str], job_ids: Sequence[str]) -> None:
    """Takes back what was moved before under these ids; a document that was there already stays."""
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
    aliases.remove(target, list(document_ids))


def move(source: Transaction, family: Family, target: Transaction) -> Literal["confirmed", "dropped"]:
    """Writes the family into the main database and reads it again there. Call it in a transaction of its own.

    `dropped`: its owner is gone, and nothing was written. Raises ReplayMismatch when what is read is not what was sent.
    """
    owner = select(schema.users.c.user_id).where(schema.users.c.user_id == family.user_id)
    if target.connection.scalar(owner) is None:
        return "dropped"
    remove(target, [row["document_id"] for row in family.documents], [job["job_id"] for job in family.jobs])
    mover = _Mover(source, family, target)
    mover.move()
    mover.prove()
    return "confirmed"


class _Mover:
    def __init__(self, source: Transaction, family: Family, target: Transaction) -> None:
        self._source, self._family, self._target = source, family, target
        self._places: dict[str, Place] = {}
        self._proofs: dict[str, Proof] = {}
        self._aliases: dict[str, str] = {}
        self._keeps_own = False

    def move(self) -> None:
        for row in self._family.documents:
            self._place(dict(row))
        jobs = [self._placed(job) for job in self._family.jobs]
        if jobs:
            self._target.connection.execute(insert(_jobs), jobs)
            self._number_on(jobs)
        aliases.add(self._target, self._family.user_id, self._aliases)
        for document_id, place in self._places.items():
            if document_id in self._proofs:
                changes.mark_changed(self._target, place.document_id, self._family.user_id)

    def prove(self) -> None:
        """Compares what is read from the target with what was sent. Raises ReplayMismatch."""
        for document_id, sent in self._proofs.items():
            found = read_proof(self._target.connection, self._places[document_id], sent.generations)
            if found != sent:
                raise ReplayMismatch(
                    f"document {document_id}: {sent.rows} rows were sent, {found.rows} are there, or their sums differ"
                )

    def _place(self, row: RowValues) -> None:
        document_id = row["document_id"]
        if row["parent_id"] is not None:
            around = self._places[row["parent_id"]]
            row["parent_id"] = around.document_id
            row["parent_generation"] += around.later
        twin = self._twin(row)
        if twin is None and self._keeps_own:
            # The parent that is there was read without this member; its id leads to the parent.
            self._alias(document_id, Place(row["parent_id"], self._room(row["parent_id"])))
            return
        if twin is None:
            self._target.connection.execute(insert(_documents).values({**row, "change": 0}))
            place = Place(document_id)
        else:
            if row["parent_id"] is None:
                self._keeps_own = self._is_enough(twin, row)
            place = Place(twin["document_id"], twin["last_generation"])
            self._merge(row, twin, place)
            self._alias(document_id, place)
            if self._keeps_own:
                return
        self._places[document_id] = place
        self._proofs[document_id] = copy_parts(self._source.connection, document_id, self._target.connection, place)

    def _number_on(self, jobs: Sequence[RowValues]) -> None:
        """Sees to it that the next job of a document that was there gets a generation which none of `jobs` has."""
        last: dict[str, int] = {}
        for job in jobs:
            last[job["document_id"]] = max(job["generation"], last.get(job["document_id"], 0))
        for document_id in set(last) & set(self._aliases.values()):
            behind = (_documents.c.document_id == document_id, _documents.c.last_generation < last[document_id])
            self._target.connection.execute(update(_documents).where(*behind).values(last_generation=last[document_id]))

    def _alias(self, document_id: str, place: Place) -> None:
        self._aliases[document_id] = place.document_id
        self._places[document_id] = place

    def _room(self, document_id: str) -> int:
        """Behind which generation the jobs of a document that is there may be numbered."""
        used = _jobs.c.generation
        query = select(used).where(_jobs.c.document_id == document_id).order_by(used.desc()).limit(1)
        of_jobs = self._target.connection.scalar(query) or 0
        planned = [place.later for place in self._places.values() if place.document_id == document_id]
        most = max((job["generation"] for job in self._family.jobs), default=0)
        return max(of_jobs, max(planned, default=0) + most)

    def _twin(self, row: RowValues) -> RowValues | None:
        """The document that is there with the same content, at the same place."""
        same = [_documents.c.sha256 == row["sha256"], _documents.c.user_id == row["user_id"]]
        if row["parent_id"] is None:
            same.append(_documents.c.parent_id.is_(None))
        else:
            same += [_documents.c.parent_id == row["parent_id"], _documents.c.filename == row["filename"]]
        found = self._target.connection.execute(select(_documents).where(*same)).one_or_none()
        return None if found is None else dict(found._mapping)

    def _is_enough(self, twin: RowValues, row: RowValues) -> bool:
        """True when what is there shows all that was read here: then nothing of the reading has to be moved."""
        active = self._target.connection.scalar(
            select(_jobs.c.job_id)
            .where(_jobs.c.document_id == twin["document_id"], _jobs.c.status.in_(job_rows.ACTIVE_STATUSES))
            .limit(1)
        )
        same = twin["generation"] > 0 and twin["options"] == row["options"]
        return same and active is None and self._family.is_settled

    def _merge(self, row: RowValues, twin: RowValues, place: Place) -> None:
        """Makes the readings of `row` later ones of the document that is there, as if it had been uploaded again."""
        values: dict[str, Any] = {
            "last_generation": place.later + row["last_generation"],
            "parent_generation": max(twin["parent_generation"], row["parent_generation"]),
            "updated_at": now(),
        }
        if row["metadata"]:
            values["metadata"] = row["metadata"]
        if not self._keeps_own:
            values.update({name: row[name] for name in ("filename", "file_type", "media_type")})
            if row["generation"] > 0:
                self._end_jobs(twin, row)
                values.update({name: row[name] for name in _READING})
                values["generation"] = place.later + row["generation"]
                values["title"] = twin["title"] or row["title"]
            if row["generation"] > 0 or row["status"] == "queued" or twin["generation"] == 0:
                values["status"] = row["status"]
        mine = _documents.c.document_id == twin["document_id"]
        self._target.connection.execute(update(_documents).where(mine).values(values))

    def _end_jobs(self, twin: RowValues, row: RowValues) -> None:
        """What was under way for the document that is there has been done here, or is overtaken by other options."""
        unfinished = (_jobs.c.document_id == twin["document_id"], _jobs.c.status.in_(("queued", "in_progress")))
        for job in self._target.connection.execute(select(_jobs.c.job_id, _jobs.c.options).where(*unfinished)).all():
            if job.options == row["options"] and row["status"] in ("completed", "completed_with_errors"):
                done = {"status": row["status"], "warnings": row["warnings"], "percent": 100.0, "finished_at": now()}
                self._target.connection.execute(update(_jobs).where(_jobs.c.job_id == job.job_id).values(done))
        job_rows.supersede(self._target, twin["document_id"])

    def _placed(self, job: RowValues) -> RowValues:
        place = self._places[job["document_id"]]
        return {**job, "document_id": place.document_id, "generation": job["generation"] + place.later}
