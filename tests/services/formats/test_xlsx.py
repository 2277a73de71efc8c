from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from lxml import etree

from services.content import Block, BlockKind, Limits, Page
from services.errors import EncryptedDocument, TooLarge, UnreadableDocument
from services.formats.office.sheets.layout import column_name
from services.formats.office.sheets.number_formats import compile_format, general
from services.formats.office.word.runs import alternative
from services.options import Options
from tests.data.build_spreadsheets import RELATIONS, minimal_xlsx, relations_xml
from tests.support.format_cases import DATA, compare_with_golden, issues, outline, pages, read, text_of
from tests.support.office_cases import encrypted

ACCOUNTING = '_(* #,##0.00_);_(* \\(#,##0.00\\);_(* "-"??_);_(@_)'


def cells(*rows: str) -> str:
    return "<sheetData>" + "".join(f"<row>{row}</row>" for row in rows) + "</sheetData>"


def words(*texts: str) -> str:
    return "".join(f'<c t="inlineStr"><is><t>{text}</t></is></c>' if text else "<c/>" for text in texts)


def number(value: float | str, style: int = 0) -> str:
    return f'<c s="{style}"><v>{value}</v></c>'


def tables(page: Page) -> list[tuple[tuple[str, ...], ...]]:
    return [block.rows for block in page.blocks if block.kind is BlockKind.TABLE]


def test_sample_reads_as_its_golden_text(tmp_path: Path) -> None:
    compare_with_golden("workbook.xlsx", outline(read(DATA / "workbook.xlsx", tmp_path)))


@pytest.mark.parametrize(
    ("code", "value", "shown"),
    [
        ("General", 0.1 + 0.2, "0.3"),
        ("General", 123456789012, "123456789012"),
        ("General", 1e20, "1E+20"),
        ("General", 1.2345e-11, "1.2345E-11"),
        ("0", 2.5, "3"),
        ("#,##0.00", 1234567.891, "1,234,567.89"),
        ("#,##0.00", -0.001, "0.00"),
        ("0.0%", 0.1234, "12.3%"),
        (ACCOUNTING, -1234.5, "(1,234.50)"),
        (ACCOUNTING, 0, "-"),
        ("[$€-407] #,##0.00", 12.5, "€ 12.50"),
        ("[Red]0.0;[Blue](0.0)", -2.25, "(2.3)"),
        ('0.0,,"M"', 12345678, "12.3M"),
        ("0.00E+00", 123456, "1.23E+05"),
        ("# ?/?", 2.375, "2 3/8"),
        ("# ??/16", -2.375, "-2 6/16"),
        ("(000) 000-0000", 5551234567, "(555) 123-4567"),
        ('[>=1000]#,##0,"k";0', 12345, "12k"),
        ('[>=1000]#,##0,"k";0', 12, "12"),
        ('0;-0;"none"', 0, "none"),
        ("yyyy-mm-dd", 45000.5, "2023-03-15"),
        ("m/d/yy h:mm AM/PM", 45000.75, "3/15/23 6:00 PM"),
        ("dddd, d mmmm yyyy", 45000, "Wednesday, 15 March 2023"),
        ("h:mm", 0.520833333, "12:30"),
        ("mm:ss.0", 0.00123, "01:46.3"),
        ("[h]:mm:ss", 1.5, "36:00:00"),
        ("[m]", -0.5, "-720"),
        ("[$-F800]dddd, mmmm dd, yyyy", 45000, "2023-03-15"),
        ("dd/mm/yyyy", 60, "29/02/1900"),
        ("yyyy-mm-dd", -1, "-1"),
        ("yyyy-mm-dd", 1e300, "1E+300"),
        ("0" * 5000, 7, "7"),
    ],
)
def test_numbers_are_shown_by_their_format(code: str, value: float, shown: str) -> None:
    assert compile_format(code).show(value) == shown


def test_numbers_that_are_none_are_shown_as_errors() -> None:
    assert (general(float("nan")), compile_format("0.0").show(float("inf"))) == ("#NUM!", "#NUM!")


def test_days_are_counted_from_1904_where_the_workbook_says_so() -> None:
    assert compile_format("yyyy-mm-dd").show(0, from_1904=True) == "1904-01-01"


