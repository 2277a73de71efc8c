"""PDF through PDFium, page by page: the text layer where it is worth reading, OCR where it is not, and the pictures."""

from __future__ import annotations

import ctypes
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from services.content import (
    DocumentInfo,
    Issue,
    Page,
    Part,
    Progress,
    TextSource,
    Upload,
)
from services.errors import EncryptedDocument, FieldError, InvalidOption, TooLarge, UnreadableDocument
from services.formats import ExtractContext
from services.formats.pdf_pictures import Drawing, PictureCollector, read_drawing
from services.formats.pdf_quality import is_garbled
from services.formats.pdf_tables import find_tables, has_table_lines, table_block, take_out
from services.formats.pdf_text import PageGeometry, PageText, build_blocks, read_text
from services.ocr import LOW_CONFIDENCE, OcrResult
from services.ocr.layout import LooseBlock, compose
from services.ocr.window import OcrWindow, Reading

if TYPE_CHECKING:
    import pypdfium2
    from PIL.Image import Image

OCR_DPI = 300.0
"""Resolution at which pages are rendered for OCR. Source: Tesseract's documentation, "works best at 300 dpi"."""

MAX_RENDER_PIXELS = 20_000_000
"""Of one page for OCR: A3 at 300 dpi is 17 million. Larger pages are rendered more coarsely, to bound memory."""

PENDING_PAGES = 32
"""Pages read that may wait for one before them to come back from OCR."""

SCAN_SHARE, STAMP_WORDS = 0.5, 40
"""A page is partly an image when one picture covers this share of it and its text has at most so many words:
scans carry a printed number or a date stamp as text."""

MIN_REGION_CONFIDENCE, MIN_REGION_WORDS = 0.6, 3
"""What OCR must find in the picture of such a page to be believed: photographs make it see letters too."""

_MAX_METADATA = 500
_PLACEHOLDERS = frozenset({"untitled", "anonymous", "(anonymous)", "unspecified"})
"""What programs write where nobody gave a title or an author."""


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
        yield _info(document, count)
        with OcrWindow(context.ocr, context.options.ocr_languages, context.limits) as window:
            yield from _PdfReader(document, context, window).parts(wanted)


@contextmanager
def open_pdf(path: Path, password: str | None) -> Iterator[pypdfium2.PdfDocument]:
    """The PDF at `path`, closed on leaving. Raises EncryptedDocument and UnreadableDocument as `extract_pdf` does."""
    import pypdfium2
    from pypdfium2 import raw

    try:
        document = pypdfium2.PdfDocument(path, password=password)
    except pypdfium2.PdfiumError as error:
        if error.err_code == raw.FPDF_ERR_PASSWORD:
            if password:
                raise EncryptedDocument(
                    "The password does not open the PDF. Send the right one in `options.password`.",
                    code="password_wrong",
                ) from error
            raise EncryptedDocument(
                "The PDF is encrypted. Send its password in `options.password`.", code="password_required"
            ) from error
        if error.err_code == raw.FPDF_ERR_SECURITY:
            raise EncryptedDocument(
                "The PDF is encrypted by a scheme that cannot be opened with a password. Save it without encryption.",
                code="encryption_unsupported",
            ) from error
        raise UnreadableDocument(
            "The PDF is damaged beyond repair or cut off. Upload it again, or save it anew where it was made.",
            code="pdf_corrupt",
        ) from error
    try:
        if document.get_formtype() != raw.FORMTYPE_NONE:
            document.init_forms()
        yield document
    finally:
        document.close()


def _info(document: pypdfium2.PdfDocument, count: int) -> DocumentInfo:
    from pypdfium2 import raw

    def said(key: str) -> str:
        value = "".join(c if c.isprintable() else " " for c in document.get_metadata_value(key))
        value = " ".join(value.split())[:_MAX_METADATA]
        return "" if value in _PLACEHOLDERS else value

    language = ""
    size = raw.FPDFCatalog_GetLanguage(document, None, 0)
    if 2 < size <= 128:
        buffer = ctypes.create_string_buffer(size)
        raw.FPDFCatalog_GetLanguage(document, ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)), size)
        language = buffer.raw[: size - 2].decode("utf-16-le", "ignore").strip("\x00 ")
    return DocumentInfo(said("Title"), said("Author"), language, count)


