"""Finds the columns of a table whose place is known.

From the phrases of its lines and the rivers between them.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from services.content import Box
from services.formats.pdf.tables.words import Phrase, VisualLine, is_thousands, is_wide, split_phrases

MAX_COLUMNS = 120
"""Of one table; more are the letters of a drawing."""

RIVER_GAP = 0.4
"""Sizes of type from which gaps that stand above each other on many lines part two columns."""

COLUMN_GAP = 0.5
"""Sizes of type from which a gap that stands between two columns parts a heading's words too."""

RIVER_SHARE = 0.7
"""Share of the lines with words beside the river that have to leave it free; the others span it. Between letters, where
spaces may stand above each other by chance, half of all lines and five have to show it."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """The straight lines in and around a table, in the same turned coordinates as its words."""

    level: tuple[Box, ...] = ()
    upright: tuple[Box, ...] = ()

    def around(self, top: float, bottom: float) -> Ruling:
        """The lines that reach into the heights from `top` to `bottom`."""
        return Ruling(
            tuple(b for b in self.level if top <= b[1] <= bottom),
            tuple(b for b in self.upright if b[1] <= bottom and b[3] >= top),
        )

    def bars(self, line: VisualLine) -> list[float]:
        """x of the upright lines that cross `line`."""
        middle = (line.top + line.bottom) / 2
        return sorted((b[0] + b[2]) / 2 for b in self.upright if b[1] <= middle <= b[3])

    def parts(self, upper: float, lower: float, x0: float, x1: float) -> bool:
        """True where a level line lies between two heights, under most of the way from `x0` to `x1`."""
        covered = 0.0
        for box in self.level:
            if upper <= (box[1] + box[3]) / 2 <= lower:
                covered += max(0.0, min(x1, box[2]) - max(x0, box[0]))
        return covered >= 0.6 * max(1.0, x1 - x0)


class _Spans:
    """Stretches of a line's length, to be asked how many of them lie over a point."""

    def __init__(self) -> None:
        self.starts: list[float] = []
        self.ends: list[float] = []

    def add(self, start: float, end: float) -> None:
        self.starts.append(start)
        self.ends.append(max(start, end))

    def sort(self) -> None:
        """To be called once all are added."""
        self.starts.sort()
        self.ends.sort()

    def over(self, x: float) -> int:
        """How many begin before `x` and do not end before it."""
        return bisect_left(self.starts, x) - bisect_left(self.ends, x)


def cut_lines(lines: Sequence[VisualLine], ruling: Ruling) -> None:
    """Cuts every line into its phrases: at wide gaps, at upright lines, and where gaps of many lines stand in a row."""
    rivers = find_rivers(lines)
    for line in lines:
        line.phrases = split_phrases(line.words, ruling.bars(line), rivers)


def find_rivers(lines: Sequence[VisualLine]) -> list[float]:
    """x where a narrow gap runs down through most of `lines`, which a space between two words does not.

    Source: white-space rivers as in T-Recs (Kieninger, Table structure recognition based on robust block segmentation,
    1998): words of two columns never interleave.
    """
    every, digits, texts = _Spans(), _Spans(), _Spans()
    words = _Spans()
    middles: set[float] = set()
    for line in lines:
        row = [w for w in line.words if not w.leader]
        for word in row:
            words.add(word.box[0], word.box[2])
        for a, b in itertools.pairwise(row):
            gap = b.box[0] - a.box[2]
            if is_wide(a, b):
                continue
            if gap < RIVER_GAP * min(a.size, b.size):
                # A mere space, at the same place in other lines, says that there is no river.
                words.add(a.box[2] - 0.1, max(a.box[2], b.box[0]) + 0.1)
                continue
            every.add(a.box[2], b.box[0])
            middles.add((a.box[2] + b.box[0]) / 2)
            if is_thousands(a, b):
                digits.add(a.box[2], b.box[0])
            if a.text[-1:].isalpha() and b.text[:1].isalpha():
                texts.add(a.box[2], b.box[0])
    if len(middles) < 1:
        return []
    for spans in (every, digits, texts, words):
        spans.sort()
    rivers: list[tuple[int, float]] = []
    for x in sorted(middles):
        here = every.over(x)
        least = max(5.0, 0.5 * len(lines)) if texts.over(x) > 0.5 * here else 3.0
        if here < least or digits.over(x) > 0.5 * here:
            continue
        if here >= RIVER_SHARE * (here + words.over(x)):
            rivers.append((here, x))
    kept: list[float] = []
    for _, x in sorted(rivers, key=lambda river: -river[0])[:MAX_COLUMNS]:
        if all(abs(x - other) > 2.0 for other in kept):
            kept.append(x)
    return sorted(kept)