def test_cells_of_every_type_are_shown(tmp_path: Path) -> None:
    sheet = cells(
        words("text") + '<c t="s"><v>0</v></c><c t="b"><v>1</v></c><c t="e"><v>#N/A</v></c>',
        '<c t="str"><f>A1</f><v>kept</v></c><c><f>SUM(A1:A9)</f></c><c t="d"><v>2026-01-02T00:00:00</v></c>'
        + number("0.5", 1),
    )
    strings = "<si><r><t>rich </t></r><r><t>text_x000A_two</t></r><rPh><t>hint</t></rPh></si>"
    styles = '<cellXfs><xf numFmtId="0"/><xf numFmtId="9"/></cellXfs>'
    (page,) = pages(read(minimal_xlsx(sheet, strings=strings, styles=styles), tmp_path, name="a.xlsx"))
    assert tables(page) == [
        (("text", "rich text two", "TRUE", "#N/A"), ("kept", "=SUM(A1:A9)", "2026-01-02", "50%")),
    ]


def test_declared_size_costs_nothing_and_far_cells_are_kept(tmp_path: Path) -> None:
    sheet = (
        '<dimension ref="A1:XFD1048576"/><sheetData><row r="1"><c r="A1"><v>1</v></c></row>'
        '<row r="1048576"><c r="XFD1048576"><v>2</v></c></row></sheetData>'
    )
    (page,) = pages(read(minimal_xlsx(sheet), tmp_path, name="a.xlsx"))
    assert page.text == "Sheet1\n\n1\n\n2"


def test_one_cell_in_each_column_does_not_make_a_square_of_empty_ones(tmp_path: Path) -> None:
    rows = "".join(f'<row r="{n}"><c r="{letters(n)}{n}"><v>{n}</v></c></row>' for n in range(1, 3001))
    found = pages(read(minimal_xlsx(f"<sheetData>{rows}</sheetData>"), tmp_path, name="a.xlsx"))
    assert len(found) > 5
    assert all(len(page.text) < 1_100_000 for page in found)


def letters(column: int) -> str:
    text = ""
    while column:
        column, rest = divmod(column - 1, 26)
        text = chr(65 + rest) + text
    return text


def test_tables_beside_each_other_are_parted(tmp_path: Path) -> None:
    rows = [("a", "b", "", "p", "q"), ("1", "2", "", "3", "4"), ("5", "6", "", "", "")]
    (page,) = pages(read(minimal_xlsx(cells(*(words(*row) for row in rows))), tmp_path, name="a.xlsx"))
    assert tables(page) == [(("a", "b"), ("1", "2"), ("5", "6")), (("p", "q"), ("3", "4"))]


def test_empty_column_between_years_does_not_tear_a_table(tmp_path: Path) -> None:
    rows = [("", "2025", "", "2026"), ("Sales", "7", "", "8"), ("Costs", "5", "", "6")]
    (page,) = pages(read(minimal_xlsx(cells(*(words(*row) for row in rows))), tmp_path, name="a.xlsx"))
    assert tables(page) == [(("", "2025", "2026"), ("Sales", "7", "8"), ("Costs", "5", "6"))]


def test_values_behind_an_empty_row_go_on_and_words_begin_a_table(tmp_path: Path) -> None:
    rows = (
        words("a", "b"),
        number(1) + number(2),
        "",
        number(3) + number(4),
        "",
        words("c", "d"),
        number(5) + number(6),
    )
    (page,) = pages(read(minimal_xlsx(cells(*rows)), tmp_path, name="a.xlsx"))
    assert tables(page) == [(("a", "b"), ("1", "2"), ("3", "4")), (("c", "d"), ("5", "6"))]


def test_long_sheet_makes_pages_that_repeat_the_header_row(tmp_path: Path) -> None:
    rows = [words("Number", "Words")] + [number(n) + words("x" * 5000) for n in range(450)]
    found = pages(read(minimal_xlsx(cells(*rows), cells(words("next"))), tmp_path, name="a.xlsx"))
    assert [page.number for page in found] == [1, 2, 3, 4]
    assert [tables(page)[0][0] for page in found[:3]] == [("Number", "Words")] * 3
    assert [row[0] for page in found[:3] for row in tables(page)[0][1:]] == [str(n) for n in range(450)]


def test_only_pages_that_are_asked_for_are_given_and_known_ones_unchanged(tmp_path: Path) -> None:
    data = minimal_xlsx(cells(words("one")), cells(words("two")), cells(words("three")))
    known = {2: Page(2, "stored", blocks=(Block(BlockKind.PARAGRAPH, 0, 6),))}
    found = pages(read(data, tmp_path, name="a.xlsx", options=Options(pages="2-3"), known=known))
    assert [page.text for page in found] == ["stored", "Sheet3\n\nthree"]


