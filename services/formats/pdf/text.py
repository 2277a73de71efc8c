"""The text layer of a PDF page: PDFium's characters into words and lines, in the order of the content."""

from __future__ import annotations

import ctypes
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from services.content import Box
from services.formats.pdf.glyphs import LIGATURES, TEX_LIGATURES, is_tex_font, join_spaced, private_character
from services.ocr.layout import Line, LooseWord, union

if TYPE_CHECKING:
    import pypdfium2

MAX_CHARACTERS = 400_000
"""Characters read from one page. A dense broadsheet has 60,000; more is an attack on memory."""

_SPACES = frozenset([0x09, 0x20, 0xA0, 0x1680, *range(0x2000, 0x200C), 0x202F, 0x205F, 0x3000])
_LINE_ENDS = frozenset([0x0A, 0x0B, 0x0C, 0x0D, 0x85, 0x2028, 0x2029])
_LINE_END_HYPHENS = frozenset([0x02, 0xFFFE])
"""What PDFium puts in place of a hyphen at a line end. Source: CPDF_TextPage::ProcessInsertObject in PDFium."""

_INVISIBLE = frozenset([0x00, 0xAD, 0x200C, 0x200D, 0x200E, 0x200F, 0x2060, 0xFEFF])

_LAM, _ALEFS = 0x644, "\u0622\u0623\u0625\u0627"

_FIXED_PITCH = 1
"""Flag of a font descriptor. Source: ISO 32000-1, table 123."""

_MONOSPACED = re.compile(r"mono|courier|consol|menlo|typewriter|cmtt|lettergothic|inconsolata|code|fixed", re.I)
_BOLD = re.compile(r"bold|black|heavy|(?<![a-z])demi", re.I)
_Span = tuple[float, float]
_INVISIBLE_MODE = 3
"""Text rendering mode in which nothing is painted. Source: ISO 32000-1, table 106."""

_APART, _OTHER_TYPE, _OWN_LETTERS = 3.0, 1.3, 6
"""Sizes of type between two parts of a line, how much larger one is, letters of each, from which they are two lines."""

_DOUBLE_SHIFT = 0.25
"""Share of its width by which a glyph that is printed again, to look bold, may be moved."""


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
    monospaced: bool = False
    font: str = ""
    """Name of the font that the line begins and ends in; empty where those are two."""
    invisible: bool = False
    """True where the text is laid over the page without being painted."""
    artifact: bool = False
    """True where the file marks the text as no content of the document: page numbers, running heads, watermarks."""
    content_id: int = -1
    """The marked-content id by which the structure tree knows the text; -1 for none."""
    role: str = ""
    """What the structure tree says that the text is: `H1` to `H6`, `Caption`, `Note` or `Code`; empty for all else."""
    layer: str = ""
    """Name of the optional content group that the text belongs to."""


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
    starts, characters = list[int](), list[str]()
    x0 = y0 = math.inf
    x1 = y1 = -math.inf
    first_of_line = -1
    joined = False
    before, code_before = (0.0, 0.0), 0
    last_of_line = last_before_word = start_of_word = -1
    leftward, turned = False, geometry.rotation

    def end_word() -> None:
        nonlocal x0, y0, x1, y1, joined, first_of_line
        if characters:
            box = geometry.box(x0, y0, x1, y1)
            if geometry.shows(box):
                if words and _is_below(words[-1].box, box) and _quarter(handle, raw, start_of_word, turned) == 0:
                    # PDFium takes two short lines for one where raised figures lie between them.
                    emit(last_before_word)
                    first_of_line = start_of_word
                words.append(LooseWord("".join(characters), box, None, joined))
                starts.append(start_of_word)
            characters.clear()
            joined = False
        x0 = y0 = math.inf
        x1 = y1 = -math.inf

    def emit(last: int) -> None:
        nonlocal words, starts
        cut = _type_change(handle, raw, geometry, words, starts)
        parts = [(words, first_of_line, last)]
        if cut:
            parts = [(words[:cut], first_of_line, starts[cut - 1]), (words[cut:], starts[cut], last)]
        for part, first, end in parts:
            part[0].joined = False
            line = _line(handle, raw, geometry, part, first, max(first, end), turned)
            join_spaced(line)
            result.lines.append(line)
        words, starts = [], []

    def end_line() -> None:
        nonlocal first_of_line
        end_word()
        if words:
            emit(last_of_line)
        first_of_line = -1

    for index in range(min(raw.FPDFText_CountChars(handle), MAX_CHARACTERS)):
        code = get_unicode(handle, index)
        is_basic = 0x20 < code < 0x7F
        if not is_basic:
            if code in _SPACES:
                end_word()
                continue
            if code in TEX_LIGATURES and is_tex_font(_font_name(handle, raw, index)[0]):
                code = TEX_LIGATURES[code]
            elif code in _LINE_ENDS:
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
        runs_left = not is_basic and (0x590 <= code < 0x900 or 0xFB1D <= code < 0xFDFF or 0xFE70 <= code < 0xFEFF)
        if leftward != runs_left:
            if characters and characters[-1][-1].isalpha() and 0x30 < code <= 0x10FFFF and chr(code).isalpha():
                # PDFium drops the space where the direction of writing changes.
                end_word()
            leftward = not leftward
        if not characters:
            last_before_word, start_of_word = last_of_line, index
            seen += 1
            # What the font's own map misses PDFium guesses, for basic Latin mostly rightly.
            bad += not is_basic and raw.FPDFText_HasUnicodeMapError(handle, index) == 1
        if is_basic:
            characters.append(chr(code))
        elif code == 0 or code < 0x20 or 0xD800 <= code <= 0xDFFF or code > 0x10FFFF:
            characters.append("\ufffd")
        elif 0xE000 <= code <= 0xF8FF:
            characters.append(private_character(code, _font_name(handle, raw, index)[0]))
        else:
            characters.append(LIGATURES.get(code) or chr(code))
        if get_box(handle, index, *references):
            l, r, b, t = left.value, right.value, bottom.value, top.value  # noqa: E741
            if (
                code == code_before
                and len(characters) > 1
                and _is_printed_again(before, (l, r), turned, (b, t), (y0, y1))
            ):
                characters.pop()
                result.characters -= 1
                continue
            if code == _LAM and (l, r) == before and len(characters) > 1 and characters[-2] in _ALEFS:
                # One glyph for lam and alef: PDFium turns the word around letter by letter, and with it the pair.
                characters[-2:] = characters[-1], characters[-2]
            before, code_before = (l, r), code
            is_apart = l > x1 + 1 or r < x0 - 1 or b > y1 + 1 or t < y0 - 1
            if is_apart and first_of_line >= 0 and len(characters) > 1 and _is_far(x0, y0, x1, y1, l, b, r, t):
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
        last_of_line = index
    end_line()
    result.lines = _without_doubles(result.lines)
    result.unmapped = round(result.characters * bad / seen) if seen else 0
    return result


