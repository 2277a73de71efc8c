"""Walks the body of a WordprocessingML document in order and puts it into pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from services.content import BlockKind, MarkKind
from services.errors import UnreadableDocument
from services.formats.kit.captions import CaptionMatcher, PlacedPicture
from services.formats.kit.decoding import clean_text
from services.formats.kit.page_builder import PageBuilder, one_line
from services.formats.kit.run_text import LinkStart, RunText, Words
from services.formats.kit.xml import Element
from services.formats.office.charts import Chart
from services.formats.office.markup import attribute, first, is_property_on, level_number, name_of, value_of
from services.formats.office.package import OfficePackage
from services.formats.office.word.notes import Notes, NoteText
from services.formats.office.word.runs import (
    Break,
    Deletion,
    End,
    Inline,
    InsertionStart,
    Note,
    PictureRef,
    alternative,
    deleted_text,
    read_inline,
)
from services.formats.office.word.styles import Numbering, Style, numbering_of, read_styles

_MAX_DEPTH = 60
"""Levels of tables, content controls and text boxes within each other. Word allows about twenty."""

_WRAPPERS = frozenset(("w:sdt", "w:sdtContent", "w:customXml", "w:smartTag", "w:ins", "w:moveTo"))
_TWIPS_PER_POINT = 20
_LENGTH = re.compile(r"(\d{1,9}(?:\.\d{0,9})?)(pt|in|mm|cm|pc|pi)?", re.ASCII)
_MAX_SPAN = 63
"""Source: Word's limit of columns in a table."""


@dataclass(slots=True)
class Draft:
    """A page under construction."""

    builder: PageBuilder
    pictures: list[PlacedPicture] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


@dataclass(slots=True)
class _Paragraph:
    """A paragraph that is being read."""

    style: Style
    kind: BlockKind
    level: int
    ordered: bool
    label: str
    """The number or bullet that it begins with."""
    is_unseen: bool
    """True where the mark at its end is hidden."""
    run: RunText = field(default_factory=RunText)
    pictures: list[PlacedPicture] = field(default_factory=list)
    """Pictures that wait for a caption."""
    charts: list[Chart] = field(default_factory=list)
    boxes: list[Element] = field(default_factory=list)
    """Contents of text boxes."""
    hidden_words: list[bool] = field(default_factory=list)
    """Of each run of words, whether it is hidden."""

    def __post_init__(self) -> None:
        self.run.add(self.label)

    def add(self, words: Words) -> None:
        if words.text.strip():
            self.hidden_words.append(words.hidden)
        self.run.add(words.text)

    @property
    def has_begun(self) -> bool:
        """True where it holds more than its label."""
        return len(self.run) > len(self.label)

    @property
    def says_something(self) -> bool:
        return self.has_begun or not self.label

    @property
    def is_hidden(self) -> bool:
        return all(self.hidden_words) if self.hidden_words else self.is_unseen


