"""The text layer of a PDF page: PDFium's characters into words, lines and blocks, in the order of the content."""

from __future__ import annotations

import ctypes
import itertools
import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from services.content import BlockKind, Box
from services.ocr.layout import Line, LooseBlock, LooseWord, list_marker, union

if TYPE_CHECKING:
    import pypdfium2

MAX_CHARACTERS = 400_000
"""Characters read from one page. A dense broadsheet has 60,000; more is an attack on memory."""

_LIGATURES = {
    0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl", 0xFB05: "st", 0xFB06: "st",
}  # fmt: skip
"""Source: Unicode, Alphabetic Presentation Forms."""

_SPACES = frozenset([0x09, 0x20, 0xA0, 0x1680, *range(0x2000, 0x200C), 0x202F, 0x205F, 0x3000])
_LINE_ENDS = frozenset([0x0A, 0x0B, 0x0C, 0x0D, 0x85, 0x2028, 0x2029])
_LINE_END_HYPHENS = frozenset([0x02, 0xFFFE])
"""What PDFium puts in place of a hyphen at a line end. Source: CPDF_TextPage::ProcessInsertObject in PDFium."""

_INVISIBLE = frozenset([0x00, 0xAD, 0x200C, 0x200D, 0x200E, 0x200F, 0x2060, 0xFEFF])

_LAM, _ALEFS = 0x644, "\u0622\u0623\u0625\u0627"

HEADING_RATIOS = ((1.8, 1), (1.4, 2), (1.15, 3))
"""Size of type relative to the page's body text, and the level of a heading of at least that size."""


class PageGeometry:
    """Turns PDFium's coordinates (origin at the bottom left, not rotated) into boxes on the page as it is shown."""

    def __init__(self, page: pypdfium2.PdfPage) -> None:
        self.left, self.bottom, self.right, self.top = page.get_bbox()
        self.rotation = int(page.get_rotation())
        wide, high = self.right - self.left, self.top - self.bottom
        self.width, self.height = (high, wide) if self.rotation in (90, 270) else (wide, high)

    def point(self, x: float, y: float) -> tuple[float, float]:
        if self.rotation == 90:
            return y - self.bottom, x - self.left
        if self.rotation == 180:
            return self.right - x, y - self.bottom
        if self.rotation == 270:
            return self.top - y, self.right - x
        return x - self.left, self.top - y

    def box(self, left: float, bottom: float, right: float, top: float) -> Box:
        xa, ya = self.point(left, bottom)
        xb, yb = self.point(right, top)
        return (min(xa, xb), min(ya, yb), max(xa, xb), max(ya, yb))

    def shows(self, box: Box) -> bool:
        """True when the middle of `box` lies on the page."""
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        return bool(-1 <= x <= self.width + 1 and -1 <= y <= self.height + 1)


@dataclass(slots=True)
class TextLine(Line):
    """A line with what PDFium says of its type; `baseline` is in canonical coordinates, in which it runs rightwards."""

    quarter: int = 0
    """Direction of writing as shown, in degrees clockwise: 0 to the right, 90 downwards."""
    baseline: float = 0.0


@dataclass(slots=True)
class PageText:
    """The lines of a page in content order, and how many of its characters have no meaning in the font."""

    lines: list[TextLine] = field(default_factory=list)
    characters: int = 0
    """Visible characters, the unmapped ones included."""
    unmapped: int = 0
    """Of the characters beyond basic Latin that the font gives no meaning: counted on words' first, scaled to all."""


def read_text(page: pypdfium2.PdfPage, geometry: PageGeometry) -> PageText:
    """The lines of `page`. Characters outside of the shown page are left out.

    Every character costs three calls into PDFium; type, weight and baseline are asked for once a line.
    """
    from pypdfium2 import raw

    textpage = page.get_textpage()
    try:
        return _read(textpage.raw, raw, geometry)
    finally:
        textpage.close()