def _type_change(
    handle: Any, raw: Any, geometry: PageGeometry, words: Sequence[LooseWord], starts: Sequence[int]
) -> int:
    """Index of the word from which on a level line is set in type of another size, far behind the rest; 0 for none.

    `starts` holds the first character of each word. A title and a date at the other margin are two lines; a letter or
    a number belongs to the text beside it.
    """
    widest, cut = 0.0, 0
    for at in range(1, len(words)):
        gap = words[at].box[0] - words[at - 1].box[2]
        if gap > widest:
            widest, cut = gap, at
    if not cut or widest < _APART * (words[cut].box[3] - words[cut].box[1]):
        return 0
    if min(sum(len(word.text) for word in part) for part in (words[:cut], words[cut:])) < _OWN_LETTERS:
        return 0
    sizes = [_type_height(handle, raw, geometry, starts[at], upright=True) for at in (cut - 1, cut)]
    return cut if widest > _APART * max(sizes) and max(sizes) > _OTHER_TYPE * min(sizes) > 0 else 0


def _is_far(x0: float, y0: float, x1: float, y1: float, l: float, b: float, r: float, t: float) -> bool:  # noqa: E741
    """True where a character (l, b, r, t) neither touches nor nears the word so far in any direction."""
    reach = 1.5 * max(t - b, y1 - y0, r - l) + 1
    return l > x1 + reach or r < x0 - reach or b > y1 + reach or t < y0 - reach


def _is_below(before: Box, box: Box) -> bool:
    """True where the word in `box` starts below the one in `before` and not behind its end."""
    return box[0] < before[2] and (box[1] + box[3]) / 2 > before[3]


def _is_printed_again(before: _Span, across: _Span, turned: int, up: _Span, word: _Span) -> bool:
    """True where a glyph stands almost on the equal one before it: printed twice to look bold.

    Exactly on it stand the letters of a ligature, which PDFium takes apart; what was printed twice there it drops.
    """
    (l, r), (b, t), (y0, y1) = across, up, word  # noqa: E741
    if turned in (90, 270) or across == before or not (y0 - 0.3 * (t - b) <= b and t <= y1 + 0.3 * (t - b)):
        return False
    return abs(l - before[0]) <= _DOUBLE_SHIFT * (r - l) and abs(r - before[1]) <= _DOUBLE_SHIFT * (r - l)


def _without_doubles(lines: list[TextLine]) -> list[TextLine]:
    """`lines` without those that say the same as another at the same place: bold, shadows, and layers of text."""
    kept: list[TextLine] = []
    places: dict[str, list[Box]] = {}
    for line in lines:
        box = line.box
        near = 0.35 * line.size
        known = places.setdefault(line.text, [])
        if any(all(abs(a - b) < near for a, b in zip(box, other, strict=True)) for other in known[-8:]):
            continue
        known.append(box)
        kept.append(line)
    return kept


