"""One page through Tesseract: which way up, how large, by which page segmentation.

The best attempt is kept.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from services.content import BlockKind
from services.ocr.base import OcrResult, too_slow
from services.ocr.layout import Line, LooseBlock, LooseWord, compose, list_marker
from services.ocr.preparation import (
    Placement,
    Quarter,
    clear_border,
    count_ink,
    estimate_skew,
    estimate_text_height,
    even_background,
    is_strip,
    sideways_ratio,
    straighten,
    strengthen,
    to_gray,
)
from services.ocr.tesseract.drivers import (
    AUTOMATIC,
    BLOCK,
    COLUMN,
    SPARSE,
    Orientation,
    RunTooLong,
    TesseractDriver,
    TesseractWord,
)

if TYPE_CHECKING:
    from PIL.Image import Image

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

SAMPLES = 2
"""Bands of a page, the fullest of which is read to find out its language. Source: measured, on a fifth of a page the
confidence of two languages differs by chance as much as by language."""

OSD_SIDE = 2500
"""Longer side in pixels of the copy that `osd` judges."""


@dataclass(slots=True)
class Reading:
    """What one run of the engine gave, in pixels of the prepared page."""

    placement: Placement
    psm: int
    languages: tuple[str, ...]
    words: list[TesseractWord] = field(default_factory=list)

    @property
    def letters(self) -> int:
        return sum(len(w.text) for w in self.words)

    @property
    def confidence(self) -> float:
        """0 to 1: mean of the words', each weighed by its letters."""
        return sum(len(w.text) * w.confidence for w in self.words) / max(1, self.letters)

    @property
    def score(self) -> float:
        """Letters read, each for as much as it is trusted beyond guessing: what one attempt has above another."""
        return sum(len(w.text) * (w.confidence - 0.4) for w in self.words if any(c.isalnum() for c in w.text))


class TesseractPage:
    """Attempts on one page under one deadline.

    Turned and scaled copies live only while they are read.

    Everything raises UnreadableDocument: `ocr_timeout` once the page took `timeout_s` seconds, `ocr_failed`.
    """

    def __init__(
        self,
        driver: TesseractDriver,
        image: Image,
        languages: Sequence[str],
        timeout_s: float,
        *,
        reads_orientation: bool,
    ) -> None:
        self.gray = strengthen(even_background(clear_border(to_gray(image))))
        self.languages = tuple(languages)
        self._driver = driver
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._reads_orientation = reads_orientation

    def orientation(self) -> Orientation | None:
        """What Tesseract thinks of the page's way up and its script, or None where it does not know."""
        if not self._reads_orientation:
            return None
        image = self.gray.copy()
        image.thumbnail((OSD_SIDE, OSD_SIDE))
        try:
            return self._driver.orientation(image, self._remaining())
        except RunTooLong as error:
            raise too_slow(self._timeout_s) from error

    def sample(self, turn: Quarter) -> TesseractPage:
        """The half of the page with the most ink, once it is turned by `turn` degrees clockwise, as a page."""
        turned = self.gray.transpose(transposition(turn)) if turn else self.gray
        height = max(1, turned.height // SAMPLES)
        bands = [
            turned.crop((0, top, turned.width, top + height)) for top in range(0, turned.height - height + 1, height)
        ]
        part = copy(self)
        part.gray = max(bands, key=count_ink)
        return part

    def read_in(self, language: str) -> float:
        """Tesseract's mean confidence with the data of `language` alone."""
        part = copy(self)
        part.languages = (language,)
        return part.attempt(0).confidence

    def first_reading(self) -> Reading:
        """The page read the way up in which it reads best."""
        asked = sideways_ratio(self.gray) > SIDEWAYS
        opinion = self._opinion() if asked else None
        # Only a quarter turn agrees with what was seen; that a page stands on its head is for the text to show.
        best = self.attempt(opinion if opinion in (90, 270) else 0)
        if best.confidence < POOR:
            opinion = opinion if asked else self._opinion()
            others: set[Quarter] = {0, opinion or 0} - {best.placement.quarter}
            for quarter in sorted(others):
                best = max(best, self.attempt(quarter), key=lambda read: read.score)
        return best

    def improved(self, best: Reading) -> Reading:
        """`best`, or what another segmentation makes of the page, where that is surer."""
        if best.confidence >= DOUBTFUL:
            return best
        for psm, local in ((best.psm, True), (COLUMN if best.psm == BLOCK else SPARSE, False)):
            other = self.attempt(best.placement.quarter, psm, local_threshold=local)
            handicap = SPARSE_HANDICAP if psm == SPARSE else 1.0
            if other.confidence > best.confidence * handicap and other.letters > ENOUGH_LETTERS * best.letters:
                best = other
        return best

    def attempt(self, quarter: Quarter, psm: int | None = None, *, local_threshold: bool = False) -> Reading:
        """The text of the page turned by `quarter` degrees, segmented by `psm` or as its shape suggests.

        With `local_threshold` ink is told from paper by Sauvola's method in place of one level for the page.
        """
        from PIL import Image

        turned = self.gray.transpose(transposition(quarter)) if quarter else self.gray
        skew = estimate_skew(turned)
        if skew:
            turned = straighten(turned, skew)
        strip = is_strip(turned)
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
        placement = Placement(self.gray.size, quarter, skew, scale)
        try:
            words = self._driver.words(
                turned, self.languages, psm=psm, local_threshold=local_threshold, timeout_s=self._remaining()
            )
        except RunTooLong as error:
            raise too_slow(self._timeout_s) from error
        return Reading(placement, psm, self.languages, words)

    def _opinion(self) -> Quarter | None:
        """Degrees clockwise that would turn the page upright, where Tesseract is sure enough."""
        found = self.orientation()
        return None if found is None or found.confidence < OSD_GATE else found.turn

    def _remaining(self) -> float:
        """Seconds that are left, more than none."""
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise too_slow(self._timeout_s)
        return remaining


def transposition(quarter: Quarter) -> Any:
    """Pillow's word for turning a picture by `quarter` degrees clockwise, which are not 0."""
    from PIL.Image import Transpose

    return {90: Transpose.ROTATE_270, 180: Transpose.ROTATE_180, 270: Transpose.ROTATE_90}[quarter]


def result_of(read: Reading, dpi: float) -> OcrResult:
    """`read` with its words grouped as Tesseract grouped them.

    Boxes in points of the page as it was given.
    """
    points = 72.0 / dpi
    to_points = points / read.placement.scale
    blocks: list[LooseBlock] = []
    last: tuple[int, int, int] | None = None
    for word in read.words:
        if last is None or word.line[:2] != last[:2]:
            blocks.append(LooseBlock(BlockKind.PARAGRAPH))
        if last is None or word.line != last:
            blocks[-1].lines.append(Line([], word.line_height * to_points))
        last = word.line
        x0, y0, x1, y1 = read.placement.box_in_original(word.box)
        placed = (x0 * points, y0 * points, x1 * points, y1 * points)
        blocks[-1].lines[-1].words.append(LooseWord(word.text, placed, round(word.confidence, 3)))
    for block in blocks:
        marked, numbered = list_marker(block.lines[0])
        if marked:
            block.kind, block.level, block.ordered = BlockKind.LIST_ITEM, 1, numbered
        block.upright = read.placement.quarter == 0
    text, words, parts = compose(blocks)
    return OcrResult(
        text, words, parts, round(read.confidence, 4), read.placement.quarter, "tesseract", tuple(read.languages)
    )
