"""One page through Tesseract: which way up, how large, by which page segmentation; the best attempt is kept."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from services.content import BlockKind, Box
from services.errors import UnreadableDocument
from services.ocr import OcrResult
from services.ocr.layout import Line, LooseBlock, LooseWord, compose, list_marker
from services.ocr.preparation import (
    Placement,
    clear_border,
    estimate_skew,
    estimate_text_height,
    even_background,
    sideways_ratio,
    straighten,
    strengthen,
    to_gray,
)

if TYPE_CHECKING:
    from PIL.Image import Image

    from services.ocr.tesseract import TesseractInstall

Quarter = Literal[0, 90, 180, 270]

TYPE_HEIGHT_PX, STRIP_TYPE_HEIGHT_PX = 30.0, 22.0
"""Height of a line's ink that pages, and strips such as receipts, are scaled to.

Source: Tesseract's documentation ("capital letters of about 30 pixels"); measured: 17 forms, word F1 .846, .840, .858
at 22, 27, 32 and .67 without scaling at 8 to 11; 30 receipts .853, .850, .848.
"""

LARGEST_UPSCALE = 3.5
"""More invents edges that are not there."""

UPSCALE_BELOW, DOWNSCALE_ABOVE = 0.85, 2.0
"""A page whose type is within these factors of `TYPE_HEIGHT_PX` is left as it is: resampling costs sharpness."""

MAX_PREPARED_PIXELS = 36_000_000
"""Pixels of a prepared page: twice an A4 page at 300 dpi each way, about 0.3 GB in the engine."""

SIDEWAYS = 1.6
"""Columns this much sharper than rows: the page is thought to lie on its side and asked about before it is read.

Source: measured on 85 upright pages, of which 2 are above it, and the same turned by 90 degrees.
"""

POOR = 0.72
"""Mean confidence below which the other orientations are asked about; upside down it is .3 to .5."""

DOUBTFUL = 0.82
"""Mean confidence below which other segmentations are tried.

Source: measured: forms .858 to .867 and receipts .853 to .858 for 1.5 runs a page; clean pages are above it.
"""

ENOUGH_LETTERS = 0.8
"""Share of the letters of the attempt before that a surer one must have: few words are easily sure."""

SPARSE_HANDICAP = 1.05
"""How much surer sparse reading must be: it loses the order of the lines. Source: the same forms, .865 over .8605."""

OSD_GATE = 1.0
"""Tesseract's orientation confidence from which its opinion is tried; the text that is read decides."""

STRIP_SHAPE = 1.55
"""Height by width from which a page is a strip of single lines (receipts, till rolls): A4 is 1.41, Legal paper 1.65."""

AUTOMATIC, COLUMN, BLOCK, SPARSE = 3, 4, 6, 11
"""Tesseract's page segmentation modes."""


@dataclass(slots=True)
class _Read:
    """What one run of the engine gave, in pixels of the prepared page."""

    placement: Placement
    psm: int
    words: list[tuple[tuple[int, int, int], str, Box, float, float]] = field(default_factory=list)
    """((block, paragraph, line), text, box, confidence 0 to 1, height of the line)."""

    @property
    def letters(self) -> int:
        return sum(len(w[1]) for w in self.words)

    @property
    def confidence(self) -> float:
        return sum(len(w[1]) * w[3] for w in self.words) / max(1, self.letters)

    @property
    def score(self) -> float:
        """Letters read, each for as much as it is trusted beyond guessing: what one attempt has above another."""
        return sum(len(w[1]) * (w[3] - 0.4) for w in self.words if any(c.isalnum() for c in w[1]))