def _read(handle: Any, raw: Any, geometry: PageGeometry) -> PageText:
    get_unicode, get_box = raw.FPDFText_GetUnicode, raw.FPDFText_GetCharBox
    left, right, bottom, top = (ctypes.c_double() for _ in range(4))
    references = tuple(ctypes.byref(v) for v in (left, right, bottom, top))
    result = PageText()
    seen = bad = 0
    words: list[LooseWord] = []
    characters: list[str] = []
    x0 = y0 = math.inf
    x1 = y1 = -math.inf
    first_of_line = -1
    joined = False
    before = (0.0, 0.0)
    leftward = False
    turned = geometry.rotation

    def end_word() -> None:
        nonlocal x0, y0, x1, y1, joined
        if characters:
            box = geometry.box(x0, y0, x1, y1)
            if geometry.shows(box):
                words.append(LooseWord("".join(characters), box, None, joined))
            characters.clear()
            joined = False
        x0 = y0 = math.inf
        x1 = y1 = -math.inf

    def end_line() -> None:
        nonlocal words, first_of_line
        end_word()
        if words:
            words[0].joined = False
            result.lines.append(_line(handle, raw, geometry, words, first_of_line, turned))
        words, first_of_line = [], -1

    for index in range(min(raw.FPDFText_CountChars(handle), MAX_CHARACTERS)):
        code = get_unicode(handle, index)
        if code in _SPACES:
            end_word()
            continue
        if code in _LINE_ENDS:
            end_line()
            continue
        if code in _LINE_END_HYPHENS:
            if characters:
                characters.append("-")
            end_line()
            continue
        if code == 0x200B or (code in _INVISIBLE and code):
            continue
        result.characters += 1
        if leftward != (0x590 <= code < 0x900 or 0xFB1D <= code < 0xFDFF or 0xFE70 <= code < 0xFEFF):
            if characters and characters[-1][-1].isalpha() and 0x30 < code <= 0x10FFFF and chr(code).isalpha():
                # PDFium drops the space where the direction of writing changes.
                end_word()
            leftward = not leftward
        if not characters:
            seen += 1
            # What the font's own map misses PDFium guesses, for basic Latin mostly rightly.
            bad += not 0x20 < code < 0x7F and raw.FPDFText_HasUnicodeMapError(handle, index) == 1
        if code == 0 or code < 0x20 or 0xD800 <= code <= 0xDFFF or code > 0x10FFFF:
            characters.append("\ufffd")
        else:
            characters.append(_LIGATURES.get(code) or chr(code))
        if get_box(handle, index, *references):
            l, r, b, t = left.value, right.value, bottom.value, top.value  # noqa: E741
            if code == _LAM and (l, r) == before and len(characters) > 1 and characters[-2] in _ALEFS:
                # One glyph for lam and alef: PDFium turns the word around letter by letter, and with it the pair.
                characters[-2:] = characters[-1], characters[-2]
            before = (l, r)
            if first_of_line >= 0 and len(characters) > 1 and _is_far(x0, y0, x1, y1, l, b, r, t):
                # Two words that the content drew one after the other with no space between.
                last = characters.pop()
                end_word()
                characters.append(last)
            if l < x0:
                x0 = l
            if r > x1:
                x1 = r
            if b < y0:
                y0 = b
            if t > y1:
                y1 = t
        if first_of_line < 0:
            first_of_line = index
    end_line()
    result.unmapped = round(result.characters * bad / seen) if seen else 0
    return result


def _is_far(x0: float, y0: float, x1: float, y1: float, l: float, b: float, r: float, t: float) -> bool:  # noqa: E741
    """True where a character (l, b, r, t) neither touches nor nears the word so far in any direction."""
    reach = 1.5 * max(t - b, y1 - y0, r - l) + 1
    return l > x1 + reach or r < x0 - reach or b > y1 + reach or t < y0 - reach


def _line(handle: Any, raw: Any, geometry: PageGeometry, words: list[LooseWord], first: int, turned: int) -> TextLine:
    rectangle = raw.FS_RECTF()
    loose: Box | None = None
    if raw.FPDFText_GetLooseCharBox(handle, first, rectangle):
        loose = geometry.box(rectangle.left, rectangle.bottom, rectangle.right, rectangle.top)
    angle = raw.FPDFText_GetCharAngle(handle, first)
    # PDFium counts the angle clockwise, as /Rotate does. Source: measured on pages of every rotation.
    quarter = (round(math.degrees(angle) / 90) * 90 + turned) % 360 if angle >= 0 else 0
    box = union([w.box for w in words])
    upright = quarter in (0, 180)
    ink = box[3] - box[1] if upright else box[2] - box[0]
    size = ink * 1.2
    if loose is not None:
        height = loose[3] - loose[1] if upright else loose[2] - loose[0]
        # Some fonts claim an ascent of nothing or of a page.
        if 0.5 * ink <= height <= 3.5 * ink:
            size = height
    x, y = ctypes.c_double(), ctypes.c_double()
    if raw.FPDFText_GetCharOrigin(handle, first, ctypes.byref(x), ctypes.byref(y)):
        baseline = _canonical_point(geometry.point(x.value, y.value), quarter)[1]
    else:
        baseline = _canonical(box, quarter)[3]
    bold = raw.FPDFText_GetFontWeight(handle, first) >= 600
    return TextLine(words, size, bold, quarter, baseline)


def _canonical_point(point: tuple[float, float], quarter: int) -> tuple[float, float]:
    """`point` seen with the page turned so that text written towards `quarter` runs to the right."""
    x, y = point
    return {0: (x, y), 90: (y, -x), 180: (-x, -y), 270: (-y, x)}[quarter]


def _canonical(box: Box, quarter: int) -> Box:
    xa, ya = _canonical_point((box[0], box[1]), quarter)
    xb, yb = _canonical_point((box[2], box[3]), quarter)
    return (min(xa, xb), min(ya, yb), max(xa, xb), max(ya, yb))


