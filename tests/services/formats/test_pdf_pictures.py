"""PDF: embedded pictures, vector figures, and scans on digital pages."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageChops
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from services.content import BlockKind, Issue, Limits, Part, TextSource, Upload
from services.formats.base import ExtractContext
from services.formats.pdf.quality import is_poor_layer
from services.formats.pdf.reader import extract_pdf
from services.formats.pdf.scans import looks_printed
from services.ocr.base import NoOcr, OcrEngine
from services.ocr.tesseract.engine import TesseractEngine
from services.ocr.tesseract.install import find_tesseract
from services.options import Options
from tests.data.build_scans import LETTER, photo, scan
from tests.support.format_cases import DATA, check_offsets, pages, pictures, read
from tests.support.pdf_cases import made, raw_pdf

PROSE = "The keepers of the light wrote down the weather four times a day, and their books are the longest record. "


@pytest.fixture(scope="module")
def tesseract(tmp_path_factory: pytest.TempPathFactory) -> OcrEngine:
    install = find_tesseract(cache_dir=tmp_path_factory.mktemp("cache"))
    assert install is not None
    return TesseractEngine(install)


def read_with(engine: OcrEngine, path: Path, folder: Path, options: Options = Options()) -> list[Part]:
    context = replace(ExtractContext(options, None, folder, Limits(), NoOcr()), ocr=engine)
    return list(extract_pdf(Upload(path, path.name, "", "0" * 64, path.stat().st_size), context))


def test_chart_of_curves_is_rendered_with_its_labels_and_caption(tmp_path: Path) -> None:
    found = pictures(read(DATA / "figures.pdf", tmp_path))
    chart = next(p for p in found if p.page == 1 and p.width > 200)
    assert chart.caption == "Figure 1: Height of the tide on two days."
    assert chart.box is not None
    assert chart.box[3] > 445  # the label below the axis belongs to it
    with Image.open(chart.path) as image:
        red, green, _ = image.convert("RGB").split()
    reddest = ImageChops.subtract(red, green)
    assert max(level for level, count in enumerate(reddest.histogram()) if count) > 100


def test_chart_of_bars_is_a_figure_and_a_table_with_shaded_rows_is_none(tmp_path: Path) -> None:
    found = pictures(read(DATA / "figures.pdf", tmp_path))
    assert [p.caption for p in found if p.page == 4] == ["Figure 4: Ships in six months."]

    def draw(canvas: Canvas) -> None:
        for row in range(8):
            canvas.setFillGray(0.8 if row % 2 else 1)
            canvas.rect(72, 700 - row * 20, 400, 20, fill=1)
            canvas.setFillGray(0)
            for column in range(4):
                canvas.drawString(80 + column * 100, 705 - row * 20, f"cell {row}{column}")

    assert pictures(read(made(tmp_path, draw), tmp_path)) == []


def test_inks_of_a_printer_become_the_colours_of_a_screen(tmp_path: Path) -> None:
    found = pictures(read(DATA / "figures.pdf", tmp_path))
    inks = next(p for p in found if p.caption.startswith("Figure 2"))
    with Image.open(inks.path) as image:
        red, green, blue = image.convert("RGB").getpixel((60, 60))  # type: ignore[misc]
    assert red > 180
    assert max(green, blue) < 90


def test_masked_corners_are_white(tmp_path: Path) -> None:
    found = pictures(read(DATA / "figures.pdf", tmp_path))
    disc = next(p for p in found if p.caption.startswith("Figure 3"))
    with Image.open(disc.path) as image:
        corner = image.convert("L").crop((0, 0, 4, 4)).histogram()
    assert sum(corner[:241]) == 0


def test_logo_on_every_page_is_decoration_after_three(tmp_path: Path) -> None:
    parts = read(DATA / "figures.pdf", tmp_path)
    logos = [p for p in pictures(parts) if (p.width, p.height) == (90, 90)]
    assert [p.page for p in logos] == [1, 2, 3]
    assert len({p.path for p in logos}) == 3
    assert [(p.code, p.page) for p in parts if isinstance(p, Issue)] == [("decoration_left_out", None)]


def test_pictures_of_an_interrupted_run_count_as_given(tmp_path: Path) -> None:
    known = pages(read(DATA / "figures.pdf", tmp_path))
    parts = read(DATA / "figures.pdf", tmp_path, known={page.number: page for page in known[:3]})
    assert pages(parts)[0] is known[0]
    assert {p.page for p in pictures(parts)} == {4, 5}


def test_tiles_of_one_scan_count_as_one_picture(tmp_path: Path) -> None:
    sheet = scan(LETTER, "IN STRIPS")

    def draw(canvas: Canvas) -> None:
        high = sheet.height // 8
        for strip in range(8):
            part = sheet.crop((0, strip * high, sheet.width, (strip + 1) * high))
            canvas.drawInlineImage(part, 0, A4[1] * (7 - strip) / 8, A4[0], A4[1] / 8)
        canvas.drawString(400, 20, "BATES 12")

    parts = read(made(tmp_path, draw), tmp_path)
    assert pages(parts)[0].text == "BATES 12"
    context = ExtractContext(Options(ocr="off"), None, tmp_path, Limits(), NoOcr())
    path = tmp_path / "made.pdf"
    (page,) = pages(list(extract_pdf(Upload(path, "made.pdf", "", "0" * 64, path.stat().st_size), context)))
    assert page.source is TextSource.NATIVE


def test_scan_on_a_digital_page_is_read_at_its_place(tmp_path: Path, tesseract: OcrEngine) -> None:
    parts = read_with(tesseract, DATA / "figures.pdf", tmp_path, Options(pages="5"))
    (page,) = pages(parts)
    check_offsets(page)
    assert (page.source, page.reason, page.languages) == (TextSource.HYBRID, "partly_image", ("eng",))
    order = [
        page.text.index(words) for words in ("The notice below", "POSTED NOTICE", "monthly rent", "It was taken down")
    ]
    assert order == sorted(order)
    assert page.text.count("taken down") == 1
    word = next(w for w in page.words if w.text == "POSTED")
    assert word.confidence is not None
    assert word.box[0] == pytest.approx(85, abs=8)
    assert 200 < word.box[1] < 250
    for word in page.words:
        assert page.text[word.char_start : word.char_end] == word.text


def test_photograph_on_a_digital_page_is_not_sent_to_ocr(tmp_path: Path, tesseract: OcrEngine) -> None:
    def draw(canvas: Canvas) -> None:
        canvas.drawInlineImage(photo(300), 60, 200, 400, 400)
        for line in range(8):
            canvas.drawString(60, 780 - line * 14, PROSE[:80])

    (page,) = pages(read_with(tesseract, made(tmp_path, draw), tmp_path))
    assert (page.source, page.reason, page.engine) == (TextSource.NATIVE, "", "")


def test_remark_on_a_scanned_page_is_kept_behind_its_text(tmp_path: Path, tesseract: OcrEngine) -> None:
    sheet = scan(LETTER, "NOTICE")

    def draw(canvas: Canvas) -> None:
        canvas.drawInlineImage(sheet, 0, 0, *A4)
        canvas.textAnnotation("Signed copy is missing.", Rect=(60, 60, 80, 80), addtopage=1)

    (page,) = pages(read_with(tesseract, made(tmp_path, draw), tmp_path))
    check_offsets(page)
    assert (page.source, page.reason) == (TextSource.OCR, "empty")
    assert page.text.endswith("Signed copy is missing.")
    assert page.blocks[-1].kind is BlockKind.COMMENT


def test_print_is_told_from_photographs() -> None:
    assert looks_printed(scan(LETTER, "NOTICE"))
    assert not looks_printed(photo(300).convert("L"))
    assert not looks_printed(Image.new("L", (300, 300), 255))


def test_misshapen_layer_of_an_ocr_program_is_poor_and_good_text_is_not() -> None:
    rng = random.Random(4)
    noise = "".join(rng.choice("|!1l/\\.,;:'\"0~^_-") if c.isalpha() and rng.random() < 0.35 else c for c in PROSE * 4)
    assert is_poor_layer(noise)
    assert not is_poor_layer(PROSE * 4)
    assert not is_poor_layer("契約は毎年更新されるものとし、異議がある場合は書面で通知する。 " * 40)
    assert not is_poor_layer("12.40 31.99 7.01 | 44,120 (3.1 %) -- 0x3f 17/09/2021 " * 20)


def test_page_of_more_lines_than_are_looked_at_is_read_all_the_same(tmp_path: Path) -> None:
    lines = b"".join(b"%d %d m %d %d l S\n" % (n % 390, n % 290, n % 380, 5) for n in range(21_000))
    content = b"BT /F 14 Tf 40 200 Td (Map) Tj ET\n" + lines
    path = raw_pdf(tmp_path, content, page=b"/Resources << /Font << /F 5 0 R >> >>")
    parts = read(path, tmp_path)
    assert pages(parts)[0].text == "Map"
    assert len(pictures(parts)) <= 1
