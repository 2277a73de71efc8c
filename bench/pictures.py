"""Measures the picture model, on random weights: nearness to open_clip called directly, pictures and queries a second.

    python -m bench.pictures [ARCHITECTURE] [--pictures 8]

The weights are made here, so the figures say what a model of this size costs, and nothing of what it finds. The
architecture must bring its own tokenizer (OpenAI's CLIP models do; ViT-L-14 has 768 dimensions).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from services.embedding.base import Vectors
from services.embedding.opening import open_image_embedder
from services.embedding.torch_compat import ensure_torchvision_operators
from services.settings import Settings

RUNS = 3
QUERIES = ("a red square", "the quay at low tide", "a drawing of a crane")


def main() -> None:
    """Prints one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("architecture", nargs="?", default="ViT-L-14")
    parser.add_argument("--pictures", type=int, default=8)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = write_random_checkpoint(folder / "checkpoint", arguments.architecture)
        measure(folder, checkpoint, arguments.pictures)


def write_random_checkpoint(folder: Path, architecture: str) -> Path:
    """A checkpoint of `architecture` with random weights in `folder`, as open_clip itself writes one."""
    ensure_torchvision_operators()
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder.mkdir()
    torch.manual_seed(0)
    model = open_clip.create_model(architecture, pretrained=None)
    preprocess = open_clip.get_model_preprocess_cfg(model)
    config = {"model_cfg": open_clip.get_model_config(architecture), "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    weights = {key: value.contiguous().clone() for key, value in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    return folder


def measure(folder: Path, checkpoint: Path, count: int) -> None:
    """Prints the figures for a checkpoint: `count` pictures, the median of a few runs."""
    import open_clip
    import torch
    from PIL import Image

    dice = np.random.default_rng(0)
    paths = []
    for number in range(count):
        path = folder / f"{number}.png"
        Image.fromarray(dice.integers(0, 256, (40, 60, 3), dtype=np.uint8)).resize((480, 320)).save(path)
        paths.append(path)
    model, _, prepare = open_clip.create_model_and_transforms(f"local-dir:{checkpoint}")
    model.eval()
    with torch.inference_mode():
        theirs = model.encode_image(torch.stack([prepare(Image.open(p)) for p in paths]), normalize=True).numpy()
        tokens = open_clip.get_tokenizer(f"local-dir:{checkpoint}")(list(QUERIES))
        their_words = model.encode_text(tokens, normalize=True).numpy()
    del model
    embedder = open_image_embedder(Settings(data_dir=folder / "data", clip_dir=checkpoint))
    if embedder is None:
        raise SystemExit("the checkpoint was not found")
    ours, our_words = embedder.embed_pictures(paths), embedder.embed_words(QUERIES)
    print(f"space                      {embedder.space}, {ours.shape[1]} columns")
    lengths = np.linalg.norm(ours, axis=1)
    print(f"length of the vectors      {lengths.min():.6f} to {lengths.max():.6f}")
    print(f"least cosine to open_clip  pictures {cosine(ours, theirs):.6f}, words {cosine(our_words, their_words):.6f}")
    print(f"pictures a second          {count / seconds(lambda: embedder.embed_pictures(paths)):.2f}")
    print(f"ms for a query             {1000 * seconds(lambda: embedder.embed_words(QUERIES[:1])):.0f}")


def cosine(ours: Vectors, theirs: Vectors) -> float:
    """The least cosine of rows; both are of unit length, and `ours` may be padded with zeros."""
    return float(np.sum(ours[:, : theirs.shape[1]] * theirs, axis=1).min())


def seconds(work: Callable[[], object]) -> float:
    """Median wall seconds of `work()` over a few runs."""
    taken = []
    for _ in range(RUNS):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
