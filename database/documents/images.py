"""Pictures of documents and their vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, case, func, or_, select, update

from database import schema
from database.bulk import write_vectors
from database.change_counter import mark_changed
from database.ids import now
from database.records import ImageRecord, Vector
from database.sql import among_ids, upsert
from database.store import Transaction

VECTORS_PENDING = "image_vectors_pending"
"""Code of the warning on a document whose pictures wait for their vectors."""

_documents = schema.documents
_images = schema.images
_COLUMNS = [
    _images.c.page_number.label("page"),
    *(column for column in _images.c if column.name not in ("row_id", "user_id", "page_number", "embedding")),
]
_VISIBLE = and_(_documents.c.document_id == _images.c.document_id, _documents.c.generation == _images.c.generation)


def write_image(tx: Transaction, document_id: str, generation: int, image: ImageRecord) -> None:
    """Stores a picture of a generation.

    One whose `ordinal` is there already is replaced by it, id included, and its vector stays where the file is the
    same. Vectors are written by `set_image_vectors`. Raises LookupError when the document is gone.
    """
    owner = tx.connection.scalar(
        select(_documents.c.user_id).where(_documents.c.document_id == document_id, tx.owns(_documents))
    )
    if owner is None:
        raise LookupError(f"there is no document {document_id}")
    row = {
        "image_id": image.image_id,
        "document_id": document_id,
        "user_id": owner,
        "generation": generation,
        "ordinal": image.ordinal,
        "page_number": image.page,
        "box": None if image.box is None else list(image.box),
        "width": image.width,
        "height": image.height,
        "media_type": image.media_type,
        "sha256": image.sha256,
        "alt": image.alt,
        "caption": image.caption,
    }
    same = _images.c.sha256 == image.sha256
    kept = {name: case((same, _images.c[name]), else_=None) for name in ("space", "embedding")}
    upsert(tx.connection, _images, [row], key=["document_id", "generation", "ordinal"], set_=kept)


def list_images(tx: Transaction, document_id: str) -> Sequence[ImageRecord]:
    """The document's pictures that readers see, in order."""
    rows = tx.connection.execute(
        _visible_images(tx).where(_images.c.document_id == document_id).order_by(_images.c.ordinal)
    )
    return [_image_record(row) for row in rows]


def get_image(tx: Transaction, image_id: str) -> ImageRecord | None:
    """The picture; None when it is absent or another owner's.

    None also for one of a generation that readers do not see.
    """
    return get_images(tx, [image_id]).get(image_id)


def get_images(tx: Transaction, image_ids: Sequence[str]) -> Mapping[str, ImageRecord]:
    """Those of the pictures that readers see, by id."""
    rows = tx.connection.execute(_visible_images(tx).where(_images.c.image_id.in_(among_ids(image_ids))))
    return {row.image_id: _image_record(row) for row in rows}


def image_vectors(tx: Transaction, image_ids: Sequence[str]) -> Mapping[str, Vector]:
    """The vectors of those of the pictures that readers see and that have one, by id."""
    rows = tx.connection.execute(
        select(_images.c.image_id, _images.c.embedding)
        .join(_documents, _VISIBLE)
        .where(tx.owns(_images), _images.c.embedding.is_not(None), _images.c.image_id.in_(among_ids(image_ids)))
    )
    return {row.image_id: row.embedding for row in rows}


def images_without_vector(
    tx: Transaction, space: str, limit: int, *, after: str | None = None
) -> Sequence[ImageRecord]:
    """Up to `limit` visible pictures that have no vector of `space`.

    By image id, behind `after`. Walking on with `after` gets past pictures that cannot be embedded.
    """
    query = _visible_images(tx).where(_lacks(space))
    if after is not None:
        query = query.where(_images.c.image_id > after)
    return [_image_record(row) for row in tx.connection.execute(query.order_by(_images.c.image_id).limit(limit))]


def count_images_without_vector(tx: Transaction, space: str) -> int:
    """How many pictures that readers see have no vector of `space`."""
    return tx.connection.execute(
        select(func.count()).select_from(_images).join(_documents, _VISIBLE).where(tx.owns(_images), _lacks(space))
    ).scalar_one()


def set_image_vectors(tx: Transaction, space: str, vectors: Mapping[str, Vector]) -> None:
    """Stores vectors of `space` by image id, of any generation.

    Ids that are gone are passed over. A document whose visible pictures all have one loses its `image_vectors_pending`
    warning, and where that was the only one, `completed_with_errors` becomes `completed`. Raises ValueError for a wrong
    vector or an empty space.
    """
    if not space:
        raise ValueError("a vector needs the name of its space")
    mine = and_(_images.c.image_id.in_(among_ids(vectors)), tx.owns(_images))
    rows = tx.connection.execute(select(_images.c.image_id, _images.c.document_id, _images.c.user_id).where(mine)).all()
    found = {row.image_id: vectors[row.image_id] for row in rows}
    write_vectors(tx.connection, _images, _images.c.image_id, found, space=space, where=tx.owns(_images))
    touched = {row.document_id: row.user_id for row in rows}
    for document_id, user_id in touched.items():
        mark_changed(tx, document_id, user_id)
        _clear_pending(tx, document_id, space)


def images_written(tx: Transaction, document_id: str, generation: int) -> Sequence[ImageRecord]:
    """The pictures of one generation, seen by readers or not, by ordinal."""
    mine = (_images.c.document_id == document_id, _images.c.generation == generation, tx.owns(_images))
    return [_image_record(row) for row in tx.connection.execute(select(*_COLUMNS).where(*mine).order_by("ordinal"))]


def _clear_pending(tx: Transaction, document_id: str, space: str) -> None:
    missing = tx.connection.scalar(
        select(_images.c.image_id)
        .join(_documents, _VISIBLE)
        .where(_images.c.document_id == document_id, _lacks(space))
        .limit(1)
    )
    document = tx.connection.execute(
        select(_documents.c.warnings, _documents.c.status).where(_documents.c.document_id == document_id)
    ).one()
    left = [warning for warning in document.warnings if warning.get("code") != VECTORS_PENDING]
    if missing is not None or len(left) == len(document.warnings):
        return
    values: dict[str, Any] = {"warnings": left, "updated_at": now()}
    if not left and document.status == "completed_with_errors":
        values["status"] = "completed"
    tx.connection.execute(update(_documents).where(_documents.c.document_id == document_id).values(values))


def _lacks(space: str) -> ColumnElement[bool]:
    return or_(_images.c.space.is_(None), _images.c.space != space)


def _visible_images(tx: Transaction) -> Any:
    return select(*_COLUMNS).join(_documents, _VISIBLE).where(tx.owns(_images))


def _image_record(row: Row[Any]) -> ImageRecord:
    return ImageRecord(**row._mapping)
