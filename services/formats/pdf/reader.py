"""Reads PDF through PDFium, page by page.

The text layer where it is worth reading, OCR where it is not, and the pictures.
"""

from __future__ import annotations

import ctypes
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from services.content import BlockKind, Box, Issue, Page, Part, Progress, TextSource, Upload
from services.errors import FieldError, InvalidOption, TooLarge, UnreadableDocument
from services.formats.base import ExtractContext
from services.formats.pdf.content import LAYER_SHARE, Content, ContentReader
from services.formats.pdf.document import document_info, open_pdf
from services.formats.pdf.figures import find_figures
from services.formats.pdf.pictures import PagePictures, PictureCollector
from services.formats.pdf.quality import is_garbled, is_poor_layer
from services.formats.pdf.scans import (
    MAX_RENDER_PIXELS,
    cover,
    is_believed,
    is_blank,
    render_gray,
    scanned_parts,
    with_region,
)
from services.formats.pdf.window import OpenPage, PageWindow
from services.ocr.base import LOW_CONFIDENCE, OcrResult
from services.ocr.layout import compose
from services.ocr.window import OcrWindow, Reading

if TYPE_CHECKING:
    import pypdfium2

__all__ = ["extract_pdf", "open_pdf"]

PENDING_PAGES = 32
"""Pages read that may wait for one before them to come back from OCR."""

SCAN_SHARE, STAMP_WORDS = 0.5, 40
"""A page is partly an image when one picture covers this share of it and its text has at most so many words:
scans carry a printed number or a date stamp as text."""


def extract_pdf(upload: Upload, context: ExtractContext) -> Iterator[Part]:
    """Parts of a PDF. Memory is bounded by a few pages.

    Raises:
        EncryptedDocument: `password_required`, or `password_wrong` where one was given.
        UnreadableDocument: `pdf_corrupt` when PDFium cannot repair the file or no page of it can be read.
        TooLarge: `too_many_pages`.
        InvalidOption: `no_such_page` when `options.pages` names none of the document's.
        CapabilityMissing: `ocr_language_missing` when a page needs OCR in a language that is not installed.
    """
    with open_pdf(upload.path, context.password) as document:
        count = len(document)
        if count > context.limits.max_pages:
            raise TooLarge(
                f"The PDF has {count:,} pages; up to {context.limits.max_pages:,} are read. "
                "Split it, or raise DOCATLAS_MAX_PAGES.",
                code="too_many_pages",
            )
        if count == 0:
            raise UnreadableDocument("The PDF has no pages.", code="pdf_corrupt")
        wanted = [n for n in range(1, count + 1) if context.options.wants_page(n)]
        if not wanted:
            raise InvalidOption(
                f"`pages` is `{context.options.pages}`, but the document has {count} pages.",
                code="no_such_page",
                errors=(FieldError("/options/pages", f"must name pages from 1 to {count}"),),
            )
        yield document_info(document, count)
        with OcrWindow(context.ocr, context.options.ocr_languages, context.limits) as window:
            yield from _PdfReader(document, context, window).parts(wanted)


@dataclass(slots=True)
class _Reading:
    """OCR of a page, or of its part in `box`, under way."""

    future: Future[Reading]
    box: Box | None = None


@dataclass(slots=True)
class _Pending:
    """A page on its way out: what goes before it, and what OCR is still to say."""

    number: int
    before: list[Part] = field(default_factory=list)
    page: Page | None = None
    ocr: list[_Reading] = field(default_factory=list)
    reason: str = ""
    remarks: OcrResult | None = None
    """The readers' remarks on a page whose text OCR replaces."""

    @property
    def is_ready(self) -> bool:
        return all(reading.future.done() for reading in self.ocr)


