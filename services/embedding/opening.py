"""Opens the models that the settings name."""

from __future__ import annotations

from services.embedding.base import ImageEmbedder, TextEmbedder
from services.settings import Settings


def open_text_embedder(settings: Settings) -> TextEmbedder:
    """The embedder that `settings.text_model` names.

    Nothing is loaded before its first use.
    """
    if settings.text_model == "hash":
        from services.embedding.hashing import HashEmbedder

        return HashEmbedder()
    from services.embedding.mpnet import MpnetEmbedder

    return MpnetEmbedder(settings)


def open_image_embedder(settings: Settings) -> ImageEmbedder | None:
    """The pictures' embedder, or None where its weights are absent.

    Looks at files only; torch is not imported.
    """
    from services.embedding.clip import OpenClipEmbedder, find_checkpoint

    checkpoint = find_checkpoint(settings)
    return None if checkpoint is None else OpenClipEmbedder(checkpoint, settings)
