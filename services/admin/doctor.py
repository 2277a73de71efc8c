"""Checks what this installation has and lacks, and says what to do about it.

Only what is cheap to find out. Nothing is loaded, fetched, created or migrated by looking.
"""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.admin.checks import Check, CheckStatus
from services.settings import PREFIX, Settings, unknown_variables

if TYPE_CHECKING:
    from services.ocr.engines import Engines

MIN_FREE_BYTES = 1024**3
"""Below this a warning: an ingest of one file at the upload limit needs the file, its pages and its vectors."""


def examine(settings: Settings) -> list[Check]:
    """Every check, in the order in which a person would fix things."""
    checks: list[Callable[[Settings], Check]] = [
        _settings, _python, _torch, _data_folder, _cache_folder, _sqlite, _schema, _fallback, _worker, _ocr,
        _libreoffice, _text_model, _picture_model, _isolation,
    ]  # fmt: skip
    return [check(settings) for check in checks]


def _settings(settings: Settings) -> Check:
    """Which settings were given, by name only: some are secret."""
    unknown = unknown_variables()
    facts = {"given": sorted(settings.model_fields_set), "unknown": unknown}
    if unknown:
        advice = "; ".join(f"did you mean {close}?" if close else f"unset {name}" for name, close in unknown.items())
        return Check("settings", "broken", f"no setting has the name {', '.join(unknown)}", advice, facts)
    given = ", ".join(PREFIX + name.upper() for name in sorted(settings.model_fields_set))
    return Check("settings", "ok", given or "none given: the defaults", facts=facts)


def wrong_settings(detail: str) -> list[Check]:
    """The only check there is where the settings are wrong.

    `detail` says what is wrong with them: nothing else can be opened.
    """
    return [Check("settings", "broken", detail, "mend this and run `docatlas doctor` again: it then looks at the rest")]


def _python(settings: Settings) -> Check:
    facts = {
        "version": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }
    summary = f"{facts['version']} on {facts['platform']}, {facts['cores']} cores"
    return Check("python", "ok", summary, facts=facts)


def _torch(settings: Settings) -> Check:
    try:
        torch = version("torch")
    except PackageNotFoundError:
        if settings.text_model == "hash":
            return Check("torch", "ok", "not installed, and not needed by the hash model", facts={"version": None})
        return Check("torch", "broken", "not installed", "run `./docatlas doctor`, which installs what is missing")
    return Check("torch", "ok", torch, facts={"version": torch})


def _folder(name: str, path: Path, setting: str) -> Check:
    """Whether `path` can be written, and how much room it has.

    Where it does not exist, that is asked of the nearest folder above it.
    """
    standing = path
    while not standing.exists() and standing != standing.parent:
        standing = standing.parent
    facts: dict[str, Any] = {"path": str(path), "exists": path.exists()}
    if not standing.is_dir() or not os.access(standing, os.W_OK | os.X_OK):
        advice = f"make {standing} writable, or set {setting} to another folder"
        return Check(name, "broken", f"{path}: not writable", advice, facts)
    free = shutil.disk_usage(standing).free
    facts["free_bytes"] = free
    summary = f"{path}{'' if path.exists() else ' (not there yet)'}, {free / 1e9:.1f} GB free"
    if free < MIN_FREE_BYTES:
        return Check(name, "warning", summary, f"free some space, or set {setting} to another disk", facts)
    return Check(name, "ok", summary, facts=facts)


def _data_folder(settings: Settings) -> Check:
    return _folder("data folder", settings.data_dir, "DOCATLAS_DATA_DIR")


def _cache_folder(settings: Settings) -> Check:
    return _folder("cache folder", settings.cache_dir, "DOCATLAS_CACHE_DIR")


def _sqlite(settings: Settings) -> Check:
    facts: dict[str, Any] = {"version": sqlite3.sqlite_version, "fts5": True}
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("CREATE VIRTUAL TABLE probe USING fts5(text)")
    except sqlite3.OperationalError:
        facts["fts5"] = False
        advice = "use a Python whose SQLite has FTS5; those of python.org, Debian and Homebrew do"
        return Check("sqlite", "broken", f"{sqlite3.sqlite_version} without FTS5", advice, facts)
    finally:
        connection.close()
    return Check("sqlite", "ok", f"{sqlite3.sqlite_version} with FTS5", facts=facts)