@dataclass(slots=True)
class _Pending:
    """A page on its way out: what goes before it, and what OCR is still to say."""

    number: int
    before: list[Part] = field(default_factory=list)
    page: Page | None = None
    ocr: Future[Reading] | None = None
    reason: str = ""


class _PdfReader:
    """One pass over the wanted pages of an open document. PDFium is only called from the thread that iterates."""

    def __init__(self, document: pypdfium2.PdfDocument, context: ExtractContext, window: OcrWindow) -> None:
        self.document = document
        self.context = context
        self.window = window
        self.pictures = PictureCollector(context.folder, context.limits, context.known_pictures)
        self.said_no_ocr = False
        self.readable = 0

    def parts(self, wanted: list[int]) -> Iterator[Part]:
        """The parts of the pages, in their order."""
        pending: deque[_Pending] = deque()
        done = 0
        for number in wanted:
            pending.append(self._begin(number))
            while pending and (pending[0].ocr is None or pending[0].ocr.done() or len(pending) > PENDING_PAGES):
                done += 1
                yield from self._finish(pending.popleft(), done, len(wanted))
        for entry in pending:
            done += 1
            yield from self._finish(entry, done, len(wanted))
        if not self.readable:
            raise UnreadableDocument(
                "No page of the PDF can be read: it is damaged. Save it anew from the program that made it.",
                code="pdf_corrupt",
            )

    def _begin(self, number: int) -> _Pending:
        """Reads what PDFium can of a page, and starts OCR where it is needed."""
        import pypdfium2

        known = self.context.known_pages.get(number)
        if known is not None:
            return _Pending(number, page=known)
        start = time.monotonic()
        try:
            page = self.document[number - 1]
        except pypdfium2.PdfiumError:
            return _Pending(number, [_unreadable(number)])
        try:
            entry = self._read(page, number)
        except (pypdfium2.PdfiumError, ctypes.ArgumentError, MemoryError, ValueError):
            return _Pending(number, [_unreadable(number)])
        finally:
            page.close()
        if entry.page is not None:
            entry.page = replace(entry.page, elapsed_ms=round(1000 * (time.monotonic() - start)))
        return entry

    def _read(self, page: pypdfium2.PdfPage, number: int) -> _Pending:
        geometry = PageGeometry(page)
        layer = read_text(page, geometry)
        drawing = read_drawing(page, geometry)
        text, words, blocks = compose(_blocks(layer, drawing))
        entry = _Pending(
            number,
            page=Page(number, text, words, blocks, round(geometry.width, 2), round(geometry.height, 2)),
        )
        share = drawing.image_share(geometry.width, geometry.height)
        reason = ""
        if self.context.options.ocr == "force":
            reason = "forced"
        elif not text.strip():
            reason = "empty"
        elif is_garbled(text, layer.unmapped):
            reason = "garbled"
        elif share >= SCAN_SHARE and len(words) <= STAMP_WORDS:
            reason = "partly_image"
        if self.context.options.extract_images:
            scan = reason in ("empty", "garbled", "partly_image") or _has_hidden_text(layer, share)
            entry.before.extend(self.pictures.collect(drawing, geometry, number, page_is_scan=scan))
        if reason:
            self._start_ocr(entry, page, geometry, reason)
        return entry

    def _start_ocr(self, entry: _Pending, page: pypdfium2.PdfPage, geometry: PageGeometry, reason: str) -> None:
        assert entry.page is not None
        if reason in ("empty", "partly_image") and _is_blank(page):
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
        image, dpi = render_gray(page, geometry, min(self.context.limits.max_pixels, MAX_RENDER_PIXELS))
        if reason == "partly_image":
            _cover(image, entry.page, dpi)
        entry.reason = reason
        entry.ocr = self.window.submit(image, dpi)

    def _finish(self, entry: _Pending, done: int, total: int) -> Iterator[Part]:
        page = entry.page
        if entry.ocr is not None and page is not None:
            try:
                page = self._with_ocr(page, entry.reason, *entry.ocr.result())
            except UnreadableDocument as error:
                entry.before.append(Issue(error.code, error.detail, entry.number))
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
        yield Progress("ocr" if entry.ocr is not None else "extracting", done, total)

    def _with_ocr(self, page: Page, reason: str, result: OcrResult, elapsed_ms: int) -> Page:
        elapsed_ms += page.elapsed_ms
        if reason == "partly_image":
            found = sum(any(c.isalnum() for c in w.text) for w in result.words)
            if result.confidence < MIN_REGION_CONFIDENCE or found < MIN_REGION_WORDS:
                return replace(page, elapsed_ms=elapsed_ms)
            return _joined(page, result, elapsed_ms, self.context.options.ocr_languages)
        if not result.text and page.text and reason == "forced":
            return replace(page, elapsed_ms=elapsed_ms)
        return replace(
            page,
            text=result.text,
            words=result.words,
            blocks=result.blocks,
            source=TextSource.OCR,
            rotation=result.rotation,
            confidence=result.confidence,
            elapsed_ms=elapsed_ms,
            reason=reason,
            languages=self.context.options.ocr_languages,
        )


