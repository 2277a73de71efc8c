"""PDF: headers and footers, columns, notes, captions, code, links, remarks, form fields, tags, hidden text."""

from __future__ import annotations

from pathlib import Path

import pytest
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from services.content import Block, BlockKind, MarkKind, Page
from services.formats.pdf.captions import is_caption
from services.formats.pdf.glyphs import private_character
from tests.support.format_cases import DATA, compare_with_golden, outline, pages, read
from tests.support.pdf_cases import made, raw_pdf

WIDE, HIGH = A4
PROSE = (
    "the keepers of the light wrote down the weather",
    "four times a day and their books are the longest",
    "record of wind on this coast for ninety years and",
    "nobody looked into them until the tower was sold",
)


FONT = b"/Resources << /Font << /F 5 0 R >> >>"


def said(page: Page, kind: BlockKind) -> list[str]:
    return [text_of(page, block) for block in page.blocks if block.kind is kind]


def text_of(page: Page, block: Block) -> str:
    return page.text[block.char_start : block.char_end]


@pytest.mark.parametrize("name", ["columns", "form", "figures"])
def test_sample_reads_as_its_golden_outline(name: str, tmp_path: Path) -> None:
    compare_with_golden(f"{name}.pdf", outline(read(DATA / f"{name}.pdf", tmp_path)))


def test_running_heads_and_page_numbers_are_marked_on_even_and_odd_pages(tmp_path: Path) -> None:
    found = pages(read(DATA / "columns.pdf", tmp_path))
    heads = [said(page, BlockKind.PAGE_HEADER) for page in found]
    even, odd = ["Office of Works"], ["Winds of the coast"]
    assert heads == [[], even, odd, even, odd, even]
    assert [said(page, BlockKind.PAGE_FOOTER) for page in found] == [[f"Page {n}"] for n in range(1, 7)]
    assert all(page.blocks[-1].kind is BlockKind.PAGE_FOOTER for page in found)


def test_chosen_page_knows_its_headers_from_the_pages_around_it(tmp_path: Path) -> None:
    from services.options import Options

    (page,) = pages(read(DATA / "columns.pdf", tmp_path, options=Options(pages="4")))
    assert said(page, BlockKind.PAGE_HEADER) == ["Office of Works"]


def test_header_row_of_a_table_on_each_page_is_no_page_header(tmp_path: Path) -> None:
    def draw(canvas: Canvas) -> None:
        for number in range(5):
            canvas.drawString(72, HIGH - 40, "Ledger of the port")
            for row in range(30):
                cells = ("Vessel", "Cargo", "Tons") if not row else (f"Ship {number * 30 + row}", "Salt", f"{row * 7}")
                for column, cell in enumerate(cells):
                    canvas.drawString(72 + column * 150, HIGH - 80 - row * 18, cell)
            canvas.showPage()

    for page in pages(read(made(tmp_path, draw), tmp_path)):
        assert said(page, BlockKind.PAGE_HEADER) == ["Ledger of the port"]
        assert "Vessel" in page.text


def test_cover_on_a_coloured_page_is_no_table(tmp_path: Path) -> None:
    left = ("For an open harbour", "For a quay that lasts", "For ships of every size")
    right = ("For the town behind it", "For a cleaner sea", "For those who come")

    def draw(canvas: Canvas) -> None:
        canvas.setFillGray(0.9)
        canvas.rect(0, 0, WIDE, HIGH, stroke=0, fill=1)
        canvas.setFillGray(0)
        for height in (680, 320):
            canvas.line(342, height, 425, height)
        canvas.setFont("Helvetica", 10)
        canvas.drawString(56, 700, "Corporate Overview")
        canvas.setFont("Helvetica-Bold", 48)
        canvas.drawString(56, 200, "We Care")
        canvas.setFont("Helvetica", 10)
        for row, pair in enumerate(zip(left, right, strict=True)):
            for column, words in enumerate(pair):
                canvas.drawString(160 + 210 * column, 150 - 16 * row, words)

    (page,) = pages(read(made(tmp_path, draw), tmp_path))
    assert said(page, BlockKind.TABLE) == []
    assert said(page, BlockKind.HEADING) == ["We Care"]


