"""Finds the headers and footers of a PDF page.

Rows at its edge that its neighbours have at the same place, and page numbers.
"""

from __future__ import annotations

import itertools
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from services.content import BlockKind, Box
from services.formats.pdf.geometry import PageGeometry
from services.formats.pdf.tags import title_key
from services.formats.pdf.text import TextLine
from services.ocr.layout import Line, LooseBlock, LooseWord, union

REACH = 4
"""Pages before and behind that a page is compared with: two of each side, with even and odd pages set apart."""

ZONE = 0.16
"""Share of the page's height, at the top and at the bottom, in which headers and footers stand: 135 points of A4."""

MAX_ROWS = 6
SAME_PLACE_PT = 4.0
ENOUGH_PEERS = 3
"""Neighbours on the same side of the sheet from which on two other pages have to have a row; else one has to."""

LARGE_TYPE = 1.3
"""Of the body's size: repeated rows of larger type may be the titles of slides, so one page more must have them."""

_DIGITS = re.compile(r"\d+")
_ENDS = re.compile(r"^\W*(\d{1,5}|[ivxlc]{1,8})\b(?![.)])|\b(\d{1,5}|[ivxlc]{1,8})\W*$", re.I)
_ROMAN = {"i": 1, "v": 5, "x": 10, "l": 50, "c": 100}
_PAGE_WORDS = (
    "page", "p", "pg", "seite", "s", "página", "pagina", "pág", "pag", "strona", "str", "sida", "side", "sivu",
    "oldal", "strana", "stránka", "sayfa", "страница", "стр", "сторінка", "с", "σελίδα", "trang", "halaman", "صفحة",
    "페이지", "第",
)  # fmt: skip
_PAGE_NUMBER = re.compile(
    rf"[\W_]*(?:(?P<word>{'|'.join(_PAGE_WORDS)})(?![^\W\d_])\.?\s*)?(?P<number>\d{{1,5}})"
    r"(?:\s*(?:/|\||of|von|de|sur|di|z|av|из|от|/\s*|全|的)\s*(?P<total>\d{1,5}))?\s*(?:页|頁|ページ|쪽)?[\W_]*",
    re.I,
)
"""A row that is nothing but the number of its page, in the languages of the manuals at hand."""


@dataclass(frozen=True, slots=True)
class EdgeRow:
    """A row near the top or the bottom edge.

    Made of all lines that stand side by side.
    """

    text: str
    key: str
    """`text` in small letters with every number, and Roman numbers at its ends, as `#`."""
    distance: float
    """Points from the edge to the row's middle."""
    box: Box
    size: float
    numbers: tuple[int, ...]
    """Numbers, also Roman, at the start and the end of the row."""
    is_artifact: bool
    has_words: bool
    """True where `key` has three letters and more; else it is made of numbers and signs."""


@dataclass(frozen=True, slots=True)
class Edges:
    """What of a page its neighbours are compared with; rows from the edge inwards."""

    head: tuple[EdgeRow, ...] = ()
    foot: tuple[EdgeRow, ...] = ()


@dataclass(slots=True)
class _Row:
    lines: list[TextLine] = field(default_factory=list)
    box: Box = (0.0, 0.0, 0.0, 0.0)


@dataclass(slots=True)
class Furniture:
    """The lines of a page parted into header, footer and the rest (which keeps its order)."""

    head: list[TextLine]
    foot: list[TextLine]
    rest: list[TextLine]


def read_edges(lines: Sequence[TextLine], geometry: PageGeometry) -> Edges:
    """The rows of `lines` near the edges of their page."""
    rows = _rows(lines)
    return Edges(
        tuple(_edge_row(row, row.box[1], row.box[3], geometry) for row in _near_top(rows, geometry)),
        tuple(_edge_row(row, geometry.height - row.box[3], geometry.height - row.box[1], geometry)
              for row in _near_bottom(rows, geometry)),
    )  # fmt: skip


