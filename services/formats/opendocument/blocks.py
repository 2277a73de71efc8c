"""Walks the text of an OpenDocument file in order and puts it into pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from services.content import BlockKind, Box, MarkKind
from services.formats.kit.captions import CaptionMatcher, PlacedPicture
from services.formats.kit.page_builder import PageBuilder, one_line
from services.formats.kit.run_text import LinkStart, RunText, Words
from services.formats.kit.xml import Element, too_deep
from services.formats.opendocument.inline import SHAPES, Inline, Sign, read_inline
from services.formats.opendocument.objects import ObjectReader, picture_of
from services.formats.opendocument.package import OdfPackage, attribute, count_of, name_of, points, qualified
from services.formats.opendocument.styles import ParagraphStyle, Styles

_MAX_DEPTH = 60  # levels of lists, tables and text boxes within each other
_MAX_REPEATED_CELLS, _MAX_REPEATED_ROWS, _MAX_CELLS = 256, 64, 1_000_000
"""How often a text's table says again what it says once, and in all; spreadsheets have bounds of their own."""

_MAX_INSERTIONS = 64  # open at one time; each is marked in every paragraph until it ends
_WORDS_OF_WRAPPERS = (
    "text:table-of-content text:illustration-index text:table-index text:object-index text:user-index "
    "text:alphabetical-index text:bibliography text:index-body text:index-title text:numbered-paragraph text:list-item "
    "text:list-header office:text draw:text-box draw:image table:table-cell style:header style:footer "
    "style:header-left style:footer-left style:header-first style:footer-first loext:header-first loext:footer-first "
    "style:region-left style:region-center style:region-right text:note-body"
)
_WRAPPERS = frozenset(_WORDS_OF_WRAPPERS.split())
_ROW_GROUPS = frozenset(("table:table-header-rows", "table:table-rows", "table:table-row-group"))


@dataclass(slots=True)
class Draft:
    """A page under construction."""

    builder: PageBuilder
    pictures: list[PlacedPicture] = field(default_factory=list)
    notes: list[Element] = field(default_factory=list)
    header_chars: int = 0  # that stood on the page before its own text


@dataclass(slots=True)
class _Paragraph:
    """A paragraph that is being read."""

    style: ParagraphStyle
    kind: BlockKind
    level: int
    ordered: bool
    run: RunText = field(default_factory=lambda: RunText(collapse=True))
    shapes: list[Element] = field(default_factory=list)
    """Drawings anchored in it, which come behind it."""
    hidden_words: list[bool] = field(default_factory=list)
    """Of each run of words, whether it is hidden."""

    def add(self, words: Words) -> None:
        if words.text.strip():
            self.hidden_words.append(words.hidden)
        self.run.collapse = not words.verbatim
        self.run.add(words.text)
        self.run.collapse = True

    @property
    def is_hidden(self) -> bool:
        return self.style.hidden or (bool(self.hidden_words) and all(self.hidden_words))


