"""The errors for ids that none of the actor's rows has; another owner's id is told as one that never was."""

from __future__ import annotations

from services.errors import NotFound


def no_document(document_id: str) -> NotFound:
    """The error for an id of no document."""
    return NotFound(
        f"There is no document {document_id[:64]!r}. `GET /v1/documents` or `docatlas documents list` shows those "
        "there are.",
        code="document_not_found",
    )


def no_image(image_id: str) -> NotFound:
    """The error for an id of no picture."""
    return NotFound(
        f"There is no image {image_id[:64]!r}. `GET /v1/documents/{{document_id}}/images` lists those of a document.",
        code="image_not_found",
    )
