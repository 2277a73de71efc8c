"""Reads pages with Tesseract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from services.errors import CapabilityMissing
from services.ocr.base import AUTO, OcrResult
from services.ocr.tesseract.drivers import ProcessDriver, TesseractDriver
from services.ocr.tesseract.install import TesseractInstall
from services.ocr.tesseract.reading import TesseractPage, result_of
from services.ocr.tesseract.scripts import detect_languages

if TYPE_CHECKING:
    from PIL.Image import Image


class TesseractEngine:
    """Reads pages with an installed Tesseract.

    As safe to call from several threads as its driver is.
    """

    name = "tesseract"

    def __init__(self, install: TesseractInstall, driver: TesseractDriver | None = None) -> None:
        """`driver` defaults to a process for each run, which several threads may start at a time."""
        self.install = install
        self.version = install.version
        self._driver = driver or ProcessDriver(install)

    def languages(self) -> tuple[str, ...]:
        return self.install.languages

    def require(self, languages: Sequence[str]) -> None:
        missing = [code for code in languages if code not in (*self.install.languages, AUTO)]
        if missing:
            raise CapabilityMissing(
                f"Tesseract has no data for {', '.join(missing)}; installed: "
                f"{', '.join(self.install.languages) or 'none'}. Install it (for example "
                f"`apt install {' '.join('tesseract-ocr-' + code.replace('_', '-') for code in missing)}`), "
                "or ask for one of the installed languages in `ocr_languages`.",
                code="ocr_language_missing",
                facts={"missing": missing, "installed": list(self.install.languages)},
            )

    def read(self, image: Image, *, languages: Sequence[str], dpi: float, timeout_s: float) -> OcrResult:
        page = self.open_page(image, languages, timeout_s)
        return result_of(page.improved(page.first_reading()), dpi)

    def open_page(self, image: Image, languages: Sequence[str], timeout_s: float) -> TesseractPage:
        """`image`, prepared to be read in `languages`, found out where they are `auto`.

        Raises as `read` does.
        """
        self.require(languages)
        page = TesseractPage(
            self._driver, image, languages, timeout_s, reads_orientation=self.install.reads_orientation
        )
        if AUTO in languages:
            page.languages = detect_languages(page, self.install.languages)
        return page

    def close(self) -> None:
        return
