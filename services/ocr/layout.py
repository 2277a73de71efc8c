"""Lines of words with boxes into the text of a page, with offsets.

Shared by OCR and by formats that have a layout.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from services.content import Block, BlockKind, Box, Word

_BULLET = re.compile(r"[•◦▪▫‣⁃●○■□►▶▸◆❖➢➤✓✔·–—*-]")
_NUMBER = re.compile(r"(?:\(?\d{1,3}[.)]|\(?[a-zA-Z][.)]|\(?[ivxIVX]{1,5}[.)])")
NARROW = 12.0
"""Heights of type up to which a block is too narrow for running text (about 28 letters): its line ends are meant."""

WIDE_GAP = 2.0
"""Heights of type: a wider gap between two words is a column's, not a justified line's."""

_HYPHENS = "-\u00ad\u2010"

_MAX_INDENT = 80
"""Spaces before a word of code, so that a stray word at the far side of a wide page costs no kilobytes."""

_MIN_CODE_GAP = 3
"""Spaces between two words of code that are kept; fewer come from type that is not quite of one width."""


@dataclass(slots=True)
class LooseWord:
    """A word that has no offsets yet.

    `joined`: no space stands between it and the word before.
    """

    text: str
    box: Box
    confidence: float | None = None
    joined: bool = False


@dataclass(slots=True)
class Line:
    """Words that stand on one line, in reading order.

    `size` is the height of its type in points.
    """

    words: list[LooseWord]
    size: float
    bold: bool = False

    @property
    def box(self) -> Box:
        return union([w.box for w in self.words])

    @property
    def text(self) -> str:
        return "".join(w.text if w.joined or not i else " " + w.text for i, w in enumerate(self.words))


@dataclass(slots=True)
class LooseBlock:
    """Lines that belong together, or a table's `cells` (row, column, words of the cell)."""

    kind: BlockKind
    lines: list[Line] = field(default_factory=list)
    level: int = 0
    ordered: bool = False
    cells: list[list[list[LooseWord]]] = field(default_factory=list)
    box: Box | None = None
    hidden: bool = False
    """True for text that the page does not show."""
    continues: bool = False
    """True for a table that goes on from the one that ends the page before."""
    upright: bool = True
    """False where the lines run from top to bottom or upside down, so that their widths say nothing of their ends."""


def union(boxes: Sequence[Box]) -> Box:
    """The smallest box around `boxes`, of which there is at least one."""
    x0, y0, x1, y1 = boxes[0]
    # One pass without builtins: this is called for every line of every page.
    for left, top, right, bottom in boxes:
        if left < x0:
            x0 = left
        if top < y0:
            y0 = top
        if right > x1:
            x1 = right
        if bottom > y1:
            y1 = bottom
    return (x0, y0, x1, y1)


def list_marker(line: Line) -> tuple[bool, bool]:
    """(begins with a bullet or a number that stands apart from more text, the marker is a number)."""
    if len(line.words) < 2 or line.words[1].joined:
        return False, False
    first = line.words[0].text
    if _BULLET.fullmatch(first):
        return True, False
    numbered = _NUMBER.fullmatch(first) is not None
    return numbered, numbered


def compose(blocks: Sequence[LooseBlock]) -> tuple[str, tuple[Word, ...], tuple[Block, ...]]:
    """(text, words, blocks) of a page; both slice the text. Blocks are parted by an empty line.

    A line end inside a block becomes a space where the next word would not have fitted on the line, that is where the
    typesetter had to break, and stays a line end elsewhere (addresses, verses, rows with wide gaps). A hyphen that a
    line end forced is taken out; the halves stay two words with a box each, and adjoin in the text.
    """
    page = _Composer()
    for block in blocks:
        if any(line.words for line in block.lines) or any(cell for row in block.cells for cell in row):
            page.add(block)
    return "".join(page.text), tuple(page.words), tuple(page.blocks)