@dataclass(slots=True)
class _Placed:
    """A line with its canonical box."""

    line: TextLine
    box: Box


def build_blocks(lines: Sequence[TextLine]) -> list[LooseBlock]:
    """Paragraphs, list items and headings out of lines in content order."""
    placed = _in_order([_Placed(line, _canonical(line.box, line.quarter)) for line in lines])
    placed = _merge_rows(placed)
    if not placed:
        return []
    sizes: Counter[float] = Counter()
    for p in placed:
        sizes[round(p.line.size * 2) / 2] += len(p.line.text)
    body = sizes.most_common(1)[0][0] or 1.0
    bold = sum(len(p.line.text) for p in placed if p.line.bold) > 0.5 * sum(len(p.line.text) for p in placed)
    pitches = [
        b.line.baseline - a.line.baseline
        for a, b in itertools.pairwise(placed)
        if a.line.quarter == b.line.quarter
        and 0.6 * body < b.line.baseline - a.line.baseline < 2.6 * body
        and _overlaps(a.box, b.box)
    ]
    pitch = statistics.median(pitches) if pitches else 1.2 * body
    groups: list[list[_Placed]] = []
    for p in placed:
        if groups and _continues(groups[-1], p, pitch):
            groups[-1].append(p)
        else:
            groups.append([p])
    return [_block(group, body, bold) for group in groups]


def _in_order(placed: list[_Placed]) -> list[_Placed]:
    """`placed` with lines that stand upright put in order: PDFium gives some of them from the last to the first."""
    ordered: list[_Placed] = []
    for quarter, run in itertools.groupby(placed, key=lambda p: p.line.quarter):
        lines = list(run)
        if quarter:
            steps = [b.line.baseline - a.line.baseline for a, b in itertools.pairwise(lines)]
            if sum(step < 0 for step in steps) > 0.8 * len(steps):
                lines.reverse()
        ordered.extend(lines)
    return ordered


def _overlaps(a: Box, b: Box) -> bool:
    """True where the horizontal extents share anything."""
    return min(a[2], b[2]) > max(a[0], b[0])


def _merge_rows(placed: list[_Placed]) -> list[_Placed]:
    """Neighbours that stand on the same baseline, the second shortly right of the first, as one line."""
    merged: list[_Placed] = []
    for p in placed:
        last = merged[-1] if merged else None
        if (
            last is not None
            and last.line.quarter == p.line.quarter
            and abs(last.line.baseline - p.line.baseline) < 0.25 * min(last.line.size, p.line.size)
            and -0.5 * p.line.size < p.box[0] - last.box[2] < 3 * p.line.size
        ):
            last.line.words.extend(p.line.words)
            last.box = union([last.box, p.box])
            last.line.size = max(last.line.size, p.line.size)
        else:
            merged.append(p)
    return merged


def _continues(group: list[_Placed], p: _Placed, pitch: float) -> bool:
    """True where line `p` goes on with the paragraph `group`."""
    last = group[-1]
    small, large = sorted((last.line.size, p.line.size))
    if last.line.quarter != p.line.quarter or large > 1.2 * max(small, 0.1) or last.line.bold != p.line.bold:
        return False
    step = p.line.baseline - last.line.baseline
    if step < -0.3 * large or step > max(1.35 * pitch, 1.0 * large):
        return False
    block = union([q.box for q in group])
    if not _overlaps(block, p.box):
        return False
    if list_marker(p.line)[0]:
        # A dash or "a." at the start of a line may be prose; at the left edge of the item before it is none.
        return False
    indent = p.box[0] - last.box[0]
    starts_anew = 0.7 * large < indent < 5 * large and not list_marker(group[0].line)[0]
    return not (starts_anew and last.line.text.rstrip()[-1:] in ".:!?”\"'" and len(group) > 0)


def _block(group: list[_Placed], body: float, page_is_bold: bool) -> LooseBlock:
    lines: list[Line] = [p.line for p in group]
    first = group[0].line
    block = LooseBlock(BlockKind.PARAGRAPH, lines, upright=first.quarter == 0)
    length = sum(len(line.text) for line in lines)
    ratio = statistics.median(p.line.size for p in group) / body
    letters = any(c.isalpha() for line in lines for c in line.text)
    if letters and length <= 200 and len(lines) <= 3:
        for least, level in HEADING_RATIOS:
            if ratio >= least:
                block.kind, block.level = BlockKind.HEADING, level
                return block
        one_line = len(lines) == 1 and 3 <= length <= 100 and first.text[-1] not in ".,;:"
        if one_line and first.bold and not page_is_bold and ratio >= 0.95 and first.text[0].isalnum():
            block.kind, block.level = BlockKind.HEADING, 4
            return block
    marked, numbered = list_marker(first)
    if marked:
        block.kind, block.level, block.ordered = BlockKind.LIST_ITEM, 1, numbered
    return block
