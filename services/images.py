"""Fills in the picture vectors that are missing, once there is a model for them."""

from __future__ import annotations

from database import images
from database.records import SERVICE_ACTOR
from services.errors import CapabilityMissing
from services.ingest import Run, embed_images
from services.runtime import Runtime

PAGE_OF_IMAGES = 64
"""Images that are looked up together."""


def fill_image_vectors(runtime: Runtime, run: Run) -> int:
    """Computes the vectors of all owners' pictures that have none in the model's space; returns how many.

    Raises CapabilityMissing (`image_model_missing`) while there are no weights.
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
        done += embed_images(runtime, SERVICE_ACTOR, batch, run=run)
        after = batch[-1].image_id
        run.progress("images", percent=round(100.0 * min(1.0, done / max(1, total)), 1))