def test_hidden_sheets_rows_and_columns_are_kept_and_marked(tmp_path: Path) -> None:
    sheet = (
        '<cols><col min="3" max="3" hidden="1"/></cols><sheetData><row>'
        + words("a", "b", "c")
        + '</row><row hidden="1">'
        + words("d", "e", "f")
        + "</row><row>"
        + words("g", "h", "i")
        + "</row></sheetData>"
    )
    data = minimal_xlsx(sheet, cells(words("secret")), states=("", "veryHidden"))
    first, second = pages(read(data, tmp_path, name="a.xlsx"))
    assert [(block.rows, block.hidden) for block in first.blocks if block.rows] == [
        ((("a", "b"), ("g", "h")), False),
        ((("", "", "c"), ("d", "e", "f"), ("", "", "i")), True),
    ]
    assert all(block.hidden for block in second.blocks)


def test_threaded_comments_stand_for_their_copies(tmp_path: Path) -> None:
    comments = (
        '<comments xmlns="x"><authors><author>Ann</author><author>tc={1}</author></authors><commentList>'
        '<comment ref="A1" authorId="0"><text><r><t>Ann:</t></r><r><t>\nold</t></r></text></comment>'
        '<comment ref="B2" authorId="1"><text><t>[Threaded comment] Comment: new</t></text></comment>'
        "</commentList></comments>"
    )
    threads = (
        '<ThreadedComments><threadedComment ref="B2" personId="{P}"><text>new</text></threadedComment>'
        '<threadedComment ref="B2" personId="{Q}"><text>reply</text></threadedComment></ThreadedComments>'
    )
    kind = "http://schemas.microsoft.com/office/2017/10/relationships"
    parts = {
        "xl/worksheets/_rels/sheet1.xml.rels": relations_xml(
            f'<Relationship Id="c" Type="{RELATIONS}/comments" Target="../comments1.xml"/>'
            f'<Relationship Id="t" Type="{kind}/threadedComment" Target="../threads.xml"/>'
        ),
        "xl/_rels/workbook.xml.rels": relations_xml(
            f'<Relationship Id="r1" Type="{RELATIONS}/worksheet" Target="worksheets/sheet1.xml"/>'
            f'<Relationship Id="p" Type="{kind}/person" Target="persons.xml"/>'
        ),
        "xl/comments1.xml": comments,
        "xl/threads.xml": threads,
        "xl/persons.xml": '<personList><person displayName="Bo" id="{P}"/></personList>',
    }
    data = minimal_xlsx(
        cells(words("a", "b"), words("c", "d")), parts={name: text.encode() for name, text in parts.items()}
    )
    (page,) = pages(read(data, tmp_path, name="a.xlsx"))
    remarks = [page.text[b.char_start : b.char_end] for b in page.blocks if b.kind is BlockKind.COMMENT]
    assert remarks == ["Ann (Cell A1): old", "Bo (Cell B2): new", "Cell B2: reply"]


def test_broken_sheet_costs_only_itself(tmp_path: Path) -> None:
    data = minimal_xlsx(cells(words("one")), "<sheetData><row><c><v>1</v></c></row><row>", cells(words("three")))
    parts = read(data, tmp_path, name="a.xlsx")
    assert [page.text for page in pages(parts)] == ["Sheet1\n\none", "Sheet2\n\n1", "Sheet3\n\nthree"]
    assert [(issue.code, issue.page) for issue in issues(parts)] == [("corrupt_document", 2)]


def test_missing_sheet_is_an_issue(tmp_path: Path) -> None:
    workbook = (
        '<workbook xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets>'
        '<sheet name="Gone" r:id="r9"/><sheet name="Here" r:id="r1"/></sheets></workbook>'
    )
    parts = read(minimal_xlsx(cells(words("x")), workbook=workbook), tmp_path, name="a.xlsx")
    assert text_of(parts) == "Gone\n\nHere\n\nx"
    assert [issue.code for issue in issues(parts)] == ["sheet_missing"]


def test_entities_in_a_sheet_are_not_resolved(tmp_path: Path) -> None:
    data = minimal_xlsx(
        cells(words("x")),
        parts={"xl/sharedStrings.xml": b'<!DOCTYPE a [<!ENTITY e "boom">]><sst><si><t>&e;</t></si></sst>'},
    )
    parts = read(data, tmp_path, name="a.xlsx")
    assert "boom" not in text_of(parts)
    assert [issue.code for issue in issues(parts)] == ["xml_entities"]


@pytest.mark.parametrize("limits", [Limits(), Limits(max_unpacked_bytes=20_000_000)])
def test_string_that_is_referred_to_without_end_is_refused(tmp_path: Path, limits: Limits) -> None:
    sheet = cells(*['<c t="s"><v>0</v></c>' * 40] * 40)
    data = minimal_xlsx(sheet, strings=f"<si><t>{'long ' * 6000}</t></si>")
    with pytest.raises(TooLarge) as caught:
        read(data, tmp_path, name="a.xlsx", limits=limits)
    assert caught.value.code == "text_too_large"


