"""Reads XML as the text of its elements in document order.

A block for each element that has text of its own.

The parser gives events and builds no tree, so that memory does not grow with the file beyond its text. It never sees
a document type: entities that stand for plain words are put in beforehand, others are left out or refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from services.content import BlockKind, DocumentInfo, Issue, Limits, Page, Part, Upload
from services.errors import UnreadableDocument
from services.formats.base import ExtractContext
from services.formats.kit.decoding import decode_text
from services.formats.kit.page_builder import PageBuilder, one_line
from services.formats.kit.paging import check_page_count, give_pages
from services.formats.kit.xml import too_deep
from services.formats.markup.xml_entities import without_entities

PAGE_CHARS = 1_000_000
"""A page is closed at the first element beyond this. Source: as for CSV, it keeps a page below some 50 MB."""

_HELD_CHARS = 4 * PAGE_CHARS
"""A text up to this long is read once and its pages are held; a longer one is read twice, to count them first."""

_FEED_CHARS = 1 << 16
_ENCODING = re.compile(rb"\A\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w.:-]{2,40})", re.I)
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")
_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"

_KINDS: Mapping[str, BlockKind] = {
    **dict.fromkeys(("title", "head", "heading", "subtitle", "bridgehead"), BlockKind.HEADING),
    **dict.fromkeys(("li", "listitem"), BlockKind.LIST_ITEM),
    **dict.fromkeys(("code", "programlisting", "screen", "pre", "codeblock", "literallayout"), BlockKind.CODE),
    **dict.fromkeys(("blockquote", "disp-quote", "quote"), BlockKind.QUOTE),
    **dict.fromkeys(("footnote", "fn"), BlockKind.FOOTNOTE),
    "caption": BlockKind.CAPTION,
}
"""Local names of elements that mean the same in DocBook, DITA, JATS, TEI and HTML."""

_ROWS = frozenset({"tr", "row"})
_CELLS = frozenset({"td", "th", "entry", "cell", "stentry"})
_TABLES = frozenset({"table", "tgroup", "informaltable", "simpletable"})
_BREAKS = frozenset({"br", "lb", "break", "line-break", "tab"})
_PARAGRAPHS = frozenset({"p", "para", "simpara", "div", "li", "listitem"})
"""Elements that are words of their own even where nothing stands between them, as in cells of a table."""
_AUTHORS = frozenset({"creator", "author"})
_SPOKEN = ("title", "alt", "label", "caption", "summary", "description", "text", "tooltip", "name")
"""Attributes that hold words for people; `name` only where it has several words, for it is mostly an identifier."""


def extract_xml(upload: Upload, context: ExtractContext) -> Iterator[Part]:
    """Pages of a million characters or so.

    Comments, processing instructions and most attributes are left out.

    Raises:
        UnreadableDocument: `malformed_xml` where nothing could be read before the damage; `xml_entities`;
            `nesting_too_deep`.
        TooLarge: `too_many_pages`.
    """
    data = upload.path.read_bytes()
    declared = _ENCODING.match(data[:1024])
    text, _ = decode_text(data, declared.group(1).decode("ascii") if declared else "")
    del data
    text, issues = without_entities(text)
    reader = _Reader(context.limits)
    if len(text) <= _HELD_CHARS:
        held = list(reader.pages(text))
        yield from _describe(reader, len(held), context)
        yield from issues
        yield from give_pages(held, context)
    else:
        count = sum(1 for _ in reader.pages(text))
        yield from _describe(reader, count, context)
        yield from issues
        reader = _Reader(context.limits)
        yield from give_pages(reader.pages(text), context)
    if reader.damage:
        yield Issue("malformed_xml", f"The XML is damaged {reader.damage}; what stands before it was read.")


def _describe(reader: _Reader, page_count: int, context: ExtractContext) -> Iterator[Part]:
    check_page_count(page_count, context.limits)
    yield DocumentInfo(
        title=reader.title[:500], author=reader.author[:500], language=reader.language, page_count=page_count
    )


class _Element:
    """An open element: the text that it has so far, and the last child that may yet turn out to be a part of it."""

    __slots__ = ("gap", "is_code", "kind", "name", "parts", "pending", "pending_kind")

    def __init__(self, name: str, kind: BlockKind, *, is_code: bool) -> None:
        self.name = name
        self.kind = kind
        self.is_code = is_code
        self.parts: list[str] = []
        self.pending = ""
        self.pending_kind = BlockKind.PARAGRAPH
        self.gap = ""


class _Reader:
    """The target of lxml's parser: receives its events. One pass over one text."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._stack: list[_Element] = []
        self._page = PageBuilder(1)
        self._done: list[Page] = []
        self._rows: list[list[str]] = []
        self.title = self.author = self.language = self.damage = ""

    def pages(self, text: str) -> Iterator[Page]:
        """The pages of `text`, at least one. Raises as `extract_xml` does."""
        from lxml import etree

        parser = etree.XMLParser(
            target=self, encoding="utf-8", resolve_entities="internal", no_network=True, load_dtd=False, huge_tree=False
        )  # none is left but the five of XML itself, which lxml spoils in attributes where it shall resolve nothing
        position = 0
        try:
            while position < len(text):
                parser.feed(text[position : position + _FEED_CHARS].encode("utf-8"))
                position += _FEED_CHARS
                yield from self._take()
            parser.close()
        except etree.XMLSyntaxError as error:
            # Not `error.error_log`: it may hold what other parsers of this process said before.
            if "depth" in error.msg.lower():
                raise too_deep(self._limits) from error
            line, column = error.position
            self.damage = f"in line {line:,}, column {column:,}"
            while self._stack:
                self._close()
            self._flush_rows()
            if self._page.number == 1 and self._page.is_empty:
                raise UnreadableDocument(
                    f"The XML is damaged {self.damage}, and nothing stands before it. Save it anew, upload it again.",
                    code="malformed_xml",
                ) from error
        self._flush_rows()
        yield from self._take()
        if not self._page.is_empty or self._page.number == 1:
            yield self._page.build()

    def _take(self) -> Iterator[Page]:
        done, self._done = self._done, []
        yield from done

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if len(self._stack) >= self._limits.max_nesting:
            raise too_deep(self._limits)
        name = tag.rpartition("}")[2].lower()
        if self._stack:
            above = self._stack[-1]
            self._settle(above, follows=above.gap)
        else:
            found = attributes.get(_XML_LANG) or attributes.get("lang") or ""
            self.language = found if _LANGUAGE.fullmatch(found) else ""
        kind = _KINDS.get(name, self._stack[-1].kind if self._stack else BlockKind.PARAGRAPH)
        is_code = kind is BlockKind.CODE
        if name in _TABLES:
            self._flush_rows()
        elif name in _ROWS:
            self._rows.append([])
        self._stack.append(_Element(name, kind, is_code=is_code))
        for key, value in attributes.items():
            local = key.rpartition("}")[2].lower()
            if local in _SPOKEN and value.strip() and (local != "name" or " " in value.strip()):
                is_title = local == "title"
                self._block(one_line(value), BlockKind.HEADING if is_title else BlockKind.PARAGRAPH)

    def data(self, text: str) -> None:
        if not self._stack:
            return
        element = self._stack[-1]
        if text.isspace() and not any(element.parts):
            element.gap += text
            return
        if element.pending:
            element.parts += [element.pending, element.gap]
            element.pending = ""
        element.gap = ""
        element.parts.append(text)

    def end(self, tag: str) -> None:
        self._close()

    def comment(self, text: str) -> None:
        pass

    def pi(self, target: str, data: str | None = None) -> None:
        pass

    def close(self) -> None:
        while self._stack:
            self._close()

    def _settle(self, element: _Element, *, follows: str) -> None:
        """Decides on the last child of `element` when another begins: words on one line are parts of one text."""
        if not element.pending:
            return
        if follows and "\n" not in follows:
            element.parts += [element.pending, follows]
        else:
            self._block(element.pending, element.pending_kind)
        element.pending = element.gap = ""

    def _close(self) -> None:
        element = self._stack.pop()
        text = "".join(element.parts)
        if element.pending:
            if text.strip() or element.name in _CELLS:
                text += element.pending
            else:
                self._block(element.pending, element.pending_kind)
        if element.name in _CELLS and self._rows:
            self._rows[-1].append(one_line(text))
            return
        if element.name in _TABLES:
            self._flush_rows()
        above = self._stack[-1] if self._stack else None
        if not text.strip():
            if above is not None and element.name in _BREAKS and above.parts:
                above.parts.append(" ")
            return
        self._remember(element.name, text)
        if above is None or (element.kind is not above.kind and not above.parts):
            self._block(text, element.kind)
        elif above.parts:
            above.parts += [" ", text, " "] if element.name in _PARAGRAPHS else [text]
        else:
            above.pending, above.pending_kind, above.gap = text, element.kind, ""

    def _remember(self, name: str, text: str) -> None:
        if name == "title" and not self.title and len(self._stack) <= 4:
            self.title = one_line(text)
        elif name in _AUTHORS and not self.author:
            self.author = one_line(text)

    def _block(self, text: str, kind: BlockKind) -> None:
        if any(element.name in _CELLS for element in self._stack) and self._rows:
            for element in reversed(self._stack):
                if element.name in _CELLS:
                    element.parts += [text, " "]
                    return
        self._flush_rows()
        if self._page.chars >= PAGE_CHARS:
            self._done.append(self._page.build())
            self._page = PageBuilder(self._page.number + 1)
        level = 1 if kind is BlockKind.LIST_ITEM else 0
        if kind is BlockKind.HEADING:
            level = min(6, max(1, len(self._stack)))
        self._page.add(kind, text if kind is BlockKind.CODE else one_line(text), level=level)

    def _flush_rows(self) -> None:
        rows, self._rows = self._rows, []
        if any(any(row) for row in rows):
            self._page.add_table(rows)
