from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from services.embedding.clip import OpenClipEmbedder, find_checkpoint, read_picture
from services.embedding.opening import open_image_embedder
from services.errors import CapabilityMissing, UnreadableDocument
from services.settings import Settings
from tests.support.picture_models import NATIVE, SIGLIP, write_checkpoint, write_pictures

WORDS = ["a drawing of the red cat", "bill on the table"]


def _settings(folder: Path, clip_dir: Path | None, **changes: Any) -> Settings:
    return Settings(cache_dir=folder / "cache", data_dir=folder / "data", clip_dir=clip_dir, **changes)


@pytest.fixture(scope="module", params=[NATIVE, SIGLIP], ids=["native", "siglip"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("clip") / "small-model", request.param)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_vectors_are_those_of_open_clip_called_directly(checkpoint: Path, tmp_path: Path, dtype: str) -> None:
    import open_clip
    import torch

    model, _, prepare = open_clip.create_model_and_transforms(f"local-dir:{checkpoint}")
    model.eval()
    paths = write_pictures(tmp_path, 10)
    with torch.inference_mode():
        pictures = model.encode_image(torch.stack([prepare(Image.open(path)) for path in paths]), normalize=True)
        words = model.encode_text(open_clip.get_tokenizer(f"local-dir:{checkpoint}")(WORDS), normalize=True)

    embedder = open_image_embedder(_settings(tmp_path, checkpoint, model_dtype=dtype))
    assert embedder is not None
    our_pictures, our_words = embedder.embed_pictures(paths), embedder.embed_words(WORDS)

    for ours, theirs in ((our_pictures, pictures.numpy()), (our_words, words.numpy())):
        assert ours.shape == theirs.shape
        assert ours.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1.0, atol=1e-5)
        assert np.sum(ours * theirs, axis=1).min() >= 0.999


def test_a_query_loads_the_text_tower_only(checkpoint: Path, tmp_path: Path) -> None:
    found = find_checkpoint(_settings(tmp_path, checkpoint))
    assert found is not None
    embedder = OpenClipEmbedder(found, _settings(tmp_path, checkpoint))
    embedder.embed_words(["the cat"])
    assert set(embedder.loaded_towers) == {"text"}
    embedder.embed_pictures(write_pictures(tmp_path, 1))
    assert set(embedder.loaded_towers) == {"text", "pictures"}


def test_space_names_the_weights_and_changes_with_them(tmp_path: Path) -> None:
    spaces = set()
    for seed in (1, 2):
        folder = write_checkpoint(tmp_path / str(seed) / "small", NATIVE, seed=seed)
        embedder = open_image_embedder(_settings(tmp_path, folder))
        assert embedder is not None
        name, _, sha256 = embedder.space.partition("@")
        assert name == "small"
        assert len(sha256) == 12
        spaces.add(embedder.space)
    assert len(spaces) == 2


def test_a_narrow_model_is_padded_with_zeros(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "narrow", NATIVE | {"embed_dim": 512})
    embedder = open_image_embedder(_settings(tmp_path, folder))
    assert embedder is not None
    vectors = embedder.embed_words(WORDS)
    assert vectors.shape == (2, 768)
    assert not vectors[:, 512:].any()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_a_wide_model_is_refused_with_its_width(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "wide", NATIVE | {"embed_dim": 1024})
    embedder = open_image_embedder(_settings(tmp_path, folder))
    assert embedder is not None
    with pytest.raises(CapabilityMissing, match="1024 wide") as raised:
        embedder.embed_words(WORDS)
    assert raised.value.code == "clip_too_wide"


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "mixed", NATIVE)
    config = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
    config["model_cfg"]["text_cfg"]["width"] = 128
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    embedder = open_image_embedder(_settings(tmp_path, folder))
    assert embedder is not None
    with pytest.raises(CapabilityMissing) as raised:
        embedder.embed_words(WORDS)
    assert raised.value.code == "clip_unusable"


def test_pickled_weights_are_never_taken(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "pickled", NATIVE)
    (folder / "open_clip_model.safetensors").rename(folder / "open_clip_pytorch_model.bin")
    assert open_image_embedder(_settings(tmp_path, folder)) is None


def test_absent_weights_are_noticed_without_importing_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from services.settings import Settings; "
        "from services.embedding.opening import open_image_embedder; folder = Path(sys.argv[1]); "
        "assert open_image_embedder(Settings(cache_dir=folder, data_dir=folder)) is None; "
        "assert 'torch' not in sys.modules and 'open_clip' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code, str(tmp_path)], check=True)


def test_a_file_that_is_no_picture_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "not.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n and nothing more")
    with pytest.raises(UnreadableDocument):
        read_picture(path, 10_000)


def test_a_picture_with_too_many_pixels_is_not_decoded(tmp_path: Path) -> None:
    Image.new("1", (200, 200)).save(tmp_path / "large.png")
    with pytest.raises(UnreadableDocument) as raised:
        read_picture(tmp_path / "large.png", 10_000)
    assert raised.value.code == "too_many_pixels"


def test_transparent_parts_are_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert read_picture(tmp_path / "clear.png", 100).getpixel((0, 0)) == (255, 255, 255)
