"""Finds the tables of a PDF page, ruled and unruled.

From its lines of words and the straight lines drawn on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from services.content import BlockKind, Box
from services.formats.pdf.tables.columns import Ruling
from services.formats.pdf.tables.ruled import closed, find_frames, find_grids, holds, read_ruling
from services.formats.pdf.tables.unruled import find_aligned
from services.formats.pdf.tables.words import PlacedWord, has_columns, place_words, quarter_of, running_text
from services.ocr.layout import Line, LooseBlock, LooseWord, union

if TYPE_CHECKING:
    from services.formats.pdf.drawing import Rule


_HYPHENS = "-\u00ad\u2010"

AnyLine = TypeVar("AnyLine", bound=Line)
Cells = list[list[list[PlacedWord]]]

MIN_WORDS, MAX_WORDS = 4, 20_000
"""Of one page; a dense newspaper page has 12,000. More is a drawing made of letters."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table's box and the words of its cells, row by row."""

    box: Box
    cells: list[list[list[LooseWord]]]
    source: tuple[LooseWord, ...]
    """The words of the page that it is made of; dots that lead from a label to its number are in no cell."""
    quarter: int = 0
    """Direction of its lines, degrees clockwise: 90 for a table set sideways, to be read from top to bottom."""


def page_tables(lines: Sequence[Line], rules: Sequence[Rule] = ()) -> list[Table]:
    """The tables that `lines` and `rules` of a page hold.

    Boxes in points of the page as shown.

    Needs nothing but words with boxes and sizes: it works on lines from OCR too, in reading order, without rules.
    """
    tables: list[Table] = []
    for quarter in sorted({quarter_of(line) for line in lines}):
        words = place_words(lines, quarter)
        if not MIN_WORDS <= len(words) <= MAX_WORDS or not (len(rules) > 1 or has_columns(words)):
            continue
        rest: list[PlacedWord] = words
        cells: list[Cells] = []
        ruling, frames = Ruling(), list[Box]()
        for faint in (False, True) if any(rule.faint for rule in rules) else (True,):
            ruling = read_ruling(rules, quarter, faint=faint)
            if len(ruling.level) + len(ruling.upright) < 2:
                continue
            frames = find_frames(ruling)
            ruling = closed(ruling, frames)
            grids = find_grids(ruling, rest)
            taken = {id(w) for grid in grids for row in grid.cells for cell in row for w in cell}
            cells += [grid.cells for grid in grids]
            rest = [w for w in rest if id(w) not in taken]
        cells += [grid.cells for grid in find_aligned(rest, running_text(rest), ruling, frames)]
        leaders = [w.word for w in words if w.leader]
        tables.extend(_finished(table, leaders, quarter) for table in cells)
    return tables


def _finished(cells: Cells, leaders: Sequence[LooseWord], quarter: int) -> Table:
    """The table of `cells`: words broken at line ends are made whole, dots that lead to numbers taken off."""
    box = union([w.word.box for row in cells for cell in row for w in cell])
    source = [word for word in leaders if holds(box, word.box)]
    loose: list[list[list[LooseWord]]] = []
    for row in cells:
        loose.append([])
        for cell in row:
            words: list[LooseWord] = []
            baseline = 0.0
            for placed in cell:
                source.append(placed.word)
                joined = placed.word.joined and bool(words)
                if words and placed.baseline > baseline + 0.5 * placed.size:
                    text, joined = _across_lines(words[-1].text, placed.text)
                    words[-1] = replace(words[-1], text=text)
                words.append(replace(placed.word, text=placed.text, joined=joined))
                baseline = placed.baseline
            loose[-1].append(words)
    return Table(box, loose, tuple(source), quarter)


def _across_lines(end: str, start: str) -> tuple[str, bool]:
    """(`end`, which stands at the end of a cell's line, without the hyphen of a broken word; `start` adjoins it)."""
    if len(end) < 2 or end[-1] not in _HYPHENS or not end[-2].isalnum() or not start[:1].isalnum():
        return end, False
    broken = len(end) > 2 and end[-2].islower() and start[0].islower()
    return (end[:-1] if broken else end), True


def part_tables(lines: Sequence[AnyLine], tables: Sequence[Table]) -> tuple[list[AnyLine], list[tuple[int, Table]]]:
    """(`lines` without the words of `tables`, each table with the index among them at which it stood, in order)."""
    owner = {id(word): t for t, table in enumerate(tables) for word in table.source}
    left: list[AnyLine] = []
    places: dict[int, int] = {}
    for line in lines:
        words = []
        for word in line.words:
            t = owner.get(id(word))
            if t is None:
                words.append(word)
            else:
                places.setdefault(t, len(left))
        if words:
            left.append(line if len(words) == len(line.words) else replace(line, words=words))
    return left, sorted(((place, tables[t]) for t, place in places.items()), key=lambda cut: (cut[0], cut[1].box[1]))


def table_block(table: Table) -> LooseBlock:
    """`table` as a block of the page."""
    return LooseBlock(BlockKind.TABLE, cells=table.cells, box=table.box, upright=table.quarter in (0, 180))
