"""Builds a page's text out of blocks, so that every block slices it exactly."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from services.content import Block, BlockKind, Box, Mark, MarkKind, Page

_RUN = re.compile(r"\s+")

_MAX_TABLE_PLACES = 4_000_000
"""Rows times columns of one table, its empty places counted: one long row among many short ones fills them all up.

Source: 4 million empty places take 50 MB as cells and text; tables of files that people made stay below 1 million."""

_MIN_COLUMNS = 64
"""Columns that every table may have, however many rows it has."""


class PageBuilder:
    """A page under construction: blocks are joined by a blank line, neighbouring list items by a newline."""

    def __init__(self, number: int, *, width: float = 0.0, height: float = 0.0) -> None:
        self.number = number
        self.width = width
        self.height = height
        self.chars = 0
        self._parts: list[str] = []
        self._blocks: list[Block] = []
        self._marks: list[Mark] = []

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
        hidden: bool = False,
        box: Box | None = None,
        marks: Iterable[Mark] = (),
    ) -> None:
        """Appends a block; blank lines around `text` are taken off, and a block of white space is left out.

        The offsets of `marks` count from the start of `text` as it is given.
        """
        bare = text.strip("\n") if kind is BlockKind.CODE else text.strip()
        if not bare or bare.isspace():
            return
        cut = text.index(bare)
        self._append(Block(kind, 0, len(bare), level, box, (), ordered, language, hidden), bare)
        start = self._blocks[-1].char_start
        for mark in marks:
            first, last = max(0, mark.char_start - cut), min(len(bare), mark.char_end - cut)
            if first < last:
                self._marks.append(Mark(mark.kind, start + first, start + last, mark.target))

    def add_table(self, rows: Iterable[Sequence[str]], *, hidden: bool = False, box: Box | None = None) -> None:
        """Appends a table, header row first.

        White space in cells is collapsed and short rows are filled up.

        Of a row that is far longer than the others allow, the cells at its end become one.
        """
        cells = [tuple(one_line(cell) for cell in row) for row in rows]
        cells = [row for row in cells if any(row)]
        if not cells:
            return
        width = max(len(row) for row in cells)
        most = max(_MIN_COLUMNS, _MAX_TABLE_PLACES // len(cells))
        if width > most:
            cells = [(*row[: most - 1], one_line(" ".join(row[most - 1 :]))) for row in cells]
            width = most
        while width > 1 and not any(row[width - 1] for row in cells if len(row) >= width):
            width -= 1
        full = tuple(row[:width] + ("",) * (width - len(row)) for row in cells)
        text = "\n".join(" | ".join(row) for row in full)
        self._append(Block(BlockKind.TABLE, 0, len(text), box=box, rows=full, hidden=hidden), text)

    def _append(self, block: Block, text: str) -> None:
        """Appends `block`, whose offsets are moved to where `text` comes to stand."""
        if self._blocks:
            in_list = block.kind is BlockKind.LIST_ITEM and self._blocks[-1].kind is BlockKind.LIST_ITEM
            separator = "\n" if in_list else "\n\n"
            self._parts.append(separator)
            self.chars += len(separator)
        start = self.chars
        self._parts.append(text)
        self.chars += len(text)
        self._blocks.append(replace(block, char_start=start, char_end=self.chars))

    def build(self) -> Page:
        """The page with all that was added."""
        return Page(
            number=self.number,
            text="".join(self._parts),
            blocks=tuple(self._blocks),
            marks=tuple(sorted(self._marks, key=lambda mark: (mark.char_start, -mark.char_end))),
            width=self.width,
            height=self.height,
        )


LINK_SCHEMES = ("http://", "https://", "mailto:", "#")
"""Addresses that a link of a document may keep; others could run something where it is clicked."""


def link(start: int, end: int, address: str) -> tuple[Mark, ...]:
    """A mark for a link from `start` to `end`.

    None where the address is of a kind that is not kept.
    """
    address = address.strip()
    safe = address.lower().startswith(LINK_SCHEMES) and end > start
    return (Mark(MarkKind.LINK, start, end, address[:2000]),) if safe else ()


def one_line(text: str) -> str:
    """`text` with every run of white space made one space, and none around it."""
    return _RUN.sub(" ", text).strip()