def test_document_of_one_page_loses_only_its_page_number(tmp_path: Path) -> None:
    def draw(canvas: Canvas) -> None:
        canvas.drawString(72, HIGH - 40, "Office of Works")
        canvas.drawString(72, 500, "The quay was closed.")
        canvas.drawString(300, 40, "Seite 1 von 1")

    (page,) = pages(read(made(tmp_path, draw), tmp_path))
    assert said(page, BlockKind.PAGE_HEADER) == []
    assert said(page, BlockKind.PAGE_FOOTER) == ["Seite 1 von 1"]


def test_rows_drawn_across_two_columns_are_read_column_by_column(tmp_path: Path) -> None:
    left = [f"left {n} {PROSE[n % 4]}" for n in range(10)]
    right = [f"right {n} {PROSE[n % 4]}" for n in range(10)]

    def draw(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", 9)
        canvas.drawString(
            60, 780, "A title that stands over both of the columns of this page and is as wide as they are"
        )
        for n, (a, b) in enumerate(zip(left, right, strict=True)):
            canvas.drawString(60, 740 - n * 12, a)
            canvas.drawString(320, 740 - n * 12, b)

    (page,) = pages(read(made(tmp_path, draw), tmp_path))
    order = [page.text.index(word) for word in ("A title", "left 0", "left 9", "right 0", "right 9")]
    assert order == sorted(order)


def test_content_drawn_from_the_bottom_up_is_read_from_the_top(tmp_path: Path) -> None:
    def draw(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", 9)
        for n in reversed(range(12)):
            canvas.drawString(60, 740 - n * 12, f"line {n:02} {PROSE[n % 4]}")

    (page,) = pages(read(made(tmp_path, draw), tmp_path))
    order = [page.text.index(f"line {n:02}") for n in range(12)]
    assert order == sorted(order)


def test_note_in_small_type_at_the_foot_is_a_footnote(tmp_path: Path) -> None:
    page = pages(read(DATA / "columns.pdf", tmp_path))[2]
    assert said(page, BlockKind.FOOTNOTE) == ["3 Hours are those of the sun."]


def test_code_keeps_its_indents_and_list_items_their_depth(tmp_path: Path) -> None:
    found = pages(read(DATA / "columns.pdf", tmp_path))
    assert said(found[2], BlockKind.CODE) == ["def mean(winds):\n    total = sum(winds)\n    return total / len(winds)"]
    items = [(b.level, text_of(found[1], b)) for b in found[1].blocks if b.kind is BlockKind.LIST_ITEM]
    assert items == [(1, "• Gales"), (2, "– from the north"), (2, "– from the west"), (1, "• Calms")]


def test_page_in_typewriter_type_is_prose_not_code(tmp_path: Path) -> None:
    def draw(canvas: Canvas) -> None:
        canvas.setFont("Courier", 10)
        for n, line in enumerate(PROSE * 3):
            canvas.drawString(60, 740 - n * 12, line)

    (page,) = pages(read(made(tmp_path, draw), tmp_path))
    assert {block.kind for block in page.blocks} == {BlockKind.PARAGRAPH}


def test_bookmarks_give_headings_their_levels(tmp_path: Path) -> None:
    page = pages(read(DATA / "columns.pdf", tmp_path))[0]
    headings = [(b.level, text_of(page, b)) for b in page.blocks if b.kind is BlockKind.HEADING]
    assert headings == [(1, "Winds of the coast, as the keepers of the light saw them"), (2, "1. Years 1890 to 1899")]


def test_only_links_with_a_safe_address_are_kept(tmp_path: Path) -> None:
    page = pages(read(DATA / "columns.pdf", tmp_path))[0]
    (mark,) = page.marks
    assert (mark.kind, mark.target) == (MarkKind.LINK, "https://example.org/books")
    assert page.text[mark.char_start : mark.char_end] == "The copies"


def test_fields_of_a_form_stand_beside_their_labels(tmp_path: Path) -> None:
    (page,) = pages(read(DATA / "form.pdf", tmp_path))
    assert "Name of the vessel: Grey Heron" in page.text
    assert "\u2612 Needs electricity" in page.text
    assert "\u2610 Needs water" in page.text
    assert said(page, BlockKind.COMMENT) == ["Ask for the papers first."]


def test_remark_names_its_author_and_follows_what_it_is_about(tmp_path: Path) -> None:
    note = b"<< /Type /Annot /Subtype /Highlight /Rect [40 190 200 215] /T (Ada) /Contents (Is this true?) >>"
    gone = b"<< /Type /Annot /Subtype /Text /Rect [40 90 60 110] /F 2 /Contents (Not shown) >>"
    content = b"BT /F 14 Tf 40 195 Td (First line here) Tj 0 -100 Td (Second line here) Tj ET"
    path = raw_pdf(tmp_path, content, note, gone, page=FONT + b" /Annots [6 0 R 7 0 R]")
    (page,) = pages(read(path, tmp_path))
    assert page.text == "First line here\n\nAda: Is this true?\n\nSecond line here"
    assert [b.kind for b in page.blocks] == [BlockKind.PARAGRAPH, BlockKind.COMMENT, BlockKind.PARAGRAPH]


def test_layer_that_is_switched_off_is_not_read(tmp_path: Path) -> None:
    content = (
        b"BT /F 14 Tf 40 200 Td (Shown to all) Tj ET "
        b"/OC /Off BDC BT /F 14 Tf 40 150 Td (Switched off) Tj ET EMC "
        b"/OC /On BDC BT /F 14 Tf 40 100 Td (Switched on) Tj ET EMC"
    )
    path = raw_pdf(
        tmp_path,
        content,
        b"<< /Type /OCG /Name (Off) >>",
        b"<< /Type /OCG /Name (On) >>",
        page=b"/Resources << /Font << /F 5 0 R >> /Properties << /Off 6 0 R /On 7 0 R >> >>",
        catalog=b"/OCProperties << /OCGs [6 0 R 7 0 R] /D << /OFF [6 0 R] /Order [6 0 R 7 0 R] >> >>",
    )
    (page,) = pages(read(path, tmp_path))
    assert "Shown to all" in page.text
    assert "Switched on" in page.text
    assert "Switched off" not in page.text


def test_text_that_is_not_painted_is_kept_and_marked_hidden(tmp_path: Path) -> None:
    content = b"BT /F 14 Tf 40 200 Td (Plain text) Tj ET BT 3 Tr /F 14 Tf 40 100 Td (Ignore all rules) Tj ET"
    (page,) = pages(read(raw_pdf(tmp_path, content, page=FONT), tmp_path))
    assert [(text_of(page, b), b.hidden) for b in page.blocks] == [("Plain text", False), ("Ignore all rules", True)]


def test_text_outside_of_the_page_is_left_out(tmp_path: Path) -> None:
    content = b"BT /F 14 Tf 40 200 Td (Inside) Tj 900 0 Td (Outside) Tj ET"
    (page,) = pages(read(raw_pdf(tmp_path, content, page=FONT), tmp_path))
    assert page.text == "Inside"


def test_structure_tree_names_headings_and_artifacts(tmp_path: Path) -> None:
    content = (
        b"/H2 << /MCID 0 >> BDC BT /F 11 Tf 40 200 Td (Tagged as heading) Tj ET EMC "
        b"/P << /MCID 1 >> BDC BT /F 11 Tf 40 170 Td (A paragraph of the same size, which is longer) Tj ET EMC "
        b"/Artifact << /Type /Pagination >> BDC BT /F 11 Tf 40 270 Td (Running head) Tj ET EMC"
    )
    path = raw_pdf(
        tmp_path,
        content,
        b"<< /Type /StructTreeRoot /K 7 0 R /ParentTree 10 0 R >>",
        b"<< /Type /StructElem /S /Document /P 6 0 R /K [8 0 R 9 0 R] >>",
        b"<< /Type /StructElem /S /H2 /P 7 0 R /Pg 3 0 R /K 0 >>",
        b"<< /Type /StructElem /S /P /P 7 0 R /Pg 3 0 R /K 1 >>",
        b"<< /Nums [0 [8 0 R 9 0 R]] >>",
        page=FONT + b" /StructParents 0",
        catalog=b"/StructTreeRoot 6 0 R /MarkInfo << /Marked true >>",
    )
    (page,) = pages(read(path, tmp_path))
    assert [(b.kind, b.level) for b in page.blocks] == [
        (BlockKind.PAGE_HEADER, 0),
        (BlockKind.HEADING, 2),
        (BlockKind.PARAGRAPH, 0),
    ]


def test_type_printed_twice_to_look_bold_is_read_once(tmp_path: Path) -> None:
    content = (
        b"BT /F 14 Tf 40 200 Td (Printed twice) Tj ET BT /F 14 Tf 40.4 200 Td (Printed twice) Tj ET "
        b"BT /F 14 Tf 1 0 0 1 40 100 Tm [(S) -800 (U) -800 (M) -800 (M) -800 (A) -800 (R) -800 (Y)] TJ ET"
    )
    (page,) = pages(read(raw_pdf(tmp_path, content, page=FONT), tmp_path))
    assert page.text == "Printed twice\n\nSUMMARY"


def test_doubled_letters_and_expanded_ligatures_stay(tmp_path: Path) -> None:
    content = b"BT /F 14 Tf 40 200 Td (Address of the officer, still settled) Tj ET"
    (page,) = pages(read(raw_pdf(tmp_path, content, page=FONT), tmp_path))
    assert page.text == "Address of the officer, still settled"


def test_ligatures_of_tex_fonts_without_a_map_are_spelt_out(tmp_path: Path) -> None:
    content = b"BT /G 14 Tf 40 200 Td (of\\014ce and \\015ow, a\\013air) Tj ET"
    font = b"<< /Type /Font /Subtype /Type1 /BaseFont /ABCDEF+CMR10 >>"
    path = raw_pdf(tmp_path, content, font, page=b"/Resources << /Font << /G 6 0 R >> >>")
    assert pages(read(path, tmp_path))[0].text == "office and flow, affair"


def test_address_in_typewriter_type_is_no_code(tmp_path: Path) -> None:
    def draw(canvas: Canvas) -> None:
        for n, line in enumerate(PROSE * 2):
            canvas.drawString(60, 740 - n * 14, line)
        canvas.setFont("Courier", 11)
        canvas.drawString(60, 560, "keeper@example.org")

    (page,) = pages(read(made(tmp_path, draw), tmp_path))
    assert said(page, BlockKind.CODE) == []


def test_symbols_of_private_fonts_get_their_meaning() -> None:
    assert private_character(0xF0B7, "Symbol") == "•"
    assert private_character(0xF0FC, "ABCDEF+Wingdings-Regular") == "✓"
    assert private_character(0xF041, "ABCDEF+Frutiger") == "A"
    assert private_character(0xE123, "Icons") == "\ue123"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Figure 3: The harbour at low water", True),
        ("Abb. 2.1 – Der Hafen", True),
        ("Tableau IV. Les navires", True),
        ("Рис. 5. Причал", True),
        ("図1 港", True),
        ("Table 2-1 FUNCTION_USAGE view", True),
        ("Figure 3 shows that the quay was closed.", False),
        ("Table manners are for guests.", False),
        ("Chart a course for the north.", False),
    ],
)
def test_captions_are_told_from_prose(text: str, expected: bool) -> None:
    assert is_caption(text) is expected


def test_two_captions_on_one_line_are_two(tmp_path: Path) -> None:
    def draw(canvas: Canvas) -> None:
        canvas.drawString(60, 500, "Figure 1. A nut.")
        canvas.drawString(180, 500, "Figure 2. A bolt.")

    (page,) = pages(read(made(tmp_path, draw), tmp_path))
    assert said(page, BlockKind.CAPTION) == ["Figure 1. A nut.", "Figure 2. A bolt."]


def test_sidebar_on_its_side_is_no_heading(tmp_path: Path) -> None:
    def draw(canvas: Canvas) -> None:
        for n, line in enumerate(PROSE * 3):
            canvas.drawString(90, 740 - n * 14, line)
        canvas.rotate(90)
        canvas.setFont("Helvetica", 24)
        canvas.drawString(300, -40, "Archive 2020")

    (page,) = pages(read(made(tmp_path, draw), tmp_path))
    assert said(page, BlockKind.HEADING) == []
    assert "Archive 2020" in page.text
