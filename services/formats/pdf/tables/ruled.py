"""Finds tables by the straight lines of a page.

Grids that enclose every cell, and frames that hold a table.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.content import Box
from services.formats.pdf.tables.columns import Ruling
from services.formats.pdf.tables.words import PlacedWord, VisualLine, split_phrases, turned, visual_lines
from services.ocr.layout import union

if TYPE_CHECKING:
    from services.formats.pdf.pictures import Rule

TOLERANCE_PT = 3.0
"""Distance up to which lines are joined and crossings are seen. Source: pdfplumber's default."""

MAX_RULES = 3000
"""Above it the page is a drawing; the finder's time grows with the crossings."""

MAX_CROSSINGS = 40_000
"""Level lines times upright ones, put together: a page of small print has 150 by 60."""

MAX_FRAMES = 60
"""Of one page; a form has some twenty."""

MAX_STACK = 200
"""Level lines below one that are compared with it."""

MAX_GAPS = 200
"""Wide gaps of one enclosed cell that are looked at; a row or two tell what it holds."""

MIN_FRAME_PT = 60.0
"""Width from which lines can hold a table."""


@dataclass(slots=True)
class RuledGrid:
    """A grid of enclosed cells with the words in them, row by row; `box` is its frame."""

    box: Box
    cells: list[list[list[PlacedWord]]]


def read_ruling(rules: Sequence[Rule], quarter: int, *, faint: bool) -> Ruling:
    """`rules` turned as the words are, pieces of one line put together.

    None where there are too many for a table.

    `faint` takes the sides of filled areas too: some tables are drawn by colour alone, others have their cells filled
    line by line, which says nothing of their rows.
    """
    rules = [rule for rule in rules if faint or not rule.faint]
    if not rules or len(rules) > MAX_RULES:
        return Ruling()
    from pdfplumber.table import merge_edges

    edges: list[dict[str, Any]] = []
    for rule in rules:
        x0, y0, x1, y1 = turned(rule.box, quarter)
        level = rule.level if quarter in (0, 180) else not rule.level
        edges.append(
            {
                "x0": x0, "x1": x1, "top": y0, "bottom": y1, "width": x1 - x0, "height": y1 - y0,
                "orientation": "h" if level else "v", "object_type": "line",
            }
        )  # fmt: skip
    merged = merge_edges(edges, TOLERANCE_PT, TOLERANCE_PT, TOLERANCE_PT, TOLERANCE_PT)
    boxes = {"h": [], "v": []}  # type: dict[str, list[Box]]
    for e in merged:
        boxes[e["orientation"]].append((float(e["x0"]), float(e["top"]), float(e["x1"]), float(e["bottom"])))
    return Ruling(tuple(sorted(boxes["h"], key=lambda b: b[1])), tuple(sorted(boxes["v"])))


