"""Makes a picture of a page fit to be read.

Gray, upright, straight, evenly lit, and as large as the engine likes it.

Every measure works on a gray page, `uint8[height, width]`, 0 black and 255 white. Angles are degrees; positive turns
the content clockwise as it is seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Gray = NDArray[np.uint8]

Quarter = Literal[0, 90, 180, 270]
"""Degrees clockwise."""

MAX_SKEW_DEG = 8.0
"""Scans are rarely fed more crookedly; beyond it, lines of text are mistaken for each other."""

MIN_SKEW_DEG = 0.25
"""Below this the engine copes by itself and turning only blurs. Source: measured, word F1 does not change at 0.2."""

MEASURE_SIDE = 1000
"""Longer side in pixels of the copy on which skew and lines are measured: a line of 10 points is then about 9 px."""

EVEN_RANGE = 30
"""Levels of gray between the darkest and the brightest paper of a page that needs no evening out.

Source: measured, evening out an even page costs .002 of word F1 (30 receipts, 17 forms) and 40 ms a megapixel."""

BORDER_LEVEL = 80
MIN_BORDER, MAX_BORDER = 0.002, 0.4
"""Levels of gray that are a scanner's dark, and the share of the page that it may take to be a border."""

FAINT_LEVEL = 60
"""Level of gray of the darker quarter of the ink above which print is faint.

Source: measured on 60 receipts, word F1 .817 with and .813 without stretching."""

STRIP_SHAPE = 1.55
"""Height by width from which a page is a strip of single lines (receipts, till rolls): A4 is 1.41, Legal paper 1.65."""

STRIPS = 24
"""Columns in which the heights of the lines are measured; narrow enough for five degrees of skew not to join lines."""


