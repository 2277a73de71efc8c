"""OpenDocument spreadsheet: a page a sheet, cells as they are shown.

Read as a stream, since sheets may be huge.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace

from services.content import BlockKind, DocumentInfo, Issue, Page, Part, Upload
from services.errors import UnreadableDocument
from services.formats.base import ExtractContext
from services.formats.kit.archive import Archive
from services.formats.kit.captions import PlacedPicture
from services.formats.kit.decoding import clean_text
from services.formats.kit.page_builder import PageBuilder, one_line
from services.formats.kit.paging import check_page_count, give_pages, wants_pictures
from services.formats.kit.picture_writer import PictureWriter
from services.formats.kit.xml import Element, too_deep
from services.formats.office.sheets.cells import MAX_ROW_CHARS, Budget
from services.formats.office.sheets.layout import column_name
from services.formats.opendocument.blocks import BlockReader, Draft
from services.formats.opendocument.inline import SHAPES
from services.formats.opendocument.package import OdfPackage, attribute, count_of, name_of, no_content, qualified
from services.formats.opendocument.styles import Styles, style_holders
from services.formats.opendocument.text import write_pictures

_PAGE_CHARS = 1_000_000
"""Characters of a sheet after which a page ends: memory is bounded by it."""
_MAX_PAGE_CHARS = 4 * _PAGE_CHARS
"""Where a row that is repeated is repeated no more: a page ends between rows that the file writes out."""

_SEPARATOR_CHARS = 3
_VALUES = ("office:string-value", "office:date-value", "office:time-value", "office:boolean-value", "office:value")
_MAX_COLUMNS = 16_384
"""Source: the columns that LibreOffice and Excel know."""
_MAX_ROWS = 1_048_576
"""Source: as for `_MAX_COLUMNS`."""
_NOT_SHOWN = ("collapse", "filter")
"""Source: OpenDocument 1.3 part 3, 19.749, `table:visibility`."""
_MAX_FILLED = 1_000
"""How often one cell or row is repeated where it holds text; more is a fill to the edge of the sheet."""


def extract_ods(upload: Upload, context: ExtractContext) -> Iterator[Part]:
    """One page a sheet, and more where a sheet passes a million characters.

    A hidden sheet's blocks are marked.

    Raises:
        UnreadableDocument: `corrupt_archive`, `corrupt_document`, `nesting_too_deep`.
        TooLarge: `archive_too_large`, `compression_ratio`, `too_many_entries`, `too_many_pages`, `text_too_large`.
        EncryptedDocument: `encryption_unsupported`.
    """
    with Archive(upload.path, context.limits) as archive:
        package = OdfPackage(archive, context.limits)
        info = package.info()
        styles = Styles()
        styles.add(style_holders(package.optional_xml("styles.xml")))
        # The file's own count of its sheets is a mere claim; those that are read are counted.
        yield DocumentInfo(info.title, info.author, info.language)
        yield from package.issues()
        writer = PictureWriter(context)
        number = 0
        sheets = _SheetReader(package, styles)
        try:
            for number, sheet in enumerate(sheets.read(), 1):
                check_page_count(number, context.limits)
                if sheet.filled_to_edge:
                    message = f"A cell or row that is repeated many times was given at most {_MAX_FILLED:,} times."
                    yield Issue("repeats_left_out", message, number)
                if wants_pictures(number, context):
                    yield from write_pictures(package, sheet.pictures, number, writer)
                yield from give_pages([sheet.page], context)
        except UnreadableDocument as error:
            if not number:
                raise
            yield Issue("page_unreadable", f"The sheets behind sheet {number} were left out. {error.detail}")
        if not number:
            yield from give_pages([Page(1, "")], context)
        yield from writer.close()


@dataclass(slots=True)
class _Sheet:
    """A page that was read."""

    page: Page
    pictures: list[PlacedPicture] = field(default_factory=list)
    filled_to_edge: bool = False


class _SheetReader:
    def __init__(self, package: OdfPackage, styles: Styles) -> None:
        self._package = package
        self._styles = styles
        self._blocks = BlockReader(package, styles)
        self._blocks.with_chart_data = False
        self._rows: list[list[str]] = []
        self._unseen: list[list[str]] = []
        """Cells of hidden rows and columns, each in its column."""
        self._unseen_columns: set[int] = set()
        self._row_at = self._column_at = 0
        self._shapes: list[Element] = []
        """Drawings that are anchored in cells: they come below the table."""
        self._chars = 0
        self._budget = Budget.of(package.archive.declared_bytes, package.limits)
        self._has_table = False
        self._continues = False
        self._filled = False

    def read(self) -> Iterator[_Sheet]:
        """The pages of the sheets in order. Raises UnreadableDocument."""
        with closing(self._events()) as events:
            yield from self._sheets(events)

    def _sheets(self, events: Iterator[tuple[str, Element]]) -> Iterator[_Sheet]:
        nested = 0
        while True:
            try:
                event, element = next(events)
            except StopIteration:
                return
            except UnreadableDocument:
                if nested and (self._rows or self._unseen):
                    yield self._end()
                raise
            name = name_of(element.tag)
            if name == "table:table":
                nested += 1 if event == "start" else -1
                if event == "start" and nested == 1:
                    self._begin(element)
                elif event == "end" and nested == 0:
                    yield self._end()
                    self._continues = False
                    _drop(element)
            elif event == "end" and name == "office:automatic-styles":
                self._styles.add([element])
            elif event == "end" and nested == 1 and name == "table:table-column":
                self._read_column(element)
                _drop(element)
            elif event == "end" and nested == 1 and name == "table:table-row":
                self._read_row(element)
                _drop(element)
                if self._chars >= _PAGE_CHARS:
                    yield self._end()
                    self._continues = True
                    self._blocks.new_page()
            elif event == "end" and nested == 1 and name == "table:shapes":
                for shape in element:
                    if name_of(shape.tag) in SHAPES:
                        self._blocks.read_shape(shape, 1)
                _drop(element)

    def _events(self) -> Generator[tuple[str, Element]]:
        """Starts and ends of tables, rows and what stands beside them, as they are inflated."""
        from lxml import etree

        if self._package.archive.find("content.xml") is None:
            raise no_content()
        names = ("table:table", "table:table-column", "table:table-row", "table:shapes", "office:automatic-styles")
        parser = etree.XMLPullParser(
            events=("start", "end"), tag=[qualified(name) for name in names], resolve_entities=False, no_network=True,
            load_dtd=False, dtd_validation=False, huge_tree=False, remove_comments=True, remove_pis=True,
        )  # fmt: skip
        broken: etree.XMLSyntaxError | None = None
        with closing(self._package.archive.stream("content.xml")) as stream:
            for part in stream:
                try:
                    parser.feed(part)
                except etree.XMLSyntaxError as error:
                    broken = error
                yield from parser.read_events()
                if broken is not None:
                    break
        if broken is None:
            try:
                parser.close()
            except etree.XMLSyntaxError as error:
                broken = error
        if broken is None:
            return
        if "depth" in str(broken):
            raise too_deep(self._package.limits) from broken
        raise UnreadableDocument(
            "The spreadsheet's XML is damaged. Open it in the program that made it, save it anew and upload that.",
            code="corrupt_document",
        ) from broken

    def _begin(self, table: Element) -> None:
        self._blocks.new_page()
        self._has_table = False
        self._unseen_columns.clear()
        self._row_at = self._column_at = 0
        style = attribute(table, "table:style-name")
        self._blocks.hidden = self._styles.says("table", style, "table:display") == "false"
        self._draft.builder.add(
            BlockKind.HEADING, one_line(attribute(table, "table:name")), level=1, hidden=self._blocks.hidden
        )

    @property
    def _draft(self) -> Draft:
        return self._blocks.drafts[-1]

    def _end(self) -> _Sheet:
        """The page with the rows that were gathered."""
        builder = self._draft.builder
        left = min((place for row in self._rows for place, text in enumerate(row) if text), default=0)
        builder.add_table([row[left:] for row in self._rows], hidden=self._blocks.hidden)
        has_rows = bool(self._rows)
        used = sorted({place for row in self._unseen for place, text in enumerate(row) if text})
        builder.add_table([[row[at] if at < len(row) else "" for at in used] for row in self._unseen], hidden=True)
        shapes, self._shapes = self._shapes, []
        for shape in shapes:
            self._blocks.read_shape(shape, 1)
        self._blocks.end_page()
        page = builder.build()
        if self._continues and has_rows and page.blocks and page.blocks[0].kind is BlockKind.TABLE:
            page = replace(page, blocks=(replace(page.blocks[0], continues=True), *page.blocks[1:]))
        sheet = _Sheet(page, self._draft.pictures, self._filled)
        self._rows, self._unseen, self._chars, self._filled = [], [], 0, False
        self._blocks.drafts[-1] = Draft(PageBuilder(builder.number))
        return sheet

    def _read_column(self, column: Element) -> None:
        end = self._column_at + count_of(column, "table:number-columns-repeated", at_most=_MAX_COLUMNS)
        if attribute(column, "table:visibility") in _NOT_SHOWN:
            self._unseen_columns.update(range(self._column_at, min(end, _MAX_COLUMNS)))
        self._column_at = end

    def _read_row(self, row: Element) -> None:
        shown: list[str] = []
        blank = chars = at = 0
        for cell in row:
            name = name_of(cell.tag)
            if name not in ("table:table-cell", "table:covered-table-cell"):
                continue
            text = self._text(cell, at) if len(cell) or name == "table:table-cell" else ""
            again = count_of(cell, "table:number-columns-repeated", at_most=_MAX_COLUMNS)
            at += again
            if not text:
                blank += again
                continue
            self._filled = self._filled or again > _MAX_FILLED
            fitting = max(1, (MAX_ROW_CHARS - chars) // len(text))
            self._filled = self._filled or again > fitting
            again = min(again, _MAX_FILLED, fitting)
            shown += [""] * min(blank, _MAX_COLUMNS)
            shown += [text] * again
            chars += again * len(text)
            blank = 0
            if len(shown) > _MAX_COLUMNS:
                break
        self._row_at += count_of(row, "table:number-rows-repeated", at_most=_MAX_ROWS)
        if not shown:
            self._part_title()
            return
        seen, unseen = self._part_hidden(row, shown)
        again = count_of(row, "table:number-rows-repeated", at_most=_MAX_COLUMNS)
        self._filled = self._filled or again > _MAX_FILLED
        for _ in range(min(again, _MAX_FILLED)):
            self._budget.take(chars)
            if any(seen):
                self._rows.append(seen)
            if any(unseen):
                self._unseen.append(unseen)
            self._chars += chars + _SEPARATOR_CHARS * len(shown)
            if self._chars >= _MAX_PAGE_CHARS:
                self._filled = self._filled or again > 1
                break

    def _part_hidden(self, row: Element, shown: list[str]) -> tuple[list[str], list[str]]:
        """(cells that are shown, cells that are not, each in its column) of a row."""
        if attribute(row, "table:visibility") in _NOT_SHOWN:
            return [], shown
        hidden = self._unseen_columns
        if not hidden:
            return shown, []
        seen = [text for place, text in enumerate(shown) if place not in hidden]
        return seen, [text if place in hidden else "" for place, text in enumerate(shown)]

    def _part_title(self) -> None:
        """Lines of one cell each above the first empty row are the sheet's title and not its table."""
        if self._rows and not self._has_table:
            self._has_table = True
            if all(sum(map(bool, row)) == 1 for row in self._rows):
                for row in self._rows:
                    self._draft.builder.add(BlockKind.PARAGRAPH, "".join(row), hidden=self._blocks.hidden)
                self._rows = []

    def _text(self, cell: Element, column: int) -> str:
        """What the cell in that column, from 0, shows.

        Its value where the file does not say how it is shown.
        """
        if len(cell) == 1 and not len(cell[0]) and name_of(cell[0].tag) == "text:p":
            return one_line(clean_text(cell[0].text or ""))
        if len(cell):
            self._shapes += [item for item in cell if name_of(item.tag) in SHAPES]
            self._blocks.place = f"Cell {column_name(column)}{self._row_at + 1}"
            try:
                return one_line(self._blocks.capture([item for item in cell if name_of(item.tag) not in SHAPES]))
            finally:
                self._blocks.place = ""
        return next((one_line(value) for name in _VALUES if (value := attribute(cell, name))), "")


def _drop(element: Element) -> None:
    """Forgets an element that was read, and those before it."""
    element.clear()
    while element.getprevious() is not None:
        del element.getparent()[0]
