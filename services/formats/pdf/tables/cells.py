"""Finds the rows and cells of a table whose place is known.

From its words and the lines drawn in it.
"""

from __future__ import annotations

import itertools
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from services.formats.pdf.tables.columns import Ruling, column_of, columns_under, cut_between, find_columns
from services.formats.pdf.tables.words import Phrase, PlacedWord, VisualLine

MAX_HEADING = 12
"""Rows, as lines of words; more is no heading but a table without numbers."""

TIGHT = 1.45
"""Sizes of type between two baselines up to which the second may go on with the cell of the first."""

_YEAR = re.compile(r"(?:1[89]|20)\d\d\*?")
"""What looks like an amount and is as often the heading of a column."""

_OPEN_ENDS = ("-", ",", "(", "/", "&", " and", " of", " the", " or", " for", " to", " in", " und", " et", " de")


@dataclass(slots=True)
class Grid:
    """A table's cells by row and column, each with its words in reading order.

    What its columns cover.
    """

    cells: list[list[list[PlacedWord]]]
    columns: list[tuple[float, float]]


@dataclass(slots=True)
class _Row:
    """Phrases of one row by column; more than one where a cell has several lines."""

    at: dict[int, list[Phrase]]
    line: VisualLine
    last: VisualLine


def build_grid(lines: Sequence[VisualLine], ruling: Ruling) -> Grid:
    """The cells of the table that `lines` (already cut into phrases) make up."""
    columns = find_columns(lines)
    for line in lines:
        line.phrases = [part for phrase in line.phrases for part in cut_between(phrase, columns)]
    rows = [_row(line, columns) for line in lines if line.phrases]
    body = _first_data_row(rows, ruling)
    steps = [
        (b.line.baseline - a.line.baseline) / max(b.line.size, 1.0)
        for a, b in itertools.pairwise(rows[body:])
        if min(len(a.at), len(b.at)) >= 2
    ]
    usual = statistics.median(steps) if steps else 1.2
    heading: list[_Row] = []
    for row in rows[:body]:
        row = _into_heading(heading, row, ruling) if heading else row
        if row.at:
            heading.append(row)
    heading = _level_heading(heading, columns)
    merged: list[_Row] = []
    banded = _is_banded(rows[body:], ruling)
    for row in rows[body:]:
        if merged and (_goes_on(merged[-1], row, ruling, usual) or (banded and not _parted(merged[-1], row, ruling))):
            _join(merged[-1], row)
        elif heading and not merged and _same_height(heading[-1], row):
            _join(heading[-1], row)
        else:
            merged.append(row)
    merged = heading + merged
    cells = [[[w for p in row.at.get(c, ()) for w in p.words] for c in range(len(columns))] for row in merged]
    return Grid(cells, columns)


def _row(line: VisualLine, columns: Sequence[tuple[float, float]]) -> _Row:
    row = _Row({}, line, line)
    taken = -1
    for phrase in line.phrases:
        at = column_of(phrase, columns)
        if at <= taken:
            at = taken + 1 if taken + 1 < len(columns) and phrase.x0 > columns[taken][1] else taken
        row.at.setdefault(at, []).append(phrase)
        taken = max(at, taken)
    return row


def _first_data_row(rows: Sequence[_Row], ruling: Ruling) -> int:
    """Index of the first row under the heading: the first with numbers, or under the first line drawn across.

    Labels that stand alone above it belong to the body.
    """
    if not rows:
        return 0
    found = _first_with_data(rows, ruling)
    if found > MAX_HEADING:
        return 1
    while found and set(rows[found - 1].at) == {0} and not _parted(rows[found - 1], rows[found], ruling):
        found -= 1
    return found


def _first_with_data(rows: Sequence[_Row], ruling: Ruling) -> int:
    x0, x1 = min(r.line.x0 for r in rows), max(r.line.x1 for r in rows)
    for index, row in enumerate(rows):
        if index and ruling.parts(rows[index - 1].line.baseline, row.line.baseline - 0.3 * row.line.size, x0, x1):
            return index
        numbers = [c for c, ps in row.at.items() if c and all(p.is_number and not _YEAR.fullmatch(p.text) for p in ps)]
        if numbers and len(numbers) >= 0.5 * len([c for c in row.at if c]):
            return index
    return min(1, len(rows) - 1)


def _into_heading(above: list[_Row], row: _Row, ruling: Ruling) -> _Row:
    """`row` without the phrases that go on with a cell of the heading above, which they were added to.

    A cell goes on where two phrases stand below each other and neither reaches under or over a third: what is set
    above two columns is the heading of both.
    """
    left: dict[int, list[Phrase]] = {}
    ends = {id(ps[-1]): ps for holder in above for ps in holder.at.values()}
    for column, phrases in row.at.items():
        first = phrases[0]
        over = [
            ps
            for ps in ends.values()
            if 0.5 < (first.words[0].baseline - ps[-1].words[0].baseline) / max(first.size, 1.0) <= TIGHT
            and _stand_together(ps[-1], first)
        ]
        if len(over) == 1:
            last = over[0][-1]
            under = [q for qs in row.at.values() for q in qs if _stand_together(last, q)]
            x0, x1 = min(last.x0, first.x0), max(last.x1, first.x1)
            if (
                len(under) == 1
                and not _heads_a_pair(last, first, over[0], above, row)
                and not ruling.parts(last.words[0].baseline, first.top + 1.0, x0, x1)
            ):
                over[0].extend(phrases)
                ends[id(phrases[-1])] = over[0]
                ends.pop(id(last))
                continue
        left[column] = phrases
    return _Row(left, row.line, row.line)