def find_columns(lines: Sequence[VisualLine]) -> list[tuple[float, float]]:
    """Horizontal extents of the columns: the lines with the most phrases come first, what covers two columns spans."""
    columns: list[list[float]] = []
    for line in sorted(lines, key=lambda candidate: -len(candidate.phrases)):
        for phrase in line.phrases:
            x0, x1 = phrase.x0, phrase.x1
            at = bisect_left(columns, x0, key=_right)
            over = _covered(columns, at, x0, x1)
            if not over:
                if len(columns) < MAX_COLUMNS:
                    columns.insert(bisect_left(columns, x0, key=_left), [x0, x1])
            elif len(over) == 1:
                index = over[0]
                column = columns[index]
                left = columns[index - 1][1] if index else x0
                right = columns[index + 1][0] if index + 1 < len(columns) else x1
                column[0], column[1] = min(column[0], max(left, x0)), max(column[1], min(right, x1))
    return _without_twins(columns, lines)


def _left(column: Sequence[float]) -> float:
    return column[0]


def _right(column: Sequence[float]) -> float:
    return column[1]


def _covered(columns: Sequence[Sequence[float]], start: int, x0: float, x1: float) -> list[int]:
    """Indices, from `start` on, of the columns that share more than their edges with the stretch from `x0` to `x1`."""
    found: list[int] = []
    for index in range(start, len(columns)):
        left, right = columns[index]
        if left >= x1:
            break
        if min(right, x1) - max(left, x0) > 0.15 * min(right - left, x1 - x0):
            found.append(index)
    return found


def columns_under(phrase: Phrase, columns: Sequence[Sequence[float]]) -> list[int]:
    """Indices of the columns that `phrase` stands in.

    More than one where it spans them.
    """
    x0, x1 = phrase.x0, phrase.x1
    return _covered(columns, bisect_left(columns, x0, key=_right), x0, x1)


def _without_twins(columns: list[list[float]], lines: Sequence[VisualLine]) -> list[tuple[float, float]]:
    """`columns` with neighbours made one that are never filled on the same line: a heading beside its numbers."""
    filled = [{column_of(phrase, columns) for phrase in line.phrases} for line in lines]
    merged: list[tuple[float, float]] = []
    members: list[set[int]] = []
    for index, (x0, x1) in enumerate(columns):
        together = merged and all(not (members[-1] & on and index in on) for on in filled)
        if together:
            merged[-1] = (merged[-1][0], x1)
            members[-1].add(index)
        else:
            merged.append((x0, x1))
            members.append({index})
    return merged


def column_of(phrase: Phrase, columns: Sequence[Sequence[float]]) -> int:
    """Index of the column that `phrase` stands in, of several the first.

    The nearest where it stands in none.
    """
    x0, x1 = phrase.x0, phrase.x1
    at = bisect_left(columns, x0, key=_right)
    over = _covered(columns, at, x0, x1)
    if over:
        return over[0]
    near = range(max(0, at - 1), min(len(columns), at + 2))
    return min(near, key=lambda i: max(columns[i][0] - x1, x0 - columns[i][1]), default=0)


def cut_between(phrase: Phrase, columns: Sequence[tuple[float, float]]) -> list[Phrase]:
    """`phrase`, parted where a gap wider than a space stands between two columns: close headings of narrow columns."""
    parts = [Phrase([phrase.words[0]])]
    for a, b in itertools.pairwise(phrase.words):
        wide = b.box[0] - a.box[2] >= COLUMN_GAP * min(a.size, b.size) and not is_thousands(a, b)
        if wide and any(
            a.box[2] <= right[0] + 1 and left[1] - 1 <= b.box[0] and a.box[0] < left[1] and b.box[2] > right[0]
            for left, right in itertools.pairwise(columns)
        ):
            parts.append(Phrase([b]))
        else:
            parts[-1].words.append(b)
    return parts
