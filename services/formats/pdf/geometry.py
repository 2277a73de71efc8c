"""Turns PDFium's coordinates into boxes on the page as it is shown.

Also turns boxes to a direction of writing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.content import Box

if TYPE_CHECKING:
    import pypdfium2


class PageGeometry:
    """Turns PDFium's coordinates (origin at the bottom left, not rotated) into boxes on the page as it is shown."""

    def __init__(self, page: pypdfium2.PdfPage) -> None:
        self.left, self.bottom, self.right, self.top = page.get_bbox()
        self.rotation = int(page.get_rotation())
        wide, high = self.right - self.left, self.top - self.bottom
        self.width, self.height = (high, wide) if self.rotation in (90, 270) else (wide, high)

    def point(self, x: float, y: float) -> tuple[float, float]:
        if self.rotation == 90:
            return y - self.bottom, x - self.left
        if self.rotation == 180:
            return self.right - x, y - self.bottom
        if self.rotation == 270:
            return self.top - y, self.right - x
        return x - self.left, self.top - y

    def box(self, left: float, bottom: float, right: float, top: float) -> Box:
        xa, ya = self.point(left, bottom)
        xb, yb = self.point(right, top)
        return (min(xa, xb), min(ya, yb), max(xa, xb), max(ya, yb))

    def shows(self, box: Box) -> bool:
        """True when the middle of `box` lies on the page."""
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        return bool(-1 <= x <= self.width + 1 and -1 <= y <= self.height + 1)


def canonical_point(point: tuple[float, float], quarter: int) -> tuple[float, float]:
    """`point` seen with the page turned so that text written towards `quarter` runs to the right."""
    x, y = point
    return {0: (x, y), 90: (y, -x), 180: (-x, -y), 270: (-y, x)}[quarter]


def canonical(box: Box, quarter: int) -> Box:
    """`box` seen with the page turned so that text written towards `quarter` runs to the right."""
    xa, ya = canonical_point((box[0], box[1]), quarter)
    xb, yb = canonical_point((box[2], box[3]), quarter)
    return (min(xa, xb), min(ya, yb), max(xa, xb), max(ya, yb))
