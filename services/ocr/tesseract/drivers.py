"""Runs Tesseract as a process, or as a library in this process.

Both take a prepared page and give words in pixels of it. The library reads a page in four fifths of the CPU time,
because the language's data is loaded once (docs/decisions/0005-ocr-engines.md); a crash in it ends the process, so it
is used in processes that are there for OCR only.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from services.content import Box
from services.errors import UnreadableDocument
from services.ocr.preparation import Quarter
from services.ocr.tesseract.install import ORIENTATION_DATA, TesseractInstall

if TYPE_CHECKING:
    from PIL.Image import Image
    from tesserocr import PyTessBaseAPI

AUTOMATIC, COLUMN, BLOCK, SPARSE = 3, 4, 6, 11
"""Tesseract's page segmentation modes."""
_ORIENTATION_ONLY = 0

_RESOLUTION = 300
"""Dots per inch that Tesseract is told: pages come scaled to the size of type that they would have there."""

_SAUVOLA = "2"
"""Value of `thresholding_method` for telling ink from paper by its neighbourhood. Source: Tesseract's tesseract(1)."""

_WORD_LEVEL, _LINE_LEVEL = 5, 4
_TSV_COLUMNS = 12


class RunTooLong(Exception):
    """A run of Tesseract that was stopped because its time was up."""


@dataclass(frozen=True, slots=True)
class TesseractWord:
    """A word as Tesseract found it, in pixels of the page that it was given."""

    line: tuple[int, int, int]
    """Numbers of its block, paragraph and line."""
    text: str
    box: Box
    confidence: float
    """0 to 1."""
    line_height: float


@dataclass(frozen=True, slots=True)
class Orientation:
    """What Tesseract thinks of the way up and the script of a page.

    The larger the confidences the surer.
    """

    turn: Quarter
    """Degrees clockwise that would turn the page upright."""
    confidence: float
    script: str
    """Such as `Latin`, `Cyrillic`, `Han`."""
    script_confidence: float


class TesseractDriver(Protocol):
    """Runs Tesseract once.

    Raises RunTooLong, and UnreadableDocument (`ocr_failed`) when it gives up on the page.
    """

    def words(
        self, image: Image, languages: Sequence[str], *, psm: int, local_threshold: bool, timeout_s: float
    ) -> list[TesseractWord]:
        """The words of `image`, a page of mode L, segmented by `psm`.

        With `local_threshold` ink is told from paper by Sauvola's method in place of one level for the page.
        """

    def orientation(self, image: Image, timeout_s: float) -> Orientation | None:
        """What `osd` says of `image`, or None where there are too few letters to judge."""


class ProcessDriver:
    """A process for each run, with one thread. Safe to use from several threads."""

    def __init__(self, install: TesseractInstall) -> None:
        self._install = install

    def words(
        self, image: Image, languages: Sequence[str], *, psm: int, local_threshold: bool, timeout_s: float
    ) -> list[TesseractWord]:
        import pytesseract

        config = f"--psm {psm}" + (f" -c thresholding_method={_SAUVOLA}" if local_threshold else "")
        try:
            found = pytesseract.image_to_data(
                self._given(image),
                lang="+".join(languages),
                config=self._config(config),
                timeout=timeout_s,
                output_type=pytesseract.Output.STRING,
            )
        except pytesseract.TesseractError as error:
            raise _gave_up(f"exit status {error.status}") from error
        except RuntimeError as error:
            raise RunTooLong from error
        return words_of_tsv(found.splitlines()[1:])

    def orientation(self, image: Image, timeout_s: float) -> Orientation | None:
        import pytesseract

        try:
            found: dict[str, Any] = pytesseract.image_to_osd(
                self._given(image),
                config=self._config(f"--psm {_ORIENTATION_ONLY}"),
                timeout=timeout_s,
                output_type=pytesseract.Output.DICT,
            )
        except pytesseract.TesseractError:
            return None
        except RuntimeError as error:
            raise RunTooLong from error
        return Orientation(
            _quarter(int(found.get("rotate", 0))),
            float(found.get("orientation_conf", 0.0)),
            str(found.get("script", "")),
            float(found.get("script_conf", 0.0)),
        )

    def _given(self, image: Image) -> Image:
        """`image`, marked to be handed over uncompressed: making a PNG takes longer than writing the file."""
        image.format = "PPM"
        return image

    def _config(self, config: str) -> str:
        from pytesseract import pytesseract as driver

        driver.tesseract_cmd = str(self._install.program)
        # Given to the engine's process only: other libraries of this process keep their threads.
        driver.environ = {**os.environ, "OMP_THREAD_LIMIT": "1"}
        if self._install.tessdata_dir is not None:
            config += f' --tessdata-dir "{self._install.tessdata_dir}"'
        return f"{config} --dpi {_RESOLUTION}"


