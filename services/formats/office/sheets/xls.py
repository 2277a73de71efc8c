"""Reads XLS of Excel 5 to 2003 with xlrd.

The cells of all sheets as they are shown, with their notes and links.

xlrd reads no charts, text boxes, pictures, headers and footers of this format; they are not given.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from services.content import DocumentInfo, Issue, Part, Upload
from services.errors import TooLarge, UnreadableDocument
from services.formats.base import ExtractContext
from services.formats.kit.paging import check_page_count, give_pages
from services.formats.office.encryption import decrypted
from services.formats.office.sheets.cells import Budget
from services.formats.office.sheets.layout import Cell, CellComment, Row, Sheet, clean, lay_out
from services.formats.office.sheets.number_formats import BUILT_IN, compile_format

MAX_FILE_BYTES = 64 * 1024**2
"""xlrd holds a whole sheet as Python objects. Source: short strings take 13 times their bytes, numbers 6 times."""

_FAILURES = (
    struct.error, ValueError, IndexError, KeyError, TypeError, AssertionError, AttributeError, OverflowError,
    ZeroDivisionError, NotImplementedError, EOFError, OSError, RecursionError,
)  # fmt: skip
"""What xlrd lets through where a file is damaged, besides errors of its own: it checks few lengths and offsets."""


_SUMMARY = "\x05SummaryInformation"
_MAX_SUMMARY_BYTES = 1 << 20
_VT_LPSTR, _VT_LPWSTR = 30, 31
"""Source: [MS-OLEPS] 2.15."""


def extract_xls(upload: Upload, context: ExtractContext) -> Iterator[Part]:
    """One page a sheet, or for each million characters of it.

    `DocumentInfo.page_count` counts the sheets.

    Raises:
        UnreadableDocument: `corrupt_document`.
        TooLarge: `spreadsheet_too_large`, `too_many_pages`, `text_too_large`.
        EncryptedDocument: `password_required`, `password_wrong`, `encryption_unsupported`.
    """
    if upload.size_bytes > MAX_FILE_BYTES:
        raise TooLarge(
            f"The workbook has {upload.size_bytes:,} bytes; of the old format {MAX_FILE_BYTES:,} are read. "
            "Save it as .xlsx and upload that.",
            code="spreadsheet_too_large",
            facts={"limit_bytes": MAX_FILE_BYTES},
        )
    with _open(upload.path, context) as book:
        names = [clean(name) for name in book.sheet_names()]
        check_page_count(len(names), context.limits)
        title, author = _properties(upload.path)
        yield DocumentInfo(title[:500], author[:500], page_count=max(1, len(names)))
        formats = _formats(book)
        budget = Budget.of(upload.size_bytes, context.limits)
        number = 1
        for at, name in enumerate(names):
            sheet, rows = Sheet(name), None
            try:
                source = book.sheet_by_index(at)
                sheet = _described(source, name)
                rows = _rows(source, formats, budget, from_1904=book.datemode == 1)
            except (*_FAILURES, _xlrd_error()):
                yield Issue("sheet_unreadable", f"The sheet {name!r} is damaged and was left out.", number)
            for page in lay_out(sheet, rows or (), number):
                number = page.page.number + 1
                check_page_count(page.page.number, context.limits)
                yield from give_pages([page.page], context)
            book.unload_sheet(at)


def _xlrd_error() -> type[Exception]:
    import xlrd

    error: type[Exception] = xlrd.XLRDError
    return error


@contextmanager
def _open(path: Path, context: ExtractContext) -> Iterator[Any]:
    """The workbook, closed on leaving; decrypted before where that is needed."""
    import xlrd
    from xlrd.compdoc import CompDocError

    plain: Path | None = None
    book: Any = None
    with open(os.devnull, "w") as nowhere:
        try:
            for attempt in range(2):
                try:
                    book = xlrd.open_workbook(
                        str(plain or path), logfile=nowhere, formatting_info=True, on_demand=True, ragged_rows=True,
                        ignore_workbook_corruption=True,
                    )  # fmt: skip
                    break
                except (xlrd.XLRDError, CompDocError, *_FAILURES) as error:
                    if attempt or "encrypted" not in str(error):
                        raise UnreadableDocument(
                            "The workbook is damaged or cut off. Upload it again, or save it as .xlsx and upload that.",
                            code="corrupt_document",
                        ) from error
                    plain = decrypted(path, context.password, context.folder)
            yield book
        finally:
            if book is not None:
                book.release_resources()
            if plain is not None:
                plain.unlink(missing_ok=True)


def _formats(book: Any) -> list[str]:
    """The number format's code of each cell style."""
    found = []
    for style in book.xf_list:
        key = style.format_key
        known = book.format_map.get(key)
        code = known.format_str if known is not None else "General"
        found.append(BUILT_IN[key] if key in BUILT_IN and (key in (14, 22) or 27 <= key <= 58) else code)
    return found


