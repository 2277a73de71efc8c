"""Walks a tree of HTML elements and puts its text into blocks.

Iterative, since a tree may be deep.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from services.content import BlockKind, MarkKind
from services.formats.kit.page_builder import PageBuilder, one_line
from services.formats.kit.run_text import RunText
from services.formats.office.formulas import mathml_text

Element = Any
"""An element of lxml.html, which has no usable types."""

_WORDS_OF_DROPPED = (
    "script style template noscript head iframe object embed applet audio video canvas datalist annotation "
    "annotation-xml"
)
_DROPPED = frozenset(_WORDS_OF_DROPPED.split())
_WORDS_OF_BLOCKS = (
    "address article aside blockquote body caption center dd details dialog dir div dl dt fieldset figcaption "
    "figure footer form h1 h2 h3 h4 h5 h6 header hgroup hr html legend li main menu nav ol option optgroup p pre "
    "section select summary table tbody td textarea tfoot th thead tr ul svg"
)
_BLOCKS = frozenset(_WORDS_OF_BLOCKS.split())
"""Elements that begin a line of their own. Source: HTML Living Standard, 15.3 (rendering), and form fields; drawings
stand apart so that their labels do not run into the text."""

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_STRUCK = ("del", "s", "strike")
"""What is no longer said."""

_LISTS = ("ul", "ol", "menu", "dir")
_HIDDEN = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.I)
_MAX_SPAN = 100
_MAX_CELLS = 2_000_000
"""Cells of one table with those that spans add; beyond it spans count as one. Source: memory of some 200 MB."""

_LAYOUT_CELL_CHARS = 2000
"""A table with a longer cell lays out a page and is read as blocks."""

_CHROME_SHARE = 0.5
"""Share of the page's characters up to which a `nav` is the site's menu; more of it is what the page is about."""

_NOTES = frozenset(("footnote", "footnotes", "endnote", "endnotes", "rearnote", "rearnotes", "doc-footnote",
                    "doc-endnote", "doc-endnotes"))  # fmt: skip
"""Source: EPUB 3 Structural Semantics Vocabulary 1.1 and DPUB-ARIA 1.1."""


@dataclass(slots=True)
class _State:
    """What holds for the text that is being gathered."""

    kind: BlockKind = BlockKind.PARAGRAPH
    level: int = 0
    ordered: bool = False
    language: str = ""
    preformatted: bool = False


@dataclass(slots=True)
class TreePicture:
    """A picture of the page by its address, with what stands beside it."""

    source: str
    alt: str = ""
    caption: str = ""


def read_tree(root: Element, page: PageBuilder) -> list[tuple[str, str]]:
    """Adds the blocks below `root` to `page`.

    Returns (address, alternative text) of the pictures in data: URIs.

    `TreeReader` gives their captions too, and the pictures at other addresses.
    """
    reader = TreeReader(page)
    reader.read(root)
    return [(picture.source, picture.alt) for picture in reader.pictures if picture.source[:5].lower() == "data:"]


class TreeReader:
    """Puts trees of HTML into `page`.

    `pictures` holds those that were met, at whatever address, in order.
    """

    def __init__(self, page: PageBuilder, *, has_chrome: bool = True) -> None:
        """With `has_chrome` menus and the page's foot are told from its text, as sites have them and books do not."""
        self._page = page
        self._has_chrome = has_chrome
        self._run = RunText(collapse=True)
        self._states = [_State()]
        self._lists: list[bool] = []
        self._figures: list[tuple[int, list[str]]] = []
        self._struck: list[str] = []
        self.pictures: list[TreePicture] = []

    def read(self, root: Element) -> None:
        """Adds the blocks below `root`."""
        from lxml import etree

        self._chars = _text_length(root) if self._has_chrome else 0
        walk = etree.iterwalk(root, events=("start", "end"))
        for event, element in walk:
            tag = element.tag if isinstance(element.tag, str) else ""
            tag = tag.rpartition("}")[2].lower()
            if event == "start":
                if not tag or tag in _DROPPED or is_hidden(element):
                    walk.skip_subtree()
                    continue
                rows = table_rows(element) if tag == "table" else None
                self._open(tag, element)
                if rows is not None:
                    self._add_table(element, rows)
                    walk.skip_subtree()
                elif tag in _STRUCK:
                    self._struck.append(visible_text(element))
                    walk.skip_subtree()
                elif tag == "svg":
                    self._add_labels(element)
                    walk.skip_subtree()
                elif tag == "math":
                    self._run.add(f" {mathml_text(element)} ")
                    walk.skip_subtree()
                else:
                    self._run.add(element.text)
            else:
                if tag and tag not in _DROPPED and not is_hidden(element):
                    self._close(tag)
                if element is not root:
                    self._run.add(element.tail)
        self._flush()

    def _open(self, tag: str, element: Element) -> None:
        if tag == "br":
            self._run.break_line()
        elif tag in ("img", "image"):
            self._add_picture(element)
        elif tag == "a":
            self._run.open(MarkKind.LINK, element.get("href") or "")
        elif tag == "ins":
            self._run.open(MarkKind.INSERTION, "")
        if tag not in _BLOCKS:
            return
        self._flush()
        outer = self._states[-1]
        state = _State(outer.kind, outer.level, outer.ordered, outer.language, outer.preformatted)
        is_fixed = outer.kind in (BlockKind.FOOTNOTE, BlockKind.PAGE_HEADER, BlockKind.PAGE_FOOTER)
        if tag in _LISTS:
            self._lists.append(tag == "ol")
        if tag == "figure":
            self._figures.append((len(self.pictures), []))
        if is_fixed:
            pass
        elif (chrome := self._chrome(tag, element)) is not None:
            state = _State(chrome)
        elif _is_note(element):
            state = _State(BlockKind.FOOTNOTE)
        elif tag in _HEADINGS:
            state = _State(BlockKind.HEADING, _HEADINGS[tag])
        elif tag == "li":
            state = _State(BlockKind.LIST_ITEM, max(1, len(self._lists)), bool(self._lists and self._lists[-1]))
        elif tag == "blockquote" and outer.kind is BlockKind.PARAGRAPH:
            state = _State(BlockKind.QUOTE)
        elif tag in ("figcaption", "caption", "legend"):
            state = _State(BlockKind.CAPTION)
        elif tag in ("pre", "textarea"):
            state = _State(BlockKind.CODE, language=code_language(element), preformatted=True)
        self._states.append(state)
        self._run.collapse = not state.preformatted

    def _close(self, tag: str) -> None:
        if tag == "a":
            self._run.close(MarkKind.LINK)
        elif tag == "ins":
            self._run.close(MarkKind.INSERTION)
        if tag not in _BLOCKS:
            return
        self._flush()
        if len(self._states) > 1:
            self._states.pop()
        self._run.collapse = not self._states[-1].preformatted
        if tag in _LISTS and self._lists:
            self._lists.pop()
        if tag == "figure" and self._figures:
            first, captions = self._figures.pop()
            for picture in self.pictures[first:]:
                picture.caption = picture.caption or one_line(" ".join(captions))

    def _chrome(self, tag: str, element: Element) -> BlockKind | None:
        """What a menu or the foot of a site is; None for the page's own text."""
        if not self._has_chrome:
            return None
        role = element.get("role") or ""
        parent = element.getparent()
        at_top = parent is not None and (parent.tag == "body" or parent.getparent() is None)
        if tag == "nav" or role == "navigation":
            kind = BlockKind.PAGE_HEADER
        elif (tag == "footer" and at_top) or role == "contentinfo":
            kind = BlockKind.PAGE_FOOTER
        else:
            return None
        return kind if _text_length(element) <= _CHROME_SHARE * self._chars else None

    def _flush(self) -> None:
        if len(self._run):
            text, marks = self._run.take()
            state = self._states[-1]
            if self._figures and state.kind is BlockKind.CAPTION:
                self._figures[-1][1].append(text)
            self._page.add(
                state.kind, text, level=state.level, ordered=state.ordered, language=state.language, marks=marks
            )
        self._write_struck()

    def _write_struck(self) -> None:
        """Writes what was struck out of the block that was just written."""
        struck, self._struck = self._struck, []
        for text in struck:
            self._page.add(BlockKind.DELETION, text)

    def _add_picture(self, element: Element) -> None:
        alt = one_line(element.get("alt") or "")
        source = element.get("src") or element.get("href") or element.get("{http://www.w3.org/1999/xlink}href")
        source = (source or element.get("xlink:href") or "").strip()
        if source:
            self.pictures.append(TreePicture(source, alt))
        if alt:
            self._run.add(f" {alt} ")

    def _add_labels(self, drawing: Element) -> None:
        """The words of a drawing, one label after the other, and the pictures that it places."""
        for element in drawing.iter():
            tag = element.tag.rpartition("}")[2].lower() if isinstance(element.tag, str) else ""
            if tag == "image":
                self._add_picture(element)
            elif tag == "text":
                self._run.add(f" {' '.join(element.itertext())} ")

    def _add_table(self, table: Element, rows: list[list[str]]) -> None:
        self._flush()
        captions = [visible_text(caption) for caption in table.iterchildren("caption")]
        fixed = self._states[-1].kind
        for caption in captions:
            self._page.add(BlockKind.CAPTION, caption)
        if fixed in (BlockKind.PAGE_HEADER, BlockKind.PAGE_FOOTER):
            self._page.add(fixed, "\n".join(" | ".join(row) for row in rows))
        else:
            self._page.add_table(rows)
        self._struck += struck_texts(table)
        self._write_struck()
        for image in table.iter("img"):
            if source := (image.get("src") or "").strip():
                self.pictures.append(TreePicture(source, one_line(image.get("alt") or ""), " ".join(captions)))


