"""Reads the tokens of Rich Text Format into pages: a group inherits what the one around it says, and ends with it."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap

from services.content import Limits, MarkKind
from services.errors import UnreadableDocument
from services.formats.kit.page_builder import one_line
from services.formats.kit.run_text import RunText
from services.formats.rtf.layout import Layout, Paragraph, RtfPage, RtfPicture
from services.formats.rtf.tokens import Kind, Token, tokens
from services.formats.rtf.words import CHARACTERS, CODE_PAGES, NOWHERE, PLACES, STORIES, Place, codec_of

_MAX_NAMES = 10_000
"""Fonts, styles or authors; the file may name any number of them."""
_HYPERLINK = re.compile(r"\s*HYPERLINK\s+(?:\\l\s+)?\"?([^\"\s]{1,2000})", re.I)


@dataclass(slots=True)
class _Group:
    """What holds inside a pair of braces."""

    place: Place = Place.TEXT
    codec: str = "cp1252"
    skip: int = 1
    """Characters behind `\\u` that repeat it for older programs."""
    hidden: bool = False
    deleted: bool = False
    inserted: bool = False
    is_note: bool = False
    is_field: bool = False
    begins: Place | None = None
    """The place that began with this group."""
    entry: int = 0
    """Number of the font or style that this group of a table describes; below 0 for none."""
    around: Paragraph | None = None
    """What held for the paragraph when the group began, and holds again when it ends."""


class RtfReader(Layout):
    """Reads one file; `title` and `author` are set when the first page is given, `is_cut_off` when the last is."""

    def __init__(self, data: bytes | mmap, limits: Limits) -> None:
        super().__init__()
        self._data = data
        self._limits = limits
        self._groups = [_Group()]
        self._fonts: dict[int, str] = {}
        self._authors: list[str] = []
        self._buffer: list[str] = []
        self._bytes = bytearray()
        self._units: list[int] = []
        self._to_skip = 0
        self._property = ""
        self._starred = False
        self._default_font = -1
        self._codec = "cp1252"
        self.author = ""
        self.is_cut_off = False

    def read(self) -> Iterator[RtfPage]:
        """The pages in order, at least one. Raises UnreadableDocument (`nesting_too_deep`)."""
        for token in tokens(self._data):
            if self._to_skip and self._skips(token):
                continue
            if token.kind is not Kind.BYTE:
                self._decode_bytes()
            if token.kind is not Kind.WORD or token.word not in ("u", "uc"):
                self._decode_units()
            match token.kind:
                case Kind.OPEN:
                    self._open()
                case Kind.CLOSE:
                    self._close()
                    if len(self._groups) == 1:
                        break
                case Kind.BYTE:
                    self._bytes.append(token.number or 0)
                case Kind.TEXT:
                    self._text(token)
                case Kind.BINARY:
                    self._picture_data(token, is_binary=True)
                case Kind.WORD:
                    if (
                        token.word in ("page", "sect")
                        and self._groups[-1].place is Place.TEXT
                        and self._turns(token.word)
                    ):
                        yield self._end()
                        self._page = self._begin()
                    else:
                        self._word(token)
        self._decode_bytes()
        self._decode_units()
        self.is_cut_off = len(self._groups) > 1
        while len(self._groups) > 1:
            self._close()
        yield self._end()

    # Characters

    def _skips(self, token: Token) -> bool:
        """True for a token that repeats a Unicode character for older programs."""
        if token.kind in (Kind.OPEN, Kind.CLOSE):
            self._to_skip = 0
            return False
        if token.kind is Kind.TEXT and token.end - token.start > self._to_skip:
            rest = Token(Kind.TEXT, token.start + self._to_skip, token.end)
            self._to_skip = 0
            self._decode_units()
            self._text(rest)
            return True
        if token.kind is Kind.WORD and token.word in ("u", "par", "cell", "row", "uc"):
            self._to_skip = 0
            return False
        self._to_skip -= token.end - token.start if token.kind is Kind.TEXT else 1
        return True

    def _decode_bytes(self) -> None:
        if self._bytes:
            data, self._bytes = bytes(self._bytes), bytearray()
            self._put(data.decode(self._groups[-1].codec, "replace"))

    def _decode_units(self) -> None:
        if self._units:
            units, self._units = self._units, []
            data = b"".join(unit.to_bytes(2, "little") for unit in units)
            self._put(data.decode("utf-16-le", "replace"))

    def _text(self, token: Token) -> None:
        group = self._groups[-1]
        if group.place is Place.PICTURE:
            self._picture_data(token, is_binary=False)
        elif group.place is not Place.NOWHERE:
            self._put(self._data[token.start : token.end].decode(group.codec, "replace"))

    def _put(self, text: str) -> None:
        group = self._groups[-1]
        if group.place is Place.TEXT:
            if group.deleted:
                self._deleted.append(text)
                return
            if text.strip():
                self._seen.append(group.hidden)
            self._run.add(text)
        elif group.place not in (Place.NOWHERE, Place.PICTURE, Place.UNICODE_CHOICE):
            self._buffer.append(text)

    def _picture_data(self, token: Token, *, is_binary: bool) -> None:
        if self._groups[-1].place is Place.PICTURE and self._page.pictures:
            picture = self._page.pictures[-1]
            picture.start = picture.start or token.start
            picture.end, picture.is_binary = token.end, is_binary

    # Groups

    def _open(self) -> None:
        if len(self._groups) > self._limits.max_nesting:
            raise UnreadableDocument(
                f"The document nests its groups more than {self._limits.max_nesting} deep. It was not read.",
                code="nesting_too_deep",
            )
        group = copy.copy(self._groups[-1])
        group.begins, group.is_note, group.is_field = None, False, False
        group.around, self._paragraph = self._paragraph, copy.copy(self._paragraph)
        self._groups.append(group)
        self._starred = False

    def _close(self) -> None:
        if len(self._groups) == 1:
            return
        group = self._groups.pop()
        if group.inserted and not self._groups[-1].inserted:
            self._run.close(MarkKind.INSERTION)
        if group.is_field:
            self._run.close(MarkKind.LINK)
        if group.is_note:
            self._end_story()
        self._paragraph = group.around or self._paragraph
        if group.begins is None and group.place not in (Place.STYLES, Place.AUTHORS):
            return
        text = "".join(self._buffer)
        self._buffer = []
        match group.begins or group.place:
            case Place.FONTS:
                self._groups[-1].codec = self._fonts.get(self._default_font, self._codec)
            case Place.STYLES:
                if group.begins is None and group.entry >= 0 and len(self._styles) < _MAX_NAMES:
                    self._styles[group.entry] = one_line(text.partition(";")[0]).lower()
            case Place.AUTHORS:
                if group.begins is None and len(self._authors) < _MAX_NAMES:
                    self._authors.append(one_line(text.partition(";")[0]))
            case Place.TITLE:
                self.title = self.title or one_line(text)
            case Place.AUTHOR:
                self.author = self.author or one_line(text)
            case Place.REMARK_AUTHOR:
                self._remark_author = one_line(text)
            case Place.LABEL:
                self._label = text.strip()
            case Place.PROPERTY_NAME:
                self._property = text.strip()
            case Place.PROPERTY_VALUE:
                if self._property == "wzDescription" and self._page.pictures:
                    self._page.pictures[-1].alt = one_line(text)
            case Place.FIELD_CODE:
                match = _HYPERLINK.match(text)
                if match is not None:
                    address = match.group(1)
                    self._run.open(MarkKind.LINK, f"#{address}" if "\\l" in match.group(0) else address)
                    self._mark_field()
            case _:
                pass

    def _mark_field(self) -> None:
        """The group around the code of a field is the field: the link ends with it."""
        self._groups[-1].is_field = True

    # Words

    def _word(self, token: Token) -> None:
        word, number, group = token.word, token.number, self._groups[-1]
        if word == "*":
            self._starred = True
            return
        starred, self._starred = self._starred, False
        if group.place is Place.NOWHERE and word not in ("title", "author"):
            return
        if word in STORIES and group.place is Place.TEXT:
            self._outer.append((self._run, self._paragraph, STORIES[word]))
            self._run, self._paragraph = RunText(), Paragraph()
            group.is_note = True
        elif word in PLACES:
            self._enter(PLACES[word])
        elif word in NOWHERE or (starred and word not in STORIES):
            group.place = Place.NOWHERE
        elif word == "u" and number is not None:
            self._units.append(number & 0xFFFF)
            self._to_skip = group.skip
        elif word in CHARACTERS:
            self._put(CHARACTERS[word])
        elif word in ("\\", "{", "}"):
            self._put(word)
        elif group.place in (Place.FONTS, Place.STYLES, Place.AUTHORS):
            self._table_word(word, number, group)
        elif group.place is not Place.TEXT or not self._layout_word(word, number):
            self._character_word(word, number, group)

    def _enter(self, place: Place) -> None:
        group = self._groups[-1]
        group.place, group.begins = place, place
        if place is Place.PICTURE:
            if not self._paragraph.in_table:
                self._end_table()
            picture = RtfPicture("")
            self._page.pictures.append(picture)
            self._captions.picture(picture)
        elif place is not Place.TEXT:
            self._buffer = []

    def _table_word(self, word: str, number: int | None, group: _Group) -> None:
        """A word of the table of fonts or styles; their names are the text behind it, up to a semicolon."""
        if group.place is Place.FONTS:
            if word == "f" and number is not None:
                group.entry = number
            elif word == "fcharset" and number in CODE_PAGES and len(self._fonts) < _MAX_NAMES:
                self._fonts[group.entry] = CODE_PAGES[number]
                group.codec = CODE_PAGES[number]
            elif word == "cpg" and number is not None and len(self._fonts) < _MAX_NAMES:
                self._fonts[group.entry] = codec_of(number)
        elif group.place is Place.STYLES and word in ("s", "cs", "ts", "ds"):
            group.entry = number or 0 if word == "s" else -1

    def _character_word(self, word: str, number: int | None, group: _Group) -> None:
        on = number != 0
        match word:
            case "plain":
                group.hidden = group.deleted = False
                self._insert(group, on=False)
                group.codec = self._fonts.get(self._default_font, self._codec)
            case "v":
                group.hidden = on
            case "deleted":
                group.deleted = on
            case "revised":
                self._insert(group, on=on)
            case "revauth" if group.inserted and number is not None and 0 <= number < len(self._authors):
                self._run.close(MarkKind.INSERTION)
                self._run.open(MarkKind.INSERTION, self._authors[number])
            case "deff" if number is not None:
                self._default_font = number
            case "f" if number is not None:
                group.codec = self._fonts.get(number, self._codec)
            case "uc" if number is not None:
                group.skip = max(0, min(number, 16))
            case "ansicpg" if number is not None:
                self._codec = group.codec = codec_of(number)
            case "mac" | "pc" | "pca":
                self._codec = group.codec = {"mac": "mac_roman", "pc": "cp437", "pca": "cp850"}[word]
            case _:
                pass

    def _insert(self, group: _Group, *, on: bool) -> None:
        if on and not group.inserted:
            self._run.open(MarkKind.INSERTION, "")
        elif group.inserted and not on:
            self._run.close(MarkKind.INSERTION)
        group.inserted = on
