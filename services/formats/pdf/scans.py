"""Renders the parts of a PDF page that need OCR.

Also puts their words where they belong on the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from services.content import Block, BlockKind, Box, Page, TextSource
from services.formats.pdf.drawing import Drawing, page_share
from services.ocr.base import OcrResult

if TYPE_CHECKING:
    import pypdfium2
    from PIL.Image import Image

    from services.formats.pdf.geometry import PageGeometry

OCR_DPI = 300.0
"""Resolution at which pages are rendered for OCR. Source: Tesseract's documentation, "works best at 300 dpi"."""

MAX_RENDER_PIXELS = 20_000_000
"""Of one page for OCR: A3 at 300 dpi is 17 million. Larger pages are rendered more coarsely, to bound memory."""

MIN_REGION_SHARE = 0.05
"""Share of the page from which a picture on a digital page may be a scan of text; a line of type has a hundredth."""

MAX_REGIONS = 4
"""Pictures of one digital page that are read, the largest first."""

MAX_NATIVE_SHARE = 0.08
"""Share of a picture under the page's own text from which the text has been laid over it already."""

MIN_REGION_CONFIDENCE, MIN_REGION_WORDS = 0.6, 3
"""What OCR must find in a picture to be believed: photographs make it see letters too."""

MIN_PAPER, MAX_INK, MIN_CONTRAST = 0.55, 0.35, 60
"""Share of pixels near the commonest grey, share far from it, and their distance in grey levels, by which a picture is
print on a ground and no photograph.

Source: measured on 48 pictures of the PDFs of the development corpus: scans and printed charts have .65 of paper and
more, photographs and shaded drawings .54 and less."""

