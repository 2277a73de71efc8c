"""How the service and what it depends on are doing, and what it can do."""

from __future__ import annotations

import os
import tempfile
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from sqlalchemy.exc import SQLAlchemyError

from database.columns import VECTOR_WIDTH
from database.documents import images
from database.errors import StoreError
from database.records import Actor
from database.store import StoreState
from services.content import Format
from services.documents.page_images import DEFAULT_WIDTH, MAX_WIDTH, MIN_WIDTH
from services.embedding.weights import ModelState, list_models
from services.errors import CapabilityMissing, DocatlasError, Retry, TransientError
from services.formats.detection.extensions import EXTENSIONS
from services.formats.registry import MEDIA_TYPES
from services.ocr.rapidocr.engine import RapidOcrEngine
from services.options import MAX_CHUNK_SIZE, MIN_CHUNK_SIZE, OCR_MODES
from services.runtime import Runtime
from services.search.search import MAX_DOCUMENT_IDS, MAX_K

State = Literal["healthy", "degraded", "down"]


@dataclass(frozen=True, slots=True)
class Check:
    """How one dependency is doing."""

    name: str
    status: State
    latency_ms: float
    detail: str = ""
    """What is wrong and what to do; empty when healthy."""


@dataclass(frozen=True, slots=True)
class Health:
    status: State
    checks: tuple[Check, ...]
    store: StoreState | None = None
    """None where it could not be found out."""


def require_ready(runtime: Runtime) -> None:
    """Returns once migrations ran and the text model is loaded. Raises TransientError (`starting`) before."""
    pending = [state.name for state in runtime.store.migration_status() if state.applied_at is None]
    if pending:
        raise TransientError(
            f"The database has {len(pending)} migrations to run. Run `docatlas db upgrade`, or wait for the start.",
            code="migrations_pending",
        )
    if not runtime.text_embedder.is_loaded:
        raise TransientError("The text model is still being loaded.", code="starting", retry=Retry(2.0))


def check_health(runtime: Runtime) -> Health:
    """Each dependency with the time that asking it took; the whole is down when the database or the files are."""
    checks = (
        _timed("database", lambda: _database(runtime)),
        _timed("files", lambda: _files(runtime)),
        _timed("text_model", lambda: _text_model(runtime)),
        _timed("image_model", lambda: _image_model(runtime)),
        _timed("ocr", lambda: _ocr(runtime)),
        _timed("worker", lambda: _worker(runtime)),
    )
    by_name = {check.name: check.status for check in checks}
    try:
        store = runtime.store.state()
    except (StoreError, SQLAlchemyError):
        store = None  # the check of the database tells
    if "down" in (by_name["database"], by_name["files"]):
        return Health("down", checks, store)
    return Health("healthy" if set(by_name.values()) == {"healthy"} else "degraded", checks, store)


def _timed(name: str, check: Callable[[], tuple[State, str]]) -> Check:
    began = time.perf_counter()
    try:
        status, detail = check()
    except (StoreError, SQLAlchemyError):
        # The text of such an error names paths and statements: it is for the log, not for a client.
        status, detail = "down", "The database does not answer; the server's log has the details."
    except OSError as error:
        status, detail = "down", f"The data folder cannot be used: {os.strerror(error.errno or 0)}."
    except DocatlasError as error:
        status, detail = "down", error.detail
    return Check(name, status, round(1000 * (time.perf_counter() - began), 3), detail)


def _database(runtime: Runtime) -> tuple[State, str]:
    runtime.store.ping()
    state = runtime.store.state()
    waiting = state.waiting.get("documents", 0)
    if state.breaker in (None, "closed"):
        if not waiting:
            return "healthy", ""
        return "degraded", f"{waiting} documents lie on this node only; `docs/fallback.md` says what to do."
    does = "is out of reach" if state.breaker == "open" else "works again"
    return "degraded", (
        f"Postgres {does} (since {state.since}); SQLite on this node answers, and {waiting} documents wait for it. "
        f"{state.detail}"
    ).strip()


def _files(runtime: Runtime) -> tuple[State, str]:
    with tempfile.TemporaryFile(dir=runtime.blobs.scratch(), prefix="health-") as probe:
        probe.write(b"ok")
    state = runtime.blobs.state()
    if state.status == "healthy":
        return "healthy", ""
    return "degraded", f"{state.detail[:1].upper()}{state.detail[1:]}. {state.pending} files wait on this node."


def _text_model(runtime: Runtime) -> tuple[State, str]:
    if runtime.text_embedder.is_loaded:
        return "healthy", ""
    state = _model_state(runtime, "text")
    if state is not None and state.status != "present":
        return "down", state.advice
    return "degraded", "The text model is not loaded yet; the first search will load it."


def _image_model(runtime: Runtime) -> tuple[State, str]:
    if runtime.image_embedder is not None:
        return "healthy", ""
    state = _model_state(runtime, "pictures")
    return "degraded", state.advice if state is not None and state.advice else "The picture model is not installed."