def find_frames(ruling: Ruling) -> list[Box]:
    """Boxes around lines that touch, and around stacks of level lines of one length: what may hold a table."""
    boxes = [*ruling.level, *ruling.upright]
    if len(ruling.level) < 2 or len(ruling.level) * len(ruling.upright) > MAX_CROSSINGS:
        return []
    parent = list(range(len(boxes)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, a in enumerate(ruling.level):
        for j, b in enumerate(ruling.upright, len(ruling.level)):
            if (
                a[0] - TOLERANCE_PT <= b[0] <= a[2] + TOLERANCE_PT
                and b[1] - TOLERANCE_PT <= a[1] <= b[3] + TOLERANCE_PT
            ):
                parent[root(i)] = root(j)
    for i, a in enumerate(ruling.level):
        for j in range(i + 1, min(i + 1 + MAX_STACK, len(ruling.level))):
            b = ruling.level[j]
            if abs(a[0] - b[0]) <= TOLERANCE_PT and abs(a[2] - b[2]) <= TOLERANCE_PT and root(i) != root(j):
                parent[root(j)] = root(i)
                break
    groups: dict[int, list[int]] = {}
    for i in range(len(boxes)):
        groups.setdefault(root(i), []).append(i)
    frames: list[Box] = []
    for members in groups.values():
        frame = union([boxes[i] for i in members])
        levels = sum(i < len(ruling.level) for i in members)
        if levels >= 2 and frame[2] - frame[0] >= MIN_FRAME_PT and frame[3] - frame[1] >= 8:
            frames.append(frame)
    return sorted(frames, key=lambda f: (f[0] - f[2]) * (f[3] - f[1]))[:MAX_FRAMES]


def find_grids(ruling: Ruling, words: Sequence[PlacedWord]) -> list[RuledGrid]:
    """The grids whose enclosed cells are the table's cells.

    A grid counts from two rows and two columns with words in a third of its cells; not where words stand between the
    cells, nor where single cells hold several rows or columns: its lines are then only a part of the table's structure.
    """
    if min(len(ruling.level), len(ruling.upright)) < 2 or len(ruling.level) * len(ruling.upright) > MAX_CROSSINGS:
        return []
    found: list[RuledGrid] = []
    for rows in _grids(ruling):
        frame = union([cell for row in rows for cell in row if cell])
        if any(_overlap(frame, other.box) for other in found):
            continue
        cells = _cells_of(rows, [w for w in words if holds(frame, w.box)])
        if cells is not None:
            found.append(RuledGrid(frame, cells))
    return found


def _cells_of(rows: Sequence[Sequence[Box | None]], words: Sequence[PlacedWord]) -> list[list[list[PlacedWord]]] | None:
    """The cells of a grid with their words, empty rows and columns left out.

    None where they are not a table's.
    """
    cells, crossing = _fill(rows, words)
    cells = [row for row in cells if any(row)]
    columns = [c for c in range(len(rows[0])) if any(row[c] for row in cells)]
    cells = [[row[c] for c in columns] for row in cells]
    filled = [cell for row in cells for cell in row if cell]
    if len(cells) < 2 or len(columns) < 2 or len(filled) < max(3, len(cells) * len(columns) / 3):
        return None
    placed = sum(len(cell) for cell in filled)
    # Words between the cells would be lost, labels written over lines belong to a drawing.
    if placed < 0.9 * len(words) or crossing > 0.2 * placed or _crowded(cells) > 0.25 * placed:
        return None
    return [[in_order(cell) for cell in row] for row in cells]


def _crowded(cells: Sequence[Sequence[Sequence[PlacedWord]]]) -> int:
    """How many words stand in cells that hold several rows or columns of the table."""
    count = 0
    for row in cells:
        is_stacked = len(stacked(row)) >= 2
        count += sum(len(cell) for cell in row if is_stacked or holds_rows(cell))
    return count


def _fill(
    rows: Sequence[Sequence[Box | None]], words: Sequence[PlacedWord]
) -> tuple[list[list[list[PlacedWord]]], int]:
    """(the words whose middle lies in each cell, how many of them reach over its sides)."""
    placed = sorted(((w.box[1] + w.box[3]) / 2, i) for i, w in enumerate(words))
    heights = [height for height, _ in placed]
    crossing = 0
    cells: list[list[list[PlacedWord]]] = []
    for row in rows:
        cells.append([])
        for box in row:
            inside: list[PlacedWord] = []
            if box is not None:
                for _, i in placed[bisect_left(heights, box[1]) : bisect_left(heights, box[3])]:
                    word = words[i]
                    if box[0] <= (word.box[0] + word.box[2]) / 2 < box[2]:
                        inside.append(word)
                        crossing += word.box[0] < box[0] - 2 or word.box[2] > box[2] + 2
            cells[-1].append(inside)
    return cells, crossing


def in_order(cell: Sequence[PlacedWord]) -> list[PlacedWord]:
    """The words of a cell line by line."""
    return [word for line in visual_lines(cell) for word in line.words]


def holds_rows(cell: Sequence[PlacedWord]) -> bool:
    """True where one enclosed cell holds several values below or beside each other, so is none of the table's."""
    lines: list[VisualLine] = visual_lines(cell)
    phrases = [split_phrases(line.words) for line in lines]
    if len(lines) < 2:
        row = phrases[0] if phrases else []
        return len(row) >= 3 and sum(p.is_number for p in row) >= 0.5 * len(row)
    numbers = sum(all(p.is_number and p.text[-1:].isalnum() for p in ps) for ps in phrases)
    if numbers >= 3 and numbers >= 0.7 * len(lines):
        return True
    parted = [ps for ps in phrases if len(ps) >= 2]
    values = sum(p.is_number for ps in parted for p in ps[1:]) >= 0.5 * sum(len(ps) - 1 for ps in parted)
    if len(parted) < (2 if values else 3) or len(parted) < 0.5 * len(lines):
        return False
    # Wide gaps of justified lines stand anywhere; those of columns stand below each other.
    gaps = [(p.x1, q.x0) for row in parted for p, q in itertools.pairwise(row)]
    words = [w.box for line in lines for w in line.words]
    for left, right in gaps[:MAX_GAPS]:
        x = (left + right) / 2
        support = sum(x0 <= x <= x1 for x0, x1 in gaps)
        blocked = sum(x0 < x < x1 for x0, _, x1, _ in words)
        if support >= (2 if values else 3) and support >= 2 * blocked:
            return True
    return False


def stacked(row: Sequence[Sequence[PlacedWord]]) -> list[int]:
    """Columns of an enclosed row whose cells hold several rows of the table, one below the other.

    They have the same number of lines at the same heights: from two where all are numbers, else from three in three
    columns or five in two, which wrapped text does not come to by chance.
    """
    counts: dict[int, list[int]] = {}
    numeric: dict[int, list[int]] = {}
    heights: dict[int, list[float]] = {}
    for column, cell in enumerate(row):
        lines = visual_lines(cell)
        if len(lines) < 2:
            continue
        first = heights.setdefault(len(lines), [line.baseline for line in lines])
        if any(abs(line.baseline - height) > 0.3 * line.size for line, height in zip(lines, first, strict=True)):
            continue
        counts.setdefault(len(lines), []).append(column)
        phrases = [p for line in lines for p in split_phrases(line.words)]
        if all(p.is_number and p.text[-1:].isalnum() for p in phrases):
            numeric.setdefault(len(lines), []).append(column)
    filled = sum(bool(cell) for cell in row)
    for lines_each, columns in sorted(counts.items(), reverse=True):
        alike = len(columns) >= 0.8 * filled
        if alike and ((lines_each >= 3 and len(columns) >= 3) or (lines_each >= 5 and len(columns) >= 2)):
            return columns
        if len(numeric.get(lines_each, ())) >= 2:
            return columns
    return []


def closed(ruling: Ruling, frames: Sequence[Box]) -> Ruling:
    """`ruling` with the sides added that a table leaves open: most of its level lines end there one below the other."""
    upright = list(ruling.upright)
    for frame in frames:
        inner = [
            b for b in ruling.upright if b[0] >= frame[0] - 1 and b[2] <= frame[2] + 1 and _overlap(_grown(b), frame)
        ]
        if not inner:
            continue
        levels = [b for b in ruling.level if _overlap(_grown(b), frame)]
        for side in (0, 2):
            ends = [b for b in levels if abs(b[side] - frame[side]) <= TOLERANCE_PT]
            drawn = any(abs(b[0] - frame[side]) <= 2 * TOLERANCE_PT for b in inner)
            if len(ends) >= 2 and len(ends) >= 0.6 * len(levels) and not drawn:
                x = frame[side]
                upright.append((x, min(b[1] for b in ends), x, max(b[3] for b in ends)))
    return Ruling(ruling.level, tuple(sorted(upright)))


def _grown(line: Box) -> Box:
    return (line[0] - 1, line[1] - 1, line[2] + 1, line[3] + 1)


def _grids(ruling: Ruling) -> list[list[list[Box | None]]]:
    """Cells by row and column for each grid on the page.

    None where a merged cell leaves a place empty.
    """
    from pdfplumber.table import cells_to_tables, edges_to_intersections, intersections_to_cells

    edges: list[dict[str, Any]] = [
        {
            "x0": box[0], "x1": box[2], "top": box[1], "bottom": box[3],
            "width": box[2] - box[0], "height": box[3] - box[1],
            "orientation": orientation, "object_type": "line",
        }
        for orientation, boxes in (("h", ruling.level), ("v", ruling.upright))
        for box in boxes
    ]  # fmt: skip
    cells = intersections_to_cells(edges_to_intersections(edges, TOLERANCE_PT, TOLERANCE_PT))
    grids = []
    for table in cells_to_tables(cells):
        boxes: list[Box] = [(float(c[0]), float(c[1]), float(c[2]), float(c[3])) for c in table]
        tops = sorted({b[1] for b in boxes})
        lefts = sorted({b[0] for b in boxes})
        at = {(b[1], b[0]): b for b in boxes}
        grids.append([[at.get((top, left)) for left in lefts] for top in tops])
    return grids


def holds(box: Box, word: Box) -> bool:
    """True where the middle of `word` lies in `box`."""
    x, y = (word[0] + word[2]) / 2, (word[1] + word[3]) / 2
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def _overlap(a: Box, b: Box) -> bool:
    return min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])
