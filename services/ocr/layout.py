"""Lines of words with boxes into the text of a page, with offsets; shared by OCR and by formats that have a layout."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from services.content import Block, BlockKind, Box, Word

_BULLET = re.compile(r"[•◦▪▫‣⁃●○■□➢➤✓✔·–—*-]")
_NUMBER = re.compile(r"(?:\(?\d{1,3}[.)]|\(?[a-zA-Z][.)]|\(?[ivxIVX]{1,5}[.)])")
NARROW = 12.0
"""Heights of type up to which a block is too narrow for running text (about 28 letters): its line ends are meant."""

WIDE_GAP = 2.0
"""Heights of type: a wider gap between two words is a column's, not a justified line's."""

_HYPHENS = "-\u00ad\u2010"


@dataclass(slots=True)
class LooseWord:
    """A word that has no offsets yet. `joined`: no space stands between it and the word before."""

    text: str
    box: Box
    confidence: float | None = None
    joined: bool = False


@dataclass(slots=True)
class Line:
    """Words that stand on one line, in reading order; `size` is the height of its type in points."""

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
    upright: bool = True
    """False where the lines run from top to bottom or upside down, so that their widths say nothing of their ends."""


def union(boxes: Sequence[Box]) -> Box:
    """The smallest box around `boxes`, of which there is at least one."""
    return (
        min(b[0] for b in boxes),
        min(b[1] for b in boxes),
        max(b[2] for b in boxes),
        max(b[3] for b in boxes),
    )


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
        if block.cells:
            rows = self._put_cells(block.cells)
            boxes = [w.box for row in block.cells for cell in row for w in cell]
        else:
            self._put_lines(block)
            boxes = [w.box for line in block.lines for w in line.words]
        self.blocks.append(
            Block(block.kind, start, self.length, block.level, block.box or union(boxes), rows, block.ordered)
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