def _text_length(element: Element) -> int:
    return sum(len(text) for text in element.itertext())


def _is_note(element: Element) -> bool:
    words = f"{element.get('epub:type') or ''} {element.get('role') or ''}".split()
    return not _NOTES.isdisjoint(words)


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
            if tag in _STRUCK and root.tag not in _STRUCK:
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


def struck_texts(root: Element) -> Iterator[str]:
    """What is struck out below `root`, each as one line."""
    from lxml import etree

    walk = etree.iterwalk(root, events=("start",))
    for _, element in walk:
        tag = element.tag if isinstance(element.tag, str) else ""
        if not tag or tag in _DROPPED or is_hidden(element):
            walk.skip_subtree()
        elif tag in _STRUCK:
            yield visible_text(element)
            walk.skip_subtree()


def table_rows(table: Element) -> list[list[str]] | None:
    """The grid of a table of data, a spanning cell's text in its first place.

    None where the table lays out a page.
    """
    if table.get("role") in ("presentation", "none") or next(table.iterdescendants("table"), None) is not None:
        return None
    grid: list[list[str]] = []
    pending: dict[int, int] = {}
    cells = 0
    for row in _rows(table):
        line: list[str] = []
        for cell in row.iterchildren("td", "th"):
            cells += _fill(line, pending)
            text = "" if is_hidden(cell) else visible_text(cell)
            if len(text) > _LAYOUT_CELL_CHARS:
                return None
            wide, high = _span(cell, "colspan"), _span(cell, "rowspan")
            cells += wide
            if cells > _MAX_CELLS:
                wide = high = 1
                pending.clear()
            if high > 1:
                pending.update({len(line) + place: high - 1 for place in range(wide)})
            line += [text] + [""] * (wide - 1)
        cells += _fill(line, pending)
        if cells > _MAX_CELLS:
            pending.clear()
        grid.append(line)
    return grid if any(len(line) > 1 for line in grid) else None


def _fill(line: list[str], pending: dict[int, int]) -> int:
    """Appends the places that cells of rows above take next, and returns how many they are."""
    before = len(line)
    while pending.get(len(line), 0):
        pending[len(line)] -= 1
        line.append("")
    return len(line) - before


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
    """The programming language that a class such as `language-python` names.

    Empty without one.
    """
    for holder in (element, *element.iterchildren("code")):
        for word in (holder.get("class") or "").split():
            if word.startswith(("language-", "lang-")):
                return str(word.partition("-")[2])[:32]
    return ""