class _PdfReader:
    """One pass over the wanted pages of an open document.

    PDFium is only called from the thread that iterates.
    """

    def __init__(self, document: pypdfium2.PdfDocument, context: ExtractContext, window: OcrWindow) -> None:
        self.document = document
        self.context = context
        self.window = window
        self.pages = PageWindow(document)
        self.content = ContentReader(document, self.pages, self._given())
        self.pictures = PictureCollector(context.folder, context.limits, context.known_pictures)
        self.max_pixels = min(context.limits.max_pixels, MAX_RENDER_PIXELS)
        self.said_no_ocr = False
        self.readable = 0

    def parts(self, wanted: list[int]) -> Iterator[Part]:
        """The parts of the pages, in their order."""
        pending: deque[_Pending] = deque()
        done = 0
        with closing(self.pages):
            for number in wanted:
                pending.append(self._begin(number))
                while pending and (pending[0].is_ready or len(pending) > PENDING_PAGES):
                    done += 1
                    yield from self._finish(pending.popleft(), done, len(wanted))
            for entry in pending:
                done += 1
                yield from self._finish(entry, done, len(wanted))
        yield from self.pictures.close()
        if not self.readable:
            raise UnreadableDocument(
                "No page of the PDF can be read: it is damaged. Save it anew from the program that made it.",
                code="pdf_corrupt",
            )

    def _given(self) -> frozenset[int]:
        """The pages that are given out as an earlier run read them."""
        return frozenset(n for n in self.context.known_pages if self.context.options.wants_page(n))

    def _begin(self, number: int) -> _Pending:
        """Reads what PDFium can of a page, and starts OCR where it is needed."""
        import pypdfium2

        known = self.context.known_pages.get(number)
        if known is not None:
            return _Pending(number, page=known)
        start = time.monotonic()
        page = None
        try:
            opened = self.pages.take(number)
            if opened is None or opened.page is None:
                return _Pending(number, [_unreadable(number)])
            page = opened.page
            entry = self._read(opened, page, number)
        except (pypdfium2.PdfiumError, ctypes.ArgumentError, MemoryError, ValueError):
            return _Pending(number, [_unreadable(number)])
        finally:
            if page is not None:
                page.close()
        if entry.page is not None:
            entry.page = replace(entry.page, elapsed_ms=round(1000 * (time.monotonic() - start)))
        return entry

    def _read(self, opened: OpenPage, page: pypdfium2.PdfPage, number: int) -> _Pending:
        content = self.content.read(opened, page, number)
        entry = _Pending(number, page=content.page)
        if content.remarks:
            entry.remarks = OcrResult(*compose(content.remarks))
        reason = self._ocr_reason(content)
        has_layer = content.share >= LAYER_SHARE and content.layer.characters > 0
        if self.context.options.extract_images:
            is_scan = reason in ("empty", "garbled", "partly_image") or has_layer
            found = self._pictures(content, opened, number, is_scan=is_scan)
            entry.before.extend(self.pictures.collect(page, found))
        if reason:
            self._start_ocr(entry, page, opened, reason)
        elif not has_layer and self.context.options.ocr == "auto" and self.context.ocr.name != "none":
            self._start_parts(entry, page, opened, content)
        return entry

    def _ocr_reason(self, content: Content) -> str:
        """Why the page needs OCR; empty where its text layer is worth reading."""
        layer_text = "\n".join(line.text for line in content.layer.lines)
        if self.context.options.ocr == "force":
            return "forced"
        if not layer_text.strip() and not _is_form(content.page):
            return "empty"
        if is_garbled(layer_text, content.layer.unmapped):
            return "garbled"
        if content.share >= LAYER_SHARE and is_poor_layer(layer_text):
            return "garbled"
        if content.share >= SCAN_SHARE and len(content.page.words) <= STAMP_WORDS:
            return "partly_image"
        return ""

    def _pictures(self, content: Content, opened: OpenPage, number: int, *, is_scan: bool) -> PagePictures:
        geometry, page = opened.geometry, content.page
        figures: list[Box] = []
        if content.drawing.shapes and not is_scan:
            tables = [b.box for b in page.blocks if b.kind is BlockKind.TABLE and b.box is not None]
            pictures = [image.box for image in content.drawing.images]
            figures = find_figures(
                content.drawing.shapes, content.layer.lines, tables, pictures, geometry.width, geometry.height
            )
        return PagePictures(number, content.drawing, geometry, figures, content.tags, page.text, page.blocks, is_scan)

    def _start_ocr(self, entry: _Pending, page: pypdfium2.PdfPage, opened: OpenPage, reason: str) -> None:
        assert entry.page is not None
        if reason in ("empty", "partly_image") and is_blank(page):
            return
        if self.context.options.ocr == "off":
            if reason == "garbled":
                message = "The text layer of the page is garbage, and OCR is off. Reprocess with `ocr` set to `auto`."
                entry.before.append(Issue("garbled_text", message, entry.number))
            elif reason == "empty":
                message = "The page has no text layer, and OCR is off. Reprocess with `ocr` set to `auto`."
                entry.before.append(Issue("page_without_text", message, entry.number))
            return
        if self.context.ocr.name == "none":
            if not self.said_no_ocr and reason != "partly_image":
                self.said_no_ocr = True
                message = (
                    "Pages without readable text were left as they are, for no OCR engine is installed. "
                    "Install Tesseract (`docatlas doctor` says how) and reprocess the document."
                )
                entry.before.append(Issue("ocr_unavailable", message))
            return
        self.context.ocr.require(self.context.options.ocr_languages)
        image, dpi = render_gray(page, opened.geometry, self.max_pixels)
        if reason == "partly_image":
            cover(image, entry.page, dpi)
        entry.reason = reason
        entry.ocr.append(_Reading(self.window.submit(image, dpi)))

    def _start_parts(self, entry: _Pending, page: pypdfium2.PdfPage, opened: OpenPage, content: Content) -> None:
        """Has the pictures of a digital page read that look like scans of text."""
        for region in scanned_parts(page, opened.geometry, content.drawing, content.page, self.max_pixels):
            self.context.ocr.require(self.context.options.ocr_languages)
            entry.ocr.append(_Reading(self.window.submit(region.image, region.dpi), region.box))

    def _finish(self, entry: _Pending, done: int, total: int) -> Iterator[Part]:
        page = entry.page
        for reading in entry.ocr:
            assert page is not None
            try:
                result, elapsed_ms = reading.future.result()
            except UnreadableDocument as error:
                entry.before.append(Issue(error.code, error.detail, entry.number))
            else:
                page = replace(
                    self._with_ocr(page, entry, result, reading.box), elapsed_ms=page.elapsed_ms + elapsed_ms
                )
        if page is not None:
            self.readable += 1
            if page.source is not TextSource.NATIVE and page.text and page.confidence < LOW_CONFIDENCE:
                message = (
                    f"OCR is unsure of the page: mean confidence {page.confidence:.0%}. Check it against the original."
                )
                entry.before.append(Issue("low_confidence", message, entry.number))
        yield from entry.before
        if page is not None:
            yield page
        yield Progress("ocr" if entry.ocr else "extracting", done, total)

    def _with_ocr(self, page: Page, entry: _Pending, result: OcrResult, box: Box | None) -> Page:
        languages = result.languages or self.context.options.ocr_languages
        if box is not None or entry.reason == "partly_image":
            if not is_believed(result):
                return page
            return replace(with_region(page, result, box), languages=languages)
        if not result.text and page.text and entry.reason == "forced":
            return page
        read = replace(
            page,
            text=result.text,
            words=result.words,
            blocks=result.blocks,
            marks=(),
            source=TextSource.OCR,
            rotation=result.rotation,
            confidence=result.confidence,
            reason=entry.reason,
            languages=languages,
            engine=result.engine,
        )
        if entry.remarks is None:
            return read
        with_remark = with_region(read, entry.remarks, None)
        return replace(
            with_remark,
            source=read.source,
            reason=read.reason,
            rotation=read.rotation,
            confidence=read.confidence,
            engine=read.engine,
        )


def _is_form(page: Page) -> bool:
    """True for a page whose text stands in the fields of a form alone."""
    return sum(any(c.isalnum() for c in word.text) for word in page.words) > 0 and any(
        block.kind is not BlockKind.COMMENT for block in page.blocks
    )


def _unreadable(number: int) -> Issue:
    return Issue("page_unreadable", "The page is damaged and was left out; the others are not affected.", number)
