"""Carries the choice of the OCR engine over to the child, which opens it by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.ocr.base import NoOcr, OcrEngine
from services.ocr.engines import Engines, pack_engines, unpack_engines
from services.ocr.engines import open_engine as open_engines


def pack_choice(engines: Engines) -> dict[str, Any] | None:
    """What the child must know to open the engine, as flat JSON; None for having none."""
    return None if engines.name == "none" else pack_engines(engines)


def open_engine(packed: Mapping[str, Any] | None) -> OcrEngine:
    """The engine that `pack_choice` described; it reads in processes of its own."""
    return NoOcr() if packed is None else open_engines(unpack_engines(packed))
