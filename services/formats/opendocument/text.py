"""Reads OpenDocument text page by page, the body in order.

With its notes, comments, changes, headers and pictures.
"""

from __future__ import annotations

from collections.abc import Iterator

from services.content import BlockKind, DocumentInfo, Issue, Part, Upload
from services.errors import UnreadableDocument
from services.formats.base import ExtractContext
from services.formats.kit.archive import Archive
from services.formats.kit.captions import PlacedPicture
from services.formats.kit.paging import check_page_count, give_pages, wants_pictures
from services.formats.kit.picture_writer import PictureWriter
from services.formats.opendocument.blocks import BlockReader, Draft
from services.formats.opendocument.package import OdfPackage, attribute, name_of, qualified
from services.formats.opendocument.styles import Styles, style_holders

_HEADERS = ("style:header-first", "loext:header-first", "style:header", "style:header-left")
_FOOTERS = ("style:footer-first", "loext:footer-first", "style:footer", "style:footer-left")


def extract_odt(upload: Upload, context: ExtractContext) -> Iterator[Part]:
    """Pages as the program last laid them out, where the file says so.

    Where it does not, pages are what its page breaks part.

    Raises:
        UnreadableDocument: `corrupt_archive`, `corrupt_document`, `xml_entities`, `nesting_too_deep`.
        TooLarge: `archive_too_large`, `compression_ratio`, `too_many_entries`, `too_many_pages`.
        EncryptedDocument: `encryption_unsupported`.
    """
    with Archive(upload.path, context.limits) as archive:
        package = OdfPackage(archive, context.limits)
        info = package.info()
        reader = TextReader(package)
        drafts = reader.read()
        check_page_count(len(drafts), context.limits)
        yield DocumentInfo(info.title or reader.title[:500], info.author, info.language, len(drafts))
        yield from package.issues()
        writer = PictureWriter(context)
        for draft in drafts:
            number = draft.builder.number
            if wants_pictures(number, context):
                yield from write_pictures(package, draft.pictures, number, writer)
            yield from give_pages([draft.builder.build()], context)
        yield from writer.close()


def write_pictures(
    package: OdfPackage, pictures: list[PlacedPicture], number: int, writer: PictureWriter
) -> Iterator[Part]:
    """The pictures of a page, written; an Issue for each that cannot be read."""
    for picture in pictures:
        if not writer.wants(picture.part, number):
            continue
        try:
            data = package.archive.read(picture.part)
        except UnreadableDocument:
            yield Issue("picture_unreadable", "An embedded picture is damaged and was left out.", number)
            continue
        if data is not None:
            yield from writer.write(data, page=number, box=picture.box, alt=picture.alt, caption=picture.caption)


class TextReader:
    """Reads the body of a text and the headers and footers of its pages."""

    def __init__(self, package: OdfPackage) -> None:
        root, self._body = package.content("office:text")
        styles, self._page_styles = Styles(), Styles()
        around = style_holders(package.optional_xml("styles.xml"))
        common = [item for item in around if name_of(item.tag) == "office:styles"]
        self._page_styles.add(around)
        styles.add([*common, *style_holders(root)])
        styles.masters = self._page_styles.masters
        self._blocks = BlockReader(package, styles, turn_page=self._turn_page)
        self._margins: set[tuple[str, BlockKind]] = set()
        self._master = ""

    @property
    def title(self) -> str:
        """What the first paragraph in the style of titles says; empty without one."""
        return self._blocks.title

    def read(self) -> list[Draft]:
        """The pages of the document, at least one."""
        blocks = self._blocks
        blocks.read_changes(self._body)
        self._begin(self._first_master() or blocks.styles.default_master())
        blocks.read_blocks(self._body)
        blocks.end_page()
        self._add_margins(_FOOTERS, BlockKind.PAGE_FOOTER)
        return blocks.drafts

    def _turn_page(self, master: str) -> None:
        """Begins a page, unless nothing stands on this one yet."""
        draft = self._blocks.drafts[-1]
        if draft.builder.chars == draft.header_chars and not draft.pictures:
            return
        current = self._page_styles.masters.get(self._master)
        follows = master or (current.next if current else "") or self._master
        self._blocks.end_page()
        if follows != self._master:
            self._add_margins(_FOOTERS, BlockKind.PAGE_FOOTER)
        self._begin(follows)

    def _first_master(self) -> str:
        """The master page that the first paragraph or table names.

        Empty where it names none.
        """
        styles = self._blocks.styles
        first = next(self._body.iter(qualified("text:p"), qualified("text:h"), qualified("table:table")), None)
        if first is None:
            return ""
        if name_of(first.tag) == "table:table":
            return styles.says("table", attribute(first, "table:style-name"), "style:master-page-name")
        return styles.paragraph(attribute(first, "text:style-name")).master

    def _begin(self, master: str) -> None:
        found = self._page_styles.masters.get(master)
        draft = self._blocks.new_page(found.width if found else 0.0, found.height if found else 0.0)
        if master != self._master:
            self._master = master
            self._add_margins(_HEADERS, BlockKind.PAGE_HEADER)
            draft.header_chars = draft.builder.chars

    def _add_margins(self, names: tuple[str, ...], kind: BlockKind) -> None:
        """Headers or footers of the kind of page."""
        if (self._master, kind) in self._margins:
            return
        self._margins.add((self._master, kind))
        blocks = self._blocks
        found = self._page_styles.masters.get(self._master)
        styles, blocks.styles = blocks.styles, self._page_styles
        for item in found.element if found else ():
            if name_of(item.tag) in names and attribute(item, "style:display") != "false":
                blocks.add_margin(kind, blocks.capture(item))
        blocks.styles = styles
