"""What turns texts and pictures into vectors: the Protocols of the two.

Every vector is float32, 768 wide and of unit length, so a dot product is the cosine. `space` names model and weights;
vectors of two spaces are never compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.errors import CapabilityMissing

Vectors = NDArray[np.float32]


class TextEmbedder(Protocol):
    """Turns passages and questions into vectors of one space.

    Safe to call from several threads.
    """

    @property
    def space(self) -> str:
        """Model and weights, e.g. `all-mpnet-base-v2@78c0197b6159`."""
        ...

    @property
    def max_tokens(self) -> int:
        """Most tokens of one text, the special ones included; what is beyond is not seen."""
        ...

    @property
    def tokenizer_path(self) -> Path | None:
        """The `tokenizer.json` that counts tokens (its own truncation must be switched off); None: count words."""
        ...

    @property
    def is_loaded(self) -> bool:
        """True once the first call will not have to load weights."""
        ...

    def embed(self, texts: Sequence[str], *, urgent: bool = False) -> Vectors:
        """One unit vector a text, float32[n, 768], in the order given.

        `urgent` (a query) goes before everything that waits, and waits at most for one small batch.

        Raises CapabilityMissing: the weights are absent or were changed.
        """
        ...

    def warm_up(self) -> None:
        """Loads the weights and runs them once, so that the first query is fast.

        Raises as `embed`.
        """
        ...


class ImageEmbedder(Protocol):
    """Turns pictures, and words that describe them, into vectors of one space.

    Safe to call from several threads.
    """

    @property
    def space(self) -> str:
        """Architecture and weights, e.g. `ViT-L-14@0123456789ab`."""
        ...

    @property
    def problem(self) -> CapabilityMissing | None:
        """Why the model cannot be used, as far as is known without loading weights; None where nothing is known."""
        ...

    def embed_pictures(self, paths: Sequence[Path]) -> Vectors:
        """One unit vector a picture, float32[n, 768], in the order given.

        Raises UnreadableDocument: a file is no picture; CapabilityMissing: the weights do not fit.
        """
        ...

    def embed_words(self, texts: Sequence[str]) -> Vectors:
        """One unit vector a text, float32[n, 768]; only the text tower is loaded.

        Raises CapabilityMissing.
        """
        ...
