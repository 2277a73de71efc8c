"""Holds the pages of a PDF around the one that is read.

What repeats on them is header and footer, not text.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.formats.pdf.block_kinds import weigh_sizes
from services.formats.pdf.furniture import REACH, Edges, read_edges
from services.formats.pdf.geometry import PageGeometry
from services.formats.pdf.text import PageText, read_text

if TYPE_CHECKING:
    import pypdfium2

HEAVY_OBJECTS = 5000
"""Objects of a page from which it is opened again at its turn rather than held open: maps and drawings."""

OWN_LETTERS, OWN_SHARE = 800, 0.6
"""Letters of a page, and the share of them in one size, from which its own body type counts, not its neighbours'."""


@dataclass(slots=True)
class OpenPage:
    """A page whose text has been read.

    `page` is None for one that is opened again at its turn.
    """

    page: pypdfium2.PdfPage | None
    geometry: PageGeometry
    layer: PageText


@dataclass(frozen=True, slots=True)
class _Traits:
    """What is kept of a page for its neighbours."""

    edges: Edges
    sizes: Counter[float]


class PageWindow:
    """Opens each page once, some pages ahead of its turn.

    Holds the text of `REACH` pages, the traits of twice that.
    """

    def __init__(self, document: pypdfium2.PdfDocument) -> None:
        self.document = document
        self.count = len(document)
        self._open: dict[int, OpenPage | None] = {}
        self._traits: dict[int, _Traits] = {}

    def take(self, number: int) -> OpenPage | None:
        """Page `number`, which the caller closes; None where PDFium cannot read it."""
        self._forget(number)
        self._look_at(number)
        opened = self._open.pop(number)
        if opened is not None and opened.page is None:
            opened.page = self.document[number - 1]
        return opened

    def neighbours(self, number: int) -> dict[int, Edges]:
        """The edges of the pages around `number`, of which some are read for it."""
        around = range(max(1, number - REACH), min(self.count, number + REACH) + 1)
        for other in around:
            if other != number:
                self._look_at(other)
        return {other: self._traits[other].edges for other in around if other != number and other in self._traits}

    def body_size(self, number: int) -> float:
        """Size of the type that page `number` is set in.

        Where that says little, that of the pages around it.
        """
        own = self._traits[number].sizes if number in self._traits else Counter()
        letters = sum(own.values())
        if letters >= OWN_LETTERS and own.most_common(1)[0][1] >= OWN_SHARE * letters:
            return own.most_common(1)[0][0] or 1.0
        sizes: Counter[float] = Counter()
        for other in range(number - REACH, number + REACH + 1):
            if other in self._traits:
                sizes.update(self._traits[other].sizes)
        return (sizes.most_common(1)[0][0] if sizes else 0.0) or 1.0

    def close(self) -> None:
        """Closes the pages that were opened ahead."""
        for opened in self._open.values():
            if opened is not None and opened.page is not None:
                opened.page.close()
        self._open.clear()

    def _look_at(self, number: int) -> None:
        """Reads page `number`, unless it has been."""
        import pypdfium2

        if number in self._open or (number in self._traits):
            return
        self._open[number] = None
        try:
            page = self.document[number - 1]
        except pypdfium2.PdfiumError:
            return
        try:
            geometry = PageGeometry(page)
            layer = read_text(page, geometry)
            self._traits[number] = _Traits(read_edges(layer.lines, geometry), weigh_sizes(layer.lines))
        except (pypdfium2.PdfiumError, ctypes.ArgumentError, MemoryError, ValueError):
            page.close()
            return
        self._open[number] = OpenPage(page, geometry, layer)
        if pypdfium2.raw.FPDFPage_CountObjects(page) > HEAVY_OBJECTS:
            page.close()
            self._open[number] = OpenPage(None, geometry, layer)

    def _forget(self, number: int) -> None:
        """Lets go of what lies behind the reach of page `number`, and of pages that were skipped."""
        for other in [n for n in self._traits if n < number - REACH]:
            del self._traits[other]
        for other in [n for n in self._open if n < number]:
            opened = self._open.pop(other)
            if opened is not None and opened.page is not None:
                opened.page.close()
