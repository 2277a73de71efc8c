"""PDF: the text layer, the decision for OCR, pictures, tables, and files that are damaged or locked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.content import BlockKind, DocumentInfo, Issue, Limits, Page, Part, Picture, Progress, TextSource, Upload
from services.errors import EncryptedDocument, InvalidOption, NotFound, TooLarge, UnreadableDocument
from services.formats.base import ExtractContext
from services.formats.page_images import render_page
from services.formats.pdf.quality import is_garbled
from services.formats.pdf.reader import extract_pdf
from services.formats.registry import Format
from services.ocr.base import NoOcr, OcrEngine
from services.ocr.tesseract.engine import TesseractEngine
from services.ocr.tesseract.install import find_tesseract
from services.options import Options

DATA = Path(__file__).parents[2] / "data"
LEASE = "The tenant shall pay the monthly rent of 1,250 euros in advance"


@pytest.fixture(scope="module")
def tesseract(tmp_path_factory: pytest.TempPathFactory) -> OcrEngine:
    install = find_tesseract(cache_dir=tmp_path_factory.mktemp("cache"))
    assert install is not None
    return TesseractEngine(install)


@pytest.fixture
def context(tmp_path: Path) -> ExtractContext:
    return ExtractContext(Options(), None, tmp_path, Limits(), NoOcr())


def upload(path: Path) -> Upload:
    return Upload(path, path.name, "application/pdf", "0" * 64, path.stat().st_size)


def parts_of(name: str, context: ExtractContext) -> list[Part]:
    return list(extract_pdf(upload(DATA / name), context))


def pages_of(parts: list[Part]) -> list[Page]:
    return [part for part in parts if isinstance(part, Page)]


def issues_of(parts: list[Part]) -> list[tuple[str, int | None]]:
    return [(part.code, part.page) for part in parts if isinstance(part, Issue)]


def assert_consistent(page: Page) -> None:
    for word in page.words:
        assert page.text[word.char_start : word.char_end] == word.text
        x0, y0, x1, y1 = word.box
        assert -2 <= x0 <= x1 <= page.width + 2
        assert -2 <= y0 <= y1 <= page.height + 2
    end = 0
    for block in page.blocks:
        assert end <= block.char_start < block.char_end <= len(page.text)
        end = block.char_end


def test_digital_page_gives_text_words_and_metadata(context: ExtractContext) -> None:
    parts = parts_of("report.pdf", context)
    assert parts[0] == DocumentInfo("Harbour report", "Office of Works", "", 3)
    pages = pages_of(parts)
    assert [p.number for p in pages] == [1, 2, 3]
    assert all(p.source is TextSource.NATIVE and p.reason == "" and p.confidence == 1.0 for p in pages)
    for page in pages:
        assert_consistent(page)
    first = pages[0]
    assert (first.width, first.height) == (595.28, 841.89)
    harbour = first.words[0]
    assert harbour.text == "Harbour"
    assert harbour.box == pytest.approx((74.4, 63.6, 169.5, 82.2), abs=0.2)


def test_hyphens_at_line_ends_and_ligatures_are_joined(context: ExtractContext) -> None:
    text = pages_of(parts_of("report.pdf", context))[0].text
    assert "the quay was repaired where the winter storms had opened the joints between the stones." in text
    assert "The final survey" in text


def test_headings_lists_and_addresses_keep_their_shape(context: ExtractContext) -> None:
    page = pages_of(parts_of("report.pdf", context))[0]
    heading = page.blocks[0]
    assert (heading.kind, heading.level) == (BlockKind.HEADING, 1)
    assert page.text[heading.char_start : heading.char_end] == "Harbour report"
    items = [b for b in page.blocks if b.kind is BlockKind.LIST_ITEM]
    assert [page.text[b.char_start : b.char_end] for b in items] == [
        "• The crane needs a new cable.",
        "• The lamps were replaced.",
    ]
    assert "Harbour Office\n7 Quay Street\nNorthport" in page.text


def test_ruled_table_becomes_rows_and_its_words_stand_once(context: ExtractContext) -> None:
    page = pages_of(parts_of("report.pdf", context))[0]
    (table,) = [b for b in page.blocks if b.kind is BlockKind.TABLE]
    assert table.rows == (
        ("Month", "Ships", "Cargo (t)"),
        ("April", "41", "12,300"),
        ("May", "38", "11,870"),
        ("June", "52", "15,010"),
    )
    assert page.text[table.char_start : table.char_end] == "\n".join(" | ".join(row) for row in table.rows)
    assert page.text.count("12,300") == 1


def test_embedded_picture_is_kept_once_with_its_box(context: ExtractContext) -> None:
    pictures = [p for p in parts_of("report.pdf", context) if isinstance(p, Picture)]
    (picture,) = pictures
    assert (picture.page, picture.width, picture.height) == (1, 240, 240)
    assert picture.box == pytest.approx((72, 491.89, 222, 641.89), abs=0.1)
    assert picture.path.parent == context.folder
    assert picture.path.stat().st_size > 0


def test_pictures_are_left_alone_when_not_asked_for(context: ExtractContext) -> None:
    parts = parts_of("report.pdf", replace(context, options=Options(extract_images=False)))
    assert not any(isinstance(p, Picture) for p in parts)
    assert list(context.folder.iterdir()) == []


def test_page_with_rotate_is_read_as_shown(context: ExtractContext) -> None:
    for page in pages_of(parts_of("rotated.pdf", context)):
        assert_consistent(page)
        assert (page.width, page.height) == (595.28, 841.89)
        assert page.text.startswith("Turned page\n\n" + LEASE)
        assert page.words[0].box == pytest.approx((72, 73.5, 109.9, 82.0), abs=0.2)


def test_scanned_pages_are_read_by_ocr_and_are_no_pictures(context: ExtractContext, tesseract: OcrEngine) -> None:
    parts = parts_of("scanned.pdf", replace(context, ocr=tesseract))
    first, second = pages_of(parts)
    for page in (first, second):
        assert (page.source, page.reason, page.languages) == (TextSource.OCR, "empty", ("eng",))
        assert page.confidence > 0.9
        assert LEASE in page.text
        assert_consistent(page)
    assert first.text.startswith("LEASE AGREEMENT")
    assert first.words[0].box == pytest.approx((59, 60.5, 101.8, 71), abs=1.5)
    assert not any(isinstance(p, Picture) for p in parts)
    assert [p for p in parts if isinstance(p, Progress)][-1] == Progress("ocr", 2, 2)


def test_mixed_document_uses_ocr_only_where_needed(context: ExtractContext, tesseract: OcrEngine) -> None:
    digital, scanned, stamped = pages_of(parts_of("mixed.pdf", replace(context, ocr=tesseract)))
    assert digital.source is TextSource.NATIVE
    assert scanned.source is TextSource.OCR
    assert (stamped.source, stamped.reason) == (TextSource.HYBRID, "partly_image")
    assert stamped.text.startswith("ANNEX TWO")
    assert stamped.text.endswith("\n\nBATES 000123"), "the stamp stands at the foot of the page"
    assert stamped.text.count("BATES") == 1
    assert_consistent(stamped)


def test_garbled_text_layer_is_replaced_by_ocr(context: ExtractContext, tesseract: OcrEngine) -> None:
    (page,) = pages_of(parts_of("garbled.pdf", replace(context, ocr=tesseract)))
    assert (page.source, page.reason) == (TextSource.OCR, "garbled")
    assert LEASE in page.text


def test_forced_ocr_replaces_good_text(context: ExtractContext, tesseract: OcrEngine) -> None:
    options = Options(ocr="force", pages="2")
    (page,) = pages_of(parts_of("report.pdf", replace(context, ocr=tesseract, options=options)))
    assert (page.number, page.source, page.reason) == (2, TextSource.OCR, "forced")
    assert LEASE in page.text


def test_missing_engine_is_said_once_and_costs_only_the_scans(context: ExtractContext) -> None:
    parts = parts_of("mixed.pdf", context)
    assert issues_of(parts) == [("ocr_unavailable", None)]
    assert [bool(p.text) for p in pages_of(parts)] == [True, False, True]


def test_ocr_off_reports_pages_without_text(context: ExtractContext) -> None:
    off = replace(context, options=Options(ocr="off"))
    assert issues_of(parts_of("scanned.pdf", off)) == [("page_without_text", 1), ("page_without_text", 2)]
    assert issues_of(parts_of("garbled.pdf", off)) == [("garbled_text", 1)]
    assert issues_of(parts_of("report.pdf", off)) == []


def test_encrypted_pdf_asks_for_the_password_and_opens_with_it(context: ExtractContext) -> None:
    with pytest.raises(EncryptedDocument) as without:
        parts_of("encrypted.pdf", context)
    assert without.value.code == "password_required"
    with pytest.raises(EncryptedDocument) as wrong:
        parts_of("encrypted.pdf", replace(context, password="guess"))
    assert wrong.value.code == "password_wrong"
    (page,) = pages_of(parts_of("encrypted.pdf", replace(context, password="open sesame")))
    assert LEASE in page.text


def test_truncated_pdf_is_refused(context: ExtractContext) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        parts_of("truncated.pdf", context)
    assert caught.value.code == "pdf_corrupt"


def test_too_many_pages_are_refused_before_any_is_read(context: ExtractContext) -> None:
    parts = extract_pdf(upload(DATA / "report.pdf"), replace(context, limits=Limits(max_pages=2)))
    with pytest.raises(TooLarge) as caught:
        next(parts)
    assert caught.value.code == "too_many_pages"


def test_chosen_pages_are_read_and_the_count_stays_the_files(context: ExtractContext) -> None:
    parts = parts_of("report.pdf", replace(context, options=Options(pages="2-")))
    assert isinstance(parts[0], DocumentInfo)
    assert parts[0].page_count == 3
    assert [p.number for p in pages_of(parts)] == [2, 3]


def test_a_choice_without_any_page_of_the_file_is_refused(context: ExtractContext) -> None:
    with pytest.raises(InvalidOption) as caught:
        parts_of("report.pdf", replace(context, options=Options(pages="7-9")))
    assert caught.value.code == "no_such_page"


def test_known_pages_are_handed_on_unchanged_and_without_pictures(context: ExtractContext) -> None:
    known = Page(1, "stored before", elapsed_ms=7)
    parts = parts_of("report.pdf", replace(context, known_pages={1: known}))
    assert pages_of(parts)[0] is known
    assert not any(isinstance(p, Picture) for p in parts)


def broken_pages(path: Path) -> Path:
    """A PDF of two pages of which the second is not in the file."""
    body = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R 9 0 R] /Count 2 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 200] /Contents 4 0 R "
        b"/Resources << /Font << /F 5 0 R >> >> >>",
        b"<< /Length 44 >>\nstream\nBT /F 18 Tf 40 100 Td (Good page here) Tj ET   \nendstream",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, content in enumerate(body, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(body) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(body) + 1, start)
    path.write_bytes(out)
    return path


def test_bad_page_is_an_issue_and_the_good_one_is_read(context: ExtractContext, tmp_path: Path) -> None:
    parts = list(extract_pdf(upload(broken_pages(tmp_path / "broken.pdf")), context))
    assert [p.text for p in pages_of(parts)] == ["Good page here"]
    assert issues_of(parts) == [("page_unreadable", 2)]


@pytest.mark.parametrize(
    "text",
    [
        "Der Pachtvertrag endet mit Ablauf des Jahres, ohne dass es einer Kündigung bedarf. " * 4,
        "Арендатор обязан вносить плату ежемесячно и без напоминаний. " * 4,
        "契約は毎年更新されるものとし、異議がある場合は書面で通知する。" * 8,
        "def f(x: int) -> dict[str, list[int]]:\n    return {str(k): [k] * x for k in range(x)}\n" * 6,
        "12.40 31.99 7.01 | 44,120 (3.1 %) -- 0x3f 17/09/2021 " * 8,
        "\n".join(f"Vessel {n:02} {n * 37 % 91}.{n % 10} {n * 113}" for n in range(60)),
        "\n".join(f"2021-09-17 04:{n:02}:11 WARN kswapd0 GET /qk/{n} HTTP/1.1 503" for n in range(40)),
        "",
    ],
)
def test_languages_code_and_numbers_are_not_garbled(text: str) -> None:
    assert not is_garbled(text)


@pytest.mark.parametrize(
    "text",
    [
        "\ue001\ue004\ue00f \ue010\ue001 plain \ufffd\ufffd\ufffd",
        "".join(chr((ord(c) - 97 + 11) % 26 + 97) if c.islower() else c for c in LEASE.lower() * 5),
        "".join(chr(ord(c) - 29) if ord(c) >= 61 else c for c in LEASE * 5),
    ],
)
def test_private_codes_and_shifted_alphabets_are_garbled(text: str) -> None:
    assert is_garbled(text)


def test_rendering_has_the_asked_width_and_the_pages_shape() -> None:
    data, media_type = render_page(DATA / "report.pdf", Format.PDF, 1, 300, None, Limits())
    assert media_type == "image/webp"
    assert size_of(data) == (300, 424)
    assert size_of(render_page(DATA / "letters.tif", Format.TIFF, 2, 200, None, Limits())[0]) == (200, 326)


def size_of(data: bytes) -> tuple[int, int]:
    import io

    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        return image.size


def test_rendering_refuses_absent_pages_and_formats_without_layout() -> None:
    with pytest.raises(NotFound) as page:
        render_page(DATA / "report.pdf", Format.PDF, 4, 300, None, Limits())
    assert page.value.code == "page_not_found"
    with pytest.raises(NotFound) as layout:
        render_page(DATA / "report.pdf", Format.TEXT, 1, 300, None, Limits())
    assert layout.value.code == "no_page_image"


def test_generator_closed_early_lets_go_of_the_file(context: ExtractContext, tesseract: OcrEngine) -> None:
    parts: Iterator[Part] = extract_pdf(upload(DATA / "scanned.pdf"), replace(context, ocr=tesseract))
    assert isinstance(next(parts), DocumentInfo)
    parts.close()  # type: ignore[attr-defined]
