"""Embeds pictures with an open_clip checkpoint on the CPU.

One tower at a time, from local files only.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from database.columns import VECTOR_WIDTH
from services.embedding.base import Vectors
from services.embedding.dtype import choose_arithmetic
from services.embedding.models import PICTURE_MODEL
from services.embedding.priority_lock import Turns
from services.embedding.threads import prepare_torch
from services.embedding.weights import is_present, model_folder, weights_sha256
from services.errors import CapabilityMissing, UnreadableDocument
from services.settings import Settings

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
"""Source: the names that open_clip's own push_to_hf_hub writes."""

PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP")
"""What is decoded; Pillow's other decoders are never reached."""

BATCH_PICTURES = 8
"""Pictures of one model call: 8 x 196 patches are as many rows as a matrix product needs to be fast on a CPU."""

BATCH_TEXTS = 32

_FETCHING = ("timm_model_pretrained", "hf_model_pretrained")
"""Options of a tower that would fetch other weights first; left out, so the checkpoint's own are all there is."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where an open_clip checkpoint lies.

    `sha256` is empty until the user's own weights have been read.
    """

    architecture: str
    folder: Path
    weights: Path
    sha256: str = ""


def find_checkpoint(settings: Settings) -> Checkpoint | None:
    """The checkpoint that the settings name, or None where its files are not there.

    Reads no weights.
    """
    if settings.clip_dir is not None:
        weights = _weights_in(settings.clip_dir)
        if weights is None or not (settings.clip_dir / CONFIG).is_file():
            return None
        return Checkpoint(settings.clip_model or settings.clip_dir.name, settings.clip_dir, weights)
    if settings.clip_model not in ("", PICTURE_MODEL.name) or not is_present(settings, PICTURE_MODEL):
        return None
    folder = model_folder(settings, PICTURE_MODEL)
    return Checkpoint(PICTURE_MODEL.name, folder, folder / WEIGHTS, PICTURE_MODEL.weights.sha256)


