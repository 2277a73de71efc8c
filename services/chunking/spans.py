"""From offsets in the searched text of a document to places in its whole text, to pages, and to the boxes on them.

The searched text is the document's text without what stands on a page but in no passage (content.UNSEARCHED).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from services.content import PAGE_SEPARATOR, UNSEARCHED, Box, Page, Span, Word

_SAME_LINE = 0.5
"""Share of the smaller height by which two words must overlap to stand on one line."""


@dataclass(slots=True)
class _Placed:
    page: Page
    start: int
    """Where the page begins in the document's text."""
    ends: list[int]
    """`char_end` of each word, for bisection."""
    starts: list[int]


@dataclass(slots=True)
class _Run:
    """`start:end` of the searched text, which stands `shift` characters later in the document's."""

    placed: _Placed
    start: int
    end: int
    shift: int


class PageSpans:
    """The pages that passages may still lie on, and where their parts stand in both texts."""

    def __init__(self) -> None:
        self._runs: deque[_Run] = deque()
        self._last: _Placed | None = None
        self._needs_separator = False
        self._document_end = 0
        self._end = 0

    def add(self, page: Page) -> tuple[str, list[tuple[int, int, int]]]:
        """Takes up the next page; returns what it adds to the searched text, and which parts of the page that is.

        A part is (offset in the searched text, start, end on the page). A page separator, which belongs to the page
        before it, may come first.
        """
        pieces: list[str] = []
        parts = kept_parts(page)
        if self._last is not None:
            if self._needs_separator:
                self._put(self._last, self._document_end, self._document_end + len(PAGE_SEPARATOR))
                pieces.append(PAGE_SEPARATOR)
            self._document_end += len(PAGE_SEPARATOR)
        words = page.words
        placed = _Placed(page, self._document_end, [w.char_end for w in words], [w.char_start for w in words])
        found = []
        for start, end in parts:
            found.append((self._end, start, end))
            self._put(placed, placed.start + start, placed.start + end)
            pieces.append(page.text[start:end])
        # Where a page ends with what is left out, the space before that parts it from the next page.
        self._needs_separator = not page.text or (
            bool(parts) and (parts[-1][1] == len(page.text) or not page.text[parts[-1][1] - 1].isspace())
        )
        self._last = placed
        self._document_end += len(page.text)
        return "".join(pieces), found

    def _put(self, placed: _Placed, start: int, end: int) -> None:
        self._runs.append(_Run(placed, self._end, self._end + end - start, start - self._end))
        self._end += end - start

    def forget_before(self, offset: int) -> None:
        """Lets go of what ends before `offset` of the searched text."""
        while self._runs and self._runs[0].end <= offset:
            self._runs.popleft()

    def spans(self, start: int, end: int) -> tuple[Span, ...]:
        """The slice `start:end` of the searched text in the document's, page by page and without what lies between."""
        found: list[tuple[_Placed, int, int]] = []
        for run in self._runs:
            first, last = max(start, run.start) + run.shift, min(end, run.end) + run.shift
            if first >= last:
                continue
            if found and found[-1][0] is run.placed and found[-1][2] == first:
                found[-1] = (run.placed, found[-1][1], last)
            else:
                found.append((run.placed, first, last))
        return tuple(
            Span(placed.page.number, first, last, _boxes(placed, first - placed.start, last - placed.start))
            for placed, first, last in found
        )


def kept_parts(page: Page) -> list[tuple[int, int]]:
    """The parts of a page's text that are searched, as (start, end): all but unsearched blocks and the space behind."""
    parts: list[tuple[int, int]] = []
    at = 0
    for block in page.blocks:
        if block.kind not in UNSEARCHED:
            continue
        if at < block.char_start and not page.text[at : block.char_start].isspace():
            parts.append((at, block.char_start))
        at = block.char_end
        while at < len(page.text) and page.text[at].isspace():
            at += 1
    if at < len(page.text):
        parts.append((at, len(page.text)))
    return parts


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
