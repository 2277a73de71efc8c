"""What is drawn on a PDF page beside text.

Pictures, ruled lines and shapes, with their boxes on the page as shown.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.content import Box
from services.formats.pdf.figures import Shape
from services.ocr.layout import union

if TYPE_CHECKING:
    import pypdfium2

    from services.formats.pdf.geometry import PageGeometry

MAX_DEPTH = 6
"""Form XObjects within each other that are looked into; real files have two or three."""

MAX_OBJECTS = 20_000
"""Objects looked at on one page. Maps have more, and neither pictures nor tables worth their time."""

MAX_REGIONS = 2000
"""Pictures of one page that are put together; some programs cut shadows into thousands."""

TOUCH_PT = 3.0
"""Pictures that are at most so far apart and as wide, or as high, as each other are strips of one."""

Matrix = tuple[float, float, float, float, float, float]
_IDENTITY: Matrix = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class PlacedImage:
    """An image object and where it is shown."""

    image: pypdfium2.PdfImage
    box: Box
    content_id: int = -1
    """The marked-content id by which the structure tree knows it; -1 for none."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A straight line of the page, level or upright, in points of the page as shown."""

    box: Box
    level: bool
    faint: bool = False
    """True for the side of an area that is filled and has no outline: it may be seen, or adjoin one of its colour."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """The objects of a page that are not text."""

    images: tuple[PlacedImage, ...]
    rules: tuple[Rule, ...]
    shapes: tuple[Shape, ...] = ()

    def image_share(self, width: float, height: float) -> float:
        """Share of the page, 0 to 1, that its largest picture covers.

        Strips of a scan count as one picture.
        """
        return max((page_share(box, width, height) for box in self.regions()), default=0.0)

    def regions(self) -> list[Box]:
        """The boxes of the pictures, with those that were cut into strips or tiles put together."""
        boxes: list[Box] = []
        for box in sorted((i.box for i in self.images[:MAX_REGIONS]), key=lambda b: (b[1], b[0])):
            boxes.append(box)
            while len(boxes) > 1 and _are_strips(boxes[-2], boxes[-1]):
                last = boxes.pop()
                boxes[-1] = union([boxes[-1], last])
        return boxes


def _are_strips(a: Box, b: Box) -> bool:
    same_columns = abs(a[0] - b[0]) < TOUCH_PT and abs(a[2] - b[2]) < TOUCH_PT
    same_rows = abs(a[1] - b[1]) < TOUCH_PT and abs(a[3] - b[3]) < TOUCH_PT
    return (same_columns and -TOUCH_PT < b[1] - a[3] < TOUCH_PT) or (same_rows and -TOUCH_PT < b[0] - a[2] < TOUCH_PT)


def page_share(box: Box, width: float, height: float) -> float:
    """Share of a page of `width` by `height` points, 0 to 1, under `box`."""
    shown = (min(box[2], width) - max(box[0], 0.0), min(box[3], height) - max(box[1], 0.0))
    return max(shown[0], 0.0) * max(shown[1], 0.0) / max(1.0, width * height)


def read_drawing(page: pypdfium2.PdfPage, geometry: PageGeometry) -> Drawing:
    """The images, straight lines and shapes of `page`, at most `MAX_OBJECTS` objects deep into its content."""
    from pypdfium2 import PdfImage, raw

    images: list[PlacedImage] = []
    rules: list[Rule] = []
    shapes: list[Shape] = []
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
                content = raw.FPDFPageObj_GetMarkedContentID(item)
                images.append(PlacedImage(PdfImage(item, page=page, pdf=page.pdf), box, content))
            elif kind == raw.FPDF_PAGEOBJ_PATH:
                found, shape = _path(item, _times(_matrix(item), outer), outer, geometry)
                rules.extend(found)
                if shape is not None:
                    shapes.append(shape)
            elif kind == raw.FPDF_PAGEOBJ_FORM and depth < MAX_DEPTH:
                inner = raw.FPDFFormObj_CountObjects(item)
                walk(item, inner, raw.FPDFFormObj_GetObject, _times(_matrix(item), outer), depth + 1)

    walk(page.raw, raw.FPDFPage_CountObjects(page.raw), raw.FPDFPage_GetObject, _IDENTITY, 0)
    return Drawing(tuple(images), tuple(rules), tuple(shapes))


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
EDGE_PT = 3.0
"""Distance from the page's edge up to which a line lies on it: backgrounds are drawn a little short or over it."""

MAX_SEGMENTS = 600
"""Of one path; a grid drawn in one go has a few hundred, an outline thousands."""


Point = tuple[float, float]


