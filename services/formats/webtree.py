"""Walks a tree of HTML elements and puts its text into blocks; iterative, since a tree may be deep."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from services.content import BlockKind
from services.formats.assembly import PageBuilder, one_line

Element = Any
"""An element of lxml.html, which has no usable types."""

_WORDS_OF_DROPPED = (
    "script style template noscript head iframe object embed applet audio video canvas svg datalist annotation "
    "annotation-xml"
)
_DROPPED = frozenset(_WORDS_OF_DROPPED.split())
_WORDS_OF_BLOCKS = (
    "address article aside blockquote body caption center dd details dialog dir div dl dt fieldset figcaption "
    "figure footer form h1 h2 h3 h4 h5 h6 header hgroup hr html legend li main menu nav ol option optgroup p pre "
    "section select summary table tbody td textarea tfoot th thead tr ul"
)
_BLOCKS = frozenset(_WORDS_OF_BLOCKS.split())
"""Elements that begin a line of their own. Source: HTML Living Standard, 15.3 (rendering), and form fields."""

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_HIDDEN = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.I)
_SPACES = re.compile(r"[ \t\n\r\f]+")
_MAX_SPAN = 100
_MAX_CELLS = 2_000_000
"""Cells of one table with those that spans add; beyond it spans count as one. Source: memory of some 200 MB."""

_LAYOUT_CELL_CHARS = 2000
"""A table with a longer cell lays out a page and is read as blocks."""


@dataclass(slots=True)
class _State:
    """What holds for the text that is being gathered."""

    kind: BlockKind = BlockKind.PARAGRAPH
    level: int = 0
    ordered: bool = False
    language: str = ""
    preformatted: bool = False


def read_tree(root: Element, page: PageBuilder) -> list[tuple[str, str]]:
    """Adds the blocks below `root` to `page`; returns (address, alternative text) of the pictures in data: URIs."""
    return _Reader(page).read(root)


class _Reader:
    def __init__(self, page: PageBuilder) -> None:
        self._page = page
        self._buffer: list[str] = []
        self._states = [_State()]
        self._lists: list[bool] = []
        self._pictures: list[tuple[str, str]] = []

    def read(self, root: Element) -> list[tuple[str, str]]:
        from lxml import etree

        walk = etree.iterwalk(root, events=("start", "end"))
        for event, element in walk:
            tag = element.tag if isinstance(element.tag, str) else ""
            tag = tag.rpartition("}")[2].lower()
            if event == "start":
                if not tag or tag in _DROPPED or is_hidden(element):
                    walk.skip_subtree()
                    continue
                if tag == "table" and (rows := table_rows(element)) is not None:
                    self._add_table(element, rows)
                    walk.skip_subtree()
                    continue
                self._open(tag, element)
                self._gather(element.text)
            else:
                skipped = not tag or tag in _DROPPED or is_hidden(element)
                if not skipped:
                    self._close(tag)
                if element is not root:
                    self._gather(element.tail)
        self._flush()
        return self._pictures

    def _open(self, tag: str, element: Element) -> None:
        if tag == "br":
            self._buffer.append("\n")
        elif tag == "img":
            self._add_picture(element)
        elif tag == "wbr":
            return
        if tag not in _BLOCKS:
            return
        self._flush()
        outer = self._states[-1]
        state = _State(outer.kind, outer.level, outer.ordered, outer.language, outer.preformatted)
        if tag in _HEADINGS:
            state = _State(BlockKind.HEADING, _HEADINGS[tag])
        elif tag in ("ul", "ol", "menu", "dir"):
            self._lists.append(tag == "ol")
        elif tag == "li":
            state = _State(BlockKind.LIST_ITEM, max(1, len(self._lists)), bool(self._lists and self._lists[-1]))
        elif tag == "blockquote" and outer.kind is BlockKind.PARAGRAPH:
            state = _State(BlockKind.QUOTE)
        elif tag in ("figcaption", "caption", "legend"):
            state = _State(BlockKind.CAPTION)
        elif tag in ("pre", "textarea"):
            state = _State(BlockKind.CODE, language=code_language(element), preformatted=True)
        self._states.append(state)

    def _close(self, tag: str) -> None:
        if tag not in _BLOCKS:
            return
        self._flush()
        if len(self._states) > 1:
            self._states.pop()
        if tag in ("ul", "ol", "menu", "dir") and self._lists:
            self._lists.pop()

    def _gather(self, text: str | None) -> None:
        if text:
            self._buffer.append(text if self._states[-1].preformatted else _SPACES.sub(" ", text))

    def _flush(self) -> None:
        if not self._buffer:
            return
        text = "".join(self._buffer)
        self._buffer.clear()
        state = self._states[-1]
        if not state.preformatted:
            text = "\n".join(
                " ".join(line.split(" ")).strip() for line in _SPACES_BUT_NEWLINE.sub(" ", text).split("\n")
            )
            text = _MANY_NEWLINES.sub("\n", text)
        self._page.add(state.kind, text, level=state.level, ordered=state.ordered, language=state.language)

    def _add_picture(self, element: Element) -> None:
        alt = one_line(element.get("alt") or "")
        source = (element.get("src") or "").strip()
        if source[:5].lower() == "data:":
            self._pictures.append((source, alt))
        if alt:
            self._buffer.append(f" {alt} ")

    def _add_table(self, table: Element, rows: list[list[str]]) -> None:
        self._flush()
        for caption in table.iterchildren("caption"):
            self._page.add(BlockKind.CAPTION, visible_text(caption))
        self._page.add_table(rows)
        for image in table.iter("img"):
            if (image.get("src") or "").strip()[:5].lower() == "data:":
                self._pictures.append((image.get("src").strip(), one_line(image.get("alt") or "")))


_SPACES_BUT_NEWLINE = re.compile(r"[ \t\r\f]+")
_MANY_NEWLINES = re.compile(r"\n{2,}")


def is_hidden(element: Element) -> bool:
    """True when the element says of itself that it is not shown."""
    if element.get("hidden") is not None:
        return True
    style = element.get("style")
    return style is not None and _HIDDEN.search(style) is not None


def visible_text(root: Element) -> str:
    """The text below `root` on one line, blocks parted by a space, hidden parts left out."""
    from lxml import etree

    parts: list[str] = []
    walk = etree.iterwalk(root, events=("start", "end"))
    for event, element in walk:
        tag = element.tag if isinstance(element.tag, str) else ""
        dropped = not tag or tag in _DROPPED or (element is not root and is_hidden(element))
        if event == "start":
            if dropped:
                walk.skip_subtree()
                continue
            if tag in _BLOCKS or tag == "br":
                parts.append(" ")
            if tag == "img":
                parts.append(f" {element.get('alt') or ''} ")
            parts.append(element.text or "")
        else:
            if tag in _BLOCKS:
                parts.append(" ")
            if element is not root:
                parts.append(element.tail or "")
    return one_line("".join(parts))


def table_rows(table: Element) -> list[list[str]] | None:
    """The grid of a table of data, a spanning cell's text in its first place; None where the table lays out a page."""
    if table.get("role") in ("presentation", "none") or next(table.iterdescendants("table"), None) is not None:
        return None
    grid: list[list[str]] = []
    pending: dict[int, int] = {}
    cells = 0
    for row in _rows(table):
        line: list[str] = []
        for cell in row.iterchildren("td", "th"):
            while pending.get(len(line), 0):
                pending[len(line)] -= 1
                line.append("")
            text = "" if is_hidden(cell) else visible_text(cell)
            if len(text) > _LAYOUT_CELL_CHARS:
                return None
            wide, high = _span(cell, "colspan"), _span(cell, "rowspan")
            cells += wide
            if cells > _MAX_CELLS:
                wide = high = 1
            if high > 1:
                pending.update({len(line) + place: high - 1 for place in range(wide)})
            line += [text] + [""] * (wide - 1)
        while pending.get(len(line), 0):
            pending[len(line)] -= 1
            line.append("")
        grid.append(line)
    return grid if any(len(line) > 1 for line in grid) else None


def _rows(table: Element) -> Iterator[Element]:
    """Rows as they are shown: the head first, the foot last."""
    for section in ("thead", "tbody", "tr", "tfoot"):
        for child in table.iterchildren(section):
            found = [child] if section == "tr" else child.iterchildren("tr")
            yield from (row for row in found if not is_hidden(row))


def _span(cell: Element, name: str) -> int:
    value = (cell.get(name) or "").strip()
    return min(max(1, int(value)), _MAX_SPAN) if value.isdecimal() and len(value) < 7 else 1


def code_language(element: Element) -> str:
    """The programming language that a class such as `language-python` names; empty without one."""
    for holder in (element, *element.iterchildren("code")):
        for word in (holder.get("class") or "").split():
            if word.startswith(("language-", "lang-")):
                return str(word.partition("-")[2])[:32]
    return ""
