"""Walks the body of a WordprocessingML document in order and puts it into pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from services.content import BlockKind
from services.errors import UnreadableDocument
from services.formats.assembly import PageBuilder, one_line
from services.formats.decoding import clean_text
from services.formats.docx_package import Element, Package, attribute, child, name_of, value_of
from services.formats.docx_runs import Break, Note, PictureRef, alternative, read_inline
from services.formats.docx_styles import Numbering, Style, is_on, numbering_of, read_styles

_TWIPS_PER_POINT = 20
_MAX_DEPTH = 60
"""Levels of tables, content controls and text boxes within each other. Word allows about twenty."""

_WRAPPERS = frozenset(("w:sdt", "w:sdtContent", "w:customXml", "w:smartTag", "w:ins", "w:moveTo"))
_NOTES = {"footnote": "footnotes", "endnote": "endnotes", "comment": "comments"}


@dataclass(slots=True)
class Draft:
    """A page under construction and the pictures on it, as (part name, alternative text)."""

    builder: PageBuilder
    pictures: list[tuple[str, str]] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


class BodyReader:
    """Reads one document. `title` and `language` are set by `read`."""

    def __init__(self, package: Package, main: str) -> None:
        self._package = package
        self._main = main
        self._styles: dict[str, Style] = read_styles(self._related_xml("styles"))
        self._numbering = Numbering(self._related_xml("numbering"))
        self._notes = {kind: self._read_notes(relation) for kind, relation in _NOTES.items()}
        self._drafts: list[Draft] = []
        self._fresh_break = True
        self._shown: set[str] = set()
        self.title = ""
        self.language = ""

    def read(self) -> list[Draft]:
        """The pages of the document, at least one."""
        root = self._package.xml(self._main)
        body = child(root, "w:body")
        if body is None:
            raise UnreadableDocument(
                "The document has no body. Save it anew in Word and upload it again.", code="corrupt_document"
            )
        sections = [item for item in body.iter() if name_of(item.tag) == "w:sectPr" and _in_body(item)]
        self._sections: list[Element | None] = [*sections] or [None]
        self._section = 0
        self._new_page()
        self._add_header()
        self._read_blocks(body, self._main, 0)
        self._add_footer()
        self._end_page()
        return self._drafts

    def _related_xml(self, kind: str) -> Element | None:
        names = self._package.related(self._main, kind)
        return self._package.xml(names[0]) if names else None

    def _read_notes(self, kind: str) -> dict[str, tuple[str, Element]]:
        found: dict[str, tuple[str, Element]] = {}
        for part in self._package.related(self._main, kind)[:1]:
            root = self._package.xml(part)
            for item in root if root is not None else ():
                if attribute(item, "w:type") not in ("separator", "continuationSeparator", "continuationNotice"):
                    found[attribute(item, "w:id")] = (part, item)
        return found

    # Pages and sections

    @property
    def _draft(self) -> Draft:
        return self._drafts[-1]

    def _new_page(self) -> None:
        width = height = 0.0
        section = self._sections[min(self._section, len(self._sections) - 1)]
        size = child(section, "w:pgSz")
        if size is not None:
            width, height = (_points(attribute(size, name)) for name in ("w:w", "w:h"))
        self._drafts.append(Draft(PageBuilder(len(self._drafts) + 1, width=width, height=height)))

    def _end_page(self) -> None:
        """Writes the notes of the page below it."""
        notes, self._draft.notes = self._draft.notes, []
        for note in notes:
            found = self._notes[note.kind].pop(note.id, None)
            if found is None:
                continue
            part, element = found
            text = "\n".join(self._plain_blocks(element, part, 1))
            if note.kind == "comment" and (author := attribute(element, "w:author")):
                text = f"{author}: {text}"
            self._draft.builder.add(BlockKind.FOOTNOTE, text)

    def _turn_page(self, kind: Break) -> None:
        """Begins a page, unless Word's note of where a page began only repeats a break that was just made."""
        if kind is Break.RENDERED and self._fresh_break:
            return
        self._end_page()
        self._new_page()
        self._fresh_break = True

    def _add_header(self) -> None:
        self._add_margins("w:headerReference")

    def _add_footer(self) -> None:
        self._add_margins("w:footerReference")

    def _add_margins(self, reference: str) -> None:
        """Headers or footers of the section, each text once in the document."""
        section = self._sections[min(self._section, len(self._sections) - 1)]
        for item in section if section is not None else ():
            if name_of(item.tag) != reference:
                continue
            relation = self._package.relations(self._main).get(attribute(item, "r:id"))
            root = self._package.xml(relation.target) if relation else None
            if root is None or relation is None:
                continue
            text = "\n".join(self._plain_blocks(root, relation.target, 1))
            if text.strip() and text not in self._shown:
                self._shown.add(text)
                self._draft.builder.add(BlockKind.PARAGRAPH, text)

    def _end_section(self, properties: Element) -> None:
        self._add_footer()
        self._section += 1
        following = self._sections[min(self._section, len(self._sections) - 1)]
        if (value_of(following, "w:type") or "nextPage") != "continuous":
            self._turn_page(Break.RENDERED)
        self._add_header()

    # Blocks

    def _read_blocks(self, holder: Element, part: str, depth: int) -> None:
        _check_depth(depth)
        for item in holder:
            match name_of(item.tag):
                case "w:p":
                    self._read_paragraph(item, part, depth)
                case "w:tbl":
                    self._read_table(item, part, depth)
                case "mc:AlternateContent":
                    self._read_blocks(alternative(item), part, depth + 1)
                case name if name in _WRAPPERS:
                    self._read_blocks(item, part, depth + 1)
                case _:
                    pass

    def _read_paragraph(self, paragraph: Element, part: str, depth: int) -> None:
        properties = child(paragraph, "w:pPr")
        style = self._styles.get(value_of(properties, "w:pStyle") or "Normal", Style())
        own = value_of(properties, "w:pageBreakBefore")
        if is_on(own) if own is not None else style.page_break_before:
            self._turn_page(Break.RENDERED)
        kind, level, ordered, label = self._classify(properties, style)
        boxes: list[Element] = []
        text: list[str] = [label] if label else []

        def flush() -> None:
            joined = clean_text("".join(text))
            text.clear()
            if joined.strip():
                self._fresh_break = False
                if kind is BlockKind.HEADING and style.name == "title" and not self.title:
                    self.title = joined
                self._draft.builder.add(kind, joined, level=level, ordered=ordered)

        for piece in read_inline(paragraph, part, self._package):
            match piece:
                case str():
                    text.append(piece)
                case Break():
                    if piece is Break.RENDERED and not "".join(text).strip() and self._fresh_break:
                        continue
                    pending_label = text == [label]
                    if not pending_label:
                        flush()
                    self._turn_page(piece)
                case Note():
                    self._draft.notes.append(piece)
                case PictureRef():
                    self._add_picture(piece)
                    if piece.alt and not piece.part:
                        text.append(f" {piece.alt} ")
                case _:
                    boxes.append(piece)
        if text != [label]:
            flush()
        for box in boxes:
            self._read_blocks(box, part, depth + 1)
        section = child(properties, "w:sectPr")
        if section is not None and depth == 0:
            self._end_section(section)

    def _add_picture(self, picture: PictureRef) -> None:
        if picture.part:
            self._fresh_break = False
            self._draft.pictures.append((picture.part, picture.alt))

    def _classify(self, properties: Element | None, style: Style) -> tuple[BlockKind, int, bool, str]:
        outline_text = value_of(properties, "w:outlineLvl")
        outline = int(outline_text) if outline_text and outline_text.isdecimal() else style.outline
        numbered = numbering_of(properties) or style.numbering
        label = self._numbering.label(*numbered) if numbered else None
        if style.name == "title":
            return BlockKind.HEADING, 1, False, ""
        if outline is None and style.name.startswith("heading ") and style.name[8:9].isdecimal():
            outline = int(style.name[8]) - 1
        if outline is not None and outline < 9:
            return BlockKind.HEADING, min(outline + 1, 6), False, f"{label.text} " if label and label.text else ""
        if label is not None:
            shown = "" if label.is_plain or not label.text else f"{label.text} "
            return BlockKind.LIST_ITEM, label.level + 1, label.is_plain, shown
        if style.name.startswith(("list bullet", "list number")):
            return (
                BlockKind.LIST_ITEM,
                int(style.name[-1]) if style.name[-1].isdecimal() else 1,
                "number" in style.name,
                "",
            )
        named = {"quote": BlockKind.QUOTE, "intense quote": BlockKind.QUOTE, "caption": BlockKind.CAPTION,
                 "html preformatted": BlockKind.CODE, "macro": BlockKind.CODE, "plain text": BlockKind.PARAGRAPH,
                 "footnote text": BlockKind.FOOTNOTE, "endnote text": BlockKind.FOOTNOTE}  # fmt: skip
        return named.get(style.name, BlockKind.PARAGRAPH), 0, False, ""

    # Tables

    def _read_table(self, table: Element, part: str, depth: int) -> None:
        rows = list(_rows(table))
        cells = [list(_cells(row)) for row in rows]
        if all(len(line) <= 1 for line in cells):
            for line in cells:
                for cell in line:
                    self._read_blocks(cell, part, depth + 1)
            return
        grid: list[Sequence[str]] = []
        for row, line in zip(rows, cells, strict=True):
            if any(name_of(item.tag) == "w:lastRenderedPageBreak" for item in row.iter()) and not self._fresh_break:
                self._draft.builder.add_table(grid)
                grid = []
                self._turn_page(Break.RENDERED)
            before = child(row, "w:trPr")
            shown = [""] * int(_digits(value_of(before, "w:gridBefore")))
            for cell in line:
                properties = child(cell, "w:tcPr")
                merged = value_of(properties, "w:vMerge")
                text = (
                    ""
                    if merged is not None and merged != "restart"
                    else " ".join(self._plain_blocks(cell, part, depth + 1))
                )
                shown += [text] + [""] * (max(1, int(_digits(value_of(properties, "w:gridSpan")))) - 1)
            if any(shown):
                self._fresh_break = False
            grid.append(shown)
        self._draft.builder.add_table(grid)

    def _plain_blocks(self, holder: Element, part: str, depth: int) -> Iterator[str]:
        """Paragraphs inside a cell, a note or a header, on one line each; pictures and notes go to the page."""
        _check_depth(depth)
        for item in holder:
            match name_of(item.tag):
                case "w:p":
                    yield from self._plain_paragraph(item, part, depth)
                case "w:tbl":
                    for row in _rows(item):
                        texts = (" ".join(self._plain_blocks(cell, part, depth + 1)) for cell in _cells(row))
                        yield " ".join(text for text in texts if text)
                case "mc:AlternateContent":
                    yield from self._plain_blocks(alternative(item), part, depth + 1)
                case name if name in _WRAPPERS:
                    yield from self._plain_blocks(item, part, depth + 1)
                case _:
                    pass

    def _plain_paragraph(self, paragraph: Element, part: str, depth: int) -> Iterator[str]:
        properties = child(paragraph, "w:pPr")
        style = self._styles.get(value_of(properties, "w:pStyle") or "Normal", Style())
        numbered = numbering_of(properties) or style.numbering
        label = self._numbering.label(*numbered) if numbered else None
        text: list[str] = [f"{label.text} "] if label and label.text else []
        boxes: list[Element] = []
        for piece in read_inline(paragraph, part, self._package):
            match piece:
                case str():
                    text.append(piece)
                case Break():
                    text.append(" ")
                case Note():
                    self._draft.notes.append(piece)
                case PictureRef():
                    self._add_picture(piece)
                    if piece.alt and not piece.part:
                        text.append(f" {piece.alt} ")
                case _:
                    boxes.append(piece)
        joined = one_line(clean_text("".join(text)))
        if joined:
            yield joined
        for box in boxes:
            yield from self._plain_blocks(box, part, depth + 1)


