"""Finds the files that rows refer to, and brings missing ones from elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import select, union_all

from database import schema
from database.blobs.base import BlobStore, is_sha256
from database.errors import BlobDamaged
from database.ids import new_id
from database.records import SERVICE_ACTOR
from database.store import Store

_BLOCK_BYTES = 1024**2
_PAGE_DOCUMENTS = 500


@dataclass
class FileReport:
    """What became of the files that the rows of a database refer to."""

    referenced: int = 0
    """Different files."""
    copied: int = 0
    missing: int = 0
    """Files that are not where they should be, and could not be brought."""
    documents: list[str] = field(default_factory=list)
    """Ids of the documents that lack one, sorted."""


def bring_files(store: Store, target: BlobStore, source: BlobStore | None = None) -> FileReport:
    """Looks for every referenced file in `target`.

    What is missing is brought from `source`, where that is given. Each file is checked by its SHA-256 on the way; one
    that is damaged counts as missing. May be stopped and repeated.
    """
    report = FileReport()
    seen: dict[str, bool] = {}
    lacking: set[str] = set()
    for document_id, sha256 in _references(store):
        is_there = seen.get(sha256)
        if is_there is None:
            is_there = is_sha256(sha256) and target.exists(sha256)
            if not is_there and source is not None and is_sha256(sha256):
                is_there = _bring(sha256, source, target)
                report.copied += is_there
            report.referenced += 1
            report.missing += not is_there
            seen[sha256] = is_there
        if not is_there:
            lacking.add(document_id)
    report.documents = sorted(lacking)
    return report


def _references(store: Store) -> Iterator[tuple[str, str]]:
    """Every document's id with the SHA-256 of its original and its pictures.

    They are read in short transactions.
    """
    documents, images = schema.documents, schema.images
    after: str | None = None
    while True:
        with store.begin(SERVICE_ACTOR) as tx:
            page = select(documents.c.document_id).order_by(documents.c.document_id).limit(_PAGE_DOCUMENTS)
            if after is not None:
                page = page.where(documents.c.document_id > after)
            ids = list(tx.connection.scalars(page))
            if not ids:
                return
            both = union_all(
                select(documents.c.document_id, documents.c.sha256).where(documents.c.document_id.in_(ids)),
                select(images.c.document_id, images.c.sha256).where(images.c.document_id.in_(ids)).distinct(),
            )
            found = tx.connection.execute(both).all()
        yield from ((row.document_id, row.sha256) for row in found)
        after = ids[-1]


def _bring(sha256: str, source: BlobStore, target: BlobStore) -> bool:
    """True when the file is in `target` now.

    False where `source` lacks it or has another one in its place.
    """
    try:
        path = source.path(sha256)
    except (FileNotFoundError, BlobDamaged):
        return False
    incoming = target.scratch() / f"copy-{new_id()}"
    digest = hashlib.sha256()
    try:
        with path.open("rb") as reading, incoming.open("xb") as writing:
            while block := reading.read(_BLOCK_BYTES):
                digest.update(block)
                writing.write(block)
        if digest.hexdigest() != sha256:
            return False
        target.adopt(incoming, sha256)
        target.share([sha256])
    finally:
        incoming.unlink(missing_ok=True)
    return True
