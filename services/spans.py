"""From offsets in a document's text to pages and the boxes on them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from services.content import PAGE_SEPARATOR, Box, Page, Span, Word

_SAME_LINE = 0.5
"""Share of the smaller height by which two words must overlap to stand on one line."""


@dataclass(slots=True)
class _Placed:
    page: Page
    start: int
    ends: list[int]
    """`char_end` of each word, for bisection."""
    starts: list[int]


class PageSpans:
    """The pages that passages may still lie on, by their place in the document's text."""

    def __init__(self) -> None:
        self._placed: deque[_Placed] = deque()
        self.is_begun = False

    def add(self, page: Page, start: int) -> None:
        """Takes up a page whose text begins at `start` in the document's."""
        self.is_begun = True
        ends = [word.char_end for word in page.words]
        self._placed.append(_Placed(page, start, ends, [word.char_start for word in page.words]))

    def forget_before(self, offset: int) -> None:
        """Lets go of pages that end before `offset`."""
        while self._placed and self._end(self._placed[0]) <= offset:
            self._placed.popleft()

    def spans(self, start: int, end: int) -> tuple[Span, ...]:
        """The slice `start:end` page by page; a separator belongs to the page before it."""
        found = []
        for placed in self._placed:
            first, last = max(start, placed.start), min(end, self._end(placed))
            if first < last:
                boxes = _boxes(placed, first - placed.start, last - placed.start)
                found.append(Span(placed.page.number, first, last, boxes))
        return tuple(found)

    @staticmethod
    def _end(placed: _Placed) -> int:
        return placed.start + len(placed.page.text) + len(PAGE_SEPARATOR)


def _boxes(placed: _Placed, start: int, end: int) -> tuple[Box, ...]:
    page = placed.page
    if page.words:
        return line_boxes(page.words[bisect_right(placed.ends, start) : bisect_left(placed.starts, end)])
    return tuple(b.box for b in page.blocks if b.box is not None and b.char_start < end and b.char_end > start)


def line_boxes(words: Iterable[Word]) -> tuple[Box, ...]:
    """One box for each run of words that stand on one line, in reading order."""
    lines: list[Box] = []
    for word in words:
        if lines and _continues(lines[-1], word.box):
            a, b = lines[-1], word.box
            lines[-1] = (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
        else:
            lines.append(word.box)
    return tuple(lines)


def _continues(line: Box, word: Box) -> bool:
    shared = min(line[3], word[3]) - max(line[1], word[1])
    height = min(line[3] - line[1], word[3] - word[1])
    return shared >= _SAME_LINE * height and word[2] > line[0] and word[0] >= line[0]
