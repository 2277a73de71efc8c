"""Reads DOCX page by page, the body in order.

With its notes, comments, headers, text boxes and pictures.

Read from the XML parts and not through python-docx, which inflates every part without a limit and leaves out text
boxes, content controls, notes, tracked insertions and formulas.
"""

from __future__ import annotations

from collections.abc import Iterator

from services.content import DocumentInfo, Issue, Part, Upload
from services.errors import UnreadableDocument
from services.formats.base import ExtractContext
from services.formats.kit.page_builder import one_line
from services.formats.kit.paging import check_page_count, give_pages, wants_pictures
from services.formats.kit.picture_writer import PictureWriter
from services.formats.kit.xml import MAX_PART_BYTES
from services.formats.office.encryption import is_ole
from services.formats.office.package import damaged_parts, open_package
from services.formats.office.word.body import BodyReader


def extract_docx(upload: Upload, context: ExtractContext) -> Iterator[Part]:
    """Pages as Word last laid them out, where the file says so.

    Where it does not, pages are what its page breaks part.

    Raises:
        UnreadableDocument: `corrupt_archive`, `corrupt_document`, `xml_entities`.
        TooLarge: `archive_too_large`, `compression_ratio`, `too_many_entries`, `too_many_pages`.
        EncryptedDocument: a password is missing or wrong.
    """
    if is_ole(upload.path):
        from services.formats.office.encrypted import extract_encrypted

        yield from extract_encrypted(upload, context)
        return
    with open_package(upload, context, max_part_bytes=MAX_PART_BYTES) as package:
        main = package.main_part("word/document.xml")
        if main is None:
            raise UnreadableDocument(
                "The file lacks the part that holds the document's text. Save it anew in Word and upload it again.",
                code="corrupt_document",
            )
        title, author, language = package.properties()
        reader = BodyReader(package, main)
        drafts = reader.read()
        check_page_count(len(drafts), context.limits)
        yield DocumentInfo(
            title=(title or one_line(reader.title))[:500],
            author=author[:500],
            language=(language or reader.language)[:64],
            page_count=len(drafts),
        )
        yield from damaged_parts(package)
        writer = PictureWriter(context)
        for draft in drafts:
            number = draft.builder.number
            if wants_pictures(number, context):
                for picture in draft.pictures:
                    if not writer.wants(picture.part, number):
                        continue
                    try:
                        data = package.archive.read(picture.part)
                    except UnreadableDocument:
                        yield Issue("picture_unreadable", "An embedded picture is damaged and was left out.", number)
                        continue
                    if data is not None:
                        yield from writer.write(data, page=number, alt=picture.alt, caption=picture.caption)
            yield from give_pages([draft.builder.build()], context)
        yield from writer.close()