def _font_name(handle: Any, raw: Any, index: int) -> tuple[str, int]:
    """(name of the font of a character, the flags of its descriptor)."""
    buffer = ctypes.create_string_buffer(128)
    flags = ctypes.c_int()
    size = raw.FPDFText_GetFontInfo(handle, index, buffer, len(buffer), ctypes.byref(flags))
    return (buffer.value.decode("utf-8", "replace") if 0 < size <= len(buffer) else ""), max(0, flags.value)


def _describe(line: TextLine, handle: Any, raw: Any, index: int) -> None:
    """Tells `line` what the file says of the text object that its first character belongs to."""
    item = raw.FPDFText_GetTextObject(handle, index)
    if not item:
        return
    line.invisible = raw.FPDFTextObj_GetTextRenderMode(item) == _INVISIBLE_MODE
    count = raw.FPDFPageObj_CountMarks(item)
    if count <= 0:
        return
    line.content_id = raw.FPDFPageObj_GetMarkedContentID(item)
    for number in range(min(count, 16)):
        mark = raw.FPDFPageObj_GetMark(item, number)
        name = _mark_string(mark, raw.FPDFPageObjMark_GetName)
        if name == "Artifact":
            line.artifact = True
        elif name == "OC":
            line.layer = _mark_string(mark, raw.FPDFPageObjMark_GetParamStringValue, b"Name")


def _mark_string(mark: Any, get: Any, *key: bytes) -> str:
    buffer = ctypes.create_string_buffer(256)
    size = ctypes.c_ulong()
    if not get(mark, *key, ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)), len(buffer), ctypes.byref(size)):
        return ""
    return buffer.raw[: max(0, min(size.value, len(buffer)) - 2)].decode("utf-16-le", "replace")


def _line(
    handle: Any, raw: Any, geometry: PageGeometry, words: list[LooseWord], first: int, last: int, turned: int
) -> TextLine:
    quarter = _quarter(handle, raw, first, turned)
    box = union([w.box for w in words])
    upright = quarter in (0, 180)
    ink = box[3] - box[1] if upright else box[2] - box[0]
    heights = [_type_height(handle, raw, geometry, index, upright) for index in (first, last)]
    # Some fonts claim an ascent of nothing or of a page.
    sizes = [height for height in heights if 0.5 * ink <= height <= 3.5 * ink] or [ink * 1.2]
    # A line may begin with a raised figure, and end with an arrow out of a larger font.
    size = sizes[0] if sizes[0] >= 0.75 * sizes[-1] else sizes[-1]
    x, y = ctypes.c_double(), ctypes.c_double()
    if raw.FPDFText_GetCharOrigin(handle, first, ctypes.byref(x), ctypes.byref(y)):
        baseline = canonical_point(geometry.point(x.value, y.value), quarter)[1]
    else:
        baseline = canonical(box, quarter)[3]
    fonts = [_font_name(handle, raw, index) for index in (first, last)]
    bold = all(
        raw.FPDFText_GetFontWeight(handle, index) >= 600 or _BOLD.search(font[0]) is not None
        for index, font in zip((first, last), fonts, strict=True)
    )
    line = TextLine(words, size, bold, quarter, baseline)
    line.monospaced = all(flags & _FIXED_PITCH or _MONOSPACED.search(name) for name, flags in fonts)
    line.font = fonts[0][0] if fonts[0] == fonts[1] else ""
    _describe(line, handle, raw, first)
    return line


def _quarter(handle: Any, raw: Any, index: int, turned: int) -> int:
    """Direction of writing of a character, as `TextLine.quarter`."""
    angle = raw.FPDFText_GetCharAngle(handle, index)
    # PDFium counts the angle clockwise, as /Rotate does. Source: measured on pages of every rotation.
    return (round(math.degrees(angle) / 90) * 90 + turned) % 360 if angle >= 0 else 0


def _type_height(handle: Any, raw: Any, geometry: PageGeometry, index: int, upright: bool) -> float:
    """Height in points of the type of a character; 0 where PDFium does not say."""
    rectangle = raw.FS_RECTF()
    if not raw.FPDFText_GetLooseCharBox(handle, index, rectangle):
        return 0.0
    x0, y0, x1, y1 = geometry.box(rectangle.left, rectangle.bottom, rectangle.right, rectangle.top)
    return y1 - y0 if upright else x1 - x0


def canonical_point(point: tuple[float, float], quarter: int) -> tuple[float, float]:
    """`point` seen with the page turned so that text written towards `quarter` runs to the right."""
    x, y = point
    return {0: (x, y), 90: (y, -x), 180: (-x, -y), 270: (-y, x)}[quarter]


def canonical(box: Box, quarter: int) -> Box:
    """`box` seen with the page turned so that text written towards `quarter` runs to the right."""
    xa, ya = canonical_point((box[0], box[1]), quarter)
    xb, yb = canonical_point((box[2], box[3]), quarter)
    return (min(xa, xb), min(ya, yb), max(xa, xb), max(ya, yb))
