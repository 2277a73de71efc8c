"""Puts the paragraphs, tables, notes and pictures of Rich Text Format into pages."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from services.content import BlockKind
from services.formats.kit.captions import CaptionMatcher, PlacedPicture
from services.formats.kit.page_builder import PageBuilder, one_line
from services.formats.kit.run_text import RunText

_TWIPS_PER_POINT = 20
_MAX_TABLE_CELLS = 1_000_000
_PLAIN_LABEL = re.compile(r"\d{1,4}\.")
_KINDS = {"caption": BlockKind.CAPTION, "quote": BlockKind.QUOTE, "intense quote": BlockKind.QUOTE,
          "quotations": BlockKind.QUOTE, "html preformatted": BlockKind.CODE,
          "preformatted text": BlockKind.CODE}  # fmt: skip


@dataclass(slots=True)
class Paragraph:
    """What holds for a paragraph until `\\pard`."""

    style: int = 0
    outline: int = -1
    list_id: int = 0
    level: int = 0
    in_table: bool = False


@dataclass(slots=True)
class RtfPicture(PlacedPicture):
    """A picture by where its digits or bytes stand in the file."""

    start: int = 0
    end: int = 0
    is_binary: bool = False


@dataclass(slots=True)
class RtfPage:
    """A page that was read."""

    builder: PageBuilder
    pictures: list[RtfPicture] = field(default_factory=list)


class Layout:
    """The page that is being laid out: a reader of tokens gives it text, and words that say how it stands.

    `title` is set by the first paragraph in a style of that name.
    """

    def __init__(self) -> None:
        self.paragraph = Paragraph()
        """What holds for the paragraph that is being read."""
        self.run = RunText()
        """The text of the paragraph, or of the note or header that is being read."""
        self.styles: dict[int, str] = {}
        """Names of the styles in lower case, by their number."""
        self.remark_author = ""
        """Of the remark that is read next."""
        self.label = ""
        """Number or bullet of the list's item that is read next."""
        self.title = ""
        self._outer: list[tuple[RunText, Paragraph, BlockKind]] = []
        self._notes: list[tuple[BlockKind, str]] = []
        self._remarks: list[tuple[BlockKind, str]] = []
        self._deleted: list[str] = []
        self._margins: set[str] = set()
        self._cells: list[str] = []
        self._rows: list[list[str]] = []
        self._cell_count = 0
        self._hidden_words: list[bool] = []
        self._section_breaks = True
        self._size = [0.0, 0.0]
        self._captions = CaptionMatcher()
        self._page = RtfPage(PageBuilder(1))

    # Pages

    def ends_page(self, word: str) -> bool:
        """Ends the paragraph before a page or section ends.

        True where a page ends with it.
        """
        if self._outer or self.paragraph.in_table:
            return False
        self._end_paragraph()
        builder = self._page.builder
        return not (builder.is_empty and not self._page.pictures) and (word == "page" or self._section_breaks)

    def turn_page(self) -> RtfPage:
        """The page that is done; what is added next stands on a new one."""
        done = self.end_page()
        width, height = self._size
        self._page = RtfPage(PageBuilder(done.builder.number + 1, width=width, height=height))
        return done

    def end_page(self) -> RtfPage:
        """The page with all that was read, its notes below."""
        self._end_paragraph()
        self._end_table()
        builder = self._page.builder
        for kind, text in self._notes:
            builder.add(kind, text)
        self._notes = []
        builder.width, builder.height = self._size
        return self._page

    # What the reader of tokens gives

    def add(self, text: str, *, hidden: bool) -> None:
        """Adds text to the paragraph."""
        if text.strip():
            self._hidden_words.append(hidden)
        self.run.add(text)

    def add_deleted(self, text: str) -> None:
        """Adds text that a tracked change took out."""
        self._deleted.append(text)

    def add_picture(self) -> None:
        """A picture stands here; `picture` is the one that was added last."""
        if not self.paragraph.in_table:
            self._end_table()
        picture = RtfPicture("")
        self._page.pictures.append(picture)
        self._captions.picture(picture)

    @property
    def picture(self) -> RtfPicture | None:
        """The last picture of the page."""
        return self._page.pictures[-1] if self._page.pictures else None

    def begin_story(self, kind: BlockKind) -> None:
        """Begins a note, header or remark; the paragraph around it goes on when it ends."""
        self._outer.append((self.run, self.paragraph, kind))
        self.run, self.paragraph = RunText(), Paragraph()

    def end_story(self) -> None:
        """Ends the note, header or remark that was begun last."""
        text, _ = self.run.take()
        self.run, self.paragraph, kind = self._outer.pop()
        text = "\n".join(filter(None, (line.strip() for line in text.split("\n"))))
        if not text:
            return
        if kind is BlockKind.COMMENT:
            self._remarks.append((kind, f"{self.remark_author}: {text}" if self.remark_author else text))
        elif kind is BlockKind.PAGE_HEADER:
            if text not in self._margins:
                self._margins.add(text)
                self._page.builder.add(kind, text)
        elif kind is not BlockKind.PAGE_FOOTER or text not in self._margins:
            self._margins.add(text)
            self._notes.append((kind, text))

    # Paragraphs and tables

    def apply(self, word: str, number: int | None) -> bool:
        """Does what a word says of paragraphs, tables and sections.

        False where it says nothing of them.
        """
        value = number or 0
        match word:
            case "par" | "page" | "sect":
                if self._outer or self.paragraph.in_table:
                    self.run.add("\n")
                else:
                    self._end_paragraph()
            case "cell":
                self._end_cell()
            case "row":
                self._end_row()
            case "pard":
                self.paragraph = Paragraph()
            case "s":
                self.paragraph.style = value
            case "outlinelevel":
                self.paragraph.outline = value
            case "ls":
                self.paragraph.list_id = value
            case "ilvl":
                self.paragraph.level = max(0, min(value, 8))
            case "intbl":
                self.paragraph.in_table = True
            case "paperw" | "paperh":
                self._size[word == "paperh"] = max(0.0, min(value / _TWIPS_PER_POINT, 14_400.0))
            case "sectd":
                self._section_breaks = True
            case "sbknone":
                self._section_breaks = False
            case _:
                return False
        return True

    def _end_paragraph(self) -> None:
        text, marks = self.run.take()
        hidden_words, self._hidden_words = self._hidden_words, []
        label, self.label = self.label, ""
        if text.strip():
            self._end_table()
            kind, level, ordered = self._classify(label)
            if kind in (BlockKind.LIST_ITEM, BlockKind.HEADING) and any(map(str.isalnum, label)):
                plain = kind is BlockKind.LIST_ITEM and _PLAIN_LABEL.fullmatch(label)
                before = "" if plain else f"{label} "
                marks = [
                    replace(m, char_start=m.char_start + len(before), char_end=m.char_end + len(before)) for m in marks
                ]
                text = before + text
            if kind is BlockKind.CAPTION:
                self._captions.caption(one_line(text))
            else:
                self._captions.other()
            if self.styles.get(self.paragraph.style) == "title":
                self.title = self.title or one_line(text)
            hidden = bool(hidden_words) and all(hidden_words)
            self._page.builder.add(kind, text, level=level, ordered=ordered, hidden=hidden, marks=marks)
        self._write_remarks()

    def _write_remarks(self) -> None:
        """Writes deletions and comments behind the block that they belong to."""
        deleted, self._deleted = "".join(self._deleted), []
        remarks, self._remarks = self._remarks, []
        self._page.builder.add(BlockKind.DELETION, deleted)
        for kind, text in remarks:
            self._page.builder.add(kind, text)

    def _classify(self, label: str) -> tuple[BlockKind, int, bool]:
        paragraph = self.paragraph
        style = self.styles.get(paragraph.style, "")
        if style == "title":
            return BlockKind.HEADING, 1, False
        if style.startswith("heading ") and style[8:9].isdecimal():
            return BlockKind.HEADING, max(1, min(int(style[8]), 6)), False
        if 0 <= paragraph.outline < 9:
            return BlockKind.HEADING, min(paragraph.outline + 1, 6), False
        if label or paragraph.list_id:
            return BlockKind.LIST_ITEM, paragraph.level + 1, bool(_PLAIN_LABEL.fullmatch(label))
        return _KINDS.get(style, BlockKind.PARAGRAPH), 0, False

    def _end_cell(self) -> None:
        if self._outer:
            self.run.add(" | ")
            return
        text, _ = self.run.take()
        label, self.label, self._hidden_words = self.label, "", []
        self._cells.append(f"{label} {text}" if any(map(str.isalnum, label)) else text)

    def _end_row(self) -> None:
        if self._outer:
            self.run.add("\n")
            return
        self._rows.append(self._cells)
        self._cell_count += len(self._cells)
        self._cells = []
        if self._cell_count > _MAX_TABLE_CELLS:
            self._end_table()

    def _end_table(self) -> None:
        if self._cells:
            self._rows.append(self._cells)
        if self._rows:
            self._captions.other()
            if all(len(row) <= 1 for row in self._rows):
                for row in self._rows:
                    self._page.builder.add(BlockKind.PARAGRAPH, "".join(row))
            else:
                self._page.builder.add_table(self._rows)
            self._write_remarks()
        self._cells, self._rows, self._cell_count = [], [], 0