def _schema(settings: Settings) -> Check:
    from database.errors import StoreError
    from services.admin.schema import describe_database, open_schema
    from services.errors import DocatlasError

    is_local = settings.database_url is None
    made = "postgres/data" if settings.postgres == "embedded" else "*.sqlite3"
    place = describe_database(settings)
    if is_local and not any(settings.data_dir.glob(made)):
        return Check("database", "ok", "none yet; the first command makes it", facts={"exists": False})
    try:
        with open_schema(settings) as schema:
            states = schema.status()
    except (StoreError, DocatlasError) as error:
        return Check("database", "broken", f"{place}: {error}", "see the message", {"exists": True, "place": place})
    missing = [state.version for state in states if state.applied_at is None]
    facts = {"exists": True, "place": place, "applied": len(states) - len(missing), "missing": missing}
    if missing:
        summary = f"{place}: {len(missing)} of {len(states)} migrations missing"
        advice = "run `docatlas db upgrade`" + ("; every start does so too" if is_local else "")
        return Check("database", "warning", summary, advice, facts)
    latest = states[-1].version if states else "none"
    return Check("database", "ok", f"{place}: {len(states)} migrations applied, the last is {latest}", facts=facts)


def _fallback(settings: Settings) -> Check:
    """Whether this node holds what Postgres lacks."""
    from sqlalchemy.exc import SQLAlchemyError

    from database.errors import StoreError
    from services.stores import copies_on_node

    if settings.database_url is None and settings.postgres != "embedded":
        return Check("fallback", "ok", "not needed: the database is on this node", facts={"waiting": {}})
    if not settings.fallback:
        return Check("fallback", "ok", "switched off (DOCATLAS_FALLBACK=false)", facts={"waiting": {}})
    try:
        waiting = dict(copies_on_node(settings))
    except (StoreError, SQLAlchemyError):
        advice = "look at the data folder's `fallback`: its database cannot be read"
        return Check("fallback", "broken", "what waits on this node cannot be read", advice)
    if any(waiting.values()):
        told = ", ".join(f"{number} {kind}" for kind, number in waiting.items())
        advice = "run `docatlas serve` with Postgres in reach: it moves them there (docs/fallback.md)"
        return Check("fallback", "warning", f"{told} wait on this node", advice, {"waiting": waiting})
    return Check("fallback", "ok", "nothing waits on this node", facts={"waiting": waiting})


def _worker(settings: Settings) -> Check:
    from services.jobs.worker import lease_holder

    holder = lease_holder(settings.data_dir)
    if holder is None:
        return Check("worker", "ok", "no process runs jobs; `serve` or `ingest` will", facts={"holder_pid": None})
    return Check("worker", "ok", f"process {holder or 'unknown'} runs the jobs", facts={"holder_pid": holder or None})


def _ocr(settings: Settings) -> Check:
    from services.ocr.engines import find_engines, library_version

    if settings.ocr_engine == "none":
        summary = "switched off (DOCATLAS_OCR_ENGINE=none): scans stay unread"
        return Check("ocr", "ok", summary, facts={"engine": "none"})
    engines = find_engines(settings.ocr_engine, tesseract_path=settings.tesseract_path, cache_dir=settings.cache_dir)
    tesseract, rapidocr = engines.tesseract, engines.rapidocr
    facts: dict[str, Any] = {"engine": engines.name, "languages": list(engines.languages())}
    said = []
    if tesseract is not None:
        library = library_version() if tesseract.library_data is not None else ""
        facts |= {
            "version": tesseract.version,
            "origin": tesseract.origin,
            "program": str(tesseract.program),
            "tessdata_dir": str(tesseract.tessdata_dir) if tesseract.tessdata_dir else None,
            "tesserocr": library or None,
            "reads_orientation": tesseract.reads_orientation,
        }
        origin = "the system's" if tesseract.origin == "system" else "the wheel's"
        through = f"through tesserocr {library}" if library else "a process a page"
        osd = "osd" if tesseract.reads_orientation else "no osd"
        said.append(
            f"Tesseract {tesseract.version} ({origin}, {tesseract.program}; {through}; {osd}): "
            f"{', '.join(tesseract.languages)}"
        )
    if rapidocr is not None:
        facts["rapidocr"] = rapidocr.version
        said.append(f"RapidOCR {rapidocr.version}: Latin scripts, Chinese, Japanese")
    summary = "; ".join(said) or f"no engine that runs ({settings.ocr_engine} is wanted)"
    status, advice = _ocr_verdict(settings, engines)
    return Check("ocr", status, summary, advice, facts)


