"""The reading order of lines that were found one by one: columns, rows, blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from services.content import BlockKind, Box
from services.ocr.layout import Line, LooseBlock, LooseWord, list_marker, union

COLUMN_LINES = 6
COLUMN_WIDTH = 10.0
COLUMN_FILL = 0.6
"""Lines on either side of a gap, the heights of type that half of them are wide at least, and the share of the side's
width that these fill: then the gap parts columns of prose. Else it stands within rows, as in receipts and tables."""

GUTTER = 1.0
"""Heights of type that the gap between two columns is wide at least."""

BAND_GAP = 0.35
BLOCK_GAP = 0.8
"""Heights of type of white that part bands (columns begin and end at one), and blocks."""


@dataclass(frozen=True, slots=True)
class FoundLine:
    """A line of words; `box` is where it stands on the straightened page, in any unit, which orders it."""

    words: tuple[LooseWord, ...]
    box: Box

    @property
    def height(self) -> float:
        return self.box[3] - self.box[1]

    @property
    def middle(self) -> float:
        return (self.box[1] + self.box[3]) / 2


def arrange(lines: Sequence[FoundLine], points: float) -> list[LooseBlock]:
    """Blocks of rows in reading order: columns of prose one after the other, all else row by row.

    `points` is the size in points of the unit of the lines' boxes.
    """
    found = [line for line in lines if line.words]
    if not found:
        return []
    size = median(line.height for line in found)
    blocks: list[LooseBlock] = []
    for region in _regions(found, size):
        blocks += _blocks(region, size, points)
    return blocks


def _regions(lines: list[FoundLine], size: float) -> list[list[FoundLine]]:
    """`lines` cut into columns where there are any, in reading order."""
    bands = _bands(lines, BAND_GAP * size)
    regions: list[list[FoundLine]] = []
    plain: list[FoundLine] = []
    start = 0
    while start < len(bands):
        # As many bands as have a gap in common; their columns are read down to the last of them.
        together: list[FoundLine] = []
        parts: list[list[FoundLine]] = []
        end = start
        for number in range(start, len(bands)):
            columns = _columns(together + bands[number], GUTTER * size)
            if len(columns) < 2:
                break
            together = together + bands[number]
            if all(_is_prose(column, size) for column in columns):
                parts, end = columns, number + 1
        if parts:
            if plain:
                regions.append(plain)
                plain = []
            regions += parts
            start = end
        else:
            plain = plain + bands[start]
            start += 1
    if plain:
        regions.append(plain)
    return regions


def _bands(lines: list[FoundLine], gap: float) -> list[list[FoundLine]]:
    """`lines` cut wherever a stripe of white, `gap` high, goes through all of the page's width; from top to bottom."""
    return _cut(lines, gap, 1)


def _columns(lines: list[FoundLine], gap: float) -> list[list[FoundLine]]:
    """`lines` cut wherever a stripe of white, `gap` wide, goes through all of them.

    From left to right.
    """
    return _cut(lines, gap, 0)


def _cut(lines: list[FoundLine], gap: float, axis: int) -> list[list[FoundLine]]:
    parts: list[list[FoundLine]] = []
    end = float("-inf")
    for line in sorted(lines, key=lambda one: one.box[axis]):
        if line.box[axis] - end > gap:
            parts.append([])
        parts[-1].append(line)
        end = max(end, line.box[axis + 2])
    return parts


def _is_prose(lines: list[FoundLine], size: float) -> bool:
    if len(lines) < COLUMN_LINES:
        return False
    box = union([line.box for line in lines])
    width = median(line.box[2] - line.box[0] for line in lines)
    return width >= COLUMN_WIDTH * size and width >= COLUMN_FILL * (box[2] - box[0])


def _blocks(lines: list[FoundLine], size: float, points: float) -> list[LooseBlock]:
    blocks: list[LooseBlock] = []
    bottom = float("-inf")
    for row in _rows(lines):
        box = union([line.box for line in row])
        if box[1] - bottom > BLOCK_GAP * size:
            blocks.append(LooseBlock(BlockKind.PARAGRAPH))
        words = [word for line in row for word in line.words]
        blocks[-1].lines.append(Line(words, points * median(line.height for line in row)))
        bottom = box[3] if box[1] - bottom > BLOCK_GAP * size else max(bottom, box[3])
    for block in blocks:
        marked, numbered = list_marker(block.lines[0])
        if marked:
            block.kind, block.level, block.ordered = BlockKind.LIST_ITEM, 1, numbered
    return blocks


def _rows(lines: list[FoundLine]) -> list[list[FoundLine]]:
    """`lines` that stand beside each other, each row from left to right, the rows from top to bottom."""
    rows: list[list[FoundLine]] = []
    for line in sorted(lines, key=lambda one: one.middle):
        # The first of a row sets its height, or a slanted row would take in the next.
        first = rows[-1][0] if rows else None
        if first is not None and abs(line.middle - first.middle) < 0.5 * min(line.height, first.height):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [sorted(row, key=lambda one: one.box[0]) for row in rows]