def _ocr(runtime: Runtime) -> tuple[State, str]:
    if runtime.ocr_engines.name != "none":
        return "healthy", ""
    if runtime.settings.ocr_engine == "none":
        return "degraded", "OCR is switched off (DOCATLAS_OCR_ENGINE=none): scans have no text."
    return "degraded", "No OCR engine was found: scans have no text. `docatlas doctor` says what to install."


def _worker(runtime: Runtime) -> tuple[State, str]:
    worker = runtime.worker
    if worker is None:
        return "degraded", "This process runs no jobs; another one has to."
    if not worker.holds_lease:
        return "healthy", "Another process on this data folder runs the jobs."
    return "healthy", ""


def _model_state(runtime: Runtime, purpose: str) -> ModelState | None:
    if purpose == "text" and runtime.settings.text_model == "hash":
        return None
    return next((state for state in list_models(runtime.settings) if state.purpose == purpose), None)


def capabilities(runtime: Runtime, actor: Actor) -> dict[str, Any]:
    """What this installation reads, searches and allows, in the API's words."""
    settings = runtime.settings
    return {
        "object": "capabilities",
        "version": product_version(),
        "formats": [
            {"format": name.value, "media_type": MEDIA_TYPES[name], "extensions": list(EXTENSIONS[name])}
            for name in Format
        ],
        "ocr": _ocr_facts(runtime),
        "models": {"text": _text_facts(runtime), "image": _image_facts(runtime, actor)},
        "search": {
            "modes": ["hybrid", "semantic", "keyword"],
            "modalities": ["text", "image"] if runtime.image_embedder is not None else ["text"],
            "recall": "exact" if runtime.store.kind == "sqlite" else "approximate",
        },
        "limits": {
            "max_upload_bytes": settings.max_upload_bytes,
            "max_files_per_request": settings.max_files_per_request,
            "max_pages": settings.max_pages,
            "max_pixels": settings.max_pixels,
            "max_k": MAX_K,
            "max_document_ids": MAX_DOCUMENT_IDS,
            "chunk_size": {"min": MIN_CHUNK_SIZE, "max": MAX_CHUNK_SIZE, "default": settings.chunk_size},
            "page_image_width": {"min": MIN_WIDTH, "max": MAX_WIDTH, "default": DEFAULT_WIDTH},
        },
        "store": {"kind": runtime.store.kind, "migrations": len(runtime.store.migration_status())},
        "queue": {"kind": "embedded", "worker_threads": settings.worker_threads},
        "accounts": {"mode": settings.accounts, "registration": settings.registration},
    }


def _ocr_facts(runtime: Runtime) -> dict[str, Any]:
    engines = runtime.ocr_engines
    tesseract, rapidocr = engines.tesseract, engines.rapidocr
    installed: list[dict[str, Any]] = []
    if tesseract is not None:
        installed.append({"name": "tesseract", "version": tesseract.version, "languages": list(tesseract.languages)})
    if rapidocr is not None:
        languages = list(RapidOcrEngine(rapidocr).languages())
        installed.append({"name": "rapidocr", "version": rapidocr.version, "languages": languages})
    return {
        "engine": engines.name,
        "version": ", ".join(engine["version"] for engine in installed),
        "origin": None if tesseract is None else tesseract.origin,
        "languages": list(engines.languages()),
        "engines": installed,
        "modes": list(OCR_MODES),
    }


@lru_cache(maxsize=1)
def product_version() -> str:
    """The installed version, or that of the folder which the project runs from; `0+unknown` where neither says it."""
    try:
        return metadata.version("docatlas")
    except metadata.PackageNotFoundError:
        pass
    try:
        project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        return str(project["version"])
    except (OSError, tomllib.TOMLDecodeError, KeyError):
        return "0+unknown"


def _text_facts(runtime: Runtime) -> dict[str, Any]:
    embedder = runtime.text_embedder
    state = _model_state(runtime, "text")
    missing = state is not None and state.status != "present" and not embedder.is_loaded
    return {
        "name": runtime.settings.text_model,
        "space": None if missing else embedder.space,
        "dimensions": VECTOR_WIDTH,
        "max_tokens": embedder.max_tokens,
        "state": "missing" if missing else "loaded" if embedder.is_loaded else "available",
        "advice": state.advice if missing and state is not None else "",
    }


def _image_facts(runtime: Runtime, actor: Actor) -> dict[str, Any]:
    state = _model_state(runtime, "pictures")
    try:
        embedder = runtime.image_embedder
        advice = "" if embedder is not None or state is None else state.advice
    except CapabilityMissing as error:
        embedder, advice = None, error.detail
    pending = None
    if embedder is not None:
        with runtime.store.begin(actor) as tx:
            pending = images.count_images_without_vector(tx, embedder.space)
    return {
        "name": runtime.settings.clip_model or (state.name if state is not None else ""),
        "space": None if embedder is None else embedder.space,
        "dimensions": VECTOR_WIDTH,
        "state": "missing" if embedder is None else "available",
        "images_without_vector": pending,
        "advice": advice,
    }
