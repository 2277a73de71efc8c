"""The rows of a worksheet as a stream, each cell as it is shown.

Read from the XML as it is inflated: openpyxl's read-only mode neither tells hidden rows nor bounds the shared strings,
python-calamine holds whole sheets and does not tell number formats, and both inflate without a limit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from services.content import Limits
from services.errors import TooLarge
from services.formats.kit.xml import Element
from services.formats.office.markup import is_on, local, whole_number
from services.formats.office.package import OfficePackage
from services.formats.office.sheets.layout import Cell, Row, Sheet, column_index, header_text
from services.formats.office.sheets.number_formats import compile_format
from services.formats.office.sheets.parts import SharedStrings, cell_text, forget, string_item

LAST_ROW = 1_048_575
LAST_COLUMN = 16_383
"""Counted from 0. Source: Excel specifications and limits."""

MAX_ROW_CHARS = 4_000_000
"""Of one row; the cells behind are left out. A row of 16,384 references to one long string has 500 million."""

_MAX_TAIL_BYTES = 16 * 1024**2
_MAX_LINKS = 65_530
"""Of one sheet. Source: Excel specifications and limits."""

_MAX_MARGINS = 3
"""Headers of one sheet: of odd, even and the first page. Source: ECMA-376 part 1, 18.3.1.46."""

_END_OF_CELLS = re.compile(rb"</(?:[\w.-]{1,60}:)?sheetData\s{0,8}>|<(?:[\w.-]{1,60}:)?sheetData\s{0,8}/>")
_CELLS_HELD = 1024
_SHOWN_HELD = 50_000


_SPARE_CHARS, _TIMES_UNPACKED = 10_000_000, 8
"""Source: a cell that refers to a shared string takes some 25 bytes of XML, so a table that repeats texts of 200
characters gives eight times its bytes; a hostile one, with strings of 32,767, a thousand times."""


@dataclass(slots=True)
class Budget:
    """Characters that a workbook may still give: a few shared strings can be referred to without end."""

    chars: int

    @classmethod
    def of(cls, unpacked_bytes: int, limits: Limits) -> Budget:
        """What a workbook of so many bytes, unpacked, may give: all that is allowed, or so many times what it holds."""
        return cls(min(limits.max_unpacked_bytes, _SPARE_CHARS + _TIMES_UNPACKED * unpacked_bytes))

    def take(self, count: int) -> None:
        """Raises TooLarge (`text_too_large`) when all is used up."""
        self.chars -= count
        if self.chars < 0:
            raise TooLarge(
                "The workbook shows more text than is read of one document. Split it.", code="text_too_large"
            )


class CellReader:
    """Reads the cells of one workbook's sheets."""

    def __init__(self, strings: SharedStrings, formats: Sequence[str], *, from_1904: bool, budget: Budget) -> None:
        self._strings = strings
        self._formats = formats
        self._from_1904 = from_1904
        self._budget = budget
        self._shown: dict[tuple[str, str], tuple[str, bool]] = {}
        self._columns: dict[str, int] = {}
        self.cut_rows = 0
        """Rows of which cells were left out because they passed `MAX_ROW_CHARS`."""

    def rows(self, package: OfficePackage, part: str, sheet: Sheet) -> Iterator[Row]:
        """The rows of `part` that hold anything.

        Hidden columns are noted in `sheet` before the first of them.

        What the sheet declares as its size is not believed. Raises what `OfficePackage.elements` does.
        """
        index, column, chars, held, noted = -1, -1, 0, 0, 0
        cells: list[Cell] = []
        for element in package.elements(part, "row", "c", "col"):
            name = local(element)
            if name == "c":
                column = self._column_of(element.get("r"), column)
                text, is_value = self._read(element)
                if text and column <= LAST_COLUMN:
                    chars += len(text)
                    if chars <= MAX_ROW_CHARS:
                        cells.append(Cell(column, text, is_value))
                    elif chars - len(text) <= MAX_ROW_CHARS:
                        self.cut_rows += 1
                held += 1
                if held % _CELLS_HELD == 0:
                    forget(element)
            elif name == "row":
                given = whole_number(element.get("r"), index + 2) - 1
                index = given if given > index else index + 1
                if cells and index <= LAST_ROW:
                    self._budget.take(min(chars, MAX_ROW_CHARS))
                    cells.sort(key=_column)
                    yield Row(index, cells, is_on(element.get("hidden")))
                cells, column, chars, held = [], -1, 0, 0
                forget(element)
            elif is_on(element.get("hidden")) and noted <= LAST_COLUMN:
                run = _hidden_run(element)
                noted += len(run)
                sheet.hidden_columns.update(run)
                forget(element)
            else:
                forget(element)

    def _column_of(self, reference: str | None, before: int) -> int:
        if not reference:
            return before + 1
        letters = reference.rstrip("0123456789")
        known = self._columns.get(letters)
        if known is None:
            known = column_index(letters.replace("$", ""))
            if len(self._columns) <= LAST_COLUMN:
                self._columns[letters] = known
        return known if known >= 0 else before + 1

    def _read(self, cell: Element) -> tuple[str, bool]:
        """What a cell shows, and whether that is a value rather than words."""
        raw = formula = ""
        inline = None
        for item in cell:
            name = local(item)
            if name == "v":
                raw = item.text or ""
            elif name == "f":
                formula = item.text or ""
            elif name == "is":
                inline = item
        kind = cell.get("t") or "n"
        if kind == "s":
            text = self._strings.get(whole_number(raw, -1))
            return self._words(text, cell), False
        if inline is not None:
            return self._words(string_item(inline), cell), False
        if not raw.strip():
            return (cell_text(f"={formula}") if formula and kind != "str" else ""), False
        if kind == "n":
            return self._number(raw, self._code_of(cell))
        if kind == "b":
            return ("TRUE" if is_on(raw) else "FALSE"), False
        if kind == "d":
            return cell_text(raw.replace("T00:00:00", "").replace("T", " ")).strip(), True
        text = cell_text(raw)
        return (text.strip() if kind == "e" else self._words(text, cell)), False

    def _code_of(self, cell: Element) -> str:
        style = whole_number(cell.get("s"))
        return self._formats[style] if 0 <= style < len(self._formats) else "General"

    def _words(self, text: str, cell: Element) -> str:
        code = self._code_of(cell)
        shown = text if code in ("General", "@") else compile_format(code).show_text(text)
        return shown if not shown.isspace() else ""

    def _number(self, raw: str, code: str) -> tuple[str, bool]:
        known = self._shown.get((code, raw))
        if known is None:
            try:
                known = (compile_format(code).show(float(raw), from_1904=self._from_1904), True)
            except ValueError:
                known = (cell_text(raw).strip(), False)
            if len(self._shown) >= _SHOWN_HELD:
                self._shown.clear()
            self._shown[code, raw] = known
        return known


