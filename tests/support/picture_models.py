"""Small open_clip checkpoints with random weights, made the way the library itself writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PREPROCESS = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic", "resize_mode": "squash"}

NATIVE: dict[str, Any] = {
    "embed_dim": 768,
    "vision_cfg": {"image_size": 64, "patch_size": 16, "width": 64, "layers": 2, "head_width": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
"""Built like OpenAI's CLIP: the text tower's weights lie beside the picture tower's, the tokenizer is open_clip's."""

SIGLIP: dict[str, Any] = {
    "embed_dim": 768,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {
        "image_size": 224,
        "timm_model_name": "vit_tiny_patch16_224",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "linear",
    },
    "text_cfg": {
        "context_length": 16,
        "vocab_size": 64,
        "hf_tokenizer_name": "its own folder",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "width": 64,
        "heads": 2,
        "layers": 2,
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
    },
}
"""Built like SigLIP 2, the default: a timm tower, a text tower of its own, a tokenizer in the folder."""


def write_checkpoint(folder: Path, model_cfg: dict[str, Any], *, seed: int = 0) -> Path:
    """Writes `folder` with configuration, random weights and, where the configuration names one, a tokenizer."""
    from services.embedding.torch_compat import ensure_torchvision_operators

    ensure_torchvision_operators()
    import torch
    from open_clip.model import CLIP, CustomTextCLIP
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    config = {"model_cfg": model_cfg, "preprocess_cfg": PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    torch.manual_seed(seed)
    parts = {key: value for key, value in model_cfg.items() if key != "custom_text"}
    model = (CustomTextCLIP if model_cfg.get("custom_text") else CLIP)(**parts)
    weights = {name: value.contiguous().clone() for name, value in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    if "hf_tokenizer_name" in model_cfg["text_cfg"]:
        _write_tokenizer(folder)
    return folder


def _write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    words = ["<pad>", "<unk>", "a", "bill", "cat", "drawing", "of", "on", "red", "table", "the"]
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def write_pictures(folder: Path, count: int) -> list[Path]:
    """Writes `count` different small PNG pictures."""
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(7)
    paths = []
    for number in range(count):
        path = folder / f"picture-{number}.png"
        coarse = random.integers(0, 256, size=(6, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((80, 60), Image.Resampling.BICUBIC).save(path)
        paths.append(path)
    return paths
