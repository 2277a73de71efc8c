"""PDF: lines that are two, titles with a colon, page counts below a title, and files that are slow to open."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from services.content import BlockKind, Page
from services.errors import UnreadableDocument
from services.formats.pdf.document import OPENING_BYTES, OPENING_READS, _PdfFile, open_pdf
from tests.support.format_cases import DATA, pages, read

WIDE, HIGH = A4


def drawn(folder: Path, draw: Callable[[Canvas], None]) -> Page:
    path = folder / "drawn.pdf"
    canvas = Canvas(str(path), pagesize=A4, invariant=1)
    draw(canvas)
    canvas.save()
    (page,) = pages(read(path, folder))
    return page


def said(page: Page) -> list[tuple[BlockKind, str]]:
    return [(block.kind, page.text[block.char_start : block.char_end]) for block in page.blocks]


def prose(canvas: Canvas, top: float) -> None:
    canvas.setFont("Helvetica", 10)
    for row in range(12):
        canvas.drawString(72, top - 13 * row, "the keepers of the light wrote down the weather four times a day and")


def test_title_and_small_print_at_the_other_margin_are_two_lines(tmp_path: Path) -> None:
    def draw(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", 20)
        canvas.drawString(72, 780, "Booking order")
        canvas.setFont("Helvetica", 8)
        canvas.drawString(420, 780, "Printed on the ninth of May")
        prose(canvas, 720)

    found = said(drawn(tmp_path, draw))
    assert (BlockKind.HEADING, "Booking order") in found
    assert (BlockKind.PARAGRAPH, "Printed on the ninth of May") in found


def test_title_with_a_larger_first_word_stays_one_line(tmp_path: Path) -> None:
    def draw(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", 20)
        canvas.drawString(72, 780, "Order")
        canvas.setFont("Helvetica", 14)
        canvas.drawString(140, 780, "of the harbour")
        prose(canvas, 720)

    assert said(drawn(tmp_path, draw))[0] == (BlockKind.HEADING, "Order of the harbour")


def test_large_letter_before_a_caption_stays_on_its_line(tmp_path: Path) -> None:
    def draw(canvas: Canvas) -> None:
        prose(canvas, 720)
        canvas.setFont("Helvetica", 20)
        canvas.drawString(72, 500, "G")
        canvas.setFont("Helvetica", 10)
        canvas.drawString(160, 500, "Hands on the rail")

    assert said(drawn(tmp_path, draw))[-1][1] == "G Hands on the rail"


@pytest.mark.parametrize("count", ["Page 1 of 1", "Seite 1 von 12"])
def test_count_of_pages_below_a_title_is_header(count: str, tmp_path: Path) -> None:
    def draw(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", 20)
        canvas.drawString(72, 800, "Booking order")
        canvas.setFont("Helvetica", 8)
        canvas.drawString(480, 770, count)
        prose(canvas, 700)

    found = said(drawn(tmp_path, draw))
    assert (BlockKind.PAGE_HEADER, count) in found
    assert (BlockKind.HEADING, "Booking order") in found


@pytest.mark.parametrize("text", ["7 of 12", "Page 9 of 3", "Berth 1 of 4", "12.50"])
def test_amount_below_a_title_is_no_header(text: str, tmp_path: Path) -> None:
    def draw(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", 20)
        canvas.drawString(72, 800, "Booking order")
        canvas.setFont("Helvetica", 10)
        canvas.drawString(72, 770, text)
        prose(canvas, 700)

    assert all(kind is not BlockKind.PAGE_HEADER for kind, _ in said(drawn(tmp_path, draw)))


def test_bold_line_with_a_colon_alone_over_a_paragraph_is_a_heading(tmp_path: Path) -> None:
    def draw(canvas: Canvas) -> None:
        prose(canvas, 720)
        canvas.setFont("Helvetica-Bold", 10)
        canvas.drawString(72, 540, "Recommendations:")
        prose(canvas, 522)

    assert (BlockKind.HEADING, "Recommendations:") in said(drawn(tmp_path, draw))


def test_bold_label_beside_its_value_is_no_heading(tmp_path: Path) -> None:
    def draw(canvas: Canvas) -> None:
        prose(canvas, 720)
        canvas.setFont("Helvetica-Bold", 10)
        canvas.drawString(72, 540, "Berth:")
        canvas.setFont("Helvetica", 10)
        canvas.drawString(320, 540, "the inner quay")
        prose(canvas, 522)

    found = said(drawn(tmp_path, draw))
    assert not any(kind is BlockKind.HEADING for kind, _ in found)


def test_file_that_is_searched_over_and_over_is_given_up(tmp_path: Path) -> None:
    rng = random.Random(1)
    body = bytes(rng.randrange(0x41, 0x5A) for _ in range(600))
    path = tmp_path / "endless.pdf"
    path.write_bytes(b"%PDF-1.4\n" + b"".join(b"%d 0 obj\n<< /Length 9 >>\nstream\n" % n + body for n in range(1, 900)))
    with pytest.raises(UnreadableDocument) as raised, open_pdf(path, None):
        pass
    assert raised.value.code == "pdf_corrupt"


def test_reads_while_a_file_is_opened_are_counted_and_later_ones_are_not() -> None:
    path = DATA / "columns.pdf"
    size = path.stat().st_size
    buffer = bytearray(size)
    with _PdfFile(path) as file:
        reads = 0
        while file.seek(0) == 0 and file.readinto(buffer):
            reads += 1
        assert OPENING_READS <= reads <= OPENING_READS + OPENING_BYTES // size
        file.left = None
        file.seek(0)
        assert file.readinto(buffer) == size
