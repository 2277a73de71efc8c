"""Computes vectors of pictures, during the ingest or once there is a model."""

from __future__ import annotations

from collections.abc import Sequence

from database.documents import images
from database.records import SERVICE_ACTOR, Actor, ImageRecord, Vector
from services.content import Issue
from services.embedding.base import ImageEmbedder
from services.errors import CapabilityMissing, UnreadableDocument
from services.ingest.run import Run
from services.runtime import Runtime

PAGE_OF_IMAGES = 64
"""Images that are looked up together."""


IMAGE_BATCH = 8
"""Pictures that go through the picture model together; each is 224 pixels square or so by then."""


def embed_images(
    runtime: Runtime, actor: Actor, records: Sequence[ImageRecord], *, run: Run
) -> tuple[int, Sequence[ImageRecord]]:
    """Computes and stores the vectors of `records`, of equal pictures once.

    Returns how many rows it wrote, and the pictures that could not be decoded, which cost none of the others.
    """
    embedder = runtime.image_embedder
    if embedder is None:
        return 0, ()
    written, unreadable = 0, list[ImageRecord]()
    for start in range(0, len(records), IMAGE_BATCH):
        batch = [image for image in records[start : start + IMAGE_BATCH] if runtime.blobs.exists(image.sha256)]
        vectors = _picture_vectors(embedder, runtime, sorted({image.sha256 for image in batch}))
        unreadable += [image for image in batch if image.sha256 not in vectors]
        readable = {image.image_id: vectors[image.sha256] for image in batch if image.sha256 in vectors}
        with runtime.store.begin(actor, write=True) as tx:
            images.set_image_vectors(tx, embedder.space, readable)
        written += len(readable)
        run.tick()
    return written, unreadable


def _picture_vectors(embedder: ImageEmbedder, runtime: Runtime, sha256s: Sequence[str]) -> dict[str, Vector]:
    """Vectors by SHA-256; pictures that cannot be decoded are left out."""
    if not sha256s:
        return {}
    try:
        rows = embedder.embed_pictures([runtime.blobs.path(sha256) for sha256 in sha256s])
    except UnreadableDocument:
        if len(sha256s) == 1:
            return {}
        one_by_one = [_picture_vectors(embedder, runtime, [sha256]) for sha256 in sha256s]
        return {sha256: vector for found in one_by_one for sha256, vector in found.items()}
    return dict(zip(sha256s, rows, strict=True))


def pending_vectors_issue() -> Issue:
    """The warning of a document whose pictures are kept but cannot be searched yet."""
    return Issue(
        "image_vectors_pending",
        "The pictures are kept but cannot be searched yet: the picture model is not installed. "
        "Run `docatlas models pull`; the vectors are then filled in by a job.",
    )


def fill_image_vectors(runtime: Runtime, run: Run) -> int:
    """Computes the picture vectors that are missing, of all owners; returns how many.

    Missing are those in the model's space. Raises CapabilityMissing (`image_model_missing`) while there are no weights.
    """
    embedder = runtime.image_embedder
    if embedder is None:
        raise CapabilityMissing(
            "The picture model is not installed. Run `docatlas models pull`, or set DOCATLAS_CLIP_DIR, and retry.",
            code="image_model_missing",
        )
    done = 0
    after: str | None = None
    with runtime.store.begin(SERVICE_ACTOR) as tx:
        total = images.count_images_without_vector(tx, embedder.space)
    while True:
        with runtime.store.begin(SERVICE_ACTOR) as tx:
            batch = images.images_without_vector(tx, embedder.space, PAGE_OF_IMAGES, after=after)
        if not batch:
            return done
        written, _ = embed_images(runtime, SERVICE_ACTOR, batch, run=run)
        done += written
        after = batch[-1].image_id
        run.progress("images", percent=round(100.0 * min(1.0, done / max(1, total)), 1))
