"""Plain text: one page of paragraphs, in whatever encoding."""

from __future__ import annotations

import re
from collections.abc import Iterator

from services.content import BlockKind, DocumentInfo, Page, Part, Upload
from services.formats.base import ExtractContext
from services.formats.kit.decoding import decode_text
from services.formats.kit.page_builder import PageBuilder
from services.formats.kit.paging import give_pages

PAGE_CHARS = 8_000_000
"""A longer text is cut into pages of at most this many characters, at a blank line where one is near.

Source: a page travels to the server as one message; with its blocks one of this size takes about 100 MB there."""

_BLANK_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")


def extract_text(upload: Upload, context: ExtractContext) -> Iterator[Part]:
    """Paragraphs, told by the blank lines between them."""
    text, _ = decode_text(upload.path.read_bytes())
    starts = _page_starts(text)
    yield DocumentInfo(page_count=len(starts))
    pages = (
        _page(number, text[a:b]) for number, (a, b) in enumerate(zip(starts, [*starts[1:], len(text)], strict=True), 1)
    )
    yield from give_pages(pages, context)


def _page(number: int, text: str) -> Page:
    page = PageBuilder(number)
    for paragraph in _BLANK_LINES.split(text):
        page.add(BlockKind.PARAGRAPH, paragraph)
    return page.build()


def _page_starts(text: str) -> list[int]:
    starts = [0]
    while len(text) - starts[-1] > PAGE_CHARS:
        limit = starts[-1] + PAGE_CHARS
        near = limit - PAGE_CHARS // 8
        cut = max(text.rfind("\n\n", near, limit), -1)
        for separator in ("\n", " "):
            cut = cut if cut > 0 else text.rfind(separator, near, limit)
        starts.append(cut + 1 if cut > 0 else limit)
    return starts