def part_furniture(
    lines: Sequence[TextLine],
    geometry: PageGeometry,
    number: int,
    count: int,
    neighbours: Mapping[int, Edges],
    body_size: float,
    titles: Mapping[str, int],
) -> Furniture:
    """`lines` of page `number` of `count` parted by what its `neighbours` (by page number) have at the same place.

    A row that is among `titles` (bookmarks to this page, by `title_key`) is a heading, wherever it stands.
    """
    rows = _rows(lines)
    own = read_edges(lines, geometry)
    judge = _Judge(number, count, neighbours, body_size, titles)
    top, bottom = _near_top(rows, geometry), _near_bottom(rows, geometry)
    typical = _typical_gap(rows)
    heads = _outermost(rows, own.head, judge.repeated(own.head, head=True), typical, inwards=1)
    foots = _outermost(rows[::-1], own.foot, judge.repeated(own.foot, head=False), typical, inwards=-1)
    if heads + foots > len(rows):
        foots = len(rows) - heads
    # "Page 1 of 9" is never text, also where a title or an address stands between it and the edge.
    tops = top[:heads] + [r for r, e in zip(top[heads:], own.head[heads:], strict=True) if _counts_pages(e.text)]
    bottoms = bottom[:foots] + [
        r for r, e in zip(bottom[foots:], own.foot[foots:], strict=True) if _counts_pages(e.text)
    ]
    head = [line for row in tops for line in row.lines]
    foot = [line for row in reversed(bottoms) for line in row.lines]
    taken = {id(line) for line in (*head, *foot)}
    return Furniture(head, foot, [line for line in lines if id(line) not in taken])


def furniture_blocks(lines: Sequence[TextLine], kind: BlockKind) -> list[LooseBlock]:
    """One block for each row of a header or a footer, its parts from left to right."""
    blocks = []
    for row in _rows(lines):
        words: list[LooseWord] = []
        for line in sorted(row.lines, key=lambda line: line.box[0]):
            words.extend(line.words)
        blocks.append(LooseBlock(kind, [Line(words, max(line.size for line in row.lines))]))
    return blocks


def _rows(lines: Sequence[TextLine]) -> list[_Row]:
    """The level lines gathered into rows, from top to bottom."""
    rows: list[_Row] = []
    boxed = sorted(((line.box, line) for line in lines if line.quarter == 0), key=lambda item: item[0][1] + item[0][3])
    for box, line in boxed:
        if rows:
            # Compared with the row's first line: rows of two columns overlap each other all the way down.
            last = rows[-1].lines[0].box
            shared = min(last[3], box[3]) - max(last[1], box[1])
            if shared > 0.5 * min(last[3] - last[1], box[3] - box[1]):
                rows[-1].lines.append(line)
                rows[-1].box = union([rows[-1].box, box])
                continue
        rows.append(_Row([line], box))
    return rows


def _near_top(rows: Sequence[_Row], geometry: PageGeometry) -> list[_Row]:
    return [row for row in rows[:MAX_ROWS] if row.box[3] <= ZONE * geometry.height]


def _near_bottom(rows: Sequence[_Row], geometry: PageGeometry) -> list[_Row]:
    return [row for row in rows[::-1][:MAX_ROWS] if row.box[1] >= (1 - ZONE) * geometry.height]


def _edge_row(row: _Row, near: float, far: float, geometry: PageGeometry) -> EdgeRow:
    lines = sorted(row.lines, key=lambda line: line.box[0])
    text = " ".join(line.text for line in lines)[:300]
    numbers = []
    ends = []
    for match in _ENDS.finditer(text):
        found = match[1] or match[2]
        numbers.append(int(found) if found.isdecimal() else _roman(found))
        if numbers[-1] and not found.isdecimal():
            ends.append(match)
    key = text
    for match in reversed(ends):
        key = key[: match.start()] + "0" + key[match.end() :]
    key = " ".join(_DIGITS.sub("#", key.casefold()).split())
    return EdgeRow(
        text,
        key,
        (near + far) / 2,
        row.box,
        max(line.size for line in lines),
        tuple(n for n in numbers if n > 0),
        all(line.artifact for line in lines),
        sum(c.isalpha() for c in key) >= 3,
    )


def _roman(text: str) -> int:
    """The value of a Roman number; 0 where it is none."""
    values = [_ROMAN[c] for c in text.lower()]
    total = sum(-v if any(w > v for w in values[i + 1 : i + 2]) else v for i, v in enumerate(values))
    return total if re.fullmatch(r"c{0,3}(xc|xl|l?x{0,3})(ix|iv|v?i{0,3})", text.lower()) else 0