def test_row_that_is_too_long_is_cut_with_an_issue(tmp_path: Path) -> None:
    sheet = cells('<c t="s"><v>0</v></c>' * 400, words("next"))
    parts = read(minimal_xlsx(sheet, strings=f"<si><t>{'long ' * 6000}</t></si>"), tmp_path, name="a.xlsx")
    assert [issue.code for issue in issues(parts)] == ["row_too_long"]
    assert tables(pages(parts)[-1])[0][-1][0] == "next"


def test_file_without_a_workbook_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        read(minimal_xlsx(cells(words("x")), parts={"xl/workbook.xml": b"<workbook"}), tmp_path, name="a.xlsx")
    assert caught.value.code == "corrupt_document"


def test_pages_are_limited(tmp_path: Path) -> None:
    with pytest.raises(TooLarge) as caught:
        read(minimal_xlsx(cells(), cells(), cells()), tmp_path, name="a.xlsx", limits=Limits(max_pages=2))
    assert caught.value.code == "too_many_pages"


def test_encrypted_workbook_needs_its_password_and_leaves_no_file(tmp_path: Path) -> None:
    data = encrypted(minimal_xlsx(cells(words("behind the door"))), "tide")
    for password, code in ((None, "password_required"), ("ebb", "password_wrong")):
        with pytest.raises(EncryptedDocument) as caught:
            read(data, tmp_path, name="a.xlsx", password=password)
        assert caught.value.code == code
    assert "behind the door" in text_of(read(data, tmp_path, name="a.xlsx", password="tide"))
    assert not list((tmp_path / "pictures").iterdir())


def test_workbook_protected_against_changes_only_opens_without_a_password(tmp_path: Path) -> None:
    data = encrypted(minimal_xlsx(cells(words("read only"))), "VelvetSweatshop")
    assert "read only" in text_of(read(data, tmp_path, name="a.xlsx"))


def test_encrypted_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    data = encrypted(minimal_xlsx(cells(words("x"))), "tide")
    for end in (3000, len(data) - 2000):
        with pytest.raises((UnreadableDocument, EncryptedDocument)):
            read(data[:end], tmp_path, name="a.xlsx", password="tide")


@pytest.mark.parametrize(
    ("code", "value", "shown"),
    [("0.00;@", -2.5, "-2.50"), ("0.00;-0.00;@", 0, "0.00"), ("0;;;@", -1, ""), ('0;(0);"-";@', 0, "-")],
)
def test_last_section_of_a_format_is_for_text_where_it_says_so(code: str, value: float, shown: str) -> None:
    assert compile_format(code).show(value) == shown


def test_strings_before_the_damage_are_kept(tmp_path: Path) -> None:
    strings = b"<sst><si><t>kept</t></si><si><t>lo"
    data = minimal_xlsx(cells('<c t="s"><v>0</v></c><c t="s"><v>1</v></c>'), parts={"xl/sharedStrings.xml": strings})
    parts = read(data, tmp_path, name="a.xlsx")
    assert text_of(parts) == "Sheet1\n\nkept"
    assert [issue.code for issue in issues(parts)] == ["corrupt_document"]


def test_chart_of_2016_is_read_and_not_the_box_for_older_programs() -> None:
    content = etree.fromstring(
        '<mc:AlternateContent xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
        f'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" xmlns:r="{RELATIONS}" '
        'xmlns:cx="http://schemas.microsoft.com/office/drawing/2014/chartex"><mc:Choice Requires="cx1"><a:graphic>'
        '<cx:chart r:id="r1"/></a:graphic></mc:Choice><mc:Fallback><a:t>This chart is not available.</a:t>'
        "</mc:Fallback></mc:AlternateContent>"
    )
    assert alternative(content) is content[0]


def test_many_tables_side_by_side_are_parted_in_linear_time(tmp_path: Path) -> None:
    row = "".join(f'<c r="{column_name(at)}1" t="str"><v>x</v></c>' for at in range(0, 16_000, 2))
    (page,) = pages(read(minimal_xlsx(f'<sheetData><row r="1">{row}</row></sheetData>'), tmp_path, name="a.xlsx"))
    assert page.text.count("x") == 8000


def test_sheet_with_a_part_too_large_to_hold_costs_no_other(tmp_path: Path) -> None:
    gaps = "<x/>" + " " * 8_000_000
    packed = minimal_xlsx(f"<sheetData/>{gaps * 9}", cells(words("kept")))
    stored = BytesIO()
    with zipfile.ZipFile(BytesIO(packed)) as source, zipfile.ZipFile(stored, "w", zipfile.ZIP_STORED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    parts = read(stored.getvalue(), tmp_path, name="a.xlsx")
    assert "kept" in text_of(parts)
    assert {issue.code for issue in issues(parts)} == {"part_too_large"}
