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
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from database.columns import VECTOR_WIDTH
from database.documents import images
from database.errors import StoreError
from database.fallback.base import FallbackState
from database.records import Actor
from services.admin.checks import Check, CheckStatus
from services.documents.page_images import DEFAULT_WIDTH, MAX_WIDTH, MIN_WIDTH
from services.embedding.weights import ModelState, asks_for_pictures, list_models
from services.errors import CapabilityMissing, DocatlasError, Retry, TransientError
from services.formats.registry import Format
from services.jobs.worker import Worker
from services.ocr.rapidocr.engine import RapidOcrEngine
from services.options import MAX_CHUNK_SIZE, MIN_CHUNK_SIZE, OCR_MODES
from services.runtime import Runtime
from services.search.search import MAX_DOCUMENT_IDS, MAX_K


@dataclass(frozen=True, slots=True)
class Health:
    """The check of every dependency, and what they come to."""

    status: CheckStatus
    checks: tuple[Check, ...]
    fallback: FallbackState | None = None
    """None where no database stands in for another, or its state could not be found out."""


def require_ready(runtime: Runtime) -> None:
    """Returns once migrations ran and the text model is loaded.

    Raises TransientError (`migrations_pending`, `starting`) before.
    """
    pending = [state.name for state in runtime.store.migration_status() if state.applied_at is None]
    if pending:
        raise TransientError(
            f"The database has {len(pending)} migrations to run. Run `docatlas db upgrade`, or wait for the start.",
            code="migrations_pending",
        )
    if not runtime.text_embedder.is_loaded:
        raise TransientError("The text model is still being loaded.", code="starting", retry=Retry(2.0))


def check_health(runtime: Runtime, worker: Worker | None) -> Health:
    """Checks each dependency; `ok` as a whole when all that was asked for works.

    The whole is `broken` when the database or the files are. `worker` is the one of this process; None where it runs
    no jobs.
    """
    checks = (
        _timed("database", lambda: _database(runtime)),
        _timed("files", lambda: _files(runtime)),
        _timed("text_model", lambda: _text_model(runtime)),
        _timed("image_model", lambda: _image_model(runtime)),
        _timed("ocr", lambda: _ocr(runtime)),
        _timed("worker", lambda: _worker(worker)),
    )
    by_name = {check.name: check.status for check in checks}
    try:
        fallback = runtime.fallback.state()
    except (StoreError, SQLAlchemyError):
        fallback = None  # the check of the database tells
    if "broken" in (by_name["database"], by_name["files"]):
        return Health("broken", checks, fallback)
    return Health("ok" if set(by_name.values()) == {"ok"} else "warning", checks, fallback)


def _timed(name: str, check: Callable[[], tuple[CheckStatus, str]]) -> Check:
    began = time.perf_counter()
    try:
        status, detail = check()
    except (StoreError, SQLAlchemyError):
        # The text of such an error names paths and statements: it is for the log, not for a client.
        status, detail = "broken", "The database does not answer; the server's log has the details."
    except OSError as error:
        status, detail = "broken", f"The data folder cannot be used: {os.strerror(error.errno or 0)}."
    except DocatlasError as error:
        status, detail = "broken", error.detail
    return Check(name, status, detail, latency_ms=round(1000 * (time.perf_counter() - began), 3))


def _database(runtime: Runtime) -> tuple[CheckStatus, str]:
    runtime.store.ping()
    state = runtime.fallback.state()
    if state is None:
        return "ok", ""
    waiting = state.waiting.get("documents", 0)
    if state.breaker == "closed":
        if not waiting:
            return "ok", ""
        return "warning", f"{waiting} documents lie on this node only; `docs/fallback.md` says what to do."
    does = "is out of reach" if state.breaker == "open" else "works again"
    return "warning", (
        f"Postgres {does} (since {state.since}); SQLite on this node answers, and {waiting} documents wait for it. "
        f"{state.detail}"
    ).strip()


def _files(runtime: Runtime) -> tuple[CheckStatus, str]:
    with tempfile.TemporaryFile(dir=runtime.blobs.scratch(), prefix="health-") as probe:
        probe.write(b"ok")
    state = runtime.blobs.state()
    if state.status == "healthy":
        return "ok", ""
    return "warning", f"{state.detail[:1].upper()}{state.detail[1:]}. {state.pending} files wait on this node."


def _text_model(runtime: Runtime) -> tuple[CheckStatus, str]:
    if runtime.text_embedder.is_loaded:
        return "ok", ""
    state = _model_state(runtime, "text")
    if state is not None and state.status != "present":
        return "broken", state.advice
    return "warning", "The text model is not loaded yet; the first search will load it."


def _image_model(runtime: Runtime) -> tuple[CheckStatus, str]:
    embedder = runtime.image_embedder
    problem = runtime.image_model_problem if embedder is None else embedder.problem
    if problem is not None:
        return "warning", problem.detail
    if embedder is not None:
        return "ok", ""
    state = _model_state(runtime, "pictures")
    advice = "" if state is None else state.advice
    if asks_for_pictures(runtime.settings):
        return "warning", f"The picture model that was asked for cannot be used: {advice}."
    return "ok", f"No picture model is installed, and none was asked for. To search pictures, {advice}."


def _ocr(runtime: Runtime) -> tuple[CheckStatus, str]:
    if runtime.ocr_engines.name != "none":
        return "ok", ""
    if runtime.settings.ocr_engine == "none":
        return "ok", "OCR is switched off (DOCATLAS_OCR_ENGINE=none): scans have no text."
    return "warning", "No OCR engine was found: scans have no text. `docatlas doctor` says what to install."


def _worker(worker: Worker | None) -> tuple[CheckStatus, str]:
    if worker is None:
        return "warning", "This process runs no jobs; another one has to."
    if not worker.holds_lease:
        return "ok", "Another process on this data folder runs the jobs."
    return "ok", ""


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
            {"format": format.value, "media_type": format.spec.media_type, "extensions": list(format.spec.extensions)}
            for format in Format
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
    """The version of the product; `0+unknown` where nothing says it.

    It is that of the installed package, or of the folder that the project runs from.
    """
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
