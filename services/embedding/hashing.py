"""Embeds texts without weights, by hashing words and letter trigrams.

It knows spelling, not meaning.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from database.columns import VECTOR_WIDTH
from services.embedding.base import Vectors

_WORD = re.compile(r"\w+")

TRIGRAM_WEIGHT = 0.25
"""Weight of a trigram beside its word's 1.0, so that `contracts` lies near `contract` but nearer to itself."""


class HashEmbedder:
    """The signed hashing trick, for tests and for machines without room for a model.

    Source: Weinberger et al., Feature Hashing for Large Scale Multitask Learning, ICML 2009 (signed hashing).
    """

    space = "hash-768@1"
    max_tokens = 384
    tokenizer_path: Path | None = None
    is_loaded = True

    def embed(self, texts: Sequence[str], *, urgent: bool = False) -> Vectors:
        """One unit vector a text, float32[n, 768]; the same on every machine.

        `urgent` changes nothing.
        """
        rows = np.zeros((len(texts), VECTOR_WIDTH), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for feature, weight in _features(text):
                digest = int.from_bytes(
                    hashlib.blake2b(feature.encode("utf-8", "replace"), digest_size=8).digest(), "big"
                )
                row[(digest >> 1) % VECTOR_WIDTH] += weight if digest & 1 else -weight
            norm = float(np.linalg.norm(row))
            if norm > 0.0:
                row /= norm
            else:
                # No word at all, or features that cancel out exactly: a fixed direction keeps the unit length.
                row[0] = 1.0
        return rows

    def warm_up(self) -> None:
        """Changes nothing: there is nothing to load."""


def _features(text: str) -> Iterator[tuple[str, float]]:
    for word in _WORD.findall(text.casefold()):
        yield "w:" + word, 1.0
        padded = f"^{word}$"
        for start in range(len(padded) - 2):
            yield "t:" + padded[start : start + 3], TRIGRAM_WEIGHT
