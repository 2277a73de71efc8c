"""Tables of PDFs: ruled, partly ruled and unruled, over page breaks, sideways; and what looks like one and is none."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.content import Block, BlockKind, Page
from services.formats.pdf.tables.finder import page_tables
from services.ocr.layout import Line, LooseWord
from services.options import Options
from tests.data import build_tables as build
from tests.support.format_cases import DATA, compare_with_golden, issues, outline, pages, read

SAMPLE = DATA / "tables.pdf"


def tables_of(page: Page) -> list[Block]:
    return [block for block in page.blocks if block.kind is BlockKind.TABLE]


def drawn(folder: Path, *draw: Callable[[Any], object]) -> list[Page]:
    return pages(read(build.pdf_bytes(*draw), folder))


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> list[Page]:
    return pages(read(SAMPLE, tmp_path_factory.mktemp("sample")))


def test_sample_reads_as_its_golden_outline(tmp_path: Path) -> None:
    compare_with_golden("tables.pdf", outline(read(SAMPLE, tmp_path)))


def test_sample_is_what_its_script_builds() -> None:
    assert SAMPLE.read_bytes() == build.tables_pdf()


def test_words_of_a_table_lie_in_its_box_and_stand_once(sample: list[Page]) -> None:
    for page in sample:
        (table,) = tables_of(page)
        assert table.box is not None
        x0, y0, x1, y1 = table.box
        inside = [w for w in page.words if table.char_start <= w.char_start < table.char_end]
        assert len(inside) >= 16
        for word in inside:
            assert page.text[word.char_start : word.char_end] == word.text
            assert x0 - 0.1 <= word.box[0] <= word.box[2] <= x1 + 0.1
            assert y0 - 0.1 <= word.box[1] <= word.box[3] <= y1 + 0.1
        boxes = [word.box for word in page.words]
        assert len(boxes) == len(set(boxes))


def test_spanning_heading_stands_once_and_a_word_broken_in_a_cell_is_whole(sample: list[Page]) -> None:
    (table,) = tables_of(sample[0])
    assert table.rows[0] == ("Quay", "Berths", "", "Fee in euros")
    assert table.rows[1] == ("", "Summer", "Winter", "")
    assert table.rows[2] == ("North quay with the communal slipway", "40", "22", "18,400")


def test_caption_and_notes_stay_outside(sample: list[Page]) -> None:
    page = sample[1]
    (table,) = tables_of(page)
    inside = page.text[table.char_start : table.char_end]
    assert "Table 2" in page.text[: table.char_start]
    assert "Notes" in page.text[table.char_end :]
    assert "Table 2" not in inside
    assert "Notes" not in inside


def test_dots_that_lead_to_numbers_are_in_no_cell_and_labels_of_two_lines_are_one(sample: list[Page]) -> None:
    page = sample[2]
    (table,) = tables_of(page)
    assert ("Pilotage and towage in the roads", "880", "9.0", "35.2%") in table.rows
    assert ("Mooring", "$ 1,204", "12.4", "48.1%") in table.rows
    assert ("Vessels", "", "", "") in table.rows
    assert table.rows[0] == ("Source", "Fees collected", "Fees per berth", "Share")
    assert "..." not in page.text


def test_table_without_sides_keeps_its_outer_columns(sample: list[Page]) -> None:
    (table,) = tables_of(sample[3])
    assert table.rows == (("Quay", "Berths", "Depth", "Fees"), *build.BERTHS)


def test_table_goes_on_over_a_page_break_unless_its_heading_is_repeated(sample: list[Page]) -> None:
    begins, goes_on, ends = (tables_of(page)[0] for page in sample[4:7])
    assert [begins.continues, goes_on.continues, ends.continues] == [False, True, False]
    assert begins.rows[0] == build.LOG_HEADING == ends.rows[0]
    assert goes_on.rows[0][0] == "Merlin 43"
    assert len(goes_on.rows) == 50


@pytest.mark.parametrize("name", ["columns", "tables"])
def test_resumed_run_reads_the_remaining_pages_as_a_whole_run_does(name: str, tmp_path: Path) -> None:
    def timeless(found: list[Page]) -> dict[int, Page]:
        return {page.number: replace(page, elapsed_ms=0) for page in found}

    path = DATA / f"{name}.pdf"
    whole = timeless(pages(read(path, tmp_path)))
    for missing in ({4}, {6}, {2, 6}, {5, 6}, {1, 3, 5}):
        known = {number: page for number, page in whole.items() if number not in missing}
        assert timeless(pages(read(path, tmp_path, known=known))) == whole


@pytest.mark.parametrize("name", ["columns", "tables"])
@pytest.mark.parametrize("chosen", ["2-3", "3", "5-6"])
def test_chosen_pages_read_as_in_a_whole_run(name: str, chosen: str, tmp_path: Path) -> None:
    path = DATA / f"{name}.pdf"
    whole = {page.number: replace(page, elapsed_ms=0) for page in pages(read(path, tmp_path))}
    for page in pages(read(path, tmp_path, options=Options(pages=chosen))):
        assert replace(page, elapsed_ms=0) == whole[page.number]


def test_table_does_not_go_on_from_a_page_that_is_not_read(tmp_path: Path) -> None:
    found = pages(read(SAMPLE, tmp_path, options=Options(pages="4,6")))
    assert [tables_of(page)[0].continues for page in found] == [False, False]


def test_table_of_other_columns_at_the_top_of_a_page_does_not_go_on(tmp_path: Path) -> None:
    def other(canvas: Any) -> None:
        build.rows(
            canvas, 780, [("Ebb", "1", "2"), ("Flood", "3", "4"), ("Slack", "5", "6")] * 2, (72, 180, 260), "lrr"
        )

    found = drawn(tmp_path, build.log_begins, other)
    assert not tables_of(found[1])[0].continues


def test_table_set_sideways_is_read_along_its_lines(sample: list[Page]) -> None:
    (table,) = tables_of(sample[7])
    assert table.rows == (("Quay", "Berths", "Depth", "Fees"), *build.BERTHS)


def test_table_in_one_column_of_a_page_leaves_the_prose_beside_it(tmp_path: Path) -> None:
    def page(canvas: Any) -> None:
        build.prose(canvas, 780, 50, x=50, width=230)
        y = build.prose(canvas, 780, 10, x=315, width=230, start=5) - 20
        build.rows(canvas, y, [("Quay", "Berths", "Depth"), *(row[:3] for row in build.BERTHS)], (315, 450, 540), "lrr")

    (found,) = drawn(tmp_path, page)
    (table,) = tables_of(found)
    assert table.rows == (("Quay", "Berths", "Depth"), *(row[:3] for row in build.BERTHS))


def test_rows_that_only_a_frame_and_columns_hold_are_rows_of_their_own(tmp_path: Path) -> None:
    def page(canvas: Any) -> None:
        build.grid(canvas, (70, 200, 300, 400, 520), (700, 684, 610))
        build.rows(canvas, 688, [("Quay", "Berths", "Depth", "Fees")], (76, 250, 350, 440), "lccc")
        build.rows(canvas, 671, build.BERTHS, (76, 250, 350, 440), "lccc")

    (table,) = tables_of(drawn(tmp_path, page)[0])
    assert table.rows == (("Quay", "Berths", "Depth", "Fees"), *build.BERTHS)


def test_cells_filled_line_by_line_are_not_cut_at_the_fillings(tmp_path: Path) -> None:
    def page(canvas: Any) -> None:
        build.grid(canvas, (70, 220, 320), (700, 672, 656, 640))
        canvas.setFillGray(0.85)
        for y in (686, 672):
            canvas.rect(70, y, 250, 14, stroke=0, fill=1)
        canvas.setFillGray(0)
        build.rows(canvas, 690, [("Name of the quay", "Berths in"), ("or basin", "summer")], (76, 226), "ll", step=13)
        build.rows(canvas, 660, [row[:2] for row in build.BERTHS[:2]], (76, 226), "ll", step=16)

    (table,) = tables_of(drawn(tmp_path, page)[0])
    assert table.rows[0] == ("Name of the quay or basin", "Berths in summer")


def test_caption_lets_a_table_of_text_alone_be_believed(tmp_path: Path) -> None:
    cells = [("Office", "Task"), ("Pilots", "Bring vessels in"), ("Clerks", "Keep the log"), ("Yard", "Mends hulls")]

    def captioned(canvas: Any) -> None:
        y = build.prose(canvas, 780, 4) - 14
        build.write(canvas, 72, y, "Table 8. Tasks of the offices")
        build.rows(canvas, y - 18, cells, (72, 220), "ll")

    (table,) = tables_of(drawn(tmp_path, captioned)[0])
    assert table.rows == tuple(cells)


def test_rows_shaded_in_turn_are_rows_of_one_table(tmp_path: Path) -> None:
    def shaded(canvas: Any) -> None:
        canvas.setFillGray(0.85)
        for k in (0, 2, 4):
            canvas.rect(66, 695 - 16 * k, 460, 16, stroke=0, fill=1)
        canvas.setFillGray(0)
        build.rows(
            canvas, 700, [("Quay", "Berths", "Depth", "Fees"), *build.BERTHS], (72, 270, 370, 500), "lrrr", step=16
        )

    (table,) = tables_of(drawn(tmp_path, shaded)[0])
    assert table.rows == (("Quay", "Berths", "Depth", "Fees"), *build.BERTHS)


def test_label_of_two_lines_between_rules_is_one_with_numbers_set_at_its_middle(tmp_path: Path) -> None:
    def banded(canvas: Any) -> None:
        y = 760
        for label, value in (
            (("Pilotage", "and towage"), "880"),
            (("Storage", "in the yard"), "310"),
            (("Slipway",), "75"),
        ):
            canvas.line(72, y + 12, 420, y + 12)
            for k, text in enumerate(label):
                build.write(canvas, 76, y - 11 * k, text)
            build.write(canvas, 300, y - 5.5 * (len(label) - 1), "per day")
            build.write(canvas, 400, y - 5.5 * (len(label) - 1), value, align="r")
            y -= 11 * len(label) + 5
        canvas.line(72, y + 12, 420, y + 12)

    (table,) = tables_of(drawn(tmp_path, banded)[0])
    assert table.rows == (
        ("Pilotage and towage", "per day", "880"),
        ("Storage in the yard", "per day", "310"),
        ("Slipway", "per day", "75"),
    )


def columns_of_prose(canvas: Any) -> None:
    build.prose(canvas, 780, 50, x=50, width=235)
    build.prose(canvas, 780, 50, x=310, width=235, start=9)


def three_columns_of_prose(canvas: Any) -> None:
    for k in range(3):
        build.prose(canvas, 780, 50, x=45 + 175 * k, width=160, start=7 * k)


def numbered_list(canvas: Any) -> None:
    y = 780.0
    for k in range(8):
        build.write(canvas, 60, y, f"{k + 1}.", size=10)
        y = build.prose(canvas, y, 2, x=90, width=430, start=5 * k) - 6


def contents(canvas: Any) -> None:
    for k, name in enumerate(("Tides", "Quays", "Pilots", "Fees", "Signals", "Storms", "Index")):
        build.write(canvas, 72, 780 - 16 * k, f"{k + 1}  {name} " + "." * 90)
        build.write(canvas, 520, 780 - 16 * k, str(3 + 8 * k), align="r")


def letterhead(canvas: Any) -> None:
    lines = [("Harbour office", "12 March 2026"), ("Quay 4", "Our mark: 22/44"), ("Norderhaven", "Your mark: none")]
    build.rows(canvas, 780, lines, (72, 400), "ll")
    build.prose(canvas, 700, 20)


def transcript(canvas: Any) -> None:
    for k in range(20):
        build.write(canvas, 60, 780 - 24 * k, str(k + 1), align="r")
        build.write(canvas, 90 + 120 * (k % 3), 780 - 24 * k, ("The pilot:", "When was that?", "At high water.")[k % 3])


def program(canvas: Any) -> None:
    canvas.rect(60, 650, 450, 140)
    code = (
        "def berth(ship):",
        "    if ship.draft   > 4.0:",
        "        return   quays[ship.kind]   # deep",
        "    x = [1,   2]",
    )
    for k, text in enumerate(code * 2):
        build.write(canvas, 72, 775 - 14 * k, text, font="Courier")


def formulas(canvas: Any) -> None:
    for k in range(4):
        y = 780 - 60 * k
        build.write(canvas, 150, y, "h = a + b", font="Times-Italic", size=11)
        build.write(canvas, 203, y + 5, "2", size=7)
        build.write(canvas, 260, y, "= c + d", font="Times-Italic", size=11)
        build.write(canvas, 520, y, f"({k + 1})", align="r")


def chart(canvas: Any) -> None:
    for k in range(6):
        canvas.line(100, 500 + 40 * k, 480, 500 + 40 * k)
        build.write(canvas, 94, 497 + 40 * k, str(20 * k), align="r", size=8)
    for k in range(8):
        build.write(canvas, 125 + 45 * k, 486, str(2010 + k), align="c", size=8)
    build.write(canvas, 150, 715, "Arrivals", size=8)
    build.write(canvas, 300, 715, "Departures", size=8)


def signatures(canvas: Any) -> None:
    lines = [
        ("By:", "R. Lind", "By:", "P. Moen"),
        ("Name:", "Rut Lind", "Name:", "Per Moen"),
        ("Title:", "Pilot", "Title:", "Clerk"),
    ]
    build.rows(canvas, 780, lines, (72, 130, 320, 380), "llll")
    build.prose(canvas, 700, 20)


def headed_page(canvas: Any) -> None:
    build.rows(canvas, 810, [("Harbour report", "Chapter 3")], (72, 520), "lr")
    canvas.line(72, 800, 520, 800)
    build.prose(canvas, 780, 55)
    canvas.line(72, 60, 520, 60)
    build.rows(canvas, 46, [("Norderhaven", "17")], (72, 520), "lr")


@pytest.mark.parametrize(
    "draw",
    [
        columns_of_prose, three_columns_of_prose, numbered_list, contents, letterhead, transcript, program, formulas,
        chart, signatures, headed_page,
    ],
)  # fmt: skip
def test_what_stands_in_columns_and_is_no_table_is_left_as_text(draw: Callable[[Any], None], tmp_path: Path) -> None:
    (page,) = drawn(tmp_path, draw)
    assert page.text.strip()
    assert [block.rows for block in tables_of(page)] == []


def test_page_ruled_like_squared_paper_keeps_its_text(tmp_path: Path) -> None:
    def squared(canvas: Any) -> None:
        for k in range(700):
            canvas.line(20, 20 + k * 1.1, 570, 20 + k * 1.1)
            canvas.line(20 + k * 0.78, 20, 20 + k * 0.78, 800)
        build.prose(canvas, 700, 6)

    (page,) = drawn(tmp_path, squared)
    assert "harbour office" in page.text


def test_page_strewn_with_words_and_lines_is_read(tmp_path: Path) -> None:
    chance = random.Random(3)

    def strewn(canvas: Any) -> None:
        for _ in range(1500):
            text = chance.choice(("12", "ebb", "(4)", "%", "...", "x=", "$", "7,1"))
            build.write(canvas, chance.uniform(10, 580), chance.uniform(10, 830), text, size=chance.uniform(0.5, 14))
        for _ in range(300):
            x, y = chance.uniform(10, 580), chance.uniform(10, 830)
            canvas.line(x, y, x + chance.choice((0, 200)), y + chance.choice((0, 200)))

    parts = read(build.pdf_bytes(strewn), tmp_path)
    assert "page_unreadable" not in {issue.code for issue in issues(parts)}
    assert "ebb" in pages(parts)[0].text


def test_lines_of_words_alone_are_enough_for_a_table() -> None:
    lines = []
    for k, row in enumerate((("Quay", "Berths", "Depth", "Fees"), *build.BERTHS)):
        words = []
        for x, cell in zip((50, 200, 300, 400), row, strict=True):
            for part in cell.split():
                words.append(LooseWord(part, (x, 100 + 14.0 * k, x + 5.0 * len(part), 108 + 14.0 * k), 0.9))
                x += 5 * len(part) + 3
        lines.append(Line(words, 10))
    (table,) = page_tables(lines)
    assert [[" ".join(w.text for w in cell) for cell in row] for row in table.cells[1:]] == [
        list(r) for r in build.BERTHS
    ]
    assert table.cells[1][0][0].confidence == 0.9
