"""Reads the uploads of this node, each with the documents in it and their jobs."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from database import schema
from database.columns import to_json
from database.jobs.jobs import ACTIVE_STATUSES, RUNNING_STATUSES

RowValues = dict[str, Any]


@dataclass(frozen=True, slots=True)
class UploadTree:
    """An upload, the documents in it at all levels, and their jobs."""

    documents: Sequence[RowValues]
    """Rows of documents_metadata; each comes after the one that it lies in."""
    jobs: Sequence[RowValues]
    """Rows of jobs, oldest first."""

    @property
    def document_id(self) -> str:
        """Of the upload."""
        return str(self.documents[0]["document_id"])

    @property
    def user_id(self) -> str:
        return str(self.documents[0]["user_id"])

    @property
    def stamp(self) -> str:
        """Changes with whatever changes in the rows.

        Pages and chunks do so only while a job runs.
        """
        return hashlib.sha256(to_json([list(self.documents), list(self.jobs)]).encode()).hexdigest()

    @property
    def is_settled(self) -> bool:
        """True when no job of it has still to run."""
        return not any(job["status"] in ACTIVE_STATUSES for job in self.jobs)

    @property
    def is_running(self) -> bool:
        """True while a worker holds a job of it."""
        return any(job["status"] in RUNNING_STATUSES and job["worker_id"] is not None for job in self.jobs)


def read_upload_trees(connection: Connection) -> list[UploadTree]:
    """All uploads on this node, in the order in which they came."""
    documents = [dict(row._mapping) for row in connection.execute(select(schema.documents))]
    by_id = {row["document_id"]: row for row in documents}
    members: dict[str, list[RowValues]] = defaultdict(list)
    for row in documents:
        members[_root(row, by_id)].append(row)
    jobs: dict[str, list[RowValues]] = defaultdict(list)
    of_documents = select(schema.jobs).where(schema.jobs.c.document_id.is_not(None))
    for found in connection.execute(of_documents.order_by(schema.jobs.c.created_at, schema.jobs.c.job_id)):
        job = dict(found._mapping)
        jobs[_root(by_id[job["document_id"]], by_id)].append(job)
    trees = [
        UploadTree(sorted(rows, key=lambda row: (_depth(row, by_id), *_age(row))), jobs[root_id])
        for root_id, rows in members.items()
    ]
    return sorted(trees, key=lambda tree: _age(tree.documents[0]))


def _age(row: RowValues) -> tuple[str, str]:
    return row["created_at"], row["document_id"]


def _root(row: RowValues, by_id: Mapping[str, RowValues]) -> str:
    while row["parent_id"] is not None:
        row = by_id[row["parent_id"]]
    return str(row["document_id"])


def _depth(row: RowValues, by_id: Mapping[str, RowValues]) -> int:
    depth = 0
    while row["parent_id"] is not None:
        row, depth = by_id[row["parent_id"]], depth + 1
    return depth
