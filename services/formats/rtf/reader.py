"""Reads Rich Text Format page by page.

Text with its structure, notes, changes and pictures.

Read by a reader of our own: striprtf gives one string, without headings, lists, tables, notes, headers, links, hidden
text, changes or pictures, and no other library under a permissive licence reads them either.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator

from services.content import DocumentInfo, Issue, Part, Upload
from services.errors import UnreadableDocument
from services.formats.base import ExtractContext
from services.formats.kit.paging import check_page_count, give_pages, wants_pictures
from services.formats.kit.picture_writer import PictureWriter
from services.formats.rtf.layout import RtfPage
from services.formats.rtf.parser import RtfReader

_HELD_BYTES = 4_000_000
"""Pages of a file up to this long are held until all are counted; a longer file is read twice, to count them first."""

_NO_DIGIT = re.compile(rb"[^0-9a-fA-F]+")
_START = re.compile(rb"(?:\xef\xbb\xbf)?\s{0,1000}\{\s{0,100}\\rtf")


def extract_rtf(upload: Upload, context: ExtractContext) -> Iterator[Part]:
    """Pages as the file's page and section breaks part them.

    Raises:
        UnreadableDocument: `corrupt_document`, `nesting_too_deep`.
        TooLarge: `too_many_pages`.
    """
    with upload.path.open("rb") as stream:
        if not upload.size_bytes or _START.match(stream.read(2048)) is None:
            raise UnreadableDocument(
                "The file does not begin as Rich Text Format does. Save it anew and upload that.",
                code="corrupt_document",
            )
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            counting = RtfReader(data, context.limits)
            held, page_count = list[RtfPage](), 0
            for page in counting.read():
                page_count += 1
                check_page_count(page_count, context.limits)
                if len(data) <= _HELD_BYTES:
                    held.append(page)
            writer = PictureWriter(context)
            yield DocumentInfo(counting.title[:500], counting.author[:500], page_count=page_count)
            for page in held or RtfReader(data, context.limits).read():
                number = page.builder.number
                if wants_pictures(number, context):
                    yield from _pictures(page, data, writer)
                yield from give_pages([page.builder.build()], context)
            if counting.is_cut_off:
                yield Issue("document_cut_off", "The file ends in the middle; what comes before its end was read.")
            yield from writer.close()


def _pictures(page: RtfPage, data: mmap.mmap, writer: PictureWriter) -> Iterator[Part]:
    for picture in page.pictures:
        found = data[picture.start : picture.end]
        if not picture.is_binary:
            digits = _NO_DIGIT.sub(b"", found)
            found = bytes.fromhex(digits[: len(digits) // 2 * 2].decode("ascii"))
        yield from writer.write(found, page=page.builder.number, alt=picture.alt, caption=picture.caption)
