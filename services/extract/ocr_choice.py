"""Carries the choice of the OCR engine over to the child, which opens it by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from services.ocr import NoOcr, OcrEngine
from services.ocr.tesseract import TesseractEngine, TesseractInstall


def pack_install(install: TesseractInstall | None) -> dict[str, Any] | None:
    """What the child must know to open the engine, as JSON; None for having none."""
    if install is None:
        return None
    folder = install.tessdata_dir
    return {**asdict(install), "program": str(install.program), "tessdata_dir": None if folder is None else str(folder)}


def open_engine(packed: Mapping[str, Any] | None) -> OcrEngine:
    """The engine that `pack_install` described."""
    if packed is None:
        return NoOcr()
    folder = packed["tessdata_dir"]
    return TesseractEngine(
        TesseractInstall(
            **{
                **packed,
                "program": Path(packed["program"]),
                "tessdata_dir": None if folder is None else Path(folder),
                "languages": tuple(packed["languages"]),
            }
        )
    )