def _typical_gap(rows: Sequence[_Row]) -> float:
    gaps = [b.box[1] - a.box[3] for a, b in itertools.pairwise(rows)]
    return max(0.0, statistics.median(gaps)) if len(gaps) >= 4 else 0.0


def _outermost(
    rows: Sequence[_Row], edge: Sequence[EdgeRow], repeated: Sequence[bool], typical: float, *, inwards: int
) -> int:
    """How many of the rows, from the edge on, are header or footer: repeated, and set apart from what follows.

    A table that goes on over pages repeats its header row too; no gap parts it from the rows below.
    """
    chosen = 0
    for index, row in enumerate(edge):
        if not repeated[index]:
            break
        if index + 1 == len(rows) or row.is_artifact:
            chosen = index + 1
            continue
        this, following = rows[index].box, rows[index + 1].box
        gap = following[1] - this[3] if inwards > 0 else this[1] - following[3]
        if gap >= max(0.5 * row.size, 1.1 * typical) or (index == 0 and _is_number_only(row.text)):
            chosen = index + 1
    return chosen


def _counts_pages(text: str) -> bool:
    """True for a page's number with the word for it and the number of all pages."""
    match = _PAGE_NUMBER.fullmatch(text)
    if match is None or not match["word"] or not match["total"]:
        return False
    return len(match["word"]) > 1 and 0 < int(match["number"]) <= int(match["total"])


def _is_number_only(text: str) -> bool:
    return _PAGE_NUMBER.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class _Judge:
    """Says of the edge rows of a page whether they are header or footer."""

    number: int
    count: int
    neighbours: Mapping[int, Edges]
    body_size: float
    titles: Mapping[str, int]

    def repeated(self, rows: Sequence[EdgeRow], *, head: bool) -> list[bool]:
        """For each of `rows`, from the edge inwards, whether it is header or footer.

        A page has one number: where it stands in an outer row, a number that rises with the pages says nothing of the
        rows behind it. They may be footnotes.
        """
        found = []
        is_numbered = False
        for row in rows:
            names_page = self._names_its_page(row, head=head)
            counted = not is_numbered and self._votes(row, head=head, by_number=True)
            is_numbered = is_numbered or names_page or counted
            found.append(row.is_artifact or names_page or counted or self._votes(row, head=head, by_number=False))
        return found

    def _votes(self, row: EdgeRow, *, head: bool, by_number: bool) -> bool:
        """True where enough of the neighbours have the row: the same words, or a number that rises with the pages."""
        if self.count <= 2 or title_key(row.text) in self.titles:
            return False
        votes = 0
        for other, edges in self.neighbours.items():
            rows = edges.head if head else edges.foot
            same = _rises if by_number else _same
            votes += any(
                same(row, candidate, other - self.number) for candidate in rows if _at_same_place(row, candidate)
            )
        # Even and odd pages may differ, so a page near either end has few of its kind to be compared with.
        peers = sum((other - self.number) % 2 == 0 for other in self.neighbours)
        needed = 2 if peers >= ENOUGH_PEERS else 1
        return votes >= needed + (row.size > LARGE_TYPE * self.body_size)

    def _names_its_page(self, row: EdgeRow, *, head: bool) -> bool:
        """True where the row says nothing but which page this is."""
        match = _PAGE_NUMBER.fullmatch(row.text)
        if match is None:
            return False
        number, total = int(match["number"]), match["total"]
        if total is not None:
            return number <= int(total)
        return match["word"] is not None or number == self.number or (self.count <= 2 and not head)


def _at_same_place(row: EdgeRow, other: EdgeRow) -> bool:
    return abs(row.distance - other.distance) <= SAME_PLACE_PT and 0.8 < row.size / max(other.size, 0.1) < 1.25


def _rises(row: EdgeRow, other: EdgeRow, pages: int) -> bool:
    """True where a number at an end of `other`, so many `pages` further on, is by as much higher."""
    return any(b - a == pages for a in row.numbers for b in other.numbers)


def _same(row: EdgeRow, other: EdgeRow, pages: int) -> bool:
    """True where the rows say the same but for their numbers.

    Those of numbers alone have to be equal.
    """
    if row.has_words:
        return row.key == other.key
    return row.text == other.text
