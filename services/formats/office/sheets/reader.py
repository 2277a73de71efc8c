"""Reads XLSX and XLSM: the cells of all sheets as they are shown.

With comments, text boxes, charts and pictures.

Streamed: the memory is that of one page, of the shared strings as plain bytes, and of the sheet's drawings. Macros are
not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from services.content import DocumentInfo, Issue, Part, Upload
from services.errors import TooLarge, UnreadableDocument
from services.formats.base import ExtractContext
from services.formats.kit.paging import check_page_count, give_pages, wants_pictures
from services.formats.kit.picture_writer import PictureWriter
from services.formats.office.encryption import is_ole
from services.formats.office.package import OfficePackage, damaged_parts, open_package
from services.formats.office.sheets.cells import Budget, CellReader, read_tail
from services.formats.office.sheets.drawings import AnchoredPicture, read_comments, read_drawings, read_persons
from services.formats.office.sheets.layout import Row, Sheet, SheetPage, lay_out
from services.formats.office.sheets.parts import (
    SharedStrings,
    SheetEntry,
    counts_from_1904,
    list_sheets,
    read_cell_formats,
    read_shared_strings,
)


def extract_xlsx(upload: Upload, context: ExtractContext) -> Iterator[Part]:
    """One page a sheet, or for each million characters of it.

    `DocumentInfo.page_count` counts the sheets.

    Raises:
        UnreadableDocument: `corrupt_archive`, `corrupt_document`, `xml_entities`.
        TooLarge: `archive_too_large`, `compression_ratio`, `too_many_entries`, `too_many_pages`, `text_too_large`.
        EncryptedDocument: `password_required`, `password_wrong`, `encryption_unsupported`.
    """
    if is_ole(upload.path):
        from services.formats.office.encrypted import extract_encrypted

        yield from extract_encrypted(upload, context)
        return
    with open_package(upload, context) as package:
        yield from _Workbook(package, context).parts()


class _Workbook:
    """A workbook that is being read."""

    def __init__(self, package: OfficePackage, context: ExtractContext) -> None:
        self._package = package
        self._context = context
        self._writer = PictureWriter(context)
        self._next_page = 1
        self._issues: list[Issue] = []

    def parts(self) -> Iterator[Part]:
        """All parts of the document."""
        package = self._package
        main = package.main_part("xl/workbook.xml")
        workbook = package.xml(main) if main is not None else None
        if main is None or workbook is None:
            raise UnreadableDocument(
                "The file lacks the part that lists its sheets. Save it anew in Excel and upload it again.",
                code="corrupt_document",
            )
        sheets = list_sheets(package, main, workbook)
        check_page_count(len(sheets), self._context.limits)
        title, author, language = package.properties()
        yield DocumentInfo(title[:500], author[:500], language[:64], page_count=max(1, len(sheets)))
        self._persons: dict[str, str] = {}
        try:
            self._persons = read_persons(package, main)
        except UnreadableDocument as error:
            self._note(error, "The names of those who commented")
        cells = self._cell_reader(main, from_1904=counts_from_1904(workbook))
        for entry in sheets:
            yield from self._sheet(entry, cells)
        yield from self._issues
        yield from self._writer.close()
        yield from damaged_parts(package)

    def _cell_reader(self, main: str, *, from_1904: bool) -> CellReader:
        package, limits = self._package, self._context.limits
        strings, formats = SharedStrings(), [""]
        try:
            for part in package.related(main, "sharedStrings")[:1] or ["xl/sharedStrings.xml"]:
                read_shared_strings(package, part, limits.max_unpacked_bytes, strings)
        except (UnreadableDocument, TooLarge) as error:
            _check_costs_part(error)
            self._note(error, "The workbook's shared strings" + " from the damage on" * bool(len(strings)))
        try:
            for part in package.related(main, "styles")[:1] or ["xl/styles.xml"]:
                formats = list(read_cell_formats(package.xml(part)))
        except UnreadableDocument as error:
            self._note(error, "The workbook's number formats")
        return CellReader(
            strings, formats, from_1904=from_1904, budget=Budget.of(package.archive.declared_bytes, limits)
        )

    def _note(self, error: UnreadableDocument | TooLarge, what: str, page: int | None = None) -> None:
        """Keeps the loss of a part until it can be said, before the next page."""
        self._issues.append(Issue(error.code, f"{what} could not be read and was left out: {error.detail}", page))

    def _sheet(self, entry: SheetEntry, cells: CellReader) -> Iterator[Part]:
        sheet = Sheet(entry.name, entry.hidden)
        number = self._next_page
        pictures: list[AnchoredPicture] = []
        if not entry.part or self._package.archive.find(entry.part) is None:
            self._issues.append(Issue("sheet_missing", f"The file lacks the sheet {entry.name!r}.", number))
        else:
            pictures = self._describe(entry, sheet, number)
        rows = self._rows(entry, sheet, cells, number)
        cut = cells.cut_rows
        for page in lay_out(sheet, rows, number):
            self._next_page = page.page.number + 1
            check_page_count(page.page.number, self._context.limits)
            if cells.cut_rows > cut:
                count, cut = cells.cut_rows - cut, cells.cut_rows
                message = f"{count} rows of {entry.name!r} were too long; their last cells were left out."
                self._issues.append(Issue("row_too_long", message, page.page.number))
            yield from self._pictures_of(page, pictures)
            yield from give_pages([page.page], self._context)

    def _describe(self, entry: SheetEntry, sheet: Sheet, number: int) -> list[AnchoredPicture]:
        """Fills in what is known of a sheet before its rows are read; gives its pictures."""
        package, part = self._package, entry.part
        try:
            sheet.comments = read_comments(package, part, self._persons)
        except UnreadableDocument as error:
            self._note(error, "The comments of a sheet", number)
        with suppress(UnreadableDocument):  # the same part is read for its cells next, and that says what is wrong
            sheet.links, sheet.header, sheet.footer = read_tail(package, part)
        try:
            drawings = read_drawings(package, part)
        except UnreadableDocument as error:
            self._note(error, "The drawings of a sheet", number)
            return []
        if drawings.damaged:
            message = f"{drawings.damaged} drawings of {entry.name!r} could not be read and were left out."
            self._issues.append(Issue("drawing_unreadable", message, number))
        sheet.closing = drawings.texts
        return drawings.pictures

    def _rows(self, entry: SheetEntry, sheet: Sheet, cells: CellReader, number: int) -> Iterator[Row]:
        if not entry.part or entry.is_chart:
            return
        try:
            yield from cells.rows(self._package, entry.part, sheet)
        except (UnreadableDocument, TooLarge) as error:
            _check_costs_part(error)
            self._issues.append(
                Issue(error.code, f"The sheet {entry.name!r} was read only in part: {error.detail}", number)
            )

    def _pictures_of(self, page: SheetPage, pictures: list[AnchoredPicture]) -> Iterator[Part]:
        """The pictures whose upper edge lies on `page`, which are taken out of `pictures`, and the issues so far."""
        here = [picture for picture in pictures if picture.row <= page.last_row]
        pictures[:] = [picture for picture in pictures if picture.row > page.last_row]
        issues, self._issues = self._issues, []
        yield from issues
        if not wants_pictures(page.page.number, self._context):
            return
        for picture in here:
            if not self._writer.wants(picture.target, page.page.number):
                continue
            try:
                data = self._package.archive.read(picture.target)
            except UnreadableDocument as error:
                yield Issue(error.code, "A picture could not be unpacked and was left out.", page.page.number)
                continue
            if data is not None:
                yield from self._writer.write(data, page=page.page.number, alt=picture.alt)


def _check_costs_part(error: UnreadableDocument | TooLarge) -> None:
    """Raises `error` again where it is a limit on the whole document."""
    if isinstance(error, TooLarge) and error.code != "part_too_large":
        raise error
