"""Finds the OCR engines that are installed, and opens the one that is used.

A parsing process is told of it as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from services.ocr.auto import AutoEngine
from services.ocr.base import NoOcr, OcrEngine
from services.ocr.rapidocr.engine import RapidOcrEngine
from services.ocr.rapidocr.models import RapidOcrInstall, find_rapidocr
from services.ocr.tesseract.drivers import LibraryDriver
from services.ocr.tesseract.engine import TesseractEngine
from services.ocr.tesseract.install import TesseractInstall, find_tesseract
from services.ocr.workers import OcrWorkers

EngineName = Literal["auto", "tesseract", "rapidocr", "none"]


@dataclass(frozen=True, slots=True)
class Engines:
    """The engines that are installed, of those that `choice` allows."""

    choice: EngineName
    tesseract: TesseractInstall | None = None
    rapidocr: RapidOcrInstall | None = None

    @property
    def name(self) -> str:
        """The engine that reads: `auto` only where there are two to choose from, `none` where there is none."""
        if self.tesseract is not None and self.rapidocr is not None:
            return "auto"
        if self.tesseract is not None:
            return "tesseract"
        return "none" if self.rapidocr is None else "rapidocr"

    def languages(self) -> tuple[str, ...]:
        """Codes of the languages that one of them reads, sorted."""
        return open_reader(self).languages()

    def require(self, languages: Sequence[str]) -> None:
        """Returns when one of them reads all of `languages`. Raises CapabilityMissing."""
        open_reader(self).require(languages)


def find_engines(
    choice: EngineName = "auto", *, tesseract_path: Path | None = None, cache_dir: Path | None = None
) -> Engines:
    """What is installed of the engines that `choice` allows.

    See find_tesseract for the two paths.
    """
    tesseract = None
    if choice in ("auto", "tesseract"):
        tesseract = find_tesseract(tesseract_path, cache_dir=cache_dir)
    return Engines(choice, tesseract, find_rapidocr() if choice in ("auto", "rapidocr") else None)


def library_version() -> str:
    """The version of tesserocr, which reads with Tesseract's library in place of a process for each page; or empty."""
    try:
        return version("tesserocr")
    except PackageNotFoundError:
        return ""


def open_reader(engines: Engines) -> OcrEngine:
    """The engine, reading inside this process.

    Nothing is loaded before the first page.
    """
    tesseract = None if engines.tesseract is None else TesseractEngine(engines.tesseract)
    rapidocr = None if engines.rapidocr is None else RapidOcrEngine(engines.rapidocr)
    return _joined(tesseract, rapidocr)


def open_worker_reader(engines: Engines) -> OcrEngine:
    """The engine for a process that is there for OCR only, with one thread: with Tesseract's library where it can."""
    tesseract = rapidocr = None
    if (install := engines.tesseract) is not None:
        driver = None
        if install.library_data is not None:
            try:
                driver = LibraryDriver(str(install.library_data))
            except ImportError:
                driver = None
        tesseract = TesseractEngine(install, driver)
    if engines.rapidocr is not None:
        rapidocr = RapidOcrEngine(engines.rapidocr)
    return _joined(tesseract, rapidocr)


def _joined(tesseract: TesseractEngine | None, rapidocr: RapidOcrEngine | None) -> OcrEngine:
    if tesseract is not None and rapidocr is not None:
        return AutoEngine(tesseract, rapidocr)
    return tesseract or rapidocr or NoOcr()


def open_engine(engines: Engines) -> OcrEngine:
    """The engine, reading in processes of its own, as many as threads call it at a time; none where there is none."""
    if engines.name == "none":
        return NoOcr()
    return OcrWorkers(open_reader(engines), pack_engines(engines))


def pack_engines(engines: Engines) -> dict[str, Any]:
    """`engines` as flat JSON; every absolute path in it is one that reading needs."""
    packed: dict[str, Any] = {"choice": engines.choice}
    for prefix, install in (("tesseract", engines.tesseract), ("rapidocr", engines.rapidocr)):
        if install is not None:
            packed |= {f"{prefix}.{name}": _plain(value) for name, value in asdict(install).items()}
    return packed


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value


def unpack_engines(packed: Mapping[str, Any]) -> Engines:
    """What `pack_engines` packed."""
    tesseract: dict[str, Any] = {}
    rapidocr: dict[str, Any] = {}
    for name, value in packed.items():
        owner, _, field = name.partition(".")
        if field:
            (tesseract if owner == "tesseract" else rapidocr)[field] = value
    for fields, paths in ((tesseract, ("program", "tessdata_dir", "library_data")), (rapidocr, ("models",))):
        fields |= {path: Path(fields[path]) for path in paths if fields.get(path) is not None}
    if tesseract:
        tesseract["languages"] = tuple(tesseract["languages"])
    return Engines(
        packed["choice"],
        TesseractInstall(**tesseract) if tesseract else None,
        RapidOcrInstall(**rapidocr) if rapidocr else None,
    )