class _PageReader:
    """Attempts on one page under one deadline; turned and scaled copies live only while they are read."""

    def __init__(self, install: TesseractInstall, gray: Image, languages: Sequence[str], timeout_s: float) -> None:
        self.install = install
        self.gray = gray
        self.languages = "+".join(languages)
        self.timeout_s = timeout_s
        self.deadline = time.monotonic() + timeout_s

    def orientation(self) -> Quarter | None:
        """Degrees clockwise that would turn the page upright, or None where Tesseract does not know."""
        if not self.install.reads_orientation:
            return None
        image = self.gray.copy()
        image.thumbnail((2500, 2500))
        facts = self._run("osd", image, "--psm 0", 300.0)
        if facts is None or facts.get("orientation_conf", 0.0) < OSD_GATE:
            return None
        turn = int(facts.get("rotate", 0)) % 360
        return turn if turn in (0, 90, 180, 270) else None  # type: ignore[return-value]

    def attempt(self, quarter: Quarter, psm: int | None = None, *, local_threshold: bool = False) -> _Read:
        """The text of the page turned by `quarter` degrees, segmented by `psm` or as its shape suggests.

        With `local_threshold` ink is told from paper by Sauvola's method in place of one level for the page.
        """
        from PIL import Image

        turned = self.gray.transpose(_transposition(quarter)) if quarter else self.gray
        skew = estimate_skew(turned)
        if skew:
            turned = straighten(turned, skew)
        strip = turned.height > STRIP_SHAPE * turned.width
        height = estimate_text_height(turned)
        scale = 1.0
        if height is not None:
            wanted = (STRIP_TYPE_HEIGHT_PX if strip else TYPE_HEIGHT_PX) / height
            if wanted > 1 / UPSCALE_BELOW:
                scale = min(wanted, LARGEST_UPSCALE)
            elif wanted < 1 / DOWNSCALE_ABOVE:
                scale = max(wanted, 0.25)
        area = turned.width * turned.height
        scale = min(scale, (MAX_PREPARED_PIXELS / area) ** 0.5)
        size = (max(1, round(turned.width * scale)), max(1, round(turned.height * scale)))
        if size != turned.size:
            turned = turned.resize(size, Image.Resampling.LANCZOS if scale > 1 else Image.Resampling.BOX)
        if psm is None:
            psm = BLOCK if strip else AUTOMATIC
        read = _Read(Placement(self.gray.size, quarter, skew, scale), psm)
        config = f"--psm {psm}" + (" -c thresholding_method=2" if local_threshold else "")
        data = self._run("tsv", turned, config, 300.0)
        if data:
            read.words = _words_of(data)
        return read

    def _run(self, what: Literal["osd", "tsv"], image: Image, config: str, dpi: float) -> dict[str, Any] | None:
        """pytesseract's answer; None where Tesseract finds nothing to judge (OSD on too few characters)."""
        import pytesseract
        from pytesseract import pytesseract as driver

        remaining = self.deadline - time.monotonic()
        if remaining <= 0:
            raise self._too_slow()
        driver.tesseract_cmd = str(self.install.program)
        # Given to the engine's process only: other libraries of this process keep their threads.
        driver.environ = {**os.environ, "OMP_THREAD_LIMIT": "1"}
        if self.install.tessdata_dir is not None:
            config += f' --tessdata-dir "{self.install.tessdata_dir}"'
        config += f" --dpi {dpi:.0f}"
        # Handed over uncompressed: making a PNG takes longer than writing the file.
        image.format = "PPM"
        try:
            if what == "osd":
                found: dict[str, Any] = pytesseract.image_to_osd(
                    image, config=config, output_type=pytesseract.Output.DICT, timeout=remaining
                )
            else:
                found = pytesseract.image_to_data(
                    image, lang=self.languages, config=config, output_type=pytesseract.Output.DICT, timeout=remaining
                )
        except pytesseract.TesseractError as error:
            if what == "osd":
                return None
            raise UnreadableDocument(
                f"Tesseract gave up on the page with exit status {error.status}.", code="ocr_failed"
            ) from error
        except RuntimeError as error:
            raise self._too_slow() from error
        return found

    def _too_slow(self) -> UnreadableDocument:
        return UnreadableDocument(
            f"OCR of the page took longer than {self.timeout_s:g} s and was stopped. "
            "Raise DOCATLAS_OCR_PAGE_S, or upload the page at a lower resolution.",
            code="ocr_timeout",
        )


