"""What is drawn on a PDF page beside text: pictures and ruled lines, with their boxes on the page as shown."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from services.content import Box, Issue, Limits, Picture
from services.formats.picture_files import write_picture

if TYPE_CHECKING:
    import pypdfium2

    from services.formats.pdf_text import PageGeometry

MAX_DEPTH = 6
"""Form XObjects within each other that are looked into; real files have two or three."""

MAX_OBJECTS = 20_000
"""Objects looked at on one page. Maps have more, and neither pictures nor tables worth their time."""

MIN_SIDE_PX = 32
MIN_PAGE_SHARE = 0.01
"""Smaller pictures are bullets, rules and logos of a line's height."""

PAGE_SCAN_SHARE = 0.85
"""Share of the page from which a picture on a page without text of its own is the page, not a picture on it."""

MAX_PICTURES = 1000
"""Pictures kept of one document."""

Matrix = tuple[float, float, float, float, float, float]
_IDENTITY: Matrix = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class PlacedImage:
    """An image object and where it is shown."""

    image: pypdfium2.PdfImage
    box: Box


@dataclass(frozen=True, slots=True)
class Rule:
    """A straight line of the page, level or upright, in points of the page as shown."""

    box: Box
    level: bool


@dataclass(frozen=True, slots=True)
class Drawing:
    """The objects of a page that are not text."""

    images: tuple[PlacedImage, ...]
    rules: tuple[Rule, ...]

    def image_share(self, width: float, height: float) -> float:
        """Share of the page, 0 to 1, that its largest picture covers."""
        return max((_area(i.box, width, height) for i in self.images), default=0.0)


def _area(box: Box, width: float, height: float) -> float:
    shown = (min(box[2], width) - max(box[0], 0.0), min(box[3], height) - max(box[1], 0.0))
    return max(shown[0], 0.0) * max(shown[1], 0.0) / max(1.0, width * height)


def read_drawing(page: pypdfium2.PdfPage, geometry: PageGeometry) -> Drawing:
    """The images and the straight lines of `page`, at most `MAX_OBJECTS` objects deep into its content."""
    from pypdfium2 import PdfImage, raw

    images: list[PlacedImage] = []
    rules: list[Rule] = []
    seen = 0

    def walk(holder: object, count: int, get: Callable[[object, int], object], outer: Matrix, depth: int) -> None:
        nonlocal seen
        for index in range(count):
            seen += 1
            if seen > MAX_OBJECTS:
                return
            item = get(holder, index)
            kind = raw.FPDFPageObj_GetType(item)
            if kind == raw.FPDF_PAGEOBJ_IMAGE:
                placed = _times(_matrix(item), outer)
                corners = [_apply(placed, x, y) for x, y in ((0, 0), (1, 0), (0, 1), (1, 1))]
                xs, ys = [c[0] for c in corners], [c[1] for c in corners]
                box = geometry.box(min(xs), min(ys), max(xs), max(ys))
                images.append(PlacedImage(PdfImage(item, page=page, pdf=page.pdf), box))
            elif kind == raw.FPDF_PAGEOBJ_PATH:
                rules.extend(_rules_of(item, _times(_matrix(item), outer), geometry))
            elif kind == raw.FPDF_PAGEOBJ_FORM and depth < MAX_DEPTH:
                inner = raw.FPDFFormObj_CountObjects(item)
                walk(item, inner, raw.FPDFFormObj_GetObject, _times(_matrix(item), outer), depth + 1)

    walk(page.raw, raw.FPDFPage_CountObjects(page.raw), raw.FPDFPage_GetObject, _IDENTITY, 0)
    return Drawing(tuple(images), tuple(rules))


def _matrix(item: object) -> Matrix:
    from pypdfium2 import raw

    m = raw.FS_MATRIX()
    if not raw.FPDFPageObj_GetMatrix(item, m):
        return _IDENTITY
    return (m.a, m.b, m.c, m.d, m.e, m.f)


def _times(first: Matrix, then: Matrix) -> Matrix:
    """The matrix that applies `first` and then `then`. Source: ISO 32000-1, 8.3.4."""
    a, b, c, d, e, f = first
    g, h, i, j, k, m = then
    return (a * g + b * i, a * h + b * j, c * g + d * i, c * h + d * j, e * g + f * i + k, e * h + f * j + m)


def _apply(matrix: Matrix, x: float, y: float) -> tuple[float, float]:
    a, b, c, d, e, f = matrix
    return a * x + c * y + e, b * x + d * y + f


THIN_PT = 2.5
"""A filled rectangle at most this thick is a line. Source: pdfplumber draws the boundary at about the same."""