class BlockReader:
    """Reads elements into drafts.

    `turn_page` is called where the document begins a page, with the name of its master page or an empty one; it calls
    `new_page`. Without it, as for slides and sheets, all goes on in the page that was begun last.
    """

    def __init__(self, package: OdfPackage, styles: Styles, *, turn_page: Callable[[str], None] | None = None) -> None:
        self.package = package
        self.styles = styles
        self.paged = turn_page is not None
        self._on_page_turn = turn_page
        self.drafts: list[Draft] = []
        self.title = ""
        self.forced: BlockKind | None = None  # a kind that all text gets, such as that of speaker notes
        self.forced_level = 0
        self.with_chart_data = True  # False where they stand in the document already
        self.hidden = False
        self.place = ""  # of what is read next, such as `Cell B3`; comments name it
        self.box: Box | None = None
        self._objects = ObjectReader(package)
        self._captions, self._builder = CaptionMatcher(), PageBuilder(0)
        self._captures = 0
        self._shown_margins: set[str] = set()
        self._later: list[tuple[BlockKind, str]] = []
        self._lists: list[str] = []
        self._fresh_item = False
        self._changes: dict[str, tuple[BlockKind, str, Element]] = {}
        self._insertions: list[tuple[str, str]] = []

    # Pages

    def new_page(self, width: float = 0.0, height: float = 0.0) -> Draft:
        """Begins a page of that size in points."""
        self._builder = PageBuilder(len(self.drafts) + 1, width=width, height=height)
        self.drafts.append(Draft(self._builder))
        return self.drafts[-1]

    def _turn_page(self, master: str = "") -> None:
        if self._on_page_turn is not None and not self._captures:
            self._on_page_turn(master)

    def add_margin(self, kind: BlockKind, text: str, *, hidden: bool = False) -> None:
        """Adds a header or footer, each text once in the document."""
        if text.strip() and text not in self._shown_margins:
            self._shown_margins.add(text)
            self._builder.add(kind, text, hidden=hidden)

    def end_page(self) -> None:
        """Writes the notes of the page below it."""
        draft = self.drafts[-1]
        while draft.notes:
            notes, draft.notes = draft.notes, []
            for note in notes:
                for body in note.iterchildren(qualified("text:note-body")):
                    draft.builder.add(BlockKind.FOOTNOTE, self.capture(body), hidden=self.hidden)
        self._write_later()

    def _write_later(self) -> None:
        if self._captures:
            return
        later, self._later = self._later, []
        for kind, text in later:
            self._builder.add(self.forced or kind, text, hidden=self.hidden)

    def capture(self, holder: Element, depth: int = 1) -> str:
        """The text of what `holder` holds.

        Its pictures, notes and comments go to the page.
        """
        outer, fresh, lists, box = self._builder, self._fresh_item, self._lists, self.box
        self._builder, self._lists, self.box = PageBuilder(0), [], None
        self._captures += 1
        try:
            self.read_blocks(holder, depth)
            return self._builder.build().text
        finally:
            self._captures -= 1
            self._builder, self._fresh_item, self._lists, self.box = outer, fresh, lists, box

    # Blocks

    def read_changes(self, body: Element) -> None:
        """Takes note of the tracked changes that the text lists before it begins."""
        for region in body.iter(qualified("text:changed-region")):
            for change in region:
                kind = name_of(change.tag)
                author = next((one_line(e.text or "") for e in change.iter(qualified("dc:creator"))), "")
                if kind in ("text:insertion", "text:deletion"):
                    found = BlockKind.DELETION if kind == "text:deletion" else BlockKind.PARAGRAPH
                    key = attribute(region, "text:id") or region.get("{http://www.w3.org/XML/1998/namespace}id") or ""
                    self._changes[key] = (found, author, change)

    def read_blocks(self, holder: Element, depth: int = 0) -> None:
        """Adds what `holder` holds. Raises UnreadableDocument (`nesting_too_deep`)."""
        if depth > _MAX_DEPTH:
            raise too_deep(self.package.limits)
        for item in holder:
            name = name_of(item.tag)
            if name in ("text:p", "text:h"):
                self._read_paragraph(item, depth)
            elif name == "text:list":
                self._read_list(item, depth)
            elif name == "table:table":
                self.read_table(item, depth)
            elif name == "text:section":
                hidden = self.hidden
                self.hidden = hidden or attribute(item, "text:display") in ("none", "condition")
                self.read_blocks(item, depth + 1)
                self.hidden = hidden
            elif name in SHAPES:
                self.read_shape(item, depth + 1)
            elif name == "text:soft-page-break":
                self._turn_page()
            elif name == "office:annotation":
                self._read_comment(item, depth)
                self._write_later()
            elif name.startswith("text:change"):
                self._read_change(item, None, depth)
                self._write_later()
            elif name in _WRAPPERS:
                self.read_blocks(item, depth + 1)

    def _read_list(self, item: Element, depth: int) -> None:
        inherited = self._lists[-1] if self._lists else ""
        self._lists.append(attribute(item, "text:style-name") or inherited)
        for entry in item:
            name = name_of(entry.tag)
            if name in ("text:list-item", "text:list-header"):
                self._fresh_item = name == "text:list-item"
                self.read_blocks(entry, depth + 1)
                self._fresh_item = False
        self._lists.pop()

    def _read_paragraph(self, element: Element, depth: int) -> None:
        paragraph = self._begin_paragraph(element)
        for piece in read_inline(element, self.styles):
            self._read_piece(piece, paragraph, depth)
        self._write_paragraph(paragraph)
        self._write_later()
        for shape in paragraph.shapes:
            self.read_shape(shape, depth + 1)

    def _begin_paragraph(self, element: Element) -> _Paragraph:
        """The paragraph without its text; turns the page where its style says so."""
        style = self.styles.paragraph(attribute(element, "text:style-name"))
        if (style.breaks_page or style.master) and not self._captures:
            self._turn_page(style.master)
        paragraph = _Paragraph(style, *self._classify(element, style))
        for _, author in self._insertions:
            paragraph.run.open(MarkKind.INSERTION, author)
        return paragraph

    def _classify(self, element: Element, style: ParagraphStyle) -> tuple[BlockKind, int, bool]:
        """(kind, level, ordered) of a paragraph."""
        if name_of(element.tag) == "text:h":
            outline = attribute(element, "text:outline-level")
            level = int(outline[:3]) if outline.isdecimal() else style.outline or 1
            return BlockKind.HEADING, min(level, 6), False
        if style.is_title:
            return BlockKind.HEADING, 1, False
        if self._fresh_item:
            level = max(1, len(self._lists))
            ordered = bool(self._lists) and self.styles.is_ordered(self._lists[-1] or style.list_style, level)
            return BlockKind.LIST_ITEM, level, ordered
        if style.kind is BlockKind.CAPTION and not "".join(_own_text(element)).strip():
            return BlockKind.PARAGRAPH, 0, False  # it only holds the box in which picture and caption are
        return style.kind, 0, False

    def _read_piece(self, piece: Inline, paragraph: _Paragraph, depth: int) -> None:
        run = paragraph.run
        match piece:
            case Words():
                paragraph.add(piece)
            case LinkStart():
                run.open(MarkKind.LINK, piece.address)
            case Sign.LINK_END:
                run.close(MarkKind.LINK)
            case Sign.LINE:
                run.collapse = False
                run.break_line()
                run.collapse = True
            case Sign.PAGE:
                if self.paged and not self._captures:
                    self._write_paragraph(paragraph)
                self._turn_page()
            case _:
                self._read_anchored(piece, paragraph, depth)

    def _read_anchored(self, item: Element, paragraph: _Paragraph, depth: int) -> None:
        """A note, comment, drawing or tracked change that stands in the text of a paragraph."""
        name = name_of(item.tag)
        if name == "text:note":
            self.drafts[-1].notes.append(item)
        elif name == "office:annotation":
            self._read_comment(item, depth)
        elif name in SHAPES and paragraph.kind is BlockKind.CAPTION:
            self.read_shape(item, depth + 1)  # its picture comes before the words of the caption
        elif name in SHAPES:
            paragraph.shapes.append(item)
        else:
            self._read_change(item, paragraph.run, depth)

    def _write_paragraph(self, paragraph: _Paragraph) -> None:
        """Adds what was read of the paragraph since it was last written."""
        text, marks = paragraph.run.take()
        if not text.strip():
            return
        if paragraph.style.is_title and not self.title:
            self.title = one_line(text)
        if paragraph.kind is BlockKind.CAPTION:
            self._captions.caption(one_line(text))
        else:
            self._captions.other()
        self._builder.add(
            self.forced or paragraph.kind,
            text,
            level=self.forced_level if self.forced else paragraph.level,
            ordered=paragraph.ordered,
            hidden=self.hidden or paragraph.is_hidden,
            box=self.box,
            marks=marks,
        )
        self._fresh_item = False

    def _read_comment(self, annotation: Element, depth: int) -> None:
        author = next((one_line(e.text or "") for e in annotation.iterchildren(qualified("dc:creator"))), "")
        text = self.capture(annotation, depth + 1)
        if text.strip():
            author = f"{author} ({self.place})" if author and self.place else author or self.place
            self._later.append((BlockKind.COMMENT, f"{author}: {text}" if author else text))

    def _read_change(self, place: Element, run: RunText | None, depth: int) -> None:
        key = attribute(place, "text:change-id")
        kind, author, _ = self._changes.get(key, (BlockKind.COMMENT, "", place))
        match name_of(place.tag):
            case "text:change-start" if kind is BlockKind.PARAGRAPH and len(self._insertions) < _MAX_INSERTIONS:
                self._insertions.append((key, author))
                if run is not None:
                    run.open(MarkKind.INSERTION, author)
            case "text:change-end" if (key, author) in self._insertions:
                self._insertions.remove((key, author))
                if run is not None:
                    run.close(MarkKind.INSERTION)
            case "text:change" if kind is BlockKind.DELETION:
                text = self.capture(self._changes.pop(key)[2], depth + 1)
                if text.strip():
                    self._later.append((BlockKind.DELETION, text))
            case _:
                pass

    # Tables and drawings

    def read_table(self, table: Element, depth: int) -> None:
        """Adds a table; one of a single column is a box around text and is read as such."""
        rows = list(table_rows(table, depth, self))
        cells = [list(_cells(row)) if name_of(row.tag) == "table:table-row" else [] for row in rows]
        if all(len(line) <= 1 for line in cells):
            for line in cells:
                for cell in line:
                    self.read_blocks(cell, depth + 1)
            return
        grid: list[list[str]] = []
        size = 0
        for row, line in zip(rows, cells, strict=True):
            if name_of(row.tag) == "text:soft-page-break":
                if self.paged and not self._captures:
                    self._builder.add_table(grid, hidden=self.hidden, box=self.box)
                    grid = []
                    self._turn_page()
                continue
            shown: list[str] = []
            for cell in line:
                text = "" if name_of(cell.tag) == "table:covered-table-cell" else self.capture(cell, depth + 1)
                most = _MAX_REPEATED_CELLS if size + len(shown) < _MAX_CELLS else 1
                shown += [text] * count_of(cell, "table:number-columns-repeated", at_most=most)
            if any(shown):
                again = count_of(row, "table:number-rows-repeated", at_most=_MAX_REPEATED_ROWS)
                size += len(shown) * again
                grid += [shown] * (again if size <= _MAX_CELLS else 1)
        self._captions.other()
        if self.forced:
            self._builder.add(self.forced, "\n".join(" | ".join(row) for row in grid), hidden=self.hidden)
        else:
            self._builder.add_table(grid, hidden=self.hidden, box=self.box)
        self._write_later()

    def read_shape(self, shape: Element, depth: int) -> None:
        """Adds the text of a drawing, and its picture."""
        if depth > _MAX_DEPTH:
            raise too_deep(self.package.limits)
        name = name_of(shape.tag)
        if name in ("draw:g", "draw:a", "dr3d:scene"):
            for item in shape:
                if name_of(item.tag) in SHAPES:
                    self.read_shape(item, depth + 1)
            return
        outer = self.box
        if self.drafts[-1].builder.width and not self.paged:
            self.box = _box(shape) or outer
        alt = ": ".join(
            dict.fromkeys(
                one_line(e.text or "") for e in shape.iterchildren(qualified("svg:title"), qualified("svg:desc"))
            )
        ).strip(": ")
        fresh, lists, self._fresh_item, self._lists = self._fresh_item, self._lists, False, []
        if name == "draw:frame":
            self._read_frame(shape, alt, depth)
        else:
            self.read_blocks(shape, depth + 1)
            self._add_alt(alt)
        self._fresh_item, self._lists, self.box = fresh, lists, outer

    def _read_frame(self, frame: Element, alt: str, depth: int) -> None:
        """A frame holds one thing in several forms; the first that can be read is."""
        done = False
        for item in frame:
            match name_of(item.tag):
                case "draw:text-box":
                    self.read_blocks(item, depth + 1)
                    done = True
                case "table:table":
                    self.read_table(item, depth + 1)
                    done = True
                case "draw:object" if not done:
                    text, rows = self._objects.read(item)
                    self._builder.add(self.forced or BlockKind.PARAGRAPH, text, hidden=self.hidden, box=self.box)
                    if rows and self.with_chart_data and not self.forced:
                        self._builder.add_table(rows, hidden=self.hidden, box=self.box)
                    done = bool(text) and not rows
                case "draw:image" if not done:
                    part = picture_of(self.package, item)
                    if part:
                        picture = PlacedPicture(part, alt, "", self.box)
                        self.drafts[-1].pictures.append(picture)
                        self._captions.picture(picture)
                        done = True
                    self.read_blocks(item, depth + 1)
                case _:
                    pass
        self._add_alt(alt)

    def _add_alt(self, alt: str) -> None:
        if alt:
            self._builder.add(self.forced or BlockKind.PARAGRAPH, alt, hidden=self.hidden, box=self.box)