def _ocr_verdict(settings: Settings, engines: Engines) -> tuple[CheckStatus, str]:
    """How grave it is, and what to do."""
    wanted, tesseract = settings.ocr_engine, engines.tesseract
    install_tesseract = (
        "install tesseract, or set DOCATLAS_TESSERACT_PATH, or run `./docatlas doctor` to install the wheel"
    )
    if engines.name == "none":
        return "broken", "run `pip install rapidocr onnxruntime`" if wanted == "rapidocr" else install_tesseract
    if tesseract is None and (wanted == "tesseract" or settings.tesseract_path is not None):
        return "broken", install_tesseract
    if settings.ocr_languages != ("auto",):
        absent = [code for code in settings.ocr_languages if code not in engines.languages()]
        if absent:
            return "broken", f"install the language data of {', '.join(absent)}, or change DOCATLAS_OCR_LANGUAGES"
    if wanted == "auto" and tesseract is None:
        return "warning", f"RapidOCR alone reads pages of prose less well: {install_tesseract}"
    if wanted == "auto" and engines.rapidocr is None:
        return "warning", "receipts and forms are read less well: run `pip install rapidocr onnxruntime`"
    if tesseract is not None and not tesseract.reads_orientation:
        return "warning", "install tesseract's osd data: turned pages are missed"
    return "ok", ""


def _libreoffice(settings: Settings) -> Check:
    from services.formats.office.libreoffice import find_libreoffice

    found = find_libreoffice(settings.libreoffice_path)
    facts = {"program": None if found is None else str(found)}
    if found is None:
        advice = "install it (libreoffice.org), or set DOCATLAS_LIBREOFFICE_PATH; without it .ppt files are refused"
        return Check("libreoffice", "warning", "not found", advice, facts)
    return Check("libreoffice", "ok", str(found), facts=facts)


def _text_model(settings: Settings) -> Check:
    from services.embedding.dtype import choose_arithmetic
    from services.embedding.models import TEXT_MODEL
    from services.embedding.weights import list_models

    if settings.text_model == "hash":
        facts = {"name": "hash", "status": "present"}
        summary = "hash (DOCATLAS_TEXT_MODEL=hash): finds words, no meaning"
        return Check("text model", "ok", summary, facts=facts)
    state = next(state for state in list_models(settings) if state.name == TEXT_MODEL.name)
    arithmetic = choose_arithmetic(settings)
    facts = {
        "name": state.name,
        "status": state.status,
        "folder": str(state.folder),
        "source": state.source,
        "dtype": arithmetic.dtype,
        "dtype_reason": arithmetic.reason,
    }
    if state.status != "present":
        return Check("text model", "broken", f"{state.name}: {state.status}", state.advice, facts)
    return Check(
        "text model", "ok", f"{state.name} in {state.folder}, {arithmetic.dtype} ({arithmetic.reason})", facts=facts
    )


def _picture_model(settings: Settings) -> Check:
    from services.embedding.opening import open_image_embedder
    from services.embedding.weights import asks_for_pictures, list_models, tried_file

    state = next(state for state in list_models(settings) if state.purpose == "pictures")
    facts = {"name": state.name, "status": state.status, "folder": str(state.folder), "source": state.source}
    kept = "pictures are kept and cannot be searched"
    tried = tried_file(settings, state)
    if state.status != "present" and not asks_for_pictures(settings) and tried.exists():
        when = datetime.fromtimestamp(tried.stat().st_mtime, UTC)
        summary = (
            f"none: fetching it failed on {when:%Y-%m-%d at %H:%M} UTC, and {kept}. To search them, {state.advice}"
        )
        return Check("picture model", "ok", summary, facts=facts)
    if state.status != "present" and not asks_for_pictures(settings):
        summary = f"none, and none was asked for: {kept}. To search them, {state.advice}"
        return Check("picture model", "ok", summary, facts=facts)
    if state.status != "present":
        return Check("picture model", "warning", f"{state.name}: {state.status}; {kept}", state.advice, facts)
    embedder = open_image_embedder(settings)
    problem = None if embedder is None else embedder.problem
    if problem is not None:
        return Check("picture model", "warning", f"{state.name}: unusable; {kept}", problem.detail, facts)
    return Check("picture model", "ok", f"{state.name} in {state.folder}", facts=facts)


def _isolation(settings: Settings) -> Check:
    from services.sandbox.isolation import probe_isolation

    found = probe_isolation()
    if found is None:
        return Check(
            "isolation",
            "broken",
            "no parsing process can be started",
            "reinstall the program; the temporary folder has to be writable",
        )
    facts = found.as_json()
    missing = f"; missing here: {', '.join(found.missing)}" if found.missing else ""
    if found.escapes or not found.network:
        can = " and ".join(found.escapes) or "reach what a kernel without seccomp lets them"
        advice = (
            "run the server on Linux 5.13 or later, on x86-64 or arm64, and let it make user namespaces "
            "(docs/operations.md#isolation); or run it in a container without a network"
        )
        return Check("isolation", "warning", f"parsing processes can {can}{missing}", advice, facts)
    summary = f"parsing processes have no network ({found.network}) and no file but their own{missing}"
    return Check("isolation", "ok", summary, facts=facts)