class LibraryDriver:
    """Tesseract as a library in this process, its data kept loaded. For one thread.

    The process must have been started with OMP_THREAD_LIMIT=1, or each run takes as many threads as there are cores.
    """

    def __init__(self, data_dir: str) -> None:
        """`data_dir` holds the traineddata files.

        Raises ImportError where tesserocr is not installed.
        """
        import tesserocr  # noqa: F401

        self._data_dir = data_dir
        self._loaded: dict[str, PyTessBaseAPI] = {}

    def words(
        self, image: Image, languages: Sequence[str], *, psm: int, local_threshold: bool, timeout_s: float
    ) -> list[TesseractWord]:
        api = self._api("+".join(languages))
        api.SetPageSegMode(psm)
        api.SetVariable("thresholding_method", _SAUVOLA if local_threshold else "0")
        try:
            api.SetImage(image)
            api.SetSourceResolution(_RESOLUTION)
            if not api.Recognize(max(1, round(1000 * timeout_s))):
                raise RunTooLong
            found: str = api.GetTSVText(0)
        except RuntimeError as error:
            raise _gave_up(str(error)) from error
        finally:
            # What was learnt of this page's letters must not colour the next page's.
            api.Clear()
            api.ClearAdaptiveClassifier()
        return words_of_tsv(found.splitlines())

    def orientation(self, image: Image, timeout_s: float) -> Orientation | None:
        api = self._api(ORIENTATION_DATA)
        try:
            api.SetImage(image)
            api.SetSourceResolution(_RESOLUTION)
            found: dict[str, Any] | None = api.DetectOrientationScript()
        except RuntimeError:
            return None
        finally:
            api.Clear()
        if not found or not found.get("script_name"):
            return None
        return Orientation(
            _quarter(-int(found["orient_deg"])),
            float(found["orient_conf"]),
            str(found["script_name"]),
            float(found["script_conf"]),
        )

    def _api(self, languages: str) -> PyTessBaseAPI:
        api = self._loaded.get(languages)
        if api is None:
            import tesserocr

            psm = _ORIENTATION_ONLY if languages == ORIENTATION_DATA else AUTOMATIC
            try:
                api = tesserocr.PyTessBaseAPI(path=self._data_dir, lang=languages, psm=psm)
            except RuntimeError as error:
                raise _gave_up(f"data for {languages} that it cannot load") from error
            self._loaded[languages] = api
        return api


def _quarter(degrees: int) -> Quarter:
    quarters: tuple[Quarter, ...] = (0, 90, 180, 270)
    return quarters[degrees % 360 // 90]


def _gave_up(why: str) -> UnreadableDocument:
    return UnreadableDocument(f"Tesseract gave up on the page with {why}.", code="ocr_failed")


def words_of_tsv(lines: Iterable[str]) -> list[TesseractWord]:
    """The words of Tesseract's TSV, without its header, that carry text."""
    words = []
    line_height = 0.0
    for row in lines:
        fields = row.split("\t")
        if len(fields) != _TSV_COLUMNS:
            continue
        level, _, block, paragraph, line, _, left, top, width, height = map(int, fields[:10])
        confidence, text = float(fields[10]), fields[11].strip()
        if level == _LINE_LEVEL:
            line_height = float(height)
        if level != _WORD_LEVEL or confidence < 0 or not text:
            continue
        box = (float(left), float(top), float(left + width), float(top + height))
        words.append(TesseractWord((block, paragraph, line), text, box, confidence / 100, line_height))
    return words