def table_rows(table: Element, depth: int, reader: BlockReader) -> Iterator[Element]:
    """Rows of a table and the page breaks between them, out of their groups.

    Raises UnreadableDocument.
    """
    stack = [iter(table)]
    while stack:
        item = next(stack[-1], None)
        if item is None:
            stack.pop()
        elif (name := name_of(item.tag)) in ("table:table-row", "text:soft-page-break"):
            yield item
        elif name in _ROW_GROUPS:
            if len(stack) + depth > _MAX_DEPTH:
                raise too_deep(reader.package.limits)
            stack.append(iter(item))


def _cells(row: Element) -> Iterator[Element]:
    for item in row:
        if name_of(item.tag) in ("table:table-cell", "table:covered-table-cell"):
            yield item


def _own_text(paragraph: Element) -> Iterator[str]:
    """Text of a paragraph outside the drawings that are anchored in it."""
    stack = [(paragraph, iter(paragraph))]
    yield paragraph.text or ""
    while stack:
        item = next(stack[-1][1], None)
        if item is None:
            done, _ = stack.pop()
            yield (done.tail or "") if stack else ""
        elif name_of(item.tag) in SHAPES:
            yield item.tail or ""
        else:
            yield item.text or ""
            stack.append((item, iter(item)))


def _box(shape: Element) -> Box | None:
    x, y, width, height = (points(attribute(shape, name)) for name in ("svg:x", "svg:y", "svg:width", "svg:height"))
    return (x, y, round(x + width, 2), round(y + height, 2)) if width > 0 and height > 0 else None
