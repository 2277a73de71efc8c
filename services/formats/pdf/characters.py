"""What PDFium says of the characters of a page.

Font, direction of writing, size of type, marks of their content.
"""

from __future__ import annotations

import ctypes
import math
import re
from collections.abc import Iterator
from typing import Any

from services.formats.pdf.geometry import PageGeometry, canonical_point

MAX_CHARACTERS = 400_000
"""Characters read from one page. A dense broadsheet has 60,000; more is an attack on memory."""

_FIXED_PITCH = 1
"""Flag of a font descriptor. Source: ISO 32000-1, table 123."""

_MONOSPACED = re.compile(r"mono|courier|consol|menlo|typewriter|cmtt|lettergothic|inconsolata|code|fixed", re.I)
_BOLD = re.compile(r"bold|black|heavy|(?<![a-z])demi", re.I)
_BOLD_WEIGHT = 600
_INVISIBLE_MODE = 3
"""Text rendering mode in which nothing is painted. Source: ISO 32000-1, table 106."""

_MAX_MARKS = 16

Font = tuple[str, int]
"""(name, flags of the descriptor)."""


class Characters:
    """The characters of a page by their index, from 0 to `count`, end excluded.

    Valid while its text page is open.
    """

    def __init__(self, handle: Any, raw: Any, geometry: PageGeometry) -> None:
        self.handle = handle
        self.raw = raw
        self.geometry = geometry
        self.count = int(min(raw.FPDFText_CountChars(handle), MAX_CHARACTERS))

    def font(self, index: int) -> Font:
        """The font of a character; its name is empty where PDFium does not say."""
        buffer = ctypes.create_string_buffer(128)
        flags = ctypes.c_int()
        size = self.raw.FPDFText_GetFontInfo(self.handle, index, buffer, len(buffer), ctypes.byref(flags))
        return (buffer.value.decode("utf-8", "replace") if 0 < size <= len(buffer) else ""), max(0, flags.value)

    def is_bold(self, index: int, font: Font) -> bool:
        """True where the weight of a character says so, or the name of its `font`."""
        weight = self.raw.FPDFText_GetFontWeight(self.handle, index)
        return bool(weight >= _BOLD_WEIGHT or _BOLD.search(font[0]) is not None)

    def has_no_meaning(self, index: int) -> bool:
        """True where the font's own map to Unicode misses a character."""
        return bool(self.raw.FPDFText_HasUnicodeMapError(self.handle, index) == 1)

    def quarter(self, index: int) -> int:
        """Direction of writing as the page is shown, in degrees clockwise: 0 to the right, 90 downwards."""
        angle = self.raw.FPDFText_GetCharAngle(self.handle, index)
        # PDFium counts the angle clockwise, as /Rotate does. Source: measured on pages of every rotation.
        return (round(math.degrees(angle) / 90) * 90 + self.geometry.rotation) % 360 if angle >= 0 else 0

    def type_height(self, index: int, *, upright: bool) -> float:
        """Height in points of the type of a character; 0 where PDFium does not say."""
        rectangle = self.raw.FS_RECTF()
        if not self.raw.FPDFText_GetLooseCharBox(self.handle, index, rectangle):
            return 0.0
        x0, y0, x1, y1 = self.geometry.box(rectangle.left, rectangle.bottom, rectangle.right, rectangle.top)
        return y1 - y0 if upright else x1 - x0

    def baseline(self, index: int, quarter: int) -> float | None:
        """Height of the baseline in the canonical coordinates of `quarter`.

        None where PDFium does not say.
        """
        x, y = ctypes.c_double(), ctypes.c_double()
        if not self.raw.FPDFText_GetCharOrigin(self.handle, index, ctypes.byref(x), ctypes.byref(y)):
            return None
        return canonical_point(self.geometry.point(x.value, y.value), quarter)[1]

    def text_object(self, index: int) -> TextObject | None:
        """The object of the content that a character belongs to."""
        item = self.raw.FPDFText_GetTextObject(self.handle, index)
        return TextObject(item, self.raw) if item else None


class TextObject:
    """A text object of a page's content."""

    def __init__(self, item: Any, raw: Any) -> None:
        self._item = item
        self._raw = raw

    @property
    def is_invisible(self) -> bool:
        return bool(self._raw.FPDFTextObj_GetTextRenderMode(self._item) == _INVISIBLE_MODE)

    @property
    def mark_count(self) -> int:
        return max(0, int(self._raw.FPDFPageObj_CountMarks(self._item)))

    @property
    def content_id(self) -> int:
        """The marked-content id by which the structure tree knows it; -1 for none."""
        return int(self._raw.FPDFPageObj_GetMarkedContentID(self._item))

    def marks(self) -> Iterator[tuple[str, Any]]:
        """(name, handle) of the marks of its content."""
        for number in range(min(self.mark_count, _MAX_MARKS)):
            mark = self._raw.FPDFPageObj_GetMark(self._item, number)
            yield _mark_string(mark, self._raw.FPDFPageObjMark_GetName), mark

    def layer(self, mark: Any) -> str:
        """The name that a mark of optional content gives."""
        return _mark_string(mark, self._raw.FPDFPageObjMark_GetParamStringValue, b"Name")


def is_fixed_pitch(font: Font) -> bool:
    """True for a font whose letters are all of one width, by its flags or its name."""
    name, flags = font
    return bool(flags & _FIXED_PITCH) or _MONOSPACED.search(name) is not None


def _mark_string(mark: Any, get: Any, *key: bytes) -> str:
    buffer = ctypes.create_string_buffer(256)
    size = ctypes.c_ulong()
    if not get(mark, *key, ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)), len(buffer), ctypes.byref(size)):
        return ""
    return buffer.raw[: max(0, min(size.value, len(buffer)) - 2)].decode("utf-16-le", "replace")