def _column(cell: Cell) -> int:
    return cell.column


def _hidden_run(element: Element) -> range:
    low, high = whole_number(element.get("min"), 1) - 1, whole_number(element.get("max"), 1) - 1
    return range(max(0, low), min(high, LAST_COLUMN) + 1)


def read_tail(package: OfficePackage, part: str) -> tuple[dict[tuple[int, int], str], str, str]:
    """(links by row and column, header, footer) of a sheet, which stand behind its cells.

    The cells before are inflated and not parsed, so that the links are known when their cells are laid out.
    """
    from lxml import etree

    tail = bytearray()
    found = False
    overlap = b""
    for piece in package.stream(part):
        if found:
            tail += piece
        else:
            window = overlap + piece
            end = _end_of_cells(window)
            if end is not None:
                found = True
                tail += window[end:]
            overlap = window[-128:]
        if len(tail) > _MAX_TAIL_BYTES:
            break
    if not tail:
        return {}, "", ""
    parser = etree.XMLParser(
        recover=True, resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True,
        remove_pis=True,
    )  # fmt: skip
    try:
        root = etree.fromstring(b"<tail>" + bytes(tail), parser)
    except (etree.XMLSyntaxError, ValueError):
        return {}, "", ""
    return _read_tail(root, package.links(part)) if root is not None else ({}, "", "")


def _end_of_cells(window: bytes) -> int | None:
    at = window.find(b"sheetData")
    while at >= 0:
        match = _END_OF_CELLS.search(window, max(0, at - 70), at + 80)
        if match:
            return match.end()
        at = window.find(b"sheetData", at + 1)
    return None


def _read_tail(root: Element, targets: Mapping[str, str]) -> tuple[dict[tuple[int, int], str], str, str]:
    links: dict[tuple[int, int], str] = {}
    words: dict[str, list[str]] = {"Header": [], "Footer": []}
    for item in root.iter():
        name = local(item).rpartition(":")[2]
        if name == "hyperlink" and len(links) < _MAX_LINKS:
            place = cell_place((item.get("ref") or "").partition(":")[0])
            identifier = next(
                (value for key, value in item.attrib.items() if key.rpartition(":")[2].endswith("id")), ""
            )
            fragment = item.get("location") or ""
            address = targets.get(identifier, "") + (f"#{fragment}" if fragment else "")
            if place is not None and address:
                links[place] = address
        elif name[-6:] in words and name[:-6] in ("odd", "even", "first"):
            text = header_text(item.text or "")
            if text and text not in words[name[-6:]] and len(words[name[-6:]]) < _MAX_MARGINS:
                words[name[-6:]].append(text)
    return links, "\n".join(words["Header"]), "\n".join(words["Footer"])


def cell_place(reference: str) -> tuple[int, int] | None:
    """(row, column) from 0 of a reference such as `$B$3`; None where it is none."""
    plain = reference.replace("$", "")
    letters = plain.rstrip("0123456789")
    row, column = whole_number(plain[len(letters) :], 0) - 1, column_index(letters)
    return (row, column) if 0 <= row <= LAST_ROW and 0 <= column <= LAST_COLUMN else None
