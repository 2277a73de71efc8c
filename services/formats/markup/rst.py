"""Reads reStructuredText with docutils.

Without inclusion of files and without raw markup; nothing is fetched or run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from services.content import BlockKind, DocumentInfo, Issue, Mark, Part, Upload
from services.errors import UnreadableDocument
from services.formats.base import ExtractContext
from services.formats.kit.decoding import decode_text
from services.formats.kit.page_builder import PageBuilder, link, one_line
from services.formats.kit.paging import give_pages
from services.formats.markup.text import extract_text

if TYPE_CHECKING:
    from docutils import nodes

MAX_CHARS = 3_000_000
"""A longer text keeps its markup and is read as plain text. Source: docutils reads some 150,000 characters a second."""

_MAX_LINE_CHARS = 1_000_000
_SETTINGS = {
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "halt_level": 5,
    "report_level": 5,
    "warning_stream": False,
    "_disable_config": True,
    "smart_quotes": False,
    "syntax_highlight": "none",
    "line_length_limit": _MAX_LINE_CHARS,
    "expose_internals": None,
    "sectsubtitle_xform": False,
    "embed_images": False,
    "language_code": "en",
}
"""Source: docutils' configuration reference and its page on deploying it securely."""

_ROLE = re.compile(r"\A:[\w:.+-]{1,80}:`(.*)`\Z", re.S)
_ROLE_TARGET = re.compile(r"\s*<[^<>]{1,500}>\Z")
_DIRECTIVE = re.compile(r"\A\.\.[ \t]+[^\n]{0,200}?::[ \t]*")
_OPTION_LINE = re.compile(r"\A[ \t]*:[\w-]{1,60}:(?:[ \t]|\Z)")
_BLANK_LINES = re.compile(r"\n[ \t]*\n")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")
_ADMONITIONS = frozenset({"attention", "caution", "danger", "error", "hint", "important", "note", "tip", "warning"})
_LEFT_OUT = frozenset({"comment", "substitution_definition", "target", "raw", "pending", "meta", "decoration"})
_MAX_COST = 300_000_000
"""Length of a paragraph times the signs in it that may begin markup, over all paragraphs.

Source: 10,000 unmatched asterisks in a paragraph of 30,000 characters, which are this, took docutils 0.22 four seconds;
the largest paragraphs of the Linux kernel's manuals make a thousandth of it."""

_MAX_SUBSTITUTED = 3_000_000
"""Characters that substitutions may put in."""

_SMALL_PARAGRAPH = 4_000
_SUBSTITUTION_ROUNDS = 40
_SUBSTITUTION = re.compile(r"^[ \t]*\.\.[ \t]+\|([^|\n]{1,200})\|([^\n]*(?:\n[ \t]+\S[^\n]*)*)", re.M)
_USE = re.compile(r"\|([^|\n]{1,200})\|")