MIN_RULE_PT = 6.0
MAX_SEGMENTS = 600
"""Of one path; a grid drawn in one go has a few hundred, an outline thousands."""


def _rules_of(path: object, matrix: Matrix, geometry: PageGeometry) -> Iterator[Rule]:
    """The level and upright strokes of a path, the edges of rectangles among them; curves have none."""
    from pypdfium2 import raw

    count = raw.FPDFPath_CountSegments(path)
    if not 2 <= count <= MAX_SEGMENTS:
        return
    x, y = ctypes.c_float(), ctypes.c_float()
    points: list[tuple[int, bool, float, float]] = []
    for index in range(count):
        segment = raw.FPDFPath_GetPathSegment(path, index)
        if not segment or not raw.FPDFPathSegment_GetPoint(segment, ctypes.byref(x), ctypes.byref(y)):
            return
        shown = geometry.point(*_apply(matrix, x.value, y.value))
        points.append((raw.FPDFPathSegment_GetType(segment), bool(raw.FPDFPathSegment_GetClose(segment)), *shown))
    start = last = (points[0][2], points[0][3])
    strokes: list[tuple[tuple[float, float], tuple[float, float]]] = []
    for kind, closes, px, py in points:
        here = (px, py)
        if kind == raw.FPDF_SEGMENT_MOVETO:
            start = here
        elif kind == raw.FPDF_SEGMENT_LINETO:
            strokes.append((last, here))
        if closes and here != start:
            strokes.append((here, start))
        last = here
    boxes = [(min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1])) for a, b in strokes]
    if len(boxes) >= 4:
        around = (
            min(b[0] for b in boxes),
            min(b[1] for b in boxes),
            max(b[2] for b in boxes),
            max(b[3] for b in boxes),
        )
        if min(around[2] - around[0], around[3] - around[1]) <= THIN_PT:
            boxes = [around]
    for box in boxes:
        wide, high = box[2] - box[0], box[3] - box[1]
        if wide >= MIN_RULE_PT and high <= THIN_PT:
            middle = (box[1] + box[3]) / 2
            yield Rule((box[0], middle, box[2], middle), True)
        elif high >= MIN_RULE_PT and wide <= THIN_PT:
            middle = (box[0] + box[2]) / 2
            yield Rule((middle, box[1], middle, box[3]), False)


class PictureCollector:
    """Cuts out a document's pictures, each once; holds one bitmap at a time and their digests."""

    def __init__(self, folder: Path, limits: Limits, known: frozenset[str] = frozenset()) -> None:
        """`known` are the SHA-256 of pictures that an interrupted run has stored: they are not yielded again."""
        self.folder = folder
        self.limits = limits
        self._seen: set[str] = set(known)
        self._full = False

    def collect(
        self, drawing: Drawing, geometry: PageGeometry, number: int, *, page_is_scan: bool
    ) -> Iterator[Picture | Issue]:
        """The pictures of page `number` that are worth keeping.

        Left out: decoration below the minimum size, repetitions, and the scan of a page that is nothing but a scan.
        """
        import pypdfium2

        for placed in drawing.images:
            share = _area(placed.box, geometry.width, geometry.height)
            if share < MIN_PAGE_SHARE or (page_is_scan and share >= PAGE_SCAN_SHARE):
                continue
            try:
                width, height = placed.image.get_px_size()
            except pypdfium2.PdfiumError:
                continue
            if min(width, height) < MIN_SIDE_PX:
                continue
            if width * height > self.limits.max_pixels:
                yield Issue(
                    "picture_too_large",
                    f"A picture of {width:,} by {height:,} pixels was left out; "
                    f"pictures of up to {self.limits.max_pixels:,} pixels are kept.",
                    number,
                )
                continue
            if len(self._seen) >= MAX_PICTURES:
                if not self._full:
                    self._full = True
                    yield Issue("too_many_pictures", f"Only the first {MAX_PICTURES:,} pictures were kept.", number)
                return
            try:
                picture = self._cut(placed, number, geometry.rotation)
            except (pypdfium2.PdfiumError, OSError, ValueError, MemoryError):
                yield Issue(
                    "picture_unreadable", "A picture of the page could not be decoded and was left out.", number
                )
                continue
            if picture.sha256 in self._seen:
                continue
            self._seen.add(picture.sha256)
            yield picture

    def _cut(self, placed: PlacedImage, number: int, rotation: int) -> Picture:
        # Rendered, so that masks, colour spaces and the turn that the page gives it are applied.
        image = placed.image.get_bitmap(render=True, scale_to_original=True).to_pil()
        if rotation:
            image = image.rotate(-rotation, expand=True)
        return write_picture(image, self.folder, page=number, box=placed.box)