def _check_depth(depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise UnreadableDocument(
            f"The document nests tables or text boxes more than {_MAX_DEPTH} deep. It was not read.",
            code="nesting_too_deep",
        )


def _in_body(section: Element) -> bool:
    """True for the properties of a section of the body: its last child, or in a paragraph that is a child of it."""
    parent = section.getparent()
    if name_of(parent.tag) == "w:pPr":
        return name_of(parent.getparent().getparent().tag) == "w:body"
    return name_of(parent.tag) == "w:body"


def _unwrapped(holder: Element, name: str) -> Iterator[Element]:
    stack: list[Iterator[Element]] = [iter(holder)]
    while stack:
        item = next(stack[-1], None)
        if item is None:
            stack.pop()
        elif name_of(item.tag) == name:
            yield item
        elif name_of(item.tag) in _WRAPPERS and len(stack) < _MAX_DEPTH:
            stack.append(iter(item))


def _rows(table: Element) -> Iterable[Element]:
    for row in _unwrapped(table, "w:tr"):
        properties = child(row, "w:trPr")
        if child(properties, "w:del") is None:
            yield row


def _cells(row: Element) -> Iterable[Element]:
    return _unwrapped(row, "w:tc")


def _digits(value: str | None) -> str:
    return value if value and value.isdecimal() and len(value) <= 3 else "0"


def _points(value: str) -> float:
    """Twips, or a length with its unit as strict files write it, in points; 0 where it is neither."""
    units = {"pt": 1.0, "in": 72.0, "mm": 72 / 25.4, "cm": 72 / 2.54, "pc": 12.0, "pi": 12.0}
    try:
        if value[-2:] in units:
            return round(float(value[:-2]) * units[value[-2:]], 2)
        return int(value) / _TWIPS_PER_POINT
    except ValueError:
        return 0.0
