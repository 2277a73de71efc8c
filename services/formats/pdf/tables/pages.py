"""Marks tables that go on over a page break.

The table at the top of a page may be the rest of the one before.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from services.content import BlockKind
from services.formats.pdf.tables.words import looks_numeric
from services.ocr.layout import Line, LooseBlock, LooseWord

STRAY_CHARACTERS = 120
"""Text that may stand between a table and the page's edge: a page number, "continued", a unit."""

SAME_COLUMN_PT = 9.0
"""Distance of two columns' edges, or middles, up to which they are one column; programs set them anew on every page."""

_CAPTION = re.compile(r"\s*(?:table|tabelle|tableau|tabla|tabella|tabela|tabel)\s+[A-Z]?\.?\d", re.IGNORECASE)
_CONTINUED = re.compile(r"cont(?:inued|'d|\.|d\b)|forts|suite|contin", re.IGNORECASE)

Cells = list[list[list[LooseWord]]]


@dataclass(frozen=True, slots=True)
class _Tail:
    """The table that ended a page."""

    page: int
    upright: bool
    columns: list[tuple[float, float] | None]
    heading: tuple[str, ...]
    numeric: frozenset[int]


class TableContinuation:
    """Marks tables that go on from the page before.

    It sees the pages in order and holds one table's columns.
    """

    def __init__(self) -> None:
        self._tail: _Tail | None = None
        self._last_page = 0

    def wants_page_before(self, number: int, blocks: Sequence[LooseBlock]) -> bool:
        """True where a table begins page `number` and `number - 1`, whose last table it may be, was not marked."""
        first = next((i for i, block in enumerate(blocks) if block.kind is BlockKind.TABLE and block.cells), None)
        return first is not None and self._last_page != number - 1 and _is_near_edge(blocks[:first], above=True)

    def mark(self, number: int, blocks: Sequence[LooseBlock]) -> None:
        """Sets `continues` of the first table among the `blocks` of page `number` where it goes on from `number - 1`.

        It has the columns of the table that ended that page, and no heading: one that is repeated is its own.
        """
        tail, self._tail = self._tail, None
        self._last_page = number
        tables = [i for i, block in enumerate(blocks) if block.kind is BlockKind.TABLE and block.cells]
        if not tables:
            return
        first, last = tables[0], tables[-1]
        if tail is not None and tail.page == number - 1 and _is_near_edge(blocks[:first], above=True):
            blocks[first].continues = _goes_on(tail, blocks[first])
        if _is_near_edge(blocks[last + 1 :], above=False):
            table = blocks[last]
            heading = _texts(table.cells[0])
            numeric = _numeric_columns(table.cells[0 if table.continues else 1 :])
            if table.continues and tail is not None:
                heading, numeric = tail.heading, numeric | tail.numeric
            self._tail = _Tail(number, table.upright, _columns(table), heading, numeric)


def _is_near_edge(blocks: Sequence[LooseBlock], *, above: bool) -> bool:
    """True where `blocks`, between a table and the page's edge, hold next to nothing, and no caption of a new table."""
    texts = [line.text for block in blocks for line in block.lines]
    if any(block.cells for block in blocks) or sum(map(len, texts)) > STRAY_CHARACTERS:
        return False
    return not above or not any(_CAPTION.match(text) and not _CONTINUED.search(text) for text in texts)


def _texts(row: Sequence[Sequence[LooseWord]]) -> tuple[str, ...]:
    return tuple(Line(list(cell), 0).text.casefold() for cell in row)


def _numeric_columns(rows: Cells) -> frozenset[int]:
    """Columns behind the first in which most cells with words are numbers."""
    found = set()
    for column in range(1, len(rows[0]) if rows else 0):
        texts = [text for row in rows if (text := Line(row[column], 0).text)]
        if texts and sum(looks_numeric(text) for text in texts) >= 0.6 * len(texts):
            found.add(column)
    return frozenset(found)


def _columns(table: LooseBlock) -> list[tuple[float, float] | None]:
    """What the words of each column cover across the rows.

    None for a column without words.
    """
    low, high = (0, 2) if table.upright else (1, 3)
    found: list[tuple[float, float] | None] = []
    for column in range(len(table.cells[0])):
        boxes = [word.box for row in table.cells for word in row[column]]
        found.append((min(b[low] for b in boxes), max(b[high] for b in boxes)) if boxes else None)
    return found


def _goes_on(tail: _Tail, table: LooseBlock) -> bool:
    columns = _columns(table)
    if tail.upright != table.upright or len(columns) != len(tail.columns):
        return False
    pairs = [(a, b) for a, b in zip(tail.columns, columns, strict=True) if a is not None and b is not None]
    same = sum(
        min(abs(a[0] - b[0]), abs(a[1] - b[1]), abs(a[0] + a[1] - b[0] - b[1]) / 2) <= SAME_COLUMN_PT
        and min(a[1], b[1]) > max(a[0], b[0])
        for a, b in pairs
    )
    if len(pairs) < 2 or same < 0.8 * len(pairs):
        return False
    top = _texts(table.cells[0])
    if top == tail.heading:
        return False
    values = [top[column] for column in tail.numeric if top[column]]
    body = _numeric_columns(table.cells[1:])
    if not tail.numeric:
        return not body
    # A heading stands over numbers and is none; years are both.
    return bool(values) and sum(looks_numeric(value) for value in values) >= 0.6 * len(values)