def _transposition(quarter: Quarter) -> Any:
    from PIL.Image import Transpose

    return {90: Transpose.ROTATE_270, 180: Transpose.ROTATE_180, 270: Transpose.ROTATE_90}[quarter]


def _words_of(data: dict[str, list[Any]]) -> list[tuple[tuple[int, int, int], str, Box, float, float]]:
    """The words of Tesseract's TSV that carry text."""
    words = []
    line_height = 0.0
    rows = zip(
        data["level"],
        data["block_num"],
        data["par_num"],
        data["line_num"],
        data["left"],
        data["top"],
        data["width"],
        data["height"],
        data["conf"],
        data["text"],
        strict=False,
    )
    for level, block, paragraph, line, left, top, width, height, confidence, text in rows:
        if level == 4:
            line_height = float(height)
        if level != 5 or confidence < 0:
            continue
        text = str(text).strip()
        if not text:
            continue
        box = (float(left), float(top), float(left + width), float(top + height))
        words.append(((block, paragraph, line), text, box, confidence / 100, line_height))
    return words


def read_page(
    install: TesseractInstall, image: Image, *, languages: Sequence[str], dpi: float, timeout_s: float
) -> OcrResult:
    """The text of `image` by the best of a few attempts; boxes in points of the image as it was given.

    Raises:
        UnreadableDocument: `ocr_timeout` after `timeout_s` seconds over all attempts, `ocr_failed`.
    """
    gray = strengthen(even_background(clear_border(to_gray(image))))
    reader = _PageReader(install, gray, languages, timeout_s)
    asked = sideways_ratio(gray) > SIDEWAYS
    opinion = reader.orientation() if asked else None
    # Only a quarter turn agrees with what was seen; that a page stands on its head is for the text to show.
    best = reader.attempt(opinion if opinion in (90, 270) else 0)
    if best.confidence < POOR:
        opinion = opinion if asked else reader.orientation()
        others: set[Quarter] = {0, opinion or 0} - {best.placement.quarter}
        for quarter in sorted(others):
            best = max(best, reader.attempt(quarter), key=lambda read: read.score)
    if best.confidence < DOUBTFUL:
        for psm, local in ((best.psm, True), (COLUMN if best.psm == BLOCK else SPARSE, False)):
            other = reader.attempt(best.placement.quarter, psm, local_threshold=local)
            handicap = SPARSE_HANDICAP if psm == SPARSE else 1.0
            if other.confidence > best.confidence * handicap and other.letters > ENOUGH_LETTERS * best.letters:
                best = other
    return _result(best, dpi)


def _result(read: _Read, dpi: float) -> OcrResult:
    """`read` with its words grouped as Tesseract grouped them, on the original page."""
    points = 72.0 / dpi
    to_points = points / read.placement.scale
    blocks: list[LooseBlock] = []
    last: tuple[int, int, int] | None = None
    for key, text, box, confidence, height in read.words:
        if last is None or key[:2] != last[:2]:
            blocks.append(LooseBlock(BlockKind.PARAGRAPH))
        if last is None or key != last:
            blocks[-1].lines.append(Line([], height * to_points))
        last = key
        placed = read.placement.box_in_original(box)
        scaled = (placed[0] * points, placed[1] * points, placed[2] * points, placed[3] * points)
        blocks[-1].lines[-1].words.append(LooseWord(text, scaled, round(confidence, 3)))
    for block in blocks:
        marked, numbered = list_marker(block.lines[0])
        if marked:
            block.kind, block.level, block.ordered = BlockKind.LIST_ITEM, 1, numbered
        block.upright = read.placement.quarter == 0
    text, words, parts = compose(blocks)
    return OcrResult(text, words, parts, round(read.confidence, 4), read.placement.quarter)
