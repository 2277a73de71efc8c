"""Reads CSV and its kin (semicolons, tabs, bars) as tables.

A page for each million characters.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence

from services.content import DocumentInfo, Issue, Page, Part, Upload
from services.errors import UnreadableDocument
from services.formats.base import ExtractContext
from services.formats.kit.decoding import decode_text
from services.formats.kit.page_builder import PageBuilder
from services.formats.kit.paging import check_page_count, give_pages

PAGE_CHARS = 1_000_000
"""A page is closed after the row that passes this, and the next begins with the header row again.

Source: the rows of a page are held twice, as text and as cells; this keeps both below some 50 MB."""

_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 50
_SAMPLE_CHARS = 65_536
_MAX_FIELD_CHARS = 1_000_000
_LINE_END = re.compile(r"\r\n?|\n")
_MAX_NAMED = 10
"""Lines with an unpaired quotation mark that are named one by one."""


def extract_csv(upload: Upload, context: ExtractContext) -> Iterator[Part]:
    """One table a page, its first row the header.

    A quotation mark without its pair is a character of its line, and an Issue (`malformed_csv`) says so. Raises
    UnreadableDocument (`malformed_csv`) where a field has more than a million characters even so; TooLarge
    (`too_many_pages`).
    """
    text, _ = decode_text(upload.path.read_bytes())
    delimiter = find_delimiter(text)
    counted = _Rows(text, delimiter)
    page_count = sum(1 for _ in _tables(counted)) or 1
    check_page_count(page_count, context.limits)
    yield DocumentInfo(page_count=page_count)
    yield from counted.issues()
    yield from give_pages(_pages(_Rows(text, delimiter)), context)


class _Lines:
    """The lines of a text with their ends.

    The reader of rows may be sent back to the second line of a row.
    """

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self.number = 0
        """Of the line that was given last, from 1."""
        self.begin_row()

    def begin_row(self) -> None:
        """Notes that a row begins where the text stands."""
        self._row_at, self._first_end = self._at, self._at
        self.of_row = 0
        """Lines that were given since the row began."""
        self.is_open = False
        """True where the text ended and the row did not: only a quotation mark without its pair asks for more."""

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self._at >= len(self._text):
            self.is_open = self.of_row > 0
            raise StopIteration
        found = _LINE_END.search(self._text, self._at)
        start, self._at = self._at, len(self._text) if found is None else found.end()
        if not self.of_row:
            self._first_end = self._at
        self.of_row += 1
        self.number += 1
        return self._text[start : self._at]

    def go_back(self) -> tuple[str, int]:
        """(first line of the row, characters behind it that will be read again)."""
        chars = self._at - self._first_end
        self.number -= max(0, self.of_row - 1)
        self._at = self._first_end
        return self._text[self._row_at : self._first_end], chars


class _Rows:
    """The rows of a text, once.

    A quotation mark that would swallow the rows behind it is read as a character.
    """

    def __init__(self, text: str, delimiter: str) -> None:
        self._lines, self._delimiter = _Lines(text), delimiter
        self._width = 0
        self._unpaired: list[int] = []
        self._unpaired_count = 0
        self._may_reread = len(text)
        """Characters that may be read a second time; beyond it no mark is believed. Each unpaired mark goes back to
        where it stood, and a file could be made so that all of it is read again for every line."""

    def __iter__(self) -> Iterator[list[str]]:
        csv.field_size_limit(_MAX_FIELD_CHARS)
        lines = self._lines
        reader = csv.reader(lines, delimiter=self._delimiter)
        while self._may_reread >= 0:
            lines.begin_row()
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error:
                row = self._reread()
            else:
                if lines.of_row > 1 and (lines.is_open or self._swallows(row)):
                    row = self._reread()
            self._width = self._width or len(row)
            yield row
        for line in lines:
            yield self._unquoted(line)

    def issues(self) -> Iterator[Issue]:
        """What was wrong with the rows that were read."""
        if not self._unpaired_count:
            return
        shown = ", ".join(f"{line:,}" for line in self._unpaired)
        more = ", …" if self._unpaired_count > len(self._unpaired) else ""
        yield Issue(
            "malformed_csv",
            f"Quotation marks lack their pairs and were read as characters, in lines {shown}{more} "
            f"({self._unpaired_count:,} in all).",
        )

    def _swallows(self, row: Sequence[str]) -> bool:
        """True where a field over several lines holds as many tabs as a row: they are rows, and no text in a cell.

        Only for tabs: a text in a cell may well hold commas.
        """
        return self._delimiter == "\t" and any(
            _LINE_END.search(cell) and cell.count("\t") >= max(1, self._width - 1) for cell in row
        )

    def _reread(self) -> list[str]:
        """The first line of the row, its quotation marks as characters.

        The reader goes on behind that line.
        """
        line, chars = self._lines.go_back()
        self._may_reread -= chars
        self._unpaired_count += 1
        if len(self._unpaired) < _MAX_NAMED:
            self._unpaired.append(self._lines.number)
        return self._unquoted(line)

    def _unquoted(self, line: str) -> list[str]:
        cells = line.rstrip("\r\n").split(self._delimiter)
        if max(map(len, cells)) > _MAX_FIELD_CHARS:
            raise UnreadableDocument(
                f"Line {self._lines.number:,} has a field of more than {_MAX_FIELD_CHARS:,} characters. Split it, or "
                "name the file .txt.",
                code="malformed_csv",
            )
        return cells


def _pages(source: _Rows) -> Iterator[Page]:
    number = 0
    for number, rows in enumerate(_tables(source), 1):
        page = PageBuilder(number)
        page.add_table(rows)
        yield page.build()
    if number == 0:
        yield PageBuilder(1).build()


def _tables(source: _Rows) -> Iterator[Sequence[Sequence[str]]]:
    """The rows of each page, each time with the header row first."""
    rows: list[Sequence[str]] = []
    chars, fresh = 0, 0
    for row in source:
        if not any(cell.strip() for cell in row):
            continue
        rows.append(row)
        fresh += 1
        chars += sum(map(len, row)) + 3 * len(row)
        if chars >= PAGE_CHARS:
            yield rows
            rows, chars, fresh = rows[:1], 0, 0
    if fresh:
        yield rows


def find_delimiter(text: str) -> str:
    """The delimiter that splits the first lines most evenly into most cells.

    A comma where none does.

    `csv.Sniffer` is not used: it backtracks on long lines and takes letters for delimiters.
    """
    lines = text[:_SAMPLE_CHARS].split("\n")[:_SAMPLE_LINES]
    if len(text) > _SAMPLE_CHARS and len(lines) > 1:
        lines.pop()
    best, best_score = ",", 0.0
    for delimiter in _DELIMITERS:
        try:
            widths = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
        except csv.Error:
            continue
        if not widths:
            continue
        usual = max(set(widths), key=lambda width: (widths.count(width), width))
        agreement = widths.count(usual) / len(widths)
        score = agreement * min(usual - 1, 20) if usual > 1 else 0.0
        if score > best_score:
            best, best_score = delimiter, score
    return best
