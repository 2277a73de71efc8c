"""Reads EPUB, a page for each document of the spine.

Through the reader of HTML.

Source: EPUB 3.3 (W3C Recommendation) and Open Publication Format 2.0.1 (IDPF), with the same container
and spine.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from services.content import DocumentInfo, Issue, Page, Part, Upload
from services.errors import EncryptedDocument, UnreadableDocument
from services.formats.base import ExtractContext
from services.formats.kit.archive import Archive
from services.formats.kit.decoding import decode_text
from services.formats.kit.page_builder import PageBuilder, one_line
from services.formats.kit.paging import check_page_count, give_pages, wants_pictures
from services.formats.kit.picture_writer import PictureWriter
from services.formats.kit.xml import MAX_PART_BYTES, Element, parse_part
from services.formats.web.html import declared_charset, parse_html
from services.formats.web.tree import TreePicture, TreeReader

_FONT_SCRAMBLING = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
"""Methods that hide fonts and nothing else. Source: EPUB 3.3, section 4.4, and Adobe's older one."""

_TEXT_TYPES = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml", "text/x-oeb1-document")


@dataclass(frozen=True, slots=True)
class _Item:
    path: str
    media_type: str
    properties: str = ""


@dataclass(slots=True)
class _Book:
    """What the package document says."""

    title: str = ""
    author: str = ""
    language: str = ""
    items: dict[str, _Item] = field(default_factory=dict)
    spine: list[_Item] = field(default_factory=list)
    cover: str = ""
    """Path of the cover's picture; empty without one."""


def extract_epub(upload: Upload, context: ExtractContext) -> Iterator[Part]:
    """One page a document of the spine.

    Raises:
        UnreadableDocument: `corrupt_archive`, `corrupt_document`, `xml_entities`, `nesting_too_deep`.
        TooLarge: `archive_too_large`, `compression_ratio`, `too_many_entries`, `too_many_pages`.
        EncryptedDocument: `encryption_unsupported`, for a book under digital rights management.
    """
    with Archive(upload.path, context.limits) as archive:
        book = _read_book(archive, context)
        _check_rights(archive, book, context)
        check_page_count(len(book.spine), context.limits)
        yield DocumentInfo(book.title[:500], book.author[:500], book.language[:64], len(book.spine))
        writer = PictureWriter(context)
        for number, item in enumerate(book.spine, 1):
            if not context.options.wants_page(number):
                continue
            if number in context.known_pages:
                yield from give_pages([Page(number, "")], context)
                continue
            page = PageBuilder(number)
            pictures: list[TreePicture] = []
            try:
                pictures = _read_item(archive, item, page)
            except UnreadableDocument as error:
                yield Issue("page_unreadable", f"A chapter of the book was left out. {error.detail}", number)
            if wants_pictures(number, context):
                if number == 1 and book.cover and all(_path(item, p.source) != book.cover for p in pictures):
                    pictures.insert(0, TreePicture("/" + book.cover))
                yield from _write_pictures(archive, item, pictures, number, writer)
            yield from give_pages([page.build()], context)
        yield from writer.close()


def _read_book(archive: Archive, context: ExtractContext) -> _Book:
    container = archive.read("META-INF/container.xml", at_most=MAX_PART_BYTES)
    path = ""
    if container is not None:
        root = parse_part(container, context.limits, what="list of contents (META-INF/container.xml)")
        path = next((e.get("full-path") or "" for e in root.iter("{*}rootfile")), "")
    package = archive.read(path, at_most=MAX_PART_BYTES) if path else None
    if package is None:
        raise UnreadableDocument(
            "The book lacks the part that says which chapters it has. Save it anew and upload it again.",
            code="corrupt_document",
        )
    root = parse_part(package, context.limits, what=f"book's description ({posixpath.basename(path)[:80]})")
    book = _Book(
        title=_first(root, "title"),
        author=", ".join(filter(None, (one_line(e.text or "") for e in root.iter("{*}creator")))),
        language=_first(root, "language"),
    )
    folder = posixpath.dirname(path)
    for entry in root.iter("{*}item"):
        name = _join(folder, entry.get("href") or "")
        book.items[entry.get("id") or ""] = _Item(name, entry.get("media-type") or "", entry.get("properties") or "")
    for reference in root.iter("{*}itemref"):
        item = book.items.get(reference.get("idref") or "")
        if item is not None:
            book.spine.append(item)
    if not book.spine:
        raise UnreadableDocument(
            "The book names no chapters to read. Save it anew and upload it again.", code="corrupt_document"
        )
    named = next((e.get("content") or "" for e in root.iter("{*}meta") if e.get("name") == "cover"), "")
    covers = [item for item in book.items.values() if "cover-image" in item.properties.split()]
    cover = covers[0] if covers else book.items.get(named)
    if cover is not None and cover.media_type.startswith("image/"):
        book.cover = cover.path
    return book


