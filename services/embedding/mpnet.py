"""The text embedder: all-mpnet-base-v2 on the CPU, from local files only."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from database.columns import VECTOR_WIDTH
from services.embedding.base import Vectors
from services.embedding.batches import token_batches
from services.embedding.dtype import choose_arithmetic
from services.embedding.models import TEXT_MODEL
from services.embedding.priority_lock import Turns
from services.embedding.threads import prepare_torch
from services.embedding.weights import model_folder, require
from services.errors import CapabilityMissing
from services.settings import Settings

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from services.embedding.mpnet_network import MpnetNetwork

BATCH_TOKENS = 256
"""Most tokens of one model call, also the longest wait of a query behind an ingest.

Source: measured with bfloat16 on avx512_bf16, 209 tokens a text, chunks per CPU second: 3.8 one text at a time, 3.7 at
256 tokens, 3.9 at 512, 3.8 at 1024, 3.5 at 2048. So the smallest that still gives several cores something to share.
"""


class MpnetEmbedder:
    """Loads at its first use; safe to call from several threads."""

    space = f"{TEXT_MODEL.name}@{TEXT_MODEL.weights.sha256[:12]}"
    max_tokens = 384
    """Source: sentence_bert_config.json of the model, `max_seq_length`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._turns = Turns()
        self._loading = threading.Lock()
        self._parts: tuple[Tokenizer, MpnetNetwork] | None = None

    @property
    def tokenizer_path(self) -> Path | None:
        """The model's `tokenizer.json`.

        Its stored truncation (128) and padding must be switched off by who counts.
        """
        return model_folder(self._settings, TEXT_MODEL) / "tokenizer.json"

    @property
    def is_loaded(self) -> bool:
        return self._parts is not None

    def embed(self, texts: Sequence[str], *, urgent: bool = False) -> Vectors:
        """One unit vector a text, float32[n, 768], in the order given.

        Tokens beyond `max_tokens` are not seen.

        Raises CapabilityMissing: the weights are absent.
        """
        tokenizer, network = self._loaded()
        ids = [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))]
        vectors = np.empty((len(ids), VECTOR_WIDTH), dtype=np.float32)
        for batch in token_batches([len(text) for text in ids], BATCH_TOKENS):
            with self._turns.turn(urgent=urgent):
                vectors[batch] = network.embed([ids[index] for index in batch]).numpy()
        return vectors

    def warm_up(self) -> None:
        """Loads the weights and runs them once. Raises CapabilityMissing."""
        self.embed(["warm up"], urgent=True)

    def _loaded(self) -> tuple[Tokenizer, MpnetNetwork]:
        with self._loading:
            if self._parts is None:
                self._parts = self._load()
            return self._parts

    def _load(self) -> tuple[Tokenizer, MpnetNetwork]:
        folder = require(self._settings, TEXT_MODEL)
        prepare_torch(self._settings)
        import torch
        from safetensors import SafetensorError
        from tokenizers import Tokenizer

        from services.embedding.mpnet_network import MpnetNetwork

        try:
            network = MpnetNetwork(folder, getattr(torch, choose_arithmetic(self._settings).dtype))
        except (SafetensorError, KeyError, OSError) as error:
            raise CapabilityMissing(
                f"the weights in {folder} cannot be read: run `docatlas models verify`, then `docatlas models pull`",
                code="model_damaged",
            ) from error
        tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.max_tokens)
        return tokenizer, network