class OpenClipEmbedder:
    """Each tower is loaded by the first call that needs it.

    Safe to call from several threads.
    """

    def __init__(self, checkpoint: Checkpoint, settings: Settings) -> None:
        self._checkpoint = checkpoint
        self._settings = settings
        self._turns = Turns()
        self._loading = threading.Lock()
        self._pictures: tuple[torch.nn.Module, Callable[[Image], torch.Tensor]] | None = None
        self._words: tuple[torch.nn.Module, Callable[[list[str]], torch.Tensor]] | None = None
        self._problem: CapabilityMissing | None = None

    @cached_property
    def space(self) -> str:
        """Architecture and weights, e.g. `ViT-B-16-SigLIP2@d0a51069d2fa`.

        The user's own weights are hashed once.
        """
        sha256 = self._checkpoint.sha256 or weights_sha256(self._checkpoint.weights, self._settings.cache_dir)
        return f"{self._checkpoint.architecture}@{sha256[:12]}"

    @property
    def problem(self) -> CapabilityMissing | None:
        """Why the checkpoint cannot be used: its configuration, read now, or what loading it met before; else None."""
        if self._problem is None:
            try:
                _ = self._config
            except CapabilityMissing as error:
                return error
        return self._problem

    @property
    def loaded_towers(self) -> tuple[str, ...]:
        """Which of `text` and `pictures` are in memory."""
        towers = (("text", self._words), ("pictures", self._pictures))
        return tuple(name for name, tower in towers if tower is not None)

    def embed_pictures(self, paths: Sequence[Path]) -> Vectors:
        """One unit vector a picture, float32[n, 768], in the order given.

        Transparency becomes white.

        Raises UnreadableDocument: a file is no picture, or has more pixels than allowed; CapabilityMissing.
        """
        tower, prepare = self._picture_tower()
        import torch

        vectors = np.zeros((len(paths), VECTOR_WIDTH), dtype=np.float32)
        for start in range(0, len(paths), BATCH_PICTURES):
            batch = [
                prepare(read_picture(path, self._settings.max_pixels)) for path in paths[start : start + BATCH_PICTURES]
            ]
            with self._turns.turn():
                self._run(tower, torch.stack(batch), vectors[start : start + BATCH_PICTURES])
        return vectors

    def embed_words(self, texts: Sequence[str]) -> Vectors:
        """One unit vector a text, float32[n, 768]; loads the text tower only.

        Goes before waiting pictures.
        """
        tower, tokenize = self._text_tower()
        vectors = np.zeros((len(texts), VECTOR_WIDTH), dtype=np.float32)
        for start in range(0, len(texts), BATCH_TEXTS):
            batch = tokenize(list(texts[start : start + BATCH_TEXTS]))
            with self._turns.turn(urgent=True):
                self._run(tower, batch, vectors[start : start + BATCH_TEXTS])
        return vectors

    def _run(self, tower: torch.nn.Module, batch: torch.Tensor, out: Vectors) -> None:
        import torch
        from torch.nn import functional as nn

        low = self._dtype is torch.bfloat16
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
            features = tower(batch).float()
        out[:, : features.shape[1]] = nn.normalize(features, dim=-1).numpy()

    @cached_property
    def _dtype(self) -> torch.dtype:
        import torch

        chosen: torch.dtype = getattr(torch, choose_arithmetic(self._settings).dtype)
        return chosen

    @cached_property
    def _config(self) -> dict[str, Any]:
        path = self._checkpoint.folder / CONFIG
        try:
            config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            width = int(config["model_cfg"]["embed_dim"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CapabilityMissing(
                f"{path} is not an open_clip configuration: put the checkpoint's own file there", code="clip_unusable"
            ) from error
        if width > VECTOR_WIDTH:
            raise CapabilityMissing(
                f"{self._checkpoint.architecture} makes vectors {width} wide and only {VECTOR_WIDTH} are stored: "
                "choose a narrower model",
                code="clip_too_wide",
            )
        return config

    def _picture_tower(self) -> tuple[torch.nn.Module, Callable[[Image], torch.Tensor]]:
        with self._loading:
            if self._pictures is None:
                self._prepare_imports()
                from open_clip.model import _build_vision_tower
                from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict

                tower = self._tower("visual", _build_vision_tower, "vision_cfg")
                size = getattr(tower, "image_size", None)
                base = merge_preprocess_dict({} if size is None else {"size": size}, {})
                merged = merge_preprocess_dict(base, self._config.get("preprocess_cfg", {}))
                self._pictures = tower, image_transform_v2(PreprocessCfg(**merged), is_train=False)
            return self._pictures

    def _text_tower(self) -> tuple[torch.nn.Module, Callable[[list[str]], torch.Tensor]]:
        with self._loading:
            if self._words is None:
                self._prepare_imports()
                from open_clip import get_tokenizer
                from open_clip.model import _build_text_tower

                tower = self._tower("text", _build_text_tower, "text_cfg")
                try:
                    tokenizer = get_tokenizer(f"local-dir:{self._checkpoint.folder}")
                except (OSError, ValueError) as error:
                    raise self._unusable("its tokenizer's files cannot be read") from error
                self._words = tower, tokenizer
            return self._words

    def _tower(self, prefix: str, build: Callable[..., torch.nn.Module], section: str) -> torch.nn.Module:
        """One tower with its weights; the other tower's are neither read nor allocated."""
        from safetensors import SafetensorError, safe_open

        config = self._config["model_cfg"]
        options = {key: value for key, value in config[section].items() if key not in _FETCHING}
        if options.get("hf_model_name"):
            raise self._unusable("its text tower would have to be fetched from the model hub")
        try:
            with safe_open(self._checkpoint.weights, framework="pt", device="cpu") as stored:
                names = {_tower_name(name): name for name in stored.keys()}  # noqa: SIM118 - not a mapping
                state = {
                    name.removeprefix(f"{prefix}."): stored.get_tensor(own)
                    for name, own in names.items()
                    if name.startswith(f"{prefix}.")
                }
            tower = build(config["embed_dim"], options, config.get("quick_gelu", False))
            tower.load_state_dict(state, assign=True)
        except (SafetensorError, OSError, RuntimeError, LookupError, TypeError, ValueError, AssertionError) as error:
            raise self._unusable("its weights and its configuration do not fit each other") from error
        tower.eval().requires_grad_(False)
        _narrow(tower, self._dtype)
        return tower

    def _prepare_imports(self) -> None:
        from services.embedding.torch_compat import ensure_torchvision_operators

        prepare_torch(self._settings)
        ensure_torchvision_operators()

    def _unusable(self, reason: str) -> CapabilityMissing:
        self._problem = CapabilityMissing(
            f"the open_clip checkpoint in {self._checkpoint.folder} cannot be used: {reason}. "
            f"It needs {CONFIG}, {WEIGHTS} and the tokenizer of one and the same model",
            code="clip_unusable",
        )
        return self._problem


def read_picture(path: Path, max_pixels: int) -> Image:
    """The picture as RGB, upright as its EXIF says, transparency on white.

    Raises UnreadableDocument.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=PICTURE_FORMATS) as picture:
            if picture.width * picture.height > max_pixels:
                raise UnreadableDocument(
                    f"the picture has {picture.width} x {picture.height} pixels, and {max_pixels} are allowed",
                    code="too_many_pixels",
                )
            upright = ImageOps.exif_transpose(picture)
            if not upright.has_transparency_data:
                return upright.convert("RGB")
            layer = upright.convert("RGBA")
            return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableDocument("the picture cannot be decoded", code="unreadable_picture") from error


def _weights_in(folder: Path) -> Path | None:
    """The checkpoint's safetensors file: open_clip's name, or the only one there is."""
    if (folder / WEIGHTS).is_file():
        return folder / WEIGHTS
    found = sorted(folder.glob("*.safetensors"))
    return found[0] if len(found) == 1 else None


def _tower_name(name: str) -> str:
    """The name of a weight where the text tower is a module of its own, as in open_clip's CustomTextCLIP.

    Source: open_clip.model.convert_to_custom_text_state_dict.
    """
    inside = ("text_projection", "positional_embedding", "token_embedding", "transformer", "ln_final")
    return f"text.{name}" if name.startswith(inside) else name


def _narrow(tower: torch.nn.Module, dtype: torch.dtype) -> None:
    """Keeps the matrices of `tower` in `dtype`.

    Norms, embeddings and biases of sums stay in float32.
    """
    import torch

    if dtype is torch.float32:
        tower.float()
        return
    tower.float()
    for module in tower.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d | torch.nn.MultiheadAttention):
            for weights in module.parameters(recurse=False):
                weights.data = weights.data.to(dtype)