class _Composer:
    """A page's text as it grows."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.length = 0
        self.words: list[Word] = []
        self.blocks: list[Block] = []

    def add(self, block: LooseBlock) -> None:
        """Appends `block`, which has words."""
        if self.blocks:
            self._put("\n\n")
        start = self.length
        rows: tuple[tuple[str, ...], ...] = ()
        if block.kind is BlockKind.CODE:
            self._put_code(block)
            boxes = [w.box for line in block.lines for w in line.words]
        elif block.cells:
            rows = self._put_cells(block.cells)
            boxes = [w.box for row in block.cells for cell in row for w in cell]
        else:
            self._put_lines(block)
            boxes = [w.box for line in block.lines for w in line.words]
        self.blocks.append(
            Block(
                block.kind,
                start,
                self.length,
                block.level,
                block.box or union(boxes),
                rows,
                block.ordered,
                hidden=block.hidden,
                continues=block.continues,
            )
        )

    def _put(self, piece: str) -> None:
        self.text.append(piece)
        self.length += len(piece)

    def _put_word(self, word: LooseWord, shown: str) -> None:
        end = self.length + len(shown)
        self.words.append(Word(shown, word.box, self.length, end, word.confidence))
        self._put(shown)

    def _put_cells(self, cells: list[list[list[LooseWord]]]) -> tuple[tuple[str, ...], ...]:
        for number, row in enumerate(cells):
            if number:
                self._put("\n")
            for column, cell in enumerate(row):
                if column:
                    self._put(" | ")
                for i, word in enumerate(cell):
                    if i and not word.joined:
                        self._put(" ")
                    self._put_word(word, word.text)
        return tuple(tuple(Line(cell, 0).text for cell in row) for row in cells)

    def _put_code(self, block: LooseBlock) -> None:
        """Lines as they stand, their indents and inner gaps as spaces of the type's own width."""
        lines = [line for line in block.lines if line.words]
        # The ink of a word is narrower than its letters' cells by the room around the first and the last letter.
        letters = sum(len(word.text) - 0.17 for line in lines for word in line.words)
        width = sum(word.box[2] - word.box[0] for line in lines for word in line.words) / letters
        left = min(line.box[0] for line in lines)
        for number, line in enumerate(lines):
            if number:
                step = line.box[3] - lines[number - 1].box[3]
                self._put("\n\n" if step > 1.8 * line.size else "\n")
            end = left
            for i, word in enumerate(line.words):
                columns = round((word.box[0] - end) / width) if width > 0 else 1
                if i and columns < _MIN_CODE_GAP:
                    columns = 1
                if not word.joined or not i:
                    self._put(" " * max(0, min(_MAX_INDENT, columns)))
                self._put_word(word, word.text)
                end = word.box[2]

    def _put_lines(self, block: LooseBlock) -> None:
        lines = [line for line in block.lines if line.words]
        right = max(line.box[2] for line in lines)
        narrow = block.upright and right - min(line.box[0] for line in lines) < NARROW * lines[0].size
        for line, following in itertools.zip_longest(lines, lines[1:]):
            last = line.words[-1]
            broken = following is not None and _is_broken_word(last.text, following.words[0].text)
            for i, word in enumerate(line.words):
                if i and not word.joined:
                    self._put(" ")
                self._put_word(word, word.text[:-1] if broken and word is last else word.text)
            if following is None or broken or _is_compound(last.text, following.words[0].text):
                continue
            first = following.words[0].box
            fits = right - line.box[2] >= first[2] - first[0] + 0.3 * line.size
            spaced = _widest_gap(line) > WIDE_GAP * line.size or _widest_gap(following) > WIDE_GAP * following.size
            self._put("\n" if block.upright and (narrow or fits or spaced) else " ")


def _is_compound(end: str, start: str) -> bool:
    """True where `end` and `start` are one word that has a hyphen wherever it stands."""
    return len(end) > 1 and end[-1] in _HYPHENS and end[-2].isalnum() and start[0].isalnum()


def _widest_gap(line: Line) -> float:
    """Points between the two neighbours of a line that stand farthest apart."""
    return max((b.box[0] - a.box[2] for a, b in itertools.pairwise(line.words)), default=0.0)


def _is_broken_word(end: str, start: str) -> bool:
    """True where the hyphen at the end of `end` was put there by the line end: letters before it, small ones after."""
    return len(end) > 2 and end[-1] in _HYPHENS and end[-2].islower() and start[0].islower()