_THUMBNAIL_PX = 700


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a page as a picture for OCR; `box` in points of the page."""

    box: Box
    image: Image
    dpi: float


def render_gray(
    page: pypdfium2.PdfPage, geometry: PageGeometry, max_pixels: int, box: Box | None = None
) -> tuple[Image, float]:
    """(the page as shown, or its part in `box`, in mode L; its dots per inch): 300, or as `max_pixels` allow."""
    wide, high = geometry.width, geometry.height
    x0, y0, x1, y1 = box or (0.0, 0.0, wide, high)
    area = max(1.0, (x1 - x0) * (y1 - y0))
    dpi = min(OCR_DPI, 72.0 * (max_pixels / area) ** 0.5 * 0.999)
    crop = (x0, high - y1, wide - x1, y0) if box is not None else (0.0, 0.0, 0.0, 0.0)
    bitmap = page.render(scale=dpi / 72.0, grayscale=True, crop=crop)
    try:
        return bitmap.to_pil().copy(), dpi
    finally:
        bitmap.close()


def is_blank(page: pypdfium2.PdfPage) -> bool:
    """True when nothing can be seen on the page."""
    scale = min(1.0, 600 / max(1.0, *page.get_size()))
    bitmap = page.render(scale=scale, grayscale=True)
    try:
        low, high = bitmap.to_pil().getextrema()
        return bool(high - low < 12)
    finally:
        bitmap.close()


def cover(image: Image, page: Page, dpi: float, corner: tuple[float, float] = (0.0, 0.0)) -> None:
    """Paints the words of the text layer over, so that OCR does not read them a second time."""
    from PIL import ImageDraw

    draw = ImageDraw.Draw(image)
    scale = dpi / 72.0
    left, top = corner
    for word in page.words:
        x0, y0, x1, y1 = word.box
        shape = ((x0 - left - 1) * scale, (y0 - top - 1) * scale, (x1 - left + 1) * scale, (y1 - top + 1) * scale)
        draw.rectangle(shape, fill=255)


def scanned_parts(
    page: pypdfium2.PdfPage, geometry: PageGeometry, drawing: Drawing, native: Page, max_pixels: int
) -> list[Region]:
    """The pictures of a digital page that look like print and have no text over them, rendered for OCR."""
    wide, high = geometry.width, geometry.height
    boxes = []
    for x0, y0, x1, y1 in drawing.regions():
        box = (max(0.0, x0), max(0.0, y0), min(wide, x1), min(high, y1))
        if page_share(box, wide, high) >= MIN_REGION_SHARE and _native_share(box, native) < MAX_NATIVE_SHARE:
            boxes.append(box)
    boxes.sort(key=lambda box: -page_share(box, wide, high))
    regions: list[Region] = []
    for box in boxes[:MAX_REGIONS]:
        if any(_inside(box, region.box) for region in regions):
            continue
        image, dpi = render_gray(page, geometry, max_pixels, box)
        cover(image, native, dpi, (box[0], box[1]))
        if looks_printed(image):
            regions.append(Region(box, image, dpi))
    return regions


def _native_share(box: Box, page: Page) -> float:
    """Share of `box` that lies under words of `page`."""
    area = max(1.0, (box[2] - box[0]) * (box[3] - box[1]))
    covered = 0.0
    for word in page.words:
        x0, y0, x1, y1 = word.box
        if box[0] <= (x0 + x1) / 2 <= box[2] and box[1] <= (y0 + y1) / 2 <= box[3]:
            covered += (x1 - x0) * (y1 - y0)
    return covered / area


def _inside(inner: Box, outer: Box) -> bool:
    x, y = (inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2
    return outer[0] <= x <= outer[2] and outer[1] <= y <= outer[3]


def looks_printed(image: Image) -> bool:
    """True where the greys of `image` (mode L) are those of print on a ground rather than of a photograph."""
    small = image.copy()
    small.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
    counts = small.histogram()
    total = max(1, sum(counts))
    ground = max(range(256), key=lambda level: sum(counts[max(0, level - 2) : level + 3]))
    paper = sum(counts[max(0, ground - 24) : ground + 25]) / total
    ink = sum(n for level, n in enumerate(counts) if abs(level - ground) >= MIN_CONTRAST) / total
    return paper >= MIN_PAPER and 0.002 <= ink <= MAX_INK


def is_believed(result: OcrResult) -> bool:
    """True where OCR found enough, and surely enough, to be text in a picture."""
    found = sum(any(c.isalnum() for c in word.text) for word in result.words)
    return result.confidence >= MIN_REGION_CONFIDENCE and found >= MIN_REGION_WORDS


def with_region(page: Page, result: OcrResult, box: Box | None) -> Page:
    """`page` with what OCR read in its part in `box`, or on the whole page where that is None, at the place of it.

    `result` has its boxes in points of the part. The page becomes a hybrid; its reason is `partly_image`.
    """
    at = _place(page, box or _extent(page, result))
    left, top = (box[0], box[1]) if box is not None else (0.0, 0.0)

    def moved(inner: Box) -> Box:
        return (inner[0] + left, inner[1] + top, inner[2] + left, inner[3] + top)

    if at < len(page.blocks):
        start = page.blocks[at].char_start
        text = page.text[:start] + result.text + "\n\n" + page.text[start:]
        grown = len(result.text) + 2
        first = start
    else:
        start = len(page.text)
        text = f"{page.text}\n\n{result.text}" if page.text else result.text
        grown, first = 0, len(text) - len(result.text)
    words = tuple(
        replace(w, char_start=w.char_start + first, char_end=w.char_end + first, box=moved(w.box)) for w in result.words
    )
    blocks = tuple(
        replace(
            b, char_start=b.char_start + first, char_end=b.char_end + first, box=None if b.box is None else moved(b.box)
        )
        for b in result.blocks
    )
    later = tuple(replace(b, char_start=b.char_start + grown, char_end=b.char_end + grown) for b in page.blocks[at:])
    before = tuple(w for w in page.words if w.char_start < start)
    after = tuple(
        replace(w, char_start=w.char_start + grown, char_end=w.char_end + grown)
        for w in page.words
        if w.char_start >= start
    )
    marks = tuple(
        m if m.char_start < start else replace(m, char_start=m.char_start + grown, char_end=m.char_end + grown)
        for m in page.marks
    )
    return replace(
        page,
        text=text,
        words=before + words + after,
        blocks=page.blocks[:at] + blocks + later,
        marks=marks,
        source=TextSource.HYBRID,
        reason="partly_image",
        rotation=result.rotation if box is None else page.rotation,
        confidence=_joint_confidence(page, result),
        engine=result.engine or page.engine,
    )


def _joint_confidence(page: Page, result: OcrResult) -> float:
    """Mean confidence of all words that OCR has read on the page, weighed by their letters."""
    read = [word for word in page.words if word.confidence is not None]
    before = sum(len(word.text) for word in read)
    new = sum(len(word.text) for word in result.words)
    if not before + new:
        return result.confidence
    earlier = page.confidence if read else 0.0
    return round((earlier * before + result.confidence * new) / (before + new), 4)


def _extent(page: Page, result: OcrResult) -> Box:
    """The strip of the page, as wide as it, that holds what was read on the whole of it."""
    boxes = [block.box for block in result.blocks if block.box is not None]
    if not boxes:
        return (0.0, page.height, page.width, page.height)
    return (0.0, min(box[1] for box in boxes), page.width, max(box[3] for box in boxes))


def _place(page: Page, box: Box) -> int:
    """Index of the block before which the text in `box` is read."""
    behind: int | None = None
    ahead: int | None = None
    for index, block in enumerate(page.blocks):
        if block.kind in (BlockKind.PAGE_HEADER, BlockKind.PAGE_FOOTER) or block.box is None:
            continue
        beside = min(box[2], block.box[2]) > max(box[0], block.box[0])
        middle = (block.box[1] + block.box[3]) / 2
        if beside and middle <= box[1] + 0.1 * (box[3] - box[1]):
            behind = index
        elif ahead is None and beside and middle > box[1]:
            ahead = index
    if behind is not None:
        return behind + 1
    if ahead is not None:
        return ahead
    return _before_footers(page.blocks)


def _before_footers(blocks: Sequence[Block]) -> int:
    end = len(blocks)
    while end and blocks[end - 1].kind is BlockKind.PAGE_FOOTER:
        end -= 1
    return end
