"""Ruled tables of a PDF page: the grid by pdfplumber's finder from PDFium's lines, the words by PDFium."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.content import BlockKind, Box
from services.ocr.layout import LooseBlock, LooseWord, union

if TYPE_CHECKING:
    from services.formats.pdf_pictures import Rule
    from services.formats.pdf_text import TextLine

TOLERANCE_PT = 3.0
"""Distance up to which lines are joined and crossings are seen. Source: pdfplumber's default."""

MIN_RULES = 4
"""Level, and upright, lines together that a page needs before a table is looked for: a table has a frame at least."""

MAX_RULES = 3000
"""Above it the page is a drawing; the finder's time grows with the crossings."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table's box and the words of its cells, row by row."""

    box: Box
    cells: list[list[list[LooseWord]]]


def has_table_lines(rules: Sequence[Rule]) -> bool:
    """True where the lines of a page could make a table."""
    level = sum(rule.level for rule in rules)
    return MIN_RULES <= len(rules) <= MAX_RULES and level >= 2 and len(rules) - level >= 2


def find_tables(rules: Sequence[Rule], lines: Sequence[TextLine]) -> list[Table]:
    """The tables that `rules` draw, with the words of `lines` whose middle lies in a cell.

    A grid counts as a table from two rows and two columns with words in at least two of its cells and a third of them.
    """
    grids = _grids(rules)
    words = [word for line in lines for word in line.words]
    tables: list[Table] = []
    for grid in grids:
        frame = union([cell for row in grid for cell in row if cell])
        if any(_overlap(frame, table.box) for table in tables):
            continue
        inside = [w for w in words if _holds(frame, w.box)]
        cells = [[[w for w in inside if cell and _holds(cell, w.box)] for cell in row] for row in grid]
        cells = [row for row in cells if any(row)]
        columns = [c for c in range(len(grid[0])) if any(row[c] for row in cells)]
        cells = [[row[c] for c in columns] for row in cells]
        filled = sum(bool(cell) for row in cells for cell in row)
        if len(cells) < 2 or len(columns) < 2 or filled < max(2, len(cells) * len(columns) / 3):
            continue
        placed = sum(len(cell) for row in cells for cell in row)
        if placed < 0.9 * len(inside):
            # Words between the cells would be lost: the frame holds more than a table.
            continue
        tables.append(Table(frame, cells))
    return tables


def _grids(rules: Sequence[Rule]) -> list[list[list[Box | None]]]:
    """Cells by row and column for each grid on the page; None where a merged cell leaves a place empty."""
    from pdfplumber.table import cells_to_tables, edges_to_intersections, intersections_to_cells, merge_edges

    edges: list[dict[str, Any]] = [
        {
            "x0": rule.box[0], "x1": rule.box[2], "top": rule.box[1], "bottom": rule.box[3],
            "width": rule.box[2] - rule.box[0], "height": rule.box[3] - rule.box[1],
            "orientation": "h" if rule.level else "v", "object_type": "line",
        }
        for rule in rules
    ]  # fmt: skip
    merged = merge_edges(edges, TOLERANCE_PT, TOLERANCE_PT, TOLERANCE_PT, TOLERANCE_PT)
    cells = intersections_to_cells(edges_to_intersections(merged, TOLERANCE_PT, TOLERANCE_PT))
    grids = []
    for table in cells_to_tables(cells):
        boxes: list[Box] = [(float(c[0]), float(c[1]), float(c[2]), float(c[3])) for c in table]
        tops = sorted({b[1] for b in boxes})
        lefts = sorted({b[0] for b in boxes})
        at = {(b[1], b[0]): b for b in boxes}
        grids.append([[at.get((top, left)) for left in lefts] for top in tops])
    return grids


def _holds(box: Box, word: Box) -> bool:
    x, y = (word[0] + word[2]) / 2, (word[1] + word[3]) / 2
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def _overlap(a: Box, b: Box) -> bool:
    return min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])


def take_out(lines: Sequence[TextLine], table: Table) -> tuple[list[TextLine], int]:
    """(`lines` without the words of `table`, the index among them at which the table stood)."""
    from dataclasses import replace

    taken = {id(word) for row in table.cells for cell in row for word in cell}
    left: list[TextLine] = []
    position: int | None = None
    for line in lines:
        words = [word for word in line.words if id(word) not in taken]
        if len(words) != len(line.words) and position is None:
            position = len(left)
        if words:
            left.append(line if len(words) == len(line.words) else replace(line, words=words))
    return left, len(left) if position is None else position


def table_block(table: Table) -> LooseBlock:
    """`table` as a block of the page."""
    return LooseBlock(BlockKind.TABLE, cells=table.cells, box=table.box)