def to_gray(image: Image.Image) -> Image.Image:
    """`image` as mode L.

    Transparency becomes white paper, 16-bit and float samples are stretched to their range.
    """
    if image.mode == "L":
        return image
    if image.mode in ("I", "F", "I;16", "I;16B", "I;16L"):
        samples = np.asarray(image, dtype=np.float32)
        low, high = float(samples.min()), float(samples.max())
        scaled = (samples - low) * (255.0 / (high - low)) if high > low else np.full(samples.shape, 255.0)
        return Image.fromarray(scaled.astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        paper = Image.new("L", rgba.size, 255)
        paper.paste(rgba.convert("L"), mask=rgba.getchannel("A"))
        return paper
    return image.convert("L")


def even_background(gray: Image.Image) -> Image.Image:
    """`gray` with shadows and tinted paper divided out.

    White on black becomes black on white.

    The paper is estimated as the brightest sample of each neighbourhood of about a fortieth of the page. A page that
    has only black and white is returned as it is.
    """
    histogram = np.array(gray.histogram(), dtype=np.int64)
    total = int(histogram.sum())
    if histogram[:8].sum() + histogram[248:].sum() > 0.97 * total:
        return gray if histogram[:8].sum() <= 0.6 * total else gray.point([255 - v for v in range(256)])
    if int(np.searchsorted(np.cumsum(histogram), total // 2)) < 96:
        gray = gray.point([255 - v for v in range(256)])
    width, height = gray.size
    side = 240
    scale = min(1.0, side / max(width, height))
    small = gray.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BOX)
    paper = small.filter(ImageFilter.MaxFilter(7)).filter(ImageFilter.GaussianBlur(5)).resize(gray.size)
    low, high = np.percentile(np.asarray(small.filter(ImageFilter.MaxFilter(7))), (2, 98))
    if high - low < EVEN_RANGE and low > 200:
        return gray
    samples, shade = np.asarray(gray), np.asarray(paper)
    flat = np.empty_like(samples)
    for top in range(0, height, 256):
        rows = slice(top, top + 256)
        # A dark picture is no shadow: brightening it more than threefold would only raise its noise.
        divisor = np.maximum(shade[rows], 85).astype(np.float32)
        np.minimum(samples[rows] * (np.float32(255) / divisor), 255, out=flat[rows], casting="unsafe")
    return Image.fromarray(flat)


def clear_border(gray: Image.Image) -> Image.Image:
    """`gray` with the dark around the paper, as a scanner's lid leaves it, painted white; else as it is.

    Such a border takes the engine's threshold for black and white away from faint print.
    """
    scale = min(1.0, 240 / max(gray.size))
    size = (max(1, round(gray.width * scale)), max(1, round(gray.height * scale)))
    # 0 is dark, 128 is paper; the flood marks with 255 what hangs together with the edge.
    dark = gray.resize(size, Image.Resampling.BOX).point([0 if v < BORDER_LEVEL else 128 for v in range(256)])
    width, height = size
    edge = [(x, y) for x in range(width) for y in (0, height - 1)]
    edge += [(x, y) for y in range(height) for x in (0, width - 1)]
    for spot in edge:
        if dark.getpixel(spot) == 0:
            ImageDraw.floodfill(dark, spot, 255)
    share = dark.histogram()[255] / (width * height)
    if not MIN_BORDER <= share <= MAX_BORDER:
        return gray
    mask = dark.point([255 if v == 255 else 0 for v in range(256)]).filter(ImageFilter.MaxFilter(3))
    cleared = gray.copy()
    cleared.paste(255, mask=mask.resize(gray.size, Image.Resampling.NEAREST))
    return cleared


def strengthen(gray: Image.Image) -> Image.Image:
    """`gray` with faint print made black: its ink and its paper are stretched apart.

    Print that is not faint is left as it is.
    """
    scale = min(1.0, MEASURE_SIDE / max(gray.size))
    small = gray
    if scale < 1.0:
        small = gray.resize((max(1, round(gray.width * scale)), max(1, round(gray.height * scale))))
    samples = np.asarray(small, dtype=np.int16)
    around = np.asarray(small.filter(ImageFilter.BoxBlur(15)), dtype=np.int16)
    ink = samples[np.less(samples, around - 24)]
    if len(ink) < 50:
        return gray
    level, paper = float(np.percentile(ink, 25)), float(np.percentile(samples, 75))
    if level < FAINT_LEVEL or paper - level < 20:
        return gray
    return gray.point([round(min(255.0, max(0.0, (v - level) * 255 / (paper - level)))) for v in range(256)])


def _ink(gray: Image.Image, longest: int) -> NDArray[np.bool_]:
    """True where a copy of `gray` with its longer side at most `longest` is clearly darker than around it."""
    scale = min(1.0, longest / max(gray.size))
    if scale < 1.0:
        size = (max(1, round(gray.width * scale)), max(1, round(gray.height * scale)))
        gray = gray.resize(size, Image.Resampling.BOX)
    around = np.asarray(gray.filter(ImageFilter.BoxBlur(12)), dtype=np.int16)
    return np.less(np.asarray(gray, dtype=np.int16), around - 20)


def count_ink(gray: Image.Image) -> int:
    """Pixels of a small copy of `gray` that are clearly darker than around them."""
    return int(_ink(gray, MEASURE_SIDE).sum())


def _sharpness(rows: NDArray[np.float64], count: int) -> float:
    """How sharply the lines stand out in a projection: the squared steps between neighbours, for each ink pixel."""
    steps = np.diff(rows)
    return float((steps * steps).sum()) / max(1, count)


def estimate_skew(gray: Image.Image) -> float:
    """Degrees by which the content leans clockwise, within `MAX_SKEW_DEG`.

    0.0 where no lines are found.

    Source: Postl's projection profile method (US patent 4,723,297, expired), on sheared ink pixels, coarse then fine.
    """
    ink = _ink(gray, MEASURE_SIDE)
    ys, xs = np.nonzero(ink)
    if len(ys) < 200:
        return 0.0
    if len(ys) > 60_000:
        # Whole columns are kept, so that lines stay lines.
        keep = np.random.default_rng(7).random(ink.shape[1]) < 60_000 / len(ys)
        chosen = np.take(keep, xs)
        ys, xs = ys[chosen], xs[chosen]
        if len(ys) < 200:
            return 0.0
    centred = xs - ink.shape[1] / 2
    margin = int(ink.shape[1] * math.tan(math.radians(MAX_SKEW_DEG))) + 2
    length = ink.shape[0] + 2 * margin

    def score(angle: float) -> float:
        at = (ys - centred * math.tan(math.radians(angle)) + margin).astype(np.int32)
        return _sharpness(np.bincount(at, minlength=length).astype(np.float64), len(ys))

    coarse = {a: score(a) for a in np.arange(-MAX_SKEW_DEG, MAX_SKEW_DEG + 0.01, 0.5)}
    best = max(coarse, key=coarse.__getitem__)
    fine = {a: score(a) for a in np.arange(best - 0.5, best + 0.51, 0.1)}
    best = max(fine, key=fine.__getitem__)
    # Noise has a best angle too; lines of text are far sharper than the median angle.
    if fine[best] < 1.15 * float(np.median(list(coarse.values()))):
        return 0.0
    return round(float(best), 2) if abs(best) >= MIN_SKEW_DEG else 0.0


def sideways_ratio(gray: Image.Image) -> float:
    """How much sharper columns stand out than rows: well above 1 for a page turned by 90 degrees; 0.0 without ink."""
    ink = _ink(gray, MEASURE_SIDE)
    count = int(ink.sum())
    if count < 200:
        return 0.0
    # In strips, for the lines of a skewed page only stand out where they are short.
    return _strip_sharpness(ink.T, count) / max(1e-9, _strip_sharpness(ink, count))


def is_strip(gray: Image.Image) -> bool:
    """True for an upright page that is as long as receipts and till rolls are."""
    return gray.height > STRIP_SHAPE * gray.width


def straighten(gray: Image.Image, skew: float) -> Image.Image:
    """`gray` turned by `skew` degrees counterclockwise around its centre, the corners filled with white."""
    return gray.rotate(skew, resample=Image.Resampling.BICUBIC, fillcolor=255)


def _strip_sharpness(ink: NDArray[np.bool_], count: int) -> float:
    strips = np.array_split(ink, 8, axis=1)
    return sum(_sharpness(s.sum(axis=1).astype(np.float64), count) for s in strips if s.shape[1])


def estimate_text_height(gray: Image.Image) -> float | None:
    """Pixels from the top to the bottom of a typical line's ink (about a capital's height), or None without lines."""
    around = np.asarray(gray.filter(ImageFilter.BoxBlur(15)), dtype=np.int16)
    ink = np.asarray(gray, dtype=np.int16) < around - 24
    heights: list[NDArray[np.int64]] = []
    for strip in np.array_split(ink, STRIPS, axis=1):
        if strip.shape[1] < 4:
            continue
        # Two dark pixels in a row are ink; one alone is dirt.
        filled = (strip.sum(axis=1) >= 2).astype(np.int8)
        edges = np.flatnonzero(np.diff(np.concatenate(([0], filled, [0]))))
        heights.append(edges[1::2] - edges[::2])
    runs = np.concatenate(heights) if heights else np.zeros(0, dtype=np.int64)
    runs = runs[(runs >= 4) & (runs <= max(8, gray.height // 8))]
    if len(runs) < 8:
        return None
    return float(np.median(runs))


@dataclass(frozen=True, slots=True)
class Placement:
    """How a prepared page lies on the original: turned by quarters, then straightened, then scaled.

    `size` is that of the original in pixels.
    """

    size: tuple[int, int]
    quarter: Quarter = 0
    """Degrees clockwise by which the original was turned."""
    skew: float = 0.0
    """Degrees by which the content leaned clockwise; it was turned back by as much around the centre."""
    scale: float = 1.0

    def box_in_original(self, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        """The upright box around `box` (pixels of the prepared page) on the original, in its pixels, clipped to it."""
        x0, y0, x1, y1 = (v / self.scale for v in box)
        width, height = self.size if self.quarter in (0, 180) else self.size[::-1]
        if self.skew:
            # The turn of the box's centre line is undone; its thickness stays, or boxes would swell by the skew.
            angle = math.radians(self.skew)
            cos, sin = math.cos(angle), math.sin(angle)
            cx, cy, middle = width / 2, height / 2, (y0 + y1) / 2
            ends = [
                (cx + (x - cx) * cos - (middle - cy) * sin, cy + (x - cx) * sin + (middle - cy) * cos) for x in (x0, x1)
            ]
            half = (y1 - y0) / 2
            x0, x1 = ends[0][0], ends[1][0]
            y0, y1 = min(e[1] for e in ends) - half, max(e[1] for e in ends) + half
        if self.quarter == 90:
            x0, y0, x1, y1 = y0, width - x1, y1, width - x0
        elif self.quarter == 180:
            x0, y0, x1, y1 = width - x1, height - y1, width - x0, height - y0
        elif self.quarter == 270:
            x0, y0, x1, y1 = height - y1, x0, height - y0, x1
        w, h = self.size
        return (min(max(x0, 0.0), w), min(max(y0, 0.0), h), min(max(x1, 0.0), w), min(max(y1, 0.0), h))