def _described(source: Any, name: str) -> Sheet:
    sheet = Sheet(name, hidden=source.visibility != 0)
    sheet.hidden_columns = {column for column, info in source.colinfo_map.items() if info.hidden}
    comments = []
    for (row, column), note in source.cell_note_map.items():
        text, author = clean(note.text or "").strip(), clean(note.author or "").strip()
        text = text.removeprefix(f"{author}:").strip() if author else text
        if text:
            comments.append(CellComment(row, column, author, text))
    sheet.comments = comments
    sheet.links = {
        place: (link.url_or_path or "") + (f"#{link.textmark}" if link.textmark else "")
        for place, link in source.hyperlink_map.items()
        if isinstance(link.url_or_path or "", str)
    }
    return sheet


def _rows(source: Any, formats: list[str], budget: Budget, *, from_1904: bool) -> Iterator[Row]:
    from xlrd.biffh import error_text_from_code

    for index in range(source.nrows):
        cells: list[Cell] = []
        types, values = source.row_types(index), source.row_values(index)
        for column, (kind, value) in enumerate(zip(types, values, strict=False)):
            if kind in (0, 6) or value == "":
                continue
            style = source.cell_xf_index(index, column)
            code = formats[style] if 0 <= style < len(formats) else "General"
            text, is_value = "", False
            if kind == 1:
                text = compile_format(code).show_text(clean(str(value)))
            elif kind in (2, 3):
                text, is_value = compile_format(code).show(float(value), from_1904=from_1904), True
            elif kind == 4:
                text = "TRUE" if value else "FALSE"
            elif kind == 5:
                text = error_text_from_code.get(value, "#N/A")
            if text.strip():
                cells.append(Cell(column, text, is_value))
                budget.take(len(text))
        if cells:
            info = source.rowinfo_map.get(index)
            yield Row(index, cells, bool(info is not None and info.hidden))


def _properties(path: Path) -> tuple[str, str]:
    """(title, author) of the file's summary; empty where it is missing or damaged.

    Source: [MS-OLEPS] 2.20 to 2.22. olefile's own reader believes the counts that the file declares, and a damaged one
    keeps it busy for minutes.
    """
    import olefile

    try:
        with olefile.OleFileIO(path) as container:
            if not container.exists(_SUMMARY):
                return "", ""
            data = container.openstream(_SUMMARY).read(_MAX_SUMMARY_BYTES)
        (start,) = struct.unpack_from("<L", data, 44)
        (count,) = struct.unpack_from("<L", data, start + 4)
        places = dict(struct.unpack_from("<LL", data, start + 8 + 8 * n) for n in range(min(count, 100)))
        encoding = "utf-8"
        if 1 in places:
            (page,) = struct.unpack_from("<H", data, start + places[1] + 4)
            encoding = {65001: "utf-8", 1200: "utf-16-le"}.get(page, f"cp{page}")
        return _words(data, start + places.get(2, len(data)), encoding), _words(
            data, start + places.get(4, len(data)), encoding
        )
    except (LookupError, *_FAILURES):
        return "", ""


def _words(data: bytes, at: int, encoding: str) -> str:
    """The string property at an offset; empty where there is none."""
    if at + 8 > len(data):
        return ""
    kind, size = struct.unpack_from("<LL", data, at)
    if kind == _VT_LPWSTR:
        size, encoding = 2 * size, "utf-16-le"
    elif kind != _VT_LPSTR:
        return ""
    text = data[at + 8 : at + 8 + min(size, 2000)].decode(encoding, "replace")
    return clean(text.partition("\x00")[0]).strip()
