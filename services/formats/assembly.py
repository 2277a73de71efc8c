"""Puts the text of a page together from blocks, so that every block slices it exactly."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from services.content import Block, BlockKind, Page

_RUN = re.compile(r"\s+")


class PageBuilder:
    """A page under construction: blocks are joined by a blank line, neighbouring list items by a newline."""

    def __init__(self, number: int, *, width: float = 0.0, height: float = 0.0) -> None:
        self.number = number
        self.width = width
        self.height = height
        self.chars = 0
        self._parts: list[str] = []
        self._blocks: list[Block] = []

    @property
    def is_empty(self) -> bool:
        return not self._blocks

    def add(
        self,
        kind: BlockKind,
        text: str,
        *,
        level: int = 0,
        ordered: bool = False,
        language: str = "",
    ) -> None:
        """Appends a block; blank lines around `text` are taken off, and a block of white space is left out."""
        text = text.strip("\n") if kind is BlockKind.CODE else text.strip()
        if text and not text.isspace():
            self._append(text, kind, level, (), ordered, language)

    def add_table(self, rows: Iterable[Sequence[str]]) -> None:
        """Appends a table, header row first; white space in cells is collapsed and short rows are filled up."""
        cells = [tuple(one_line(cell) for cell in row) for row in rows]
        cells = [row for row in cells if any(row)]
        if not cells:
            return
        width = max(len(row) for row in cells)
        while width > 1 and not any(row[width - 1] for row in cells if len(row) >= width):
            width -= 1
        full = tuple(row[:width] + ("",) * (width - len(row)) for row in cells)
        self._append("\n".join(" | ".join(row) for row in full), BlockKind.TABLE, 0, full, False, "")

    def _append(
        self, text: str, kind: BlockKind, level: int, rows: tuple[tuple[str, ...], ...], ordered: bool, language: str
    ) -> None:
        if self._blocks:
            in_list = kind is BlockKind.LIST_ITEM and self._blocks[-1].kind is BlockKind.LIST_ITEM
            separator = "\n" if in_list else "\n\n"
            self._parts.append(separator)
            self.chars += len(separator)
        start = self.chars
        self._parts.append(text)
        self.chars += len(text)
        self._blocks.append(Block(kind, start, self.chars, level=level, rows=rows, ordered=ordered, language=language))

    def build(self) -> Page:
        """The page with all that was added."""
        return Page(
            number=self.number,
            text="".join(self._parts),
            blocks=tuple(self._blocks),
            width=self.width,
            height=self.height,
        )


def one_line(text: str) -> str:
    """`text` with every run of white space made one space, and none around it."""
    return _RUN.sub(" ", text).strip()