class BodyReader:
    """Reads one document. `title` and `language` are set by `read`."""

    def __init__(self, package: OfficePackage, main: str) -> None:
        self._package = package
        self._main = main
        self._styles: dict[str, Style] = read_styles(self._related_xml("styles"))
        self._numbering = Numbering(self._related_xml("numbering"))
        self._notes = Notes(package, main)
        self._captions = CaptionMatcher()
        self._drafts: list[Draft] = []
        self._later: list[tuple[BlockKind, str]] = []
        self._fresh_break = True
        self._shown: set[str] = set()
        self.title = ""
        self.language = ""

    def read(self) -> list[Draft]:
        """The pages of the document, at least one."""
        root = self._package.xml(self._main)
        body = first(root, "w:body")
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
        for note in self._notes.take_comments():
            self._draft.builder.add(BlockKind.COMMENT, self._remark(note))
        return self._drafts

    def _related_xml(self, kind: str) -> Element | None:
        names = self._package.related(self._main, kind)
        return self._package.optional_xml(names[0]) if names else None

    # Pages and sections

    @property
    def _draft(self) -> Draft:
        return self._drafts[-1]

    def _new_page(self) -> None:
        width = height = 0.0
        section = self._sections[min(self._section, len(self._sections) - 1)]
        size = first(section, "w:pgSz")
        if size is not None:
            width, height = (_points_of(attribute(size, name)) for name in ("w:w", "w:h"))
        self._drafts.append(Draft(PageBuilder(len(self._drafts) + 1, width=width, height=height)))

    def _end_page(self) -> None:
        """Writes the notes of the page below it."""
        while self._draft.notes:
            notes, self._draft.notes = self._draft.notes, []
            for note in notes:
                for found in self._notes.take(note.kind, note.id):
                    text = "\n".join(self._plain_blocks(found.element, found.part, 1))
                    self._draft.builder.add(BlockKind.FOOTNOTE, text)
        self._write_later()

    def _meet_note(self, note: Note) -> None:
        """A comment comes behind the block that it is about, a note to the end of the page."""
        if note.kind != "comment":
            self._draft.notes.append(note)
            return
        for found in self._notes.take(note.kind, note.id):
            self._later.append((BlockKind.COMMENT, self._remark(found)))

    def _remark(self, note: NoteText) -> str:
        text = "\n".join(self._plain_blocks(note.element, note.part, 1))
        return f"{note.author}: {text}" if note.author and text else text

    def _write_later(self) -> None:
        """Writes the comments and deletions of the block that was just written."""
        later, self._later = self._later, []
        for kind, text in later:
            self._draft.builder.add(kind, clean_text(text))

    def _turn_page(self, kind: Break) -> None:
        """Begins a page, unless Word's note of where a page began only repeats a break that was just made."""
        if kind is Break.RENDERED and self._fresh_break:
            return
        self._end_page()
        self._new_page()
        self._fresh_break = True

    def _add_header(self) -> None:
        self._add_margins("w:headerReference", BlockKind.PAGE_HEADER)

    def _add_footer(self) -> None:
        self._add_margins("w:footerReference", BlockKind.PAGE_FOOTER)

    def _add_margins(self, reference: str, kind: BlockKind) -> None:
        """Headers or footers of the section, each text once in the document."""
        section = self._sections[min(self._section, len(self._sections) - 1)]
        for item in section if section is not None else ():
            if name_of(item.tag) != reference:
                continue
            relation = self._package.relations(self._main).get(attribute(item, "r:id"))
            root = self._package.optional_xml(relation.target) if relation else None
            if root is None or relation is None:
                continue
            text = "\n".join(self._plain_blocks(root, relation.target, 1))
            if text.strip() and text not in self._shown:
                self._shown.add(text)
                self._draft.builder.add(kind, text)

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

    def _read_paragraph(self, element: Element, part: str, depth: int) -> None:
        properties = first(element, "w:pPr")
        style = self._style_of(properties)
        says_itself = first(properties, "w:pageBreakBefore") is not None
        if is_property_on(properties, "w:pageBreakBefore") if says_itself else style.page_break_before:
            self._turn_page(Break.RENDERED)
        unseen = is_property_on(first(properties, "w:rPr"), "w:vanish")
        paragraph = _Paragraph(style, *self._classify(properties, style), unseen)
        for piece in read_inline(element, part, self._package):
            self._read_piece(piece, paragraph)
        if paragraph.says_something:
            self._write_paragraph(paragraph)
        self._write_anchored(paragraph, part, depth)
        section = first(properties, "w:sectPr")
        if section is not None and depth == 0:
            self._end_section(section)

    def _style_of(self, properties: Element | None) -> Style:
        return self._styles.get(value_of(properties, "w:pStyle") or "Normal", Style())

    def _read_piece(self, piece: Inline, paragraph: _Paragraph) -> None:
        run = paragraph.run
        match piece:
            case Words():
                paragraph.add(piece)
            case LinkStart():
                run.open(MarkKind.LINK, piece.address)
            case InsertionStart():
                run.open(MarkKind.INSERTION, piece.author)
            case End.LINK:
                run.close(MarkKind.LINK)
            case End.INSERTION:
                run.close(MarkKind.INSERTION)
            case Deletion():
                self._later.append((BlockKind.DELETION, piece.text))
            case Break():
                self._break_paragraph(piece, paragraph)
            case Note():
                self._meet_note(piece)
            case PictureRef() if piece.part:
                paragraph.pictures.append(self._add_picture(piece))
            case PictureRef():
                run.add(f" {piece.alt} ")
            case Chart():
                paragraph.charts.append(piece)
            case _:
                paragraph.boxes.append(piece)

    def _break_paragraph(self, kind: Break, paragraph: _Paragraph) -> None:
        """Ends the page inside of a paragraph; what comes before the break stays on it."""
        if kind is Break.RENDERED and not paragraph.has_begun and self._fresh_break:
            return
        if paragraph.says_something:
            self._write_paragraph(paragraph)
        self._turn_page(kind)

    def _write_paragraph(self, paragraph: _Paragraph) -> None:
        """Adds what was read of the paragraph since it was last written."""
        text, marks = paragraph.run.take()
        if not text.strip():
            return
        self._fresh_break = False
        if paragraph.kind is BlockKind.HEADING and paragraph.style.name == "title" and not self.title:
            self.title = text
        self._match_captions(paragraph.kind, text, paragraph.pictures)
        self._draft.builder.add(
            paragraph.kind,
            text,
            level=paragraph.level,
            ordered=paragraph.ordered,
            hidden=paragraph.is_hidden,
            marks=marks,
        )
        self._write_later()

    def _write_anchored(self, paragraph: _Paragraph, part: str, depth: int) -> None:
        """Adds what is anchored in the paragraph and comes behind it: charts, and the content of text boxes."""
        for picture in paragraph.pictures:
            self._captions.picture(picture)
        self._write_later()
        for chart in paragraph.charts:
            self._add_chart(chart)
        for box in paragraph.boxes:
            self._read_blocks(box, part, depth + 1)

    def _match_captions(self, kind: BlockKind, text: str, pictures: list[PlacedPicture]) -> None:
        if kind is BlockKind.CAPTION:
            for picture in pictures:
                self._captions.picture(picture)
            pictures.clear()
            self._captions.caption(one_line(text))
        elif not pictures:
            self._captions.other()

    def _add_picture(self, reference: PictureRef) -> PlacedPicture:
        self._fresh_break = False
        picture = PlacedPicture(reference.part, reference.alt)
        self._draft.pictures.append(picture)
        return picture

    def _add_chart(self, chart: Chart) -> None:
        self._fresh_break = False
        self._draft.builder.add(BlockKind.CAPTION, clean_text(chart.title))
        self._draft.builder.add(BlockKind.PARAGRAPH, clean_text(", ".join(chart.axes)))
        for rows in chart.tables:
            self._draft.builder.add_table([[clean_text(cell) for cell in row] for row in rows])

    def _classify(self, properties: Element | None, style: Style) -> tuple[BlockKind, int, bool, str]:
        outline_text = value_of(properties, "w:outlineLvl")
        stated = level_number(outline_text)
        outline = style.outline if stated is None else stated
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
        rows = list(_table_rows(table))
        removed = _removed_text(table)
        cells = [list(_row_cells(row)) for row in rows]
        if all(len(line) <= 1 for line in cells):
            for line in cells:
                for cell in line:
                    self._read_blocks(cell, part, depth + 1)
            self._later.append((BlockKind.DELETION, removed))
            self._write_later()
            return
        self._captions.other()
        grid: list[Sequence[str]] = []
        for row, line in zip(rows, cells, strict=True):
            if any(name_of(item.tag) == "w:lastRenderedPageBreak" for item in row.iter()) and not self._fresh_break:
                self._draft.builder.add_table(grid)
                grid = []
                self._write_later()
                self._turn_page(Break.RENDERED)
            shown = [""] * _skipped_columns(row)
            for cell in line:
                text = "" if _goes_on_above(cell) else " ".join(self._plain_blocks(cell, part, depth + 1))
                shown += [text] + [""] * (_cell_span(cell) - 1)
            if any(shown):
                self._fresh_break = False
            grid.append(shown)
        self._draft.builder.add_table(grid)
        self._later.append((BlockKind.DELETION, removed))
        self._write_later()

    def _plain_blocks(self, holder: Element, part: str, depth: int) -> Iterator[str]:
        """Paragraphs inside a cell, a note or a header, on one line each.

        Pictures and notes go to the page.
        """
        _check_depth(depth)
        for item in holder:
            match name_of(item.tag):
                case "w:p":
                    yield from self._plain_paragraph(item, part, depth)
                case "w:tbl":
                    for row in _table_rows(item):
                        texts = (" ".join(self._plain_blocks(cell, part, depth + 1)) for cell in _row_cells(row))
                        yield " ".join(text for text in texts if text)
                    self._later.append((BlockKind.DELETION, _removed_text(item)))
                case "mc:AlternateContent":
                    yield from self._plain_blocks(alternative(item), part, depth + 1)
                case name if name in _WRAPPERS:
                    yield from self._plain_blocks(item, part, depth + 1)
                case _:
                    pass

    def _plain_paragraph(self, paragraph: Element, part: str, depth: int) -> Iterator[str]:
        properties = first(paragraph, "w:pPr")
        style = self._style_of(properties)
        numbered = numbering_of(properties) or style.numbering
        label = self._numbering.label(*numbered) if numbered else None
        text: list[str] = [f"{label.text} "] if label and label.text else []
        boxes: list[Element] = []
        for piece in read_inline(paragraph, part, self._package):
            match piece:
                case Words():
                    text.append(piece.text)
                case Break():
                    text.append(" ")
                case Deletion():
                    self._later.append((BlockKind.DELETION, piece.text))
                case Note():
                    self._meet_note(piece)
                case PictureRef() if piece.part:
                    self._captions.picture(self._add_picture(piece))
                case PictureRef():
                    text.append(f" {piece.alt} ")
                case Chart():
                    text.append(f" {piece.words} ")
                case LinkStart() | InsertionStart() | End():
                    pass
                case _:
                    boxes.append(piece)
        joined = one_line(clean_text("".join(text)))
        if joined:
            yield joined
        for box in boxes:
            yield from self._plain_blocks(box, part, depth + 1)


