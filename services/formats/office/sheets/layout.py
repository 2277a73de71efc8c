"""Lays the rows of a spreadsheet out as pages.

Cells that stand together are tables, one that stands alone is a paragraph.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from services.content import BlockKind, Mark, Page
from services.formats.kit.page_builder import PageBuilder, link, one_line

PAGE_CHARS = 1_000_000
"""A page is closed after the row that passes this; empty cells count, as their separators stand in the text.

Source: as for CSV (`services.formats.data.csv`): the rows of a page are held twice, as text and as cells."""

_LONGEST_LIST = 20
"""Rows up to which cells in one column are paragraphs, such as a title and notes; longer ones are a table."""

_YEARS = range(1900, 2101)
"""Integers that make a header row as words do."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell with text; `column` counts from 0."""

    column: int
    text: str
    is_value: bool = False
    """True for numbers, dates and the like, which headers seldom hold."""


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of a row that are not empty, by column; `index` counts from 0."""

    index: int
    cells: Sequence[Cell]
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class CellComment:
    """A remark on a cell; row and column count from 0."""

    row: int
    column: int
    author: str
    text: str


@dataclass(slots=True)
class Sheet:
    """What is known of a sheet beside its rows."""

    name: str
    hidden: bool = False
    hidden_columns: set[int] = field(default_factory=set)
    """Columns, from 0, that are not shown; may be filled while the rows are read."""
    comments: Sequence[CellComment] = ()
    links: Mapping[tuple[int, int], str] = field(default_factory=dict)
    """Addresses by (row, column)."""
    header: str = ""
    footer: str = ""
    closing: Sequence[tuple[BlockKind, str]] = ()
    """Text of charts and text boxes, which float over the cells."""


@dataclass(frozen=True, slots=True)
class SheetPage:
    """A page and the last row on it, from 0.

    On the last page of a sheet beyond all rows.
    """

    page: Page
    last_row: int


def lay_out(sheet: Sheet, rows: Iterable[Row], first_number: int) -> Iterator[SheetPage]:
    """The pages of a sheet, at least one, numbered from `first_number`.

    Each holds its table's header row again.
    """
    writer = _Writer(sheet, first_number)
    for row in rows:
        if row.cells:
            yield from writer.feed(row)
    yield writer.finish()


class _Writer:
    """The page under construction and the band of rows that stand together."""

    def __init__(self, sheet: Sheet, number: int) -> None:
        self._sheet = sheet
        self._comments = sorted(sheet.comments, key=lambda note: (note.row, note.column))
        self._next_comment = 0
        self._band: list[Row] = []
        self._columns: set[int] = set()
        self._chars = 0
        self._header: Row | None = None
        self._begin(number)
        self._add(BlockKind.HEADING, sheet.name, level=1, hidden=sheet.hidden)
        self._add(BlockKind.PAGE_HEADER, sheet.header, hidden=sheet.hidden)

    def _begin(self, number: int) -> None:
        self._builder = PageBuilder(number)
        self._count = 0
        self._linked: list[tuple[int, int, int, str]] = []

    def feed(self, row: Row) -> Iterator[SheetPage]:
        """Takes the next row; gives the page that it completes."""
        if self._band and row.index - self._band[-1].index > 1 and not self._goes_on(row):
            self._flush()
        self._band.append(row)
        self._columns.update(cell.column for cell in row.cells)
        self._chars += sum(len(cell.text) for cell in row.cells)
        if self._builder.chars + self._chars + 3 * len(self._columns) * len(self._band) >= PAGE_CHARS:
            self._flush(is_open=True)
            yield SheetPage(self._build(), row.index)
            self._begin(self._builder.number + 1)

    def finish(self) -> SheetPage:
        """The last page, with what floats over the sheet."""
        self._flush()
        self._add_comments(None)
        for kind, text in self._sheet.closing:
            self._add(kind, text, hidden=self._sheet.hidden)
        self._add(BlockKind.PAGE_FOOTER, self._sheet.footer, hidden=self._sheet.hidden)
        return SheetPage(self._build(), 1 << 40)

    def _goes_on(self, row: Row) -> bool:
        """True where `row`, behind empty rows, continues the table above: it has values and is no header."""
        return len(self._columns) > 1 and row.index - self._band[-1].index <= 2 and not _is_header(row)

    def _flush(self, *, is_open: bool = False) -> None:
        """Writes the band; one that `is_open` goes on over the page's end, under its header row."""
        header, band = self._header, self._band
        self._header, self._band, self._columns, self._chars = None, [], set(), 0
        if not band:
            return
        whole = header is None and not is_open
        shown, out_of_sight = self._part_hidden(band)
        for region in _side_by_side(shown) if whole else [shown]:
            last_header = self._add_region(region, header, hidden=self._sheet.hidden)
            self._header = last_header if is_open else None
        self._add_region(out_of_sight, None, hidden=True)
        self._add_comments(band[-1].index)

    def _part_hidden(self, band: Sequence[Row]) -> tuple[list[Row], list[Row]]:
        """The rows as they are shown, and those parts of them that lie in hidden rows and columns."""
        hidden_columns = self._sheet.hidden_columns
        if not hidden_columns and not any(row.hidden for row in band):
            return list(band), []
        used = {cell.column for row in band for cell in row.cells}
        unseen = used & hidden_columns
        shown: list[Row] = []
        out_of_sight: list[Row] = []
        for row in band:
            if row.hidden:
                out_of_sight.append(row)
                continue
            visible = [cell for cell in row.cells if cell.column not in unseen]
            covered = [cell for cell in row.cells if cell.column in unseen]
            if visible:
                shown.append(replace(row, cells=visible))
            if covered:
                out_of_sight.append(replace(row, cells=covered))
        return shown, out_of_sight

    def _add_region(self, rows: Sequence[Row], header: Row | None, *, hidden: bool) -> Row | None:
        """Writes rows that make one table; gives its header row."""
        rows = [header, *rows] if header is not None and rows else list(rows)
        columns = sorted({cell.column for row in rows for cell in row.cells})
        start = 0
        if header is None:
            most = min(len(rows) - 1, _LONGEST_LIST) if len(columns) > 1 else 0
            while start < most and _is_title(rows[start], columns[0]):
                self._add_cell(rows[start], hidden=hidden)
                start += 1
        rows = rows[start:]
        columns = sorted({cell.column for row in rows for cell in row.cells})
        if not rows:
            return None
        if len(columns) == 1 and len(rows) <= _LONGEST_LIST:
            for row in rows:
                self._add_cell(row, hidden=hidden)
            return rows[0]
        position = {column: at for at, column in enumerate(columns)}
        table: list[list[str]] = []
        for row in rows:
            line = [""] * len(columns)
            for cell in row.cells:
                at = position[cell.column]
                line[at] = cell.text
                if self._sheet.links and (address := self._sheet.links.get((row.index, cell.column))):
                    self._linked.append((self._count, len(table), at, address))
            table.append(line)
        self._builder.add_table(table, hidden=hidden)
        self._count += 1
        return rows[0]

    def _add_cell(self, row: Row, *, hidden: bool) -> None:
        cell = row.cells[0]
        text = cell.text.strip()
        address = self._sheet.links.get((row.index, cell.column), "")
        self._add(BlockKind.PARAGRAPH, text, hidden=hidden, marks=link(0, len(text), address))

    def _add(
        self, kind: BlockKind, text: str, *, level: int = 0, hidden: bool = False, marks: Iterable[Mark] = ()
    ) -> None:
        if text.strip():
            self._builder.add(kind, text, level=level, hidden=hidden, marks=marks)
            self._count += 1

    def _add_comments(self, last_row: int | None) -> None:
        """Writes the remarks on cells down to `last_row`; all that are left without one."""
        while self._next_comment < len(self._comments):
            note = self._comments[self._next_comment]
            if last_row is not None and note.row > last_row:
                return
            self._next_comment += 1
            cell = f"Cell {column_name(note.column)}{note.row + 1}"
            author = f"{note.author} ({cell})" if note.author else cell
            self._add(BlockKind.COMMENT, f"{author}: {note.text}", hidden=self._sheet.hidden)

    def _build(self) -> Page:
        page = self._builder.build()
        marks = list(_cell_links(page, self._linked))
        if not marks:
            return page
        return replace(page, marks=tuple(sorted((*page.marks, *marks), key=lambda m: (m.char_start, -m.char_end))))