def _path(path: object, matrix: Matrix, outer: Matrix, geometry: PageGeometry) -> tuple[list[Rule], Shape | None]:
    """(the level and upright strokes of a path, the edges of rectangles among them; its shape, where it is painted)."""
    from pypdfium2 import raw

    count = raw.FPDFPath_CountSegments(path)
    if count < 2:
        return [], None
    fill, stroke = ctypes.c_int(), ctypes.c_int()
    raw.FPDFPath_GetDrawMode(path, ctypes.byref(fill), ctypes.byref(stroke))
    if count > MAX_SEGMENTS:
        box = _bounds(path, outer, geometry)
        return [], None if box is None or not (fill.value or stroke.value) else Shape(box, count, bool(fill.value))
    x, y = ctypes.c_float(), ctypes.c_float()
    points: list[tuple[int, bool, float, float]] = []
    for index in range(count):
        segment = raw.FPDFPath_GetPathSegment(path, index)
        if not segment or not raw.FPDFPathSegment_GetPoint(segment, ctypes.byref(x), ctypes.byref(y)):
            return [], None
        shown = geometry.point(*_apply(matrix, x.value, y.value))
        points.append((raw.FPDFPathSegment_GetType(segment), bool(raw.FPDFPathSegment_GetClose(segment)), *shown))
    strokes = _strokes(points, raw.FPDF_SEGMENT_MOVETO, raw.FPDF_SEGMENT_LINETO)
    shape = None
    if fill.value or stroke.value:
        curved = sum(kind == raw.FPDF_SEGMENT_BEZIERTO for kind, *_ in points) // 3
        slanted = sum(abs(a[0] - b[0]) > THIN_PT and abs(a[1] - b[1]) > THIN_PT for a, b in strokes)
        xs, ys = [p[2] for p in points], [p[3] for p in points]
        shape = Shape((min(xs), min(ys), max(xs), max(ys)), curved + slanted, bool(fill.value))
    rules = _rules(strokes, faint=not stroke.value)
    return [rule for rule in rules if not (rule.faint and _is_page_side(rule, geometry))], shape


def _is_page_side(rule: Rule, geometry: PageGeometry) -> bool:
    """True for a side of the colour that the whole page is filled with: as a frame it would make the page a table."""
    start, end, place = (0, 2, 1) if rule.level else (1, 3, 0)
    along, across = geometry.width, geometry.height
    if not rule.level:
        along, across = across, along
    spans = rule.box[start] <= EDGE_PT and rule.box[end] >= along - EDGE_PT
    return spans and not EDGE_PT < rule.box[place] < across - EDGE_PT


def _bounds(path: object, outer: Matrix, geometry: PageGeometry) -> Box | None:
    from pypdfium2 import raw

    left, bottom, right, top = (ctypes.c_float() for _ in range(4))
    references = [ctypes.byref(value) for value in (left, bottom, right, top)]
    if not raw.FPDFPageObj_GetBounds(path, *references):
        return None
    corners = [_apply(outer, x, y) for x in (left.value, right.value) for y in (bottom.value, top.value)]
    xs, ys = [c[0] for c in corners], [c[1] for c in corners]
    return geometry.box(min(xs), min(ys), max(xs), max(ys))


def _strokes(points: Sequence[tuple[int, bool, float, float]], move: int, line: int) -> list[tuple[Point, Point]]:
    """The straight sides of a path, those that close it among them."""
    start = last = (points[0][2], points[0][3])
    strokes: list[tuple[Point, Point]] = []
    for kind, closes, px, py in points:
        here = (px, py)
        if kind == move:
            start = here
        elif kind == line:
            strokes.append((last, here))
        if closes and here != start:
            strokes.append((here, start))
        last = here
    return strokes


def _rules(strokes: Sequence[tuple[Point, Point]], *, faint: bool) -> list[Rule]:
    """The level and the upright ones of `strokes`; a thin rectangle is one rule."""
    boxes = [(min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1])) for a, b in strokes]
    if len(boxes) >= 4:
        around = union(boxes)
        if min(around[2] - around[0], around[3] - around[1]) <= THIN_PT:
            boxes = [around]
            faint = False
    rules = []
    for box in boxes:
        wide, high = box[2] - box[0], box[3] - box[1]
        if wide >= MIN_RULE_PT and high <= THIN_PT:
            middle = (box[1] + box[3]) / 2
            rules.append(Rule((box[0], middle, box[2], middle), True, faint))
        elif high >= MIN_RULE_PT and wide <= THIN_PT:
            middle = (box[0] + box[2]) / 2
            rules.append(Rule((middle, box[1], middle, box[3]), False, faint))
    return rules
