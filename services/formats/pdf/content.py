"""Turns the text layer of a PDF page into blocks with their kinds.

Between its header and its footer.
"""

from __future__ import annotations

import ctypes
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.content import BlockKind, Page
from services.formats.pdf.annotations import Annotations, link_marks, read_annotations, with_fields, with_remarks
from services.formats.pdf.block_kinds import PageFacts, main_quarter, share_of, tell_kinds
from services.formats.pdf.blocks import build_blocks
from services.formats.pdf.drawing import Drawing, read_drawing
from services.formats.pdf.furniture import Furniture, furniture_blocks, part_furniture
from services.formats.pdf.geometry import PageGeometry
from services.formats.pdf.order import in_reading_order
from services.formats.pdf.tables.finder import page_tables, part_tables, table_block
from services.formats.pdf.tables.pages import TableContinuation
from services.formats.pdf.tags import PageTags, read_outline, read_tags
from services.formats.pdf.text import PageText, TextLine, read_text
from services.formats.pdf.unseen import part_unseen
from services.formats.pdf.window import OpenPage, PageWindow
from services.ocr.layout import LooseBlock, compose

if TYPE_CHECKING:
    import pypdfium2

LAYER_SHARE = 0.85
"""Share of the page under one picture from which the text over it was put there by OCR."""

LOOK_BACK = 4
"""Pages, read by an earlier run, before the first that is read now that are looked at for the table that goes on there.
What a table that fills more pages began with is not known then; the first row on the page before stands for it."""


@dataclass(slots=True)
class Content:
    """What was read of a page before OCR."""

    page: Page
    drawing: Drawing
    layer: PageText
    tags: PageTags
    share: float
    """Share of the page that its largest picture covers."""
    remarks: list[LooseBlock]


@dataclass(slots=True)
class _Parted:
    """The lines of a page by what becomes of them."""

    furniture: Furniture
    lines: list[TextLine]
    """The text between header and footer, in reading order."""
    hidden: list[TextLine]
    notes: Annotations
    titles: Mapping[str, int]
    """Levels of the bookmarks that lead to the page, by `title_key`."""


class ContentReader:
    """Reads the text layers of the pages of an open document, in their order.

    Pages may be left out.
    """

    def __init__(self, document: pypdfium2.PdfDocument, pages: PageWindow, given: Container[int] = ()) -> None:
        """`given`: numbers of the pages that an earlier run has read, and that are not read here."""
        self._document = document
        self._given = given
        self._pages = pages
        self._outline = read_outline(document)
        self._tables = TableContinuation()

    def read(self, opened: OpenPage, page: pypdfium2.PdfPage, number: int) -> Content:
        """The text layer of page `number` with its structure, and what is drawn on it."""
        geometry, layer = opened.geometry, opened.layer
        drawing = read_drawing(page, geometry)
        share = drawing.image_share(geometry.width, geometry.height)
        parted = self._parted(page, geometry, layer, number, share)
        lines, notes = parted.lines, parted.notes
        tags = read_tags(page)
        for line in lines:
            line.role = tags.roles.get(line.content_id, "")
        facts = PageFacts(
            geometry.width,
            geometry.height,
            self._pages.body_size(number),
            share_of(lines) > 0.5,
            share_of(lines, monospaced=True) > 0.5,
            main_quarter(lines),
            parted.titles,
        )
        blocks = _blocks(lines, drawing)
        if number - 1 in self._given and self._tables.wants_page_before(number, blocks):
            self._look_back(number)
        self._tables.mark(number, blocks)
        remarks = with_remarks([], notes.remarks)
        blocks = _framed(with_remarks(tell_kinds(blocks, facts), notes.remarks), parted.furniture)
        for block in build_blocks(parted.hidden):
            block.hidden = True
            blocks.append(block)
        text, words, parts = compose(blocks)
        made = Page(
            number,
            text,
            words,
            parts,
            round(geometry.width, 2),
            round(geometry.height, 2),
            marks=link_marks(words, notes.links),
        )
        return Content(made, drawing, layer, tags, share, remarks)

    def _parted(
        self, page: pypdfium2.PdfPage, geometry: PageGeometry, layer: PageText, number: int, share: float
    ) -> _Parted:
        neighbours = self._pages.neighbours(number) if layer.lines else {}
        shown, hidden = part_unseen(page, layer.lines, is_scan=share >= LAYER_SHARE)
        titles = self._outline.get(number, {})
        body = self._pages.body_size(number)
        furniture = part_furniture(shown, geometry, number, self._pages.count, neighbours, body, titles)
        notes = read_annotations(page, geometry)
        lines = in_reading_order(with_fields(furniture.rest, notes.fields))
        return _Parted(furniture, lines, hidden, notes, titles)

    def _look_back(self, number: int) -> None:
        """Tells the tables of the pages before `number`, which an earlier run has read."""
        import pypdfium2

        for earlier in range(max(1, number - LOOK_BACK), number):
            try:
                page = self._document[earlier - 1]
            except pypdfium2.PdfiumError:
                continue
            try:
                geometry = PageGeometry(page)
                layer, drawing = read_text(page, geometry), read_drawing(page, geometry)
                share = drawing.image_share(geometry.width, geometry.height)
                parted = self._parted(page, geometry, layer, earlier, share)
                self._tables.mark(earlier, _blocks(parted.lines, drawing))
            except (pypdfium2.PdfiumError, ctypes.ArgumentError, MemoryError, ValueError):
                continue
            finally:
                page.close()


def _framed(blocks: list[LooseBlock], furniture: Furniture) -> list[LooseBlock]:
    """`blocks` between the header and the footer of their page."""
    head = furniture_blocks(furniture.head, BlockKind.PAGE_HEADER)
    return [*head, *blocks, *furniture_blocks(furniture.foot, BlockKind.PAGE_FOOTER)]


def _blocks(lines: list[TextLine], drawing: Drawing) -> list[LooseBlock]:
    """The blocks of a page, its tables at the places where their first words stand."""
    rest, cuts = part_tables(lines, page_tables(lines, drawing.rules))
    blocks: list[LooseBlock] = []
    start = 0
    for position, table in cuts:
        blocks.extend(build_blocks(rest[start:position]))
        blocks.append(table_block(table))
        start = position
    return blocks + build_blocks(rest[start:])
