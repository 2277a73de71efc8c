"""Reads the tokens of Rich Text Format into pages.

A group inherits what the one around it says, and ends with it.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap

from services.content import Limits, MarkKind
from services.errors import UnreadableDocument
from services.formats.kit.page_builder import one_line
from services.formats.rtf.layout import Layout, Paragraph, RtfPage
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


class RtfReader:
    """Reads one file; `title` and `author` are set when the first page is given, `is_cut_off` when the last is."""

    def __init__(self, data: bytes | mmap, limits: Limits) -> None:
        self._layout = Layout()
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
        """The pages in order, at least one.

        Raises UnreadableDocument (`nesting_too_deep`).
        """
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
                    if self._ends_page(token):
                        yield self._layout.turn_page()
                    else:
                        self._word(token)
        self._decode_bytes()
        self._decode_units()
        self.is_cut_off = len(self._groups) > 1
        while len(self._groups) > 1:
            self._close()
        yield self._layout.end_page()

    def _ends_page(self, token: Token) -> bool:
        if token.word not in ("page", "sect") or self._groups[-1].place is not Place.TEXT:
            return False
        return self._layout.ends_page(token.word)

    @property
    def title(self) -> str:
        """The title that the file names, or that a paragraph in the style of titles says."""
        return self._layout.title

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
                self._layout.add_deleted(text)
            else:
                self._layout.add(text, hidden=group.hidden)
        elif group.place not in (Place.NOWHERE, Place.PICTURE, Place.UNICODE_CHOICE):
            self._buffer.append(text)

    def _picture_data(self, token: Token, *, is_binary: bool) -> None:
        picture = self._layout.picture
        if self._groups[-1].place is Place.PICTURE and picture is not None:
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
        group.around, self._layout.paragraph = self._layout.paragraph, copy.copy(self._layout.paragraph)
        self._groups.append(group)
        self._starred = False

    def _close(self) -> None:
        if len(self._groups) == 1:
            return
        group = self._groups.pop()
        self._close_runs(group)
        self._layout.paragraph = group.around or self._layout.paragraph
        if group.begins is None and group.place not in (Place.STYLES, Place.AUTHORS):
            return
        text = "".join(self._buffer)
        self._buffer = []
        if group.begins is None:
            self._take_entry(group, one_line(text.partition(";")[0]))
        else:
            self._take(group.begins, text)

    def _close_runs(self, group: _Group) -> None:
        """Ends the insertion, link and note that end with `group`."""
        if group.inserted and not self._groups[-1].inserted:
            self._layout.run.close(MarkKind.INSERTION)
        if group.is_field:
            self._layout.run.close(MarkKind.LINK)
        if group.is_note:
            self._layout.end_story()

    def _take_entry(self, group: _Group, name: str) -> None:
        """Takes one name of the table of styles or authors."""
        if group.place is Place.AUTHORS and len(self._authors) < _MAX_NAMES:
            self._authors.append(name)
        elif group.place is Place.STYLES and group.entry >= 0 and len(self._layout.styles) < _MAX_NAMES:
            self._layout.styles[group.entry] = name.lower()

    def _take(self, place: Place, text: str) -> None:
        """Takes the text of a place that ends here."""
        layout = self._layout
        match place:
            case Place.FONTS:
                self._groups[-1].codec = self._fonts.get(self._default_font, self._codec)
            case Place.TITLE:
                layout.title = layout.title or one_line(text)
            case Place.AUTHOR:
                self.author = self.author or one_line(text)
            case Place.REMARK_AUTHOR:
                layout.remark_author = one_line(text)
            case Place.LABEL:
                layout.label = text.strip()
            case Place.PROPERTY_NAME:
                self._property = text.strip()
            case Place.PROPERTY_VALUE:
                if self._property == "wzDescription" and layout.picture is not None:
                    layout.picture.alt = one_line(text)
            case Place.FIELD_CODE:
                self._begin_link(text)
            case _:
                pass

    def _begin_link(self, code: str) -> None:
        """Begins a link where a field's code is one.

        It ends with the group around the code, which is the field.
        """
        match = _HYPERLINK.match(code)
        if match is not None:
            address = match.group(1)
            self._layout.run.open(MarkKind.LINK, f"#{address}" if "\\l" in match.group(0) else address)
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
            self._layout.begin_story(STORIES[word])
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
        elif group.place is not Place.TEXT or not self._layout.apply(word, number):
            self._character_word(word, number, group)

    def _enter(self, place: Place) -> None:
        group = self._groups[-1]
        group.place, group.begins = place, place
        if place is Place.PICTURE:
            self._layout.add_picture()
        elif place is not Place.TEXT:
            self._buffer = []

    def _table_word(self, word: str, number: int | None, group: _Group) -> None:
        """A word of the table of fonts or styles.

        Their names are the text behind it, up to a semicolon.
        """
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
                self._layout.run.close(MarkKind.INSERTION)
                self._layout.run.open(MarkKind.INSERTION, self._authors[number])
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
            self._layout.run.open(MarkKind.INSERTION, "")
        elif group.inserted and not on:
            self._layout.run.close(MarkKind.INSERTION)
        group.inserted = on