def extract_rst(upload: Upload, context: ExtractContext) -> Iterator[Part]:
    """One page. Raises UnreadableDocument (`nesting_too_deep`, `unreadable_rst`)."""
    text, _ = decode_text(upload.path.read_bytes())
    if len(text) > MAX_CHARS or not _is_cheap(text):
        why = f"is longer than {MAX_CHARS:,} characters" if len(text) > MAX_CHARS else "holds too much markup at a time"
        parts = extract_text(upload, context)
        yield next(parts)
        yield Issue("markup_kept", f"The file {why}; it was read as plain text.")
        yield from parts
        return
    reader = _Reader(PageBuilder(1))
    try:
        reader.read(text)
    except RecursionError as error:
        raise UnreadableDocument(
            "The document nests its lists and quotations too deep. It was not read.", code="nesting_too_deep"
        ) from error
    yield reader.info
    yield from give_pages([reader.page.build()], context)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the document a node stands."""

    sections: int = 0
    lists: int = 0
    ordered: bool = False
    kind: BlockKind = BlockKind.PARAGRAPH
    prefix: str = ""
    """Put before the first text."""


class _Reader:
    def __init__(self, page: PageBuilder) -> None:
        self.page = page
        self.info = DocumentInfo()

    def read(self, text: str) -> None:
        """Fills the page and the information.

        Raises UnreadableDocument and RecursionError.
        """
        from docutils import utils
        from docutils.core import publish_doctree

        try:
            tree = publish_doctree(text, settings_overrides=_SETTINGS)
        except (
            utils.SystemMessage,
            ValueError,
            AttributeError,
            KeyError,
            IndexError,
            TypeError,
            AssertionError,
        ) as error:
            raise UnreadableDocument(
                "The reStructuredText cannot be parsed. Name the file .txt to have it read as plain text.",
                code="unreadable_rst",
            ) from error
        self.info = DocumentInfo(title=one_line(str(tree.get("title", "")))[:500])
        self._walk(tree)

    def _walk(self, tree: nodes.document) -> None:
        """Visits the nodes in document order; a stack in place of recursion."""
        todo: list[tuple[nodes.Node, _Place]] = [(tree, _Place())]
        while todo:
            node, place = todo.pop()
            inner = self._visit(node, place)
            todo += reversed(inner)

    def _visit(self, node: nodes.Node, place: _Place) -> list[tuple[nodes.Node, _Place]]:
        """Writes what `node` says itself, and gives its children that are still to be visited."""
        from docutils import nodes

        if not isinstance(node, nodes.Element) or node.tagname in _LEFT_OUT or _is_generated(node):
            return []
        if isinstance(node, nodes.field):
            return self._field(node, place)
        return [] if self._write(node, place) else _places_within(node, place)

    def _write(self, node: nodes.Element, place: _Place) -> bool:
        """Adds a node that is written as a whole; False for one whose children are."""
        from docutils import nodes

        match node:
            case nodes.system_message():
                self._unknown(node, place)
            case nodes.title() | nodes.subtitle():
                extra = isinstance(node, nodes.subtitle)
                level = place.sections + 1 - self._has_no_title(node) + extra
                self._add(BlockKind.HEADING, node, level=min(6, max(1, level)))
            case nodes.literal_block() | nodes.doctest_block():
                classes: list[str] = node.get("classes", [])
                language = next((word for word in classes if word != "code"), "")
                self.page.add(BlockKind.CODE, node.astext(), language=language[:32])
            case nodes.table():
                self._table(node)
            case nodes.caption():
                self._add(BlockKind.CAPTION, node)
            case nodes.image():
                self.page.add(place.kind, str(node.get("alt", "")))
            case nodes.docinfo():
                self._docinfo(node)
            case nodes.line_block():
                lines = [part.astext() for part in node.findall(nodes.line)]
                self.page.add(place.kind, "\n".join(lines))
            case nodes.TextElement():
                self._add(place.kind, node, place=place)
            case _:
                return False
        return True

    def _has_no_title(self, node: nodes.Node) -> int:
        """1 in a document whose sections stand side by side at the top, else 0: one title then stands above them."""
        document = node.document
        return int(document is not None and not document.get("title"))

    def _add(self, kind: BlockKind, node: nodes.Element, *, level: int = 0, place: _Place = _Place()) -> None:
        text, marks = _inline(node)
        shift = len(place.prefix)
        if kind is BlockKind.LIST_ITEM:
            level = max(1, place.lists)
        moved = [replace(mark, char_start=mark.char_start + shift, char_end=mark.char_end + shift) for mark in marks]
        self.page.add(
            kind, place.prefix + text, level=level, ordered=kind is BlockKind.LIST_ITEM and place.ordered, marks=moved
        )

    def _table(self, table: nodes.table) -> None:
        from docutils import nodes

        for title in table.findall(nodes.title):
            self._add(BlockKind.CAPTION, title)
        rows = []
        reaches: dict[int, int] = {}
        """Columns that a cell above reaches down into, with the rows that it still covers."""
        for row in table.findall(nodes.row):
            above, reaches = reaches, {column: left - 1 for column, left in reaches.items() if left > 1}
            cells: list[str] = []
            for entry in row.children:
                if isinstance(entry, nodes.entry):
                    while len(cells) in above:
                        cells.append("")
                    width = int(entry.get("morecols", 0)) + 1
                    if more_rows := int(entry.get("morerows", 0)):
                        reaches.update(dict.fromkeys(range(len(cells), len(cells) + width), more_rows))
                    cells += [one_line(entry.astext()), *[""] * (width - 1)]
            while len(cells) in above:
                cells.append("")
            rows.append(cells)
        self.page.add_table(rows)

    def _docinfo(self, docinfo: nodes.docinfo) -> None:
        from docutils import nodes

        for item in docinfo.children:
            if isinstance(item, nodes.field):
                name, value = item.children[0].astext(), item.children[-1].astext()
            else:
                name, value = str(getattr(item, "tagname", "")), item.astext()
            value = one_line(value)
            if name in ("author", "authors") and not self.info.author:
                self.info = replace(self.info, author=value[:500])
            if name.lower() in ("language", "lang") and _LANGUAGE.fullmatch(value):
                self.info = replace(self.info, language=value)
            self.page.add(BlockKind.PARAGRAPH, f"{name.capitalize()}: {value}")

    def _field(self, field: nodes.field, place: _Place) -> list[tuple[nodes.Node, _Place]]:
        name, body = field.children[0].astext(), list(field.children[-1].children)
        if not body:
            self.page.add(place.kind, name)
        return _first_and_rest(body, replace(place, prefix=f"{name}: "), place)

    def _unknown(self, message: nodes.system_message, place: _Place) -> None:
        """What stands in a directive that docutils does not know, such as those of Sphinx: its words are kept."""
        from docutils import nodes

        if "Unknown directive" not in message.astext()[:200] and "disabled" in message.astext()[:200]:
            return
        for block in message.findall(nodes.literal_block):
            source = block.astext()
            directive = _DIRECTIVE.match(source)
            if directive is None:
                continue
            head, _, body = source[directive.end() :].partition("\n")
            lines = body.split("\n")
            while lines and _OPTION_LINE.match(lines[0]):
                lines.pop(0)
            self.page.add(place.kind, head)
            for paragraph in _BLANK_LINES.split("\n".join(line.strip() for line in lines)):
                self.page.add(BlockKind.PARAGRAPH, one_line(paragraph))


def _is_generated(node: nodes.Element) -> bool:
    """True for a table of contents, and for the section in which docutils gathers its messages."""
    from docutils import nodes

    classes: list[str] = node.get("classes", [])
    return isinstance(node, (nodes.topic, nodes.section)) and ("contents" in classes or "system-messages" in classes)


def _places_within(node: nodes.Element, place: _Place) -> list[tuple[nodes.Node, _Place]]:
    """The children of `node` that are to be visited, and where each stands."""
    from docutils import nodes

    children = list(node.children)
    match node:
        case nodes.section():
            return [(child, replace(place, sections=place.sections + 1)) for child in children]
        case nodes.bullet_list() | nodes.enumerated_list():
            ordered = isinstance(node, nodes.enumerated_list)
            return [(child, replace(place, lists=place.lists + 1, ordered=ordered)) for child in children]
        case nodes.list_item():
            after = replace(place, kind=BlockKind.PARAGRAPH)
            return _first_and_rest(children, replace(place, kind=BlockKind.LIST_ITEM), after)
        case nodes.block_quote():
            return [(child, replace(place, kind=BlockKind.QUOTE)) for child in children]
        case nodes.footnote() | nodes.citation():
            label = next((child.astext() for child in children if isinstance(child, nodes.label)), "")
            inside = replace(place, kind=BlockKind.FOOTNOTE, prefix=f"[{label}] " if label else "")
            return [(child, inside) for child in children if not isinstance(child, nodes.label)]
        case _ if node.tagname in _ADMONITIONS:
            return _first_and_rest(children, replace(place, prefix=f"{node.tagname.capitalize()}: "), place)
        case _:
            return [(child, place) for child in children]


def _first_and_rest(children: list[nodes.Node], first: _Place, rest: _Place) -> list[tuple[nodes.Node, _Place]]:
    return [(child, rest if index else first) for index, child in enumerate(children)]


def _inline(node: nodes.Element) -> tuple[str, list[Mark]]:
    """The text of a paragraph or title on one line, and its links."""
    from docutils import nodes

    parts: list[str] = []
    marks: list[Mark] = []
    length = 0
    for piece in node.findall(nodes.Text):
        text = piece.astext().replace("\n", " ")
        above = piece.parent
        if isinstance(above, (nodes.footnote_reference, nodes.citation_reference)):
            text = f"[{text}]"
        elif isinstance(above, nodes.problematic):
            role = _ROLE.match(text)
            text = _ROLE_TARGET.sub("", role.group(1)) or role.group(1) if role else text
        elif isinstance(above, nodes.raw):
            continue
        while above is not None and above is not node and not isinstance(above, nodes.reference):
            above = above.parent
        if isinstance(above, nodes.reference) and above.get("refuri"):
            marks += link(length, length + len(text), str(above["refuri"]))
        parts.append(text)
        length += len(text)
    return "".join(parts), marks


def _is_cheap(text: str) -> bool:
    """True for a text that docutils reads in a time that its length explains."""
    cost = 0
    for paragraph in _BLANK_LINES.split(text):
        if len(paragraph) > _SMALL_PARAGRAPH:
            signs = sum(paragraph.count(sign) for sign in "*`_")
            if paragraph.lstrip()[:1] not in ("+", "|"):  # the bars of a table begin nothing
                signs += paragraph.count("|")
            else:
                cost += sum(
                    len(line) * line.count("|") for line in paragraph.split("\n") if len(line) > _SMALL_PARAGRAPH
                )
            cost += len(paragraph) * signs
            if cost > _MAX_COST:
                return False
    return "|" not in text or _is_short_substituted(text)


def _is_short_substituted(text: str) -> bool:
    defined = {_folded(name): body for name, body in _SUBSTITUTION.findall(text)}
    if not defined:
        return True
    uses = {name: [_folded(use) for use in _USE.findall(body)] for name, body in defined.items()}
    everywhere = [name for name in map(_folded, _USE.findall(text)) if name in defined]
    sizes = {name: len(body) for name, body in defined.items()}
    for _ in range(_SUBSTITUTION_ROUNDS):
        if sum(sizes[name] for name in everywhere) > _MAX_SUBSTITUTED:
            return False
        grown = {
            name: len(body) + sum(min(sizes.get(use, 0), _MAX_SUBSTITUTED) for use in uses[name])
            for name, body in defined.items()
        }
        if grown == sizes:
            break
        sizes = grown
    return True


def _folded(name: str) -> str:
    return " ".join(name.split()).lower()