def _cell_links(page: Page, linked: Iterable[tuple[int, int, int, str]]) -> Iterator[Mark]:
    """Marks for (block, row, column, address), which are in order of blocks, rows and columns."""
    block_at, row_at, row_start = -1, 0, 0
    cell_at, cell_start = 0, 0
    for next_block, next_row, column_at, address in linked:
        block = page.blocks[next_block]
        if next_block != block_at:
            block_at, row_at, row_start = next_block, 0, block.char_start
            cell_at, cell_start = 0, row_start
        while row_at < next_row:
            row_start = page.text.index("\n", row_start) + 1
            row_at += 1
            cell_at, cell_start = 0, row_start
        row = block.rows[row_at]
        if column_at >= len(row):
            continue
        cell_start += sum(len(cell) + 3 for cell in row[cell_at:column_at])
        cell_at = column_at
        yield from link(cell_start, cell_start + len(row[column_at]), address)


def _is_title(row: Row, first_column: int) -> bool:
    """True for a line of words above a table: alone in its row, in the table's first column."""
    cell = row.cells[0]
    return len(row.cells) == 1 and cell.column == first_column and not cell.is_value


def _is_header(row: Row) -> bool:
    """True where no cell holds a value, years left aside, or where there is but one cell."""
    return len(row.cells) < 2 or not any(cell.is_value and not _is_year(cell.text) for cell in row.cells)


