"""The order in which the lines of a PDF page are read.

Where the order of its content is another.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import replace

from services.content import Box
from services.formats.pdf.geometry import canonical
from services.formats.pdf.text import TextLine

MAX_LINES = 500
"""Lines that are put in order: the comparison is quadratic. Longer pages keep the order of their content."""

MIN_RETURNS, MAX_RETURN_SHARE = 4, 0.1
"""Steps back up within a column that content in reading order does not reach: figures and footnotes make some.

Source: measured on 100 pages of the digital PDFs of the development corpus: of those with four steps or more none has
above .06 of them; content that was drawn from the bottom up has nearly all."""

MIN_COLUMN_ROWS = 5
MIN_COLUMN_LETTERS = 18
"""Mean letters that both halves of a row need to be columns of running text rather than cells of a table."""

WIDE_SHARE = 0.4
"""Of the width of the text: narrower lines do not stand over two columns."""

GUTTER = 1.2
"""Sizes of type: the least width of the white between two columns."""


def in_reading_order(lines: Sequence[TextLine]) -> list[TextLine]:
    """`lines` in the order of their content where that reads well, else in columns from left to right.

    Rows that run through two columns of running text are cut at the white between them first.
    """
    level = [line for line in lines if line.quarter == 0]
    if not 2 < len(level) <= MAX_LINES:
        return list(lines)
    cut = _cut_at_gutter(level)
    if cut is None and not _goes_back(level):
        return list(lines)
    others = [line for line in lines if line.quarter]
    return [*_sorted(cut if cut is not None else level), *others]


def _goes_back(lines: Sequence[TextLine]) -> bool:
    """True where the content jumps upwards within a column more often than a page in reading order does."""
    returns = 0
    boxes = [line.box for line in lines]
    for a, b, line in zip(boxes, boxes[1:], lines, strict=False):
        shared = min(a[2], b[2]) - max(a[0], b[0])
        narrower = min(a[2] - a[0], b[2] - b[0])
        returns += shared > 0.3 * narrower and b[3] < a[1] + 0.2 * line.size and b[1] < a[1] - line.size
    return returns >= MIN_RETURNS and returns > MAX_RETURN_SHARE * (len(lines) - 1)


def _cut_at_gutter(lines: Sequence[TextLine]) -> list[TextLine] | None:
    """`lines` cut where one white runs down through rows of two columns.

    None where there is no such white.
    """
    candidates: list[tuple[int, float, float]] = []
    for index, line in enumerate(lines):
        gap, at = _widest_gap(line)
        if gap < GUTTER * line.size:
            continue
        left = sum(len(word.text) for word in line.words[:at])
        right = sum(len(word.text) for word in line.words[at:])
        if min(left, right) >= 8:
            candidates.append((index, line.words[at - 1].box[2], line.words[at].box[0]))
    if len(candidates) < MIN_COLUMN_ROWS:
        return None
    start = statistics.median(low for _, low, _ in candidates)
    low = max(low for _, low, high in candidates if low < start + 60 and high > start)
    high = min((high for _, a, high in candidates if high > low and a <= low), default=low)
    inside = [c for c in candidates if c[1] <= low and c[2] >= high]
    if high <= low or len(inside) < max(MIN_COLUMN_ROWS, 0.7 * len(candidates)):
        return None
    middle = (low + high) / 2
    halves = [_halves(lines[index], middle) for index, _, _ in inside]
    letters = [
        statistics.mean(sum(len(w.text) for w in half.words) for half in side) for side in zip(*halves, strict=True)
    ]
    if min(letters) < MIN_COLUMN_LETTERS:
        return None
    chosen = {index: pair for (index, _, _), pair in zip(inside, halves, strict=True)}
    parts: list[TextLine] = []
    for index, line in enumerate(lines):
        parts.extend(chosen.get(index, (line,)))
    return parts


def _halves(line: TextLine, x: float) -> tuple[TextLine, TextLine]:
    left = [word for word in line.words if (word.box[0] + word.box[2]) / 2 < x]
    right = [word for word in line.words if (word.box[0] + word.box[2]) / 2 >= x]
    if right:
        right[0].joined = False
    return replace(line, words=left), replace(line, words=right)


def _widest_gap(line: TextLine) -> tuple[float, int]:
    """(points of the widest gap, index of the word behind it); (0, 0) for a single word."""
    gaps = [(b.box[0] - a.box[2], at) for at, (a, b) in enumerate(itertools.pairwise(line.words), 1)]
    return max(gaps, default=(0.0, 0))


def _sorted(lines: Sequence[TextLine]) -> list[TextLine]:
    """`lines` so that each stands behind those above it in its column, and behind the columns on its left.

    Source: T. M. Breuel, High Performance Document Layout Analysis, SDIUT 2003, section 6: a partial order of two
    rules, sorted topologically.
    """
    boxes = [canonical(line.box, line.quarter) for line in lines]
    order = sorted(range(len(lines)), key=lambda i: (boxes[i][1], boxes[i][0]))
    before: list[set[int]] = [set() for _ in lines]
    across = max(box[2] for box in boxes) - min(box[0] for box in boxes)
    wide = [boxes[i] for i in order if boxes[i][2] - boxes[i][0] > WIDE_SHARE * across]
    for a, b in itertools.combinations(order, 2):
        if _overlap_across(boxes[a], boxes[b]):
            first, second = (a, b) if boxes[a][1] + boxes[a][3] <= boxes[b][1] + boxes[b][3] else (b, a)
            before[second].add(first)
            continue
        first, second = (a, b) if boxes[a][2] <= boxes[b][0] + 1 else (b, a)
        if not _spanned(wide, boxes[first], boxes[second]):
            before[second].add(first)
    return [lines[i] for i in _topological(order, before)]


def _overlap_across(a: Box, b: Box) -> bool:
    return min(a[2], b[2]) - max(a[0], b[0]) > 0.1 * min(a[2] - a[0], b[2] - b[0])


def _spanned(wide: Sequence[Box], left: Box, right: Box) -> bool:
    """True where one of the `wide` lines (from top to bottom) stands over both columns and parts them."""
    top, bottom = sorted(((left[1] + left[3]) / 2, (right[1] + right[3]) / 2))
    for box in wide:
        middle = (box[1] + box[3]) / 2
        if middle >= bottom:
            return False
        if middle > top and _overlap_across(box, left) and _overlap_across(box, right):
            return True
    return False


def _topological(order: Sequence[int], before: Sequence[set[int]]) -> list[int]:
    """Indices so that each follows those `before` it, as near to `order` as that allows; cycles are cut in `order`."""
    following: list[list[int]] = [[] for _ in before]
    waiting = [len(earlier) for earlier in before]
    for index, earlier in enumerate(before):
        for other in earlier:
            following[other].append(index)
    rank = {index: place for place, index in enumerate(order)}
    done: list[int] = []
    placed = [False] * len(before)
    stack = [index for index in reversed(order) if waiting[index] == 0]
    remaining = iter(order)
    while len(done) < len(before):
        if not stack:
            stack.append(next(index for index in remaining if not placed[index]))
        index = stack.pop()
        if placed[index]:
            continue
        placed[index] = True
        done.append(index)
        ready = []
        for other in following[index]:
            waiting[other] -= 1
            if waiting[other] == 0 and not placed[other]:
                ready.append(other)
        # The last that is put on the stack comes next: reading goes on below before it starts another column.
        stack.extend(sorted(ready, key=lambda i: -rank[i]))
    return done
