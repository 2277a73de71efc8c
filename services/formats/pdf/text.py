"""Reads the text layer of a PDF page as words and lines.

PDFium's characters, in the order of the content.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.content import Box
from services.formats.pdf.characters import Characters, is_fixed_pitch
from services.formats.pdf.geometry import PageGeometry, canonical
from services.formats.pdf.glyphs import LIGATURES, TEX_LIGATURES, is_tex_font, join_spaced, private_character
from services.ocr.layout import Line, LooseWord, union

if TYPE_CHECKING:
    import pypdfium2

_SPACES = frozenset([0x09, 0x20, 0xA0, 0x1680, *range(0x2000, 0x200C), 0x202F, 0x205F, 0x3000])
_LINE_ENDS = frozenset([0x0A, 0x0B, 0x0C, 0x0D, 0x85, 0x2028, 0x2029])
_LINE_END_HYPHENS = frozenset([0x02, 0xFFFE])
"""What PDFium puts in place of a hyphen at a line end. Source: CPDF_TextPage::ProcessInsertObject in PDFium."""

_INVISIBLE = frozenset([0xAD, 0x200C, 0x200D, 0x200E, 0x200F, 0x2060, 0xFEFF])
_LAM, _ALEFS = 0x644, "\u0622\u0623\u0625\u0627"

_APART, _OTHER_TYPE, _OWN_LETTERS = 3.0, 1.3, 6
"""Sizes of type between two parts of a line, how much larger one is, letters of each, from which they are two lines."""

_DOUBLE_SHIFT = 0.25
"""Share of its width by which a glyph that is printed again, to look bold, may be moved."""


@dataclass(slots=True)
class TextLine(Line):
    """A line with what PDFium says of its type.

    `baseline` is in canonical coordinates, in which it runs rightwards.
    """

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
        return _LineReader(Characters(textpage.raw, raw, geometry)).read()
    finally:
        textpage.close()


class _LineReader:
    """Reads the characters of a page one by one: they make words, and the words make lines."""

    __slots__ = (
        "_before", "_characters", "_code_before", "_first_of_line", "_last_before_word", "_last_of_line", "_letters",
        "_lines", "_start_of_word", "_starts", "_words", "_x0", "_x1", "_y0", "_y1",
    )  # fmt: skip

    def __init__(self, characters: Characters) -> None:
        self._characters = characters
        self._lines: list[TextLine] = []
        # The line that is being read: its words, and the index of the first character of each.
        self._words: list[LooseWord] = []
        self._starts: list[int] = []
        self._first_of_line = self._last_of_line = -1
        # The word that is being read, and the extent of its ink in PDFium's coordinates.
        self._letters: list[str] = []
        self._start_of_word = self._last_before_word = -1
        self._x0 = self._y0 = math.inf
        self._x1 = self._y1 = -math.inf
        # The character before: its left and right edge, and its code.
        self._before, self._code_before = (0.0, 0.0), 0

    def read(self) -> PageText:
        """All lines of the page."""
        handle, raw = self._characters.handle, self._characters.raw
        get_unicode, get_box = raw.FPDFText_GetUnicode, raw.FPDFText_GetCharBox
        left, right, bottom, top = (ctypes.c_double() for _ in range(4))
        edges = tuple(ctypes.byref(edge) for edge in (left, right, bottom, top))
        letters = self._letters
        was_leftward = False
        count = begun = unmapped = 0
        for index in range(self._characters.count):
            code = get_unicode(handle, index)
            is_basic = 0x20 < code < 0x7F
            if is_basic:
                text, is_leftward = chr(code), False
            else:
                code = self._ligature_of_tex(code, index)
                if self._ends_or_shows_nothing(code):
                    continue
                text, is_leftward = self._text_of(code, index), _runs_leftward(code)
            if is_leftward != was_leftward:
                was_leftward = is_leftward
                self._turn(code)
            if not letters:
                self._last_before_word, self._start_of_word = self._last_of_line, index
                begun += 1
                # What the font's own map misses PDFium guesses, for basic Latin mostly rightly.
                unmapped += not is_basic and self._characters.has_no_meaning(index)
            letters.append(text)
            if get_box(handle, index, *edges) and not self._place(
                code, left.value, right.value, bottom.value, top.value
            ):
                continue
            count += 1
            if self._first_of_line < 0:
                self._first_of_line = index
            self._last_of_line = index
        self._end_line()
        return PageText(_without_doubles(self._lines), count, round(count * unmapped / begun) if begun else 0)

    # One character

    def _ligature_of_tex(self, code: int, index: int) -> int:
        """The code of a ligature where `code` stands for one in a font of TeX, else `code` itself."""
        if code in TEX_LIGATURES and is_tex_font(self._characters.font(index)[0]):
            return TEX_LIGATURES[code]
        return code

    def _ends_or_shows_nothing(self, code: int) -> bool:
        """Ends the word or line at spaces, line ends and the hyphens before them.

        True for all that is no letter.
        """
        if code in _SPACES:
            self._end_word()
        elif code in _LINE_ENDS:
            self._end_line()
        elif code in _LINE_END_HYPHENS:
            if self._letters:
                self._letters.append("-")
            self._end_line()
        else:
            return code in _INVISIBLE
        return True

    def _text_of(self, code: int, index: int) -> str:
        """What a character beyond basic Latin says."""
        if code < 0x20 or 0xD800 <= code <= 0xDFFF or code > 0x10FFFF:
            return "\ufffd"
        if 0xE000 <= code <= 0xF8FF:
            return private_character(code, self._characters.font(index)[0])
        return LIGATURES.get(code) or chr(code)

    def _turn(self, code: int) -> None:
        """Ends the word where the direction of writing changes between letters: PDFium drops the space there."""
        letters = self._letters
        if letters and letters[-1][-1].isalpha() and 0x30 < code <= 0x10FFFF and chr(code).isalpha():
            self._end_word()

    def _place(self, code: int, left: float, right: float, bottom: float, top: float) -> bool:
        """Adds the box of the last character to the ink of its word.

        False, and without it, where it is a double.
        """
        letters = self._letters
        if code == self._code_before and len(letters) > 1 and self._is_printed_again(left, right, bottom, top):
            letters.pop()
            return False
        if code == _LAM and len(letters) > 1 and letters[-2] in _ALEFS and (left, right) == self._before:
            # One glyph for lam and alef: PDFium turns the word around letter by letter, and with it the pair.
            letters[-2:] = letters[-1], letters[-2]
        self._before, self._code_before = (left, right), code
        is_apart = left > self._x1 + 1 or right < self._x0 - 1 or bottom > self._y1 + 1 or top < self._y0 - 1
        if is_apart and self._first_of_line >= 0 and len(letters) > 1 and self._is_far(left, right, bottom, top):
            # Two words that the content drew one after the other with no space between.
            last = letters.pop()
            self._end_word()
            letters.append(last)
        if left < self._x0:
            self._x0 = left
        if right > self._x1:
            self._x1 = right
        if bottom < self._y0:
            self._y0 = bottom
        if top > self._y1:
            self._y1 = top
        return True

    def _is_printed_again(self, left: float, right: float, bottom: float, top: float) -> bool:
        """True where a glyph stands almost on the equal one before it: printed twice to look bold.

        Exactly on it stand the letters of a ligature, which PDFium takes apart; what was printed twice there it drops.
        """
        before, slack = self._before, 0.3 * (top - bottom)
        is_level = self._y0 - slack <= bottom and top <= self._y1 + slack
        if self._characters.geometry.rotation in (90, 270) or (left, right) == before or not is_level:
            return False
        shift = _DOUBLE_SHIFT * (right - left)
        return abs(left - before[0]) <= shift and abs(right - before[1]) <= shift

    def _is_far(self, left: float, right: float, bottom: float, top: float) -> bool:
        """True where a character neither touches nor nears the word so far in any direction."""
        reach = 1.5 * max(top - bottom, self._y1 - self._y0, right - left) + 1
        return (
            left > self._x1 + reach or right < self._x0 - reach or bottom > self._y1 + reach or top < self._y0 - reach
        )

    # Words and lines

    def _forget_ink(self) -> None:
        self._x0 = self._y0 = math.inf
        self._x1 = self._y1 = -math.inf

    def _end_word(self) -> None:
        """Adds the word to the line where it lies on the shown page."""
        if self._letters:
            geometry = self._characters.geometry
            box = geometry.box(self._x0, self._y0, self._x1, self._y1)
            if geometry.shows(box):
                if self._words and _is_below(self._words[-1].box, box) and self._is_level(self._start_of_word):
                    # PDFium takes two short lines for one where raised figures lie between them.
                    self._add_lines(self._last_before_word)
                    self._first_of_line = self._start_of_word
                self._words.append(LooseWord("".join(self._letters), box))
                self._starts.append(self._start_of_word)
            self._letters.clear()
        self._forget_ink()

    def _end_line(self) -> None:
        self._end_word()
        if self._words:
            self._add_lines(self._last_of_line)
        self._first_of_line = -1

    def _add_lines(self, last: int) -> None:
        """Takes the words that were read, up to the character `last`, for a line.

        For two where their type differs.
        """
        words, starts = self._words, self._starts
        self._words, self._starts = [], []
        cut = _type_change(self._characters, words, starts)
        parts = [(words, self._first_of_line, last)]
        if cut:
            parts = [(words[:cut], self._first_of_line, starts[cut - 1]), (words[cut:], starts[cut], last)]
        for part, first, end in parts:
            line = _line_of(self._characters, part, first, max(first, end))
            join_spaced(line)
            self._lines.append(line)

    def _is_level(self, index: int) -> bool:
        return self._characters.quarter(index) == 0


def _runs_leftward(code: int) -> bool:
    """True for the letters of Hebrew, Arabic and their kin."""
    return 0x590 <= code < 0x900 or 0xFB1D <= code < 0xFDFF or 0xFE70 <= code < 0xFEFF


def _is_below(before: Box, box: Box) -> bool:
    """True where the word in `box` starts below the one in `before` and not behind its end."""
    return box[0] < before[2] and (box[1] + box[3]) / 2 > before[3]


def _type_change(characters: Characters, words: Sequence[LooseWord], starts: Sequence[int]) -> int:
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
    sizes = [characters.type_height(starts[at], upright=True) for at in (cut - 1, cut)]
    return cut if widest > _APART * max(sizes) and max(sizes) > _OTHER_TYPE * min(sizes) > 0 else 0


def _line_of(characters: Characters, words: list[LooseWord], first: int, last: int) -> TextLine:
    """The line of `words`, with what PDFium says of its first and last character."""
    quarter = characters.quarter(first)
    box = union([w.box for w in words])
    upright = quarter in (0, 180)
    ink = box[3] - box[1] if upright else box[2] - box[0]
    heights = [characters.type_height(index, upright=upright) for index in (first, last)]
    # Some fonts claim an ascent of nothing or of a page.
    sizes = [height for height in heights if 0.5 * ink <= height <= 3.5 * ink] or [ink * 1.2]
    # A line may begin with a raised figure, and end with an arrow out of a larger font.
    size = sizes[0] if sizes[0] >= 0.75 * sizes[-1] else sizes[-1]
    baseline = characters.baseline(first, quarter)
    fonts = [characters.font(index) for index in (first, last)]
    bold = all(characters.is_bold(index, font) for index, font in zip((first, last), fonts, strict=True))
    line = TextLine(words, size, bold, quarter, canonical(box, quarter)[3] if baseline is None else baseline)
    line.monospaced = all(map(is_fixed_pitch, fonts))
    line.font = fonts[0][0] if fonts[0] == fonts[1] else ""
    _describe(line, characters, first)
    return line


def _describe(line: TextLine, characters: Characters, index: int) -> None:
    """Tells `line` what the file says of the text object that its first character belongs to."""
    item = characters.text_object(index)
    if item is None:
        return
    line.invisible = item.is_invisible
    if not item.mark_count:
        return
    line.content_id = item.content_id
    for name, mark in item.marks():
        if name == "Artifact":
            line.artifact = True
        elif name == "OC":
            line.layer = item.layer(mark)


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
