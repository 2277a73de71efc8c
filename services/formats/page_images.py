"""A page as a picture, for looking at.

Opens untrusted files: runs in the parsing child.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from services.content import Limits
from services.errors import NotFound, UnreadableDocument
from services.formats.registry import Format

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_WIDTH_PX = 4096
"""Widest rendering; wider requests get this."""

WEBP_QUALITY = 82


def render_page(
    path: Path, format: Format, number: int, width: int, password: str | None, limits: Limits
) -> tuple[bytes, str]:
    """(bytes, media type) of page `number` (from 1) as a WebP of `width` pixels, as high as the page's shape asks.

    The width is lowered where the picture would have more than `limits.max_pixels`.

    Raises:
        NotFound: `no_page_image` for a format without layout, `page_not_found` for a page that does not exist.
        EncryptedDocument, UnreadableDocument, TooLarge: as the extractor of the format does.
    """
    width = max(1, min(width, MAX_WIDTH_PX))
    render = format.spec.render
    if render is None:
        raise NotFound(f"A {format.value} document has no pages that could be shown.", code="no_page_image")
    image = render(path, number, width, password, limits)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=WEBP_QUALITY, method=2)
    return buffer.getvalue(), "image/webp"


def _no_page(number: int, count: int) -> NotFound:
    return NotFound(f"The document has {count} pages; there is no page {number}.", code="page_not_found")


def _shape(width: int, page_width: float, page_height: float, limits: Limits) -> tuple[int, int]:
    """Pixels of the rendering: `width`, or less where it would be too many, or higher than WebP allows."""
    shape = max(page_height, 1e-3) / max(page_width, 1e-3)
    # Source: RFC 9649, 2.4: a WebP has at most 16,383 pixels a side in lossy coding.
    width = max(1, min(width, int((limits.max_pixels / shape) ** 0.5), int(16_383 / shape)))
    return width, max(1, min(16_383, round(width * shape)))


def draw_pdf_page(path: Path, number: int, width: int, password: str | None, limits: Limits) -> Image:
    """Page `number` of a PDF."""
    import pypdfium2

    from services.formats.pdf.reader import open_pdf

    with open_pdf(path, password) as document:
        if not 1 <= number <= len(document):
            raise _no_page(number, len(document))
        try:
            page = document[number - 1]
            try:
                page_width, page_height = page.get_size()
                width, height = _shape(width, page_width, page_height, limits)
                bitmap = page.render(scale=width / max(page_width, 1e-3), rev_byteorder=True)
                try:
                    # Rounded up by PDFium; cut to what was asked.
                    shown: Image = bitmap.to_pil().convert("RGB").crop((0, 0, width, height))
                    return shown
                finally:
                    bitmap.close()
            finally:
                page.close()
        except (pypdfium2.PdfiumError, ValueError) as error:
            raise UnreadableDocument("The page is damaged and cannot be shown.", code="page_unreadable") from error


def draw_frame(path: Path, number: int, width: int, password: str | None, limits: Limits) -> Image:
    """Frame `number` of a picture."""
    from services.formats.pictures.encoding import flatten
    from services.formats.pictures.reader import find_frames, load_frame, open_picture

    with open_picture(path, limits) as image:
        frames = find_frames(image, limits)
        if not 1 <= number <= len(frames):
            raise _no_page(number, len(frames))
        shown = flatten(load_frame(image, frames[number - 1], limits))
        return _scaled(shown, width, limits)


def draw_svg(path: Path, number: int, width: int, password: str | None, limits: Limits) -> Image:
    """The drawing, which is its page 1."""
    from services.formats.pictures.encoding import flatten
    from services.formats.pictures.svg import open_drawing

    if number != 1:
        raise _no_page(number, 1)
    return _scaled(flatten(open_drawing(path, limits)), width, limits)


def _scaled(shown: Image, width: int, limits: Limits) -> Image:
    """`shown`, made smaller to `width`.

    A small picture is not blown up, for that shows nothing more.
    """
    from PIL import Image as Images

    size = _shape(width, shown.width, shown.height, limits)
    return shown.resize(size, Images.Resampling.LANCZOS) if size[0] < shown.width else shown.copy()