def _first(root: Element, name: str) -> str:
    """The first Dublin Core element of that name that says something."""
    found = root.iter(f"{{http://purl.org/dc/elements/1.1/}}{name}", f"{{http://purl.org/dc/elements/1.0/}}{name}")
    return next((text for e in found if (text := one_line(e.text or ""))), "")


def _check_rights(archive: Archive, book: _Book, context: ExtractContext) -> None:
    data = archive.read("META-INF/encryption.xml", at_most=MAX_PART_BYTES)
    if data is None:
        return
    chapters = {item.path for item in book.spine}
    for entry in parse_part(data, context.limits, what="list of encrypted parts").iter("{*}EncryptedData"):
        method = next((e.get("Algorithm") or "" for e in entry.iter("{*}EncryptionMethod")), "")
        target = next((e.get("URI") or "" for e in entry.iter("{*}CipherReference")), "")
        if method not in _FONT_SCRAMBLING and unquote(target).lstrip("/") in chapters:
            raise EncryptedDocument(
                "The book is protected by digital rights management, which cannot be read. Upload a copy without it.",
                code="encryption_unsupported",
            )


def _read_item(archive: Archive, item: _Item, page: PageBuilder) -> list[TreePicture]:
    """Adds the chapter's blocks to `page` and returns its pictures.

    Raises UnreadableDocument.
    """
    if item.media_type.startswith("image/") and item.media_type != "image/svg+xml":
        return [TreePicture("/" + item.path)]
    data = archive.read(item.path, at_most=MAX_PART_BYTES)
    if data is None:
        raise UnreadableDocument(f"Its file {posixpath.basename(item.path)[:80]} is missing.")
    if item.media_type not in (*_TEXT_TYPES, "image/svg+xml"):
        raise UnreadableDocument(f"It is of a type that is not read: {item.media_type[:80] or 'unknown'}.")
    text, _ = decode_text(data, declared_charset(data))
    root = parse_html(text)
    if root is None:
        return []
    reader = TreeReader(page, has_chrome=False)
    reader.read(root)
    return reader.pictures


def _write_pictures(
    archive: Archive, item: _Item, pictures: list[TreePicture], number: int, writer: PictureWriter
) -> Iterator[Part]:
    for picture in pictures:
        if picture.source[:5].lower() == "data:":
            yield from writer.write_data_uri(picture.source, page=number, alt=picture.alt, caption=picture.caption)
            continue
        path = _path(item, picture.source)
        if not path or not writer.wants(path, number):
            continue
        try:
            data = archive.read(path)
        except UnreadableDocument:
            yield Issue("picture_unreadable", "A picture of the book is damaged and was left out.", number)
            continue
        if data is not None:
            yield from writer.write(data, page=number, alt=picture.alt, caption=picture.caption)


def _path(item: _Item, address: str) -> str:
    """The member of the archive that `address` names from within `item`.

    Empty for one outside the book.
    """
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    if parts.scheme or parts.netloc:
        return ""
    return _join(posixpath.dirname(item.path), parts.path)


def _join(folder: str, address: str) -> str:
    path = unquote(address.partition("#")[0])
    return posixpath.normpath(posixpath.join("/", folder, path)).lstrip("/") if path else ""
