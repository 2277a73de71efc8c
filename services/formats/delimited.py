"""CSV and its kin (semicolons, tabs, bars): tables, a page for each million characters."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from services.content import DocumentInfo, Page, Part, Upload
from services.errors import UnreadableDocument
from services.formats import ExtractContext
from services.formats.assembly import PageBuilder
from services.formats.decoding import decode_text
from services.formats.paging import check_page_count, give_pages

PAGE_CHARS = 1_000_000
"""A page is closed after the row that passes this, and the next begins with the header row again.

Source: the rows of a page are held twice, as text and as cells; this keeps both below some 50 MB."""

_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 50
_SAMPLE_CHARS = 65_536
_MAX_FIELD_CHARS = 1_000_000


def extract_csv(upload: Upload, context: ExtractContext) -> Iterator[Part]:
    """One table a page, its first row the header."""
    text, _ = decode_text(upload.path.read_bytes())
    delimiter = find_delimiter(text)
    page_count = sum(1 for _ in _tables(text, delimiter)) or 1
    check_page_count(page_count, context.limits)
    yield DocumentInfo(page_count=page_count)
    yield from give_pages(_pages(text, delimiter), context)


def _pages(text: str, delimiter: str) -> Iterator[Page]:
    number = 0
    for number, rows in enumerate(_tables(text, delimiter), 1):
        page = PageBuilder(number)
        page.add_table(rows)
        yield page.build()
    if number == 0:
        yield PageBuilder(1).build()


def _tables(text: str, delimiter: str) -> Iterator[Sequence[Sequence[str]]]:
    """The rows of each page, each time with the header row first."""
    csv.field_size_limit(_MAX_FIELD_CHARS)
    rows: list[Sequence[str]] = []
    chars, fresh = 0, 0
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            rows.append(row)
            fresh += 1
            chars += sum(map(len, row)) + 3 * len(row)
            if chars >= PAGE_CHARS:
                yield rows
                rows, chars, fresh = rows[:1], 0, 0
    except csv.Error as error:
        raise UnreadableDocument(
            f"Line {reader.line_num:,} has a field of more than {_MAX_FIELD_CHARS:,} characters; a quotation mark may "
            "be missing its pair.",
            code="malformed_csv",
        ) from error
    if fresh:
        yield rows


def find_delimiter(text: str) -> str:
    """The delimiter that splits the first lines most evenly into most cells; a comma where none does.

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
