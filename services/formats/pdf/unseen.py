"""Tells text of a PDF page that nobody sees.

Layers that are switched off, and text that is not painted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from services.formats.pdf.text import TextLine

if TYPE_CHECKING:
    import pypdfium2

MIN_CONTRAST = 16
"""Grey levels between the darkest and the lightest pixel of a box in which something is to be seen."""

MAX_SIDE_PX = 1600


def part_unseen(
    page: pypdfium2.PdfPage, lines: Sequence[TextLine], *, is_scan: bool
) -> tuple[list[TextLine], list[TextLine]]:
    """(the lines that are shown, those that are hidden); what a switched-off layer holds is in neither.

    PDFium draws a layer only where it is switched on, but reads the text of all: the page is rendered small and looked
    at where such text stands. On a scan, text that is not painted is the layer of an OCR program and counts as shown.
    """
    suspects = [line for line in lines if line.layer or (line.invisible and not is_scan)]
    if not suspects:
        return list(lines), []
    scale = min(1.0, MAX_SIDE_PX / max(1.0, *page.get_size()))
    bitmap = page.render(scale=scale, grayscale=True, draw_annots=False)
    try:
        image = bitmap.to_pil()
        unseen = set()
        for line in suspects:
            x0, y0, x1, y1 = (side * scale for side in line.box)
            low, high = image.crop((int(x0), int(y0), int(x1) + 1, int(y1) + 1)).getextrema()
            if high - low < MIN_CONTRAST:
                unseen.add(id(line))
    finally:
        bitmap.close()
    shown = [line for line in lines if id(line) not in unseen]
    hidden = [line for line in lines if id(line) in unseen and not line.layer and any(map(str.isalnum, line.text))]
    return shown, hidden
