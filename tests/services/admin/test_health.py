"""`/health` and `docatlas doctor` are content when all that was asked for works, and say so when it does not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.admin.checks import Check
from services.admin.doctor import examine
from services.admin.health import check_health
from services.embedding.models import PICTURE_MODEL
from services.embedding.weights import model_folder
from services.errors import CapabilityMissing
from services.jobs.worker import Worker
from services.runtime import Runtime
from services.settings import Settings
from tests.support.picture_models import NATIVE, write_checkpoint
from tests.support.runtimes import open_runtime

Opener = Callable[..., Runtime]


@pytest.fixture
def opener(tmp_path: Path) -> Iterator[Opener]:
    """A function that opens a runtime without weights of its own, with further settings."""
    opened: list[Runtime] = []

    def open_(**given: Any) -> Runtime:
        settings = Settings(data_dir=tmp_path / "data", cache_dir=tmp_path / "cache", text_model="hash", **given)
        opened.append(open_runtime(settings))
        return opened[-1]

    yield open_
    for runtime in opened:
        runtime.close()


def _health(runtime: Runtime, name: str = "image_model") -> Check:
    return next(check for check in check_health(runtime, None).checks if check.name == name)


def _doctor(runtime: Runtime, name: str = "picture model") -> Check:
    return next(check for check in examine(runtime.settings) if check.name == name)


def test_a_picture_model_that_nobody_configured_is_information(opener: Opener) -> None:
    runtime = opener()
    with Worker(runtime) as worker:
        found = check_health(runtime, worker)
    assert found.status == "ok", found
    assert "docatlas models pull" in _health(runtime).summary
    told = _doctor(runtime)
    assert (told.status, told.advice) == ("ok", "")
    assert "docatlas models pull" in told.summary


def test_ocr_that_was_switched_off_is_information(opener: Opener) -> None:
    runtime = opener(ocr_engine="none")
    assert _health(runtime, "ocr").status == "ok"
    assert "DOCATLAS_OCR_ENGINE=none" in _health(runtime, "ocr").summary
    assert _doctor(runtime, "ocr").status == "ok"


@pytest.mark.parametrize("given", [{"clip_dir": "absent"}, {"clip_model": "ViT-L-14"}], ids=str)
def test_a_picture_model_that_was_asked_for_and_is_absent_degrades(
    opener: Opener, given: dict[str, str], tmp_path: Path
) -> None:
    runtime = opener(**{name: tmp_path / value if name == "clip_dir" else value for name, value in given.items()})
    assert check_health(runtime, None).status == "warning"
    assert _health(runtime).status == "warning"
    assert "DOCATLAS_CLIP_DIR" in _health(runtime).summary
    assert _doctor(runtime).status == "warning"
    assert "DOCATLAS_CLIP_DIR" in _doctor(runtime).advice


def test_a_fetched_picture_model_that_was_damaged_degrades(opener: Opener) -> None:
    runtime = opener()
    model_folder(runtime.settings, PICTURE_MODEL).mkdir(parents=True)
    assert _health(runtime).status == "warning"
    assert "docatlas models pull" in _health(runtime).summary
    assert _doctor(runtime).status == "warning"


def test_a_folder_with_two_checkpoints_and_none_named_as_the_one_degrades(opener: Opener, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "two", NATIVE)
    weights = folder / "open_clip_model.safetensors"
    (folder / "a.safetensors").write_bytes(weights.read_bytes())
    runtime = opener(clip_dir=folder)
    assert (_health(runtime).status, _health(runtime).summary) == ("ok", "")
    weights.rename(folder / "b.safetensors")
    other = opener(clip_dir=folder)
    assert _health(other).status == "warning"
    assert "open_clip_model.safetensors" in _health(other).summary
    assert _doctor(other).status == "warning"


@pytest.mark.parametrize("config", ["no JSON", json.dumps({"model_cfg": {"embed_dim": 1024}})], ids=["broken", "wide"])
def test_a_checkpoint_whose_configuration_does_not_fit_degrades(opener: Opener, config: str, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(config, encoding="utf-8")
    (folder / "open_clip_model.safetensors").write_bytes(b"weights")
    runtime = opener(clip_dir=folder)
    assert _health(runtime).status == "warning"
    assert _doctor(runtime).status == "warning"
    assert _doctor(runtime).advice == _health(runtime).summary != ""


def test_a_checkpoint_that_did_not_load_degrades_from_then_on(opener: Opener, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "mixed", NATIVE)
    runtime = opener(clip_dir=folder)
    assert _health(runtime).status == "ok"
    assert _doctor(runtime).status == "ok"
    (folder / "open_clip_model.safetensors").write_bytes(b"no weights")
    embedder = runtime.image_embedder
    assert embedder is not None
    with pytest.raises(CapabilityMissing) as refused:
        embedder.embed_words(["a cat"])
    found = _health(runtime)
    assert (found.status, found.summary) == ("warning", refused.value.detail)