def _check_depth(depth: int) -> None:
    """Raises UnreadableDocument (`nesting_too_deep`)."""
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


def _table_rows(table: Element) -> Iterable[Element]:
    """The rows of a table, those that a tracked change took out left out."""
    return (row for row in _unwrapped(table, "w:tr") if not _is_removed(row))


def _removed_text(table: Element) -> str:
    """What the rows said that a tracked change took out, a line for each.

    Empty without such.
    """
    lines = (
        " | ".join(one_line(" ".join(map(deleted_text, cell.iter("{*}p")))) for cell in _row_cells(row))
        for row in _unwrapped(table, "w:tr")
        if _is_removed(row)
    )
    return "\n".join(line for line in lines if line.strip(" |"))


def _is_removed(row: Element) -> bool:
    return first(first(row, "w:trPr"), "w:del") is not None


def _row_cells(row: Element) -> Iterable[Element]:
    """The cells of a row."""
    return _unwrapped(row, "w:tc")


def _cell_span(cell: Element) -> int:
    """Columns that the cell takes."""
    return min(max(1, _number(value_of(first(cell, "w:tcPr"), "w:gridSpan"))), _MAX_SPAN)


def _skipped_columns(row: Element) -> int:
    """Columns of the grid that lie before the row's first cell."""
    return min(_number(value_of(first(row, "w:trPr"), "w:gridBefore")), _MAX_SPAN)


def _goes_on_above(cell: Element) -> bool:
    """True for a cell that only continues the one above it."""
    merged = value_of(first(cell, "w:tcPr"), "w:vMerge")
    return merged is not None and merged != "restart"


def _number(value: str | None) -> int:
    return int(value) if value and value.isdecimal() and len(value) <= 3 else 0


def _points_of(value: str) -> float:
    """Twips, or a length with its unit as strict files write it, in points.

    0 where it is neither.
    """
    units = {"pt": 1.0, "in": 72.0, "mm": 72 / 25.4, "cm": 72 / 2.54, "pc": 12.0, "pi": 12.0}
    match = _LENGTH.fullmatch(value)
    if match is None:
        return 0.0
    unit = match.group(2)
    return round(float(match.group(1)) * units[unit], 2) if unit else int(float(match.group(1))) / _TWIPS_PER_POINT
