"""Text that is gathered run by run, with the links and changes that lie on it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.content import Mark, MarkKind
from services.formats.kit.decoding import clean_text
from services.formats.kit.page_builder import link

_SPACES = re.compile(r"[ \t\n\r\f]+")
_MAX_OPEN = 64
"""Marks inside each other; deeper ones are left out. Source: none of these formats nests links."""


@dataclass(frozen=True, slots=True)
class Words:
    """A run of characters.

    `verbatim` where its spaces count, `hidden` where it is not shown.
    """

    text: str
    hidden: bool = False
    verbatim: bool = False


@dataclass(frozen=True, slots=True)
class LinkStart:
    """Where a link begins."""

    address: str


class RunText:
    """A paragraph under construction.

    Marks are opened and closed around what is added.

    With `collapse` white space is laid out as HTML does: a run of it is one space, none beside a line break.
    """

    def __init__(self, *, collapse: bool = False) -> None:
        self.collapse = collapse
        self._parts: list[str] = []
        self._length = 0
        self._last = "\n"
        self._open: list[tuple[MarkKind, str, int]] = []
        self._marks: list[Mark] = []

    def __len__(self) -> int:
        return self._length

    @property
    def ends_in_space(self) -> bool:
        """True where a space would stand beside another one, or at the start of a line."""
        return self._last in " \n"

    def add(self, text: str | None) -> None:
        """Appends `text`, without the control characters that cannot be stored."""
        if not text:
            return
        text = clean_text(text)
        if self.collapse:
            text = _SPACES.sub(" ", text)
            if text.startswith(" ") and self._last in " \n":
                text = text[1:]
        self._append(text)

    def break_line(self) -> None:
        """Appends a newline.

        Of several in a row only one stays where white space is collapsed.
        """
        if self.collapse:
            if self._last == " ":
                self._parts[-1] = self._parts[-1][:-1]
                self._length -= 1
                self._last = "" if self._length else "\n"
            if self._last == "\n":
                return
        self._append("\n")

    def _append(self, text: str) -> None:
        if text:
            self._parts.append(text)
            self._length += len(text)
            self._last = text[-1]

    def open(self, kind: MarkKind, target: str) -> None:
        """Begins a mark here."""
        if len(self._open) < _MAX_OPEN:
            self._open.append((kind, target, self._length))

    def close(self, kind: MarkKind) -> None:
        """Ends the innermost open mark of that kind here, if there is one."""
        for place in range(len(self._open) - 1, -1, -1):
            if self._open[place][0] is kind:
                _, target, start = self._open.pop(place)
                self._marks += _mark(kind, start, self._length, target)
                return

    def take(self) -> tuple[str, list[Mark]]:
        """What was gathered, and its marks; what is open goes on in what is added next."""
        text = "".join(self._parts)
        marks = self._marks + [
            mark for kind, target, start in self._open for mark in _mark(kind, start, self._length, target)
        ]
        self._open = [(kind, target, 0) for kind, target, _ in self._open]
        self._parts, self._marks, self._length, self._last = [], [], 0, "\n"
        return text, marks


def _mark(kind: MarkKind, start: int, end: int, target: str) -> tuple[Mark, ...]:
    if kind is MarkKind.LINK:
        return link(start, end, target)
    return (Mark(kind, start, end, target[:500]),) if end > start else ()