def _unreadable(number: int) -> Issue:
    return Issue("page_unreadable", "The page is damaged and was left out; the others are not affected.", number)


def _blocks(layer: PageText, drawing: Drawing) -> list[LooseBlock]:
    """The blocks of a page, its ruled tables at the place where their first words stand."""
    lines = list(layer.lines)
    if not (lines and has_table_lines(drawing.rules)):
        return build_blocks(lines)
    cuts = []
    for table in find_tables(drawing.rules, lines):
        lines, position = take_out(lines, table)
        cuts.append((position, table))
    blocks: list[LooseBlock] = []
    start = 0
    for position, table in sorted(cuts, key=lambda cut: cut[0]):
        blocks.extend(build_blocks(lines[start:position]))
        blocks.append(table_block(table))
        start = position
    return blocks + build_blocks(lines[start:])


def _has_hidden_text(layer: PageText, share: float) -> bool:
    """True for a scan with a layer of text over it: a picture as large as the page, and text."""
    return share >= 0.85 and layer.characters > 0


def _is_blank(page: pypdfium2.PdfPage) -> bool:
    """True when nothing can be seen on the page."""
    scale = min(1.0, 600 / max(1.0, *page.get_size()))
    bitmap = page.render(scale=scale, grayscale=True)
    try:
        low, high = bitmap.to_pil().getextrema()
        return bool(high - low < 12)
    finally:
        bitmap.close()


def render_gray(page: pypdfium2.PdfPage, geometry: PageGeometry, max_pixels: int) -> tuple[Image, float]:
    """(the page as shown in mode L, its dots per inch): `OCR_DPI` or as many as `max_pixels` allow."""
    area = max(1.0, geometry.width * geometry.height)
    dpi = min(OCR_DPI, 72.0 * (max_pixels / area) ** 0.5 * 0.999)
    bitmap = page.render(scale=dpi / 72.0, grayscale=True)
    try:
        return bitmap.to_pil().copy(), dpi
    finally:
        bitmap.close()


def _cover(image: Image, page: Page, dpi: float) -> None:
    """Paints the words of the text layer over, so that OCR does not read them a second time."""
    from PIL import ImageDraw

    draw = ImageDraw.Draw(image)
    scale = dpi / 72.0
    for word in page.words:
        x0, y0, x1, y1 = word.box
        draw.rectangle(((x0 - 1) * scale, (y0 - 1) * scale, (x1 + 1) * scale, (y1 + 1) * scale), fill=255)


def _joined(page: Page, result: OcrResult, elapsed_ms: int, languages: tuple[str, ...]) -> Page:
    """`page` with what OCR read in its picture after its own text."""
    shift = len(page.text) + 2
    words = tuple(replace(w, char_start=w.char_start + shift, char_end=w.char_end + shift) for w in result.words)
    blocks = tuple(replace(b, char_start=b.char_start + shift, char_end=b.char_end + shift) for b in result.blocks)
    return replace(
        page,
        text=f"{page.text}\n\n{result.text}",
        words=page.words + words,
        blocks=page.blocks + blocks,
        source=TextSource.HYBRID,
        reason="partly_image",
        rotation=result.rotation,
        confidence=result.confidence,
        languages=languages,
        elapsed_ms=elapsed_ms,
    )
