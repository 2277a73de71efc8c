"""The engine `auto`: Tesseract, and RapidOCR where that is better.

RapidOCR reads receipts and what Tesseract is unsure of.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from services.errors import CapabilityMissing
from services.ocr.base import OcrEngine, OcrResult
from services.ocr.preparation import estimate_text_height, is_strip, sideways_ratio, to_gray
from services.ocr.tesseract.reading import SIDEWAYS, Reading, result_of, transposition

if TYPE_CHECKING:
    from PIL.Image import Image

    from services.ocr.rapidocr.engine import RapidOcrEngine
    from services.ocr.tesseract.engine import TesseractEngine

SURE = 0.92
"""Tesseract's mean confidence from which its reading of a page is kept and RapidOCR is not asked.

Source: measured, docs/decisions/0005-ocr-engines.md: clean pages are at .935 and above, forms and receipts below .925.
"""

LOST = 0.6
"""RapidOCR's mean confidence below which Tesseract's reading is kept where that is surer.

Source: the same measurement; the least of 110 receipts and forms is .80."""

ENOUGH_LETTERS = 0.5
"""Share of the letters that Tesseract is sure of which RapidOCR must have found: fewer, and it missed parts."""

STRIP_WIDTH = 45.0
"""Heights of a line's ink that a receipt is wide at most.

Source: measured, 24 to 38 on three of four of 60 receipts; 54 to 97 on forms, 69 and more on pages of prose, 50 on a
page of the largest type that letters are written in (12 points)."""

_TRUSTED = 0.8
"""Confidence of a word that Tesseract is sure of."""


class AutoEngine:
    """Chooses between the two by the page, and asks the second where the first is unsure."""

    name = "auto"

    def __init__(self, tesseract: TesseractEngine, rapidocr: RapidOcrEngine) -> None:
        self._tesseract = tesseract
        self._rapidocr = rapidocr
        self.version = f"tesseract {tesseract.version}, rapidocr {rapidocr.version}"

    def languages(self) -> tuple[str, ...]:
        return tuple(sorted({*self._tesseract.languages(), *self._rapidocr.languages()}))

    def require(self, languages: Sequence[str]) -> None:
        if not any(_reads(engine, languages) for engine in (self._tesseract, self._rapidocr)):
            # Tesseract's message says what to install; no single engine reads all that are asked for.
            self._tesseract.require(languages)

    def read(self, image: Image, *, languages: Sequence[str], dpi: float, timeout_s: float) -> OcrResult:
        self.require(languages)
        start = time.monotonic()

        def remaining() -> float:
            return max(0.001, timeout_s - (time.monotonic() - start))

        def by(engine: OcrEngine, written_in: Sequence[str]) -> OcrResult:
            return engine.read(image, languages=written_in, dpi=dpi, timeout_s=remaining())

        if not _reads(self._tesseract, languages):
            return by(self._rapidocr, languages)
        if not _reads(self._rapidocr, languages):
            return by(self._tesseract, languages)
        other: OcrResult | None = None
        if _looks_like_a_strip(image):
            other = by(self._rapidocr, languages)
            if other.confidence >= LOST and other.text:
                return other
        page = self._tesseract.open_page(image, languages, remaining())
        reading = page.first_reading()
        if reading.confidence >= SURE:
            return result_of(reading, dpi)
        if other is None and _reads(self._rapidocr, page.languages):
            other = by(self._rapidocr, page.languages)
        if other is not None and _is_better(other, reading):
            return other
        return result_of(page.improved(reading), dpi)

    def close(self) -> None:
        self._tesseract.close()
        self._rapidocr.close()


def _reads(engine: OcrEngine, languages: Sequence[str]) -> bool:
    try:
        engine.require(languages)
    except CapabilityMissing:
        return False
    return True


def _looks_like_a_strip(image: Image) -> bool:
    """True for the shape of a receipt, its short lines across the short side.

    A page of Legal paper has long ones.
    """
    gray = to_gray(image)
    lies = gray.width > gray.height
    upright = gray.transpose(transposition(90)) if lies else gray
    if not is_strip(upright) or (sideways_ratio(gray) > SIDEWAYS) != lies:
        return False
    height = estimate_text_height(upright)
    return height is not None and upright.width <= STRIP_WIDTH * height


def _is_better(other: OcrResult, reading: Reading) -> bool:
    """Whether RapidOCR's `other` is to be believed where Tesseract's `reading` is not sure."""
    if other.confidence < LOST and other.confidence < reading.confidence:
        return False
    trusted = sum(len(word.text) for word in reading.words if word.confidence >= _TRUSTED)
    return sum(len(word.text) for word in other.words) >= ENOUGH_LETTERS * trusted and bool(other.text)