def _heads_a_pair(upper: Phrase, lower: Phrase, cell: list[Phrase], above: Sequence[_Row], row: _Row) -> bool:
    """True where `upper` is set in the middle above `lower` and a neighbour of it, over which nothing else stands."""
    around = sorted((p for ps in row.at.values() for p in ps), key=lambda p: p.x0)
    at = next(i for i, p in enumerate(around) if p is lower)
    middle = (upper.x0 + upper.x1) / 2
    alone = abs(middle - (lower.x0 + lower.x1) / 2)
    others = [ps[-1] for holder in above for ps in holder.at.values() if ps is not cell]
    for other in around[max(0, at - 1) : at] + around[at + 1 : at + 2]:
        if any(_stand_together(p, other) for p in others):
            continue
        pair = (min(lower.x0, other.x0) + max(lower.x1, other.x1)) / 2
        if abs(middle - pair) + 0.05 * upper.size < alone:
            return True
    return False


def _stand_together(upper: Phrase, lower: Phrase) -> bool:
    return min(upper.x1, lower.x1) - max(upper.x0, lower.x0) > 0.15 * min(upper.x1 - upper.x0, lower.x1 - lower.x0)


def _same_height(last: _Row, row: _Row) -> bool:
    """True where cells of a row are set half a line apart: its label has two lines, its numbers stand between."""
    step = (row.line.baseline - last.last.baseline) / max(row.line.size, 1.0)
    return step < 0.8 and not (set(last.at) & set(row.at) and step > 0.5 and len(row.at) > 1)


def _level_heading(rows: list[_Row], columns: Sequence[tuple[float, float]]) -> list[_Row]:
    """`rows` of a heading with those made one that fill different columns: cells of unlike height, set to one edge."""
    level: list[_Row] = []
    for row in rows:
        last = level[-1] if level else None
        if (
            last is not None
            and not set(last.at) & set(row.at)
            and not _spans(last, columns)
            and not _spans(row, columns)
        ):
            _join(last, row)
        else:
            level.append(row)
    return level


def _spans(row: _Row, columns: Sequence[tuple[float, float]]) -> bool:
    """True where a phrase of `row` reaches over a second column."""
    return any(len(columns_under(p, columns)) > 1 for ps in row.at.values() for p in ps)


def _goes_on(last: _Row, row: _Row, ruling: Ruling, usual: float) -> bool:
    """True where `row` is no row of its own but the next line of `last`.

    `usual` is the step between rows, in sizes.
    """
    step = (row.line.baseline - last.last.baseline) / max(row.line.size, 1.0)
    if _parted(last, row, ruling):
        return False
    if _same_height(last, row):
        return True
    if step > TIGHT:
        return False
    tight = step < 0.87 * usual
    first, label = row.at.get(0), last.at.get(0)
    if first is not None and label is not None and len(last.at) == 1 and len(row.at) > 1:
        # The label began a line above its numbers; a label of the rows below looks the same but for its end.
        return not label[-1].text.endswith(":") and (tight or _reads_on(label[-1], first[0]))
    if any(p.is_number and c for c, ps in row.at.items() for p in ps):
        return False
    if first is None:
        # Text that stands under text while the label is empty; under an empty place it begins something.
        return all(c in last.at and not last.at[c][-1].is_number for c in row.at)
    if len(row.at) == 1 and label is not None:
        return tight or _reads_on(label[-1], first[0])
    return tight and all(c in last.at for c in row.at) and len(row.at) < len(last.at)


def _parted(last: _Row, row: _Row, ruling: Ruling) -> bool:
    """True where a level line is drawn between the two."""
    x0, x1 = min(last.line.x0, row.line.x0), max(last.line.x1, row.line.x1)
    return ruling.parts(last.last.baseline, row.line.top + 0.3 * row.line.size, x0, x1)


def _is_banded(rows: Sequence[_Row], ruling: Ruling) -> bool:
    """True where lines are drawn between all rows: no band between two of them holds a number above another."""
    bands: list[list[_Row]] = []
    for row in rows:
        if bands and not _parted(bands[-1][-1], row, ruling):
            bands[-1].append(row)
        else:
            bands.append([row])
    for band in bands:
        seen: set[int] = set()
        for row in band:
            values = {c for c, ps in row.at.items() if c and any(d.isdigit() for p in ps for d in p.text)}
            if values & seen:
                return False
            seen |= values
    # In text alone a band may hold many rows; then its lines fill more than one column, and no cell is a line longer.
    full = sum(len(band) > 1 and all(len(row.at) > 1 for row in band) for band in bands)
    return len(bands) >= 3 and full <= 0.34 * len(bands)


def _reads_on(upper: Phrase, lower: Phrase) -> bool:
    """True where the second of two phrases cannot begin a cell, or the first cannot end one."""
    end, start = upper.text.rstrip(), lower.text[:1]
    return start.islower() or start in ")],;(" or end.endswith(_OPEN_ENDS) or end.count("(") > end.count(")")


def _join(row: _Row, line: _Row) -> None:
    for column, phrases in line.at.items():
        row.at.setdefault(column, []).extend(phrases)
    row.last = line.line