def _is_year(text: str) -> bool:
    return len(text) == 4 and text.isascii() and text.isdecimal() and int(text) in _YEARS


def _side_by_side(rows: Sequence[Row]) -> list[list[Row]]:
    """The tables that stand beside each other, from the left; mostly one.

    Empty columns between them are not enough, as accounts have such between years: the tables must also have at least
    two columns and rows each, and end at different rows or begin more than a row apart.
    """
    extents: dict[int, tuple[int, int]] = {}
    for row in rows:
        for cell in row.cells:
            first, _ = extents.get(cell.column, (row.index, row.index))
            extents[cell.column] = (first, row.index)
    columns = sorted(extents)
    runs: list[list[int]] = []
    for column in columns:
        if runs and column - runs[-1][-1] == 1:
            runs[-1].append(column)
        else:
            runs.append([column])
    groups: list[list[int]] = []
    spans: list[tuple[int, int]] = []
    for run in runs:
        span = min(extents[c][0] for c in run), max(extents[c][1] for c in run)
        if groups and not _stand_apart(len(groups[-1]), spans[-1], len(run), span):
            groups[-1].extend(run)
            spans[-1] = min(spans[-1][0], span[0]), max(spans[-1][1], span[1])
        else:
            groups.append(run)
            spans.append(span)
    if len(groups) < 2:
        return [list(rows)]
    group_of = {column: at for at, group in enumerate(groups) for column in group}
    regions: list[list[Row]] = [[] for _ in groups]
    for row in rows:
        parts: dict[int, list[Cell]] = {}
        for cell in row.cells:
            parts.setdefault(group_of[cell.column], []).append(cell)
        for at, cells in parts.items():
            regions[at].append(replace(row, cells=cells))
    return regions


def _stand_apart(columns: int, span: tuple[int, int], next_columns: int, next_span: tuple[int, int]) -> bool:
    """True for two runs of columns that make tables of their own, by how many they are and their first and last row."""
    if columns < 2 or next_columns < 2 or span[0] == span[1] or next_span[0] == next_span[1]:
        return False
    return span[1] != next_span[1] or abs(span[0] - next_span[0]) > 1


def column_name(column: int) -> str:
    """The letters of a column that counts from 0."""
    letters = ""
    column += 1
    while column > 0:
        column, rest = divmod(column - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def column_index(letters: str) -> int:
    """The column, from 0, of letters such as `AB`.

    -1 where they name none that a sheet has.
    """
    if not 1 <= len(letters) <= 3 or not (letters.isascii() and letters.isalpha()):
        return -1
    number = 0
    for letter in letters.upper():
        number = number * 26 + ord(letter) - 64
    return number - 1


def clean(text: str) -> str:
    """`text` of a cell without the characters that stand for none.

    Lone surrogates become U+FFFD.
    """
    if text.isprintable():
        return text
    kept = (char for char in text if char >= " " or char in "\n\t")
    return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in kept)


def header_text(code: str) -> str:
    """The words of a sheet's header or footer: `&L`, `&P` and their like are commands to the printer.

    Source: ECMA-376 part 1, 18.3.1.46.
    """
    text = code.replace("&&", "\ue000")
    text = re.sub(r'&"[^"]{0,200}"|&K[0-9A-Fa-f+\-]{6}|&\d{1,3}|&[LCR]', " ", text)
    return one_line(re.sub(r"&[A-Za-z]", " ", text).replace("\ue000", "&"))
