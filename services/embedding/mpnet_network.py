"""The MPNet encoder with mean pooling, for a CPU.

Texts of several lengths go in one call, hardly padded.

Source: Song et al., MPNet: Masked and Permuted Pre-training for Language Understanding, NeurIPS 2020; the names of the
weights are those of transformers' MPNetModel; the position buckets are T5's (Raffel et al., 2020, section 2.1).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

POSITION_OFFSET = 2
"""Index of the first position's vector: positions count from the padding's index (1) plus one, as in RoBERTa."""

PADDING_TOKEN = 1
"""Source: `pad_token_id` of the model's config.json."""

LENGTH_STEP = 16
"""Texts are filled up to a multiple of this many tokens, because the kernels that oneDNN makes for each new length are
kept. Source: measured, 72 texts of any length left 100 MB behind without it, 26 MB with it, and three lengths 18 MB."""

MAX_DISTANCE = 128
"""Distances from here on share the last bucket. Source: MPNetEncoder.relative_position_bucket in transformers."""


def _filled(text: Sequence[int], size: int) -> list[int]:
    return [*text, *[PADDING_TOKEN] * (size - len(text))]


class MpnetNetwork:
    """The weights, and one function over them.

    Reads only; may be called by one thread at a time.
    """

    def __init__(self, folder: Path, dtype: torch.dtype) -> None:
        """Loads `folder/model.safetensors`.

        Matrices are kept in `dtype`; sums, norms and embeddings in float32.
        """
        import torch
        from safetensors import safe_open

        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self._heads: int = config["num_attention_heads"]
        self._epsilon: float = config["layer_norm_eps"]
        self._buckets: int = config["relative_attention_num_buckets"]
        self._dtype = dtype
        with safe_open(folder / "model.safetensors", framework="pt", device="cpu") as weights:

            def read(name: str) -> torch.Tensor:
                tensor: torch.Tensor = weights.get_tensor(name)
                return tensor

            def matrix(*names: str) -> tuple[torch.Tensor, torch.Tensor]:
                return (
                    torch.cat([read(f"{name}.weight") for name in names]).to(dtype),
                    torch.cat([read(f"{name}.bias") for name in names]).to(dtype),
                )

            def norm(name: str) -> tuple[torch.Tensor, torch.Tensor]:
                return read(f"{name}.weight").clone(), read(f"{name}.bias").clone()

            # Copies: a view would keep the whole file mapped, 440 MB that are not used again.
            self._words = read("embeddings.word_embeddings.weight").clone()
            self._positions = read("embeddings.position_embeddings.weight").clone()
            self._embedding_norm = norm("embeddings.LayerNorm")
            self._layers = []
            for index in range(config["num_hidden_layers"]):
                at = f"encoder.layer.{index}"
                attention = f"{at}.attention.attn"
                self._layers.append(
                    (
                        matrix(f"{attention}.q", f"{attention}.k", f"{attention}.v"),
                        matrix(f"{attention}.o"),
                        norm(f"{at}.attention.LayerNorm"),
                        matrix(f"{at}.intermediate.dense"),
                        matrix(f"{at}.output.dense"),
                        norm(f"{at}.output.LayerNorm"),
                    )
                )
            self._bias = self._position_bias(read("encoder.relative_attention_bias.weight"))

    @property
    def max_tokens(self) -> int:
        """Most tokens of one text that the position vectors allow."""
        return int(self._positions.shape[0]) - POSITION_OFFSET

    def embed(self, texts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Unit vectors float32[n, width] of texts given as token ids with the special tokens; none may be empty."""
        import torch
        from torch.nn import functional as nn

        lengths = [len(text) for text in texts]
        padded = [min(-(-length // LENGTH_STEP) * LENGTH_STEP, max(length, self.max_tokens)) for length in lengths]
        with torch.inference_mode():
            ids = torch.tensor(
                [token for text, size in zip(texts, padded, strict=True) for token in _filled(text, size)]
            )
            places = torch.cat([torch.arange(size) for size in padded])
            masks = [self._mask(length, size) for length, size in zip(lengths, padded, strict=True)]
            hidden = self._normalised(
                self._words[ids] + self._positions[places + POSITION_OFFSET], self._embedding_norm
            )
            for qkv, output, attention_norm, widen, narrow, output_norm in self._layers:
                mixed = self._attend(nn.linear(hidden.to(self._dtype), *qkv), masks)
                hidden = self._normalised(hidden + nn.linear(mixed, *output).float(), attention_norm)
                wide = nn.gelu(nn.linear(hidden.to(self._dtype), *widen))
                hidden = self._normalised(hidden + nn.linear(wide, *narrow).float(), output_norm)
            parts = zip(torch.split(hidden, padded), lengths, strict=True)
            pooled = torch.stack([part[:length].mean(dim=0) for part, length in parts])
            return nn.normalize(pooled, dim=1)

    def _normalised(self, rows: torch.Tensor, norm: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        from torch.nn import functional as nn

        return nn.layer_norm(rows, (rows.shape[-1],), *norm, self._epsilon)

    def _mask(self, length: int, size: int) -> torch.Tensor:
        """What is added to the attention inside a text of `length` tokens filled up to `size`: [heads, size, size]."""
        bias = self._bias[:, :size, :size]
        if length == size:
            return bias
        mask = bias.clone()
        mask[:, :, length:] = -math.inf
        return mask

    def _attend(self, qkv: torch.Tensor, masks: list[torch.Tensor]) -> torch.Tensor:
        """Attention inside each text.

        `qkv` is [tokens, 3 * width], the reply [tokens, width].
        """
        import torch
        from torch.nn import functional as nn

        width = qkv.shape[1] // 3
        mixed = []
        for part, mask in zip(torch.split(qkv, [mask.shape[-1] for mask in masks]), masks, strict=True):
            size = part.shape[0]
            query, key, value = part.view(size, 3, self._heads, width // self._heads).permute(1, 2, 0, 3)
            out = nn.scaled_dot_product_attention(query[None], key[None], value[None], attn_mask=mask[None])
            mixed.append(out[0].transpose(0, 1).reshape(size, width))
        return torch.cat(mixed)

    def _position_bias(self, table: torch.Tensor) -> torch.Tensor:
        """What is added to the attention of two places, [heads, places, places].

        `table` is [buckets, heads].
        """
        import torch

        places = torch.arange(self.max_tokens)
        distance = places[None, :] - places[:, None]
        half = self._buckets // 2
        exact = half // 2
        far = distance.abs().clamp(min=1)
        scaled = torch.log(far.float() / exact) / math.log(MAX_DISTANCE / exact) * (half - exact)
        bucket = torch.where(far < exact, distance.abs(), (exact + scaled.long()).clamp(max=half - 1))
        return table[bucket + (distance > 0) * half].permute(2, 0, 1).contiguous().to(self._dtype)
