from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from services.content import BlockKind, DocumentInfo, Limits
from services.errors import EncryptedDocument, TooLarge, UnreadableDocument
from services.options import Options
from tests.data.build_odf import NAMESPACES, package
from tests.support.format_cases import DATA, compare_with_golden, issues, outline, pages, pictures, read, text_of


def text(inside: str, more: Mapping[str, bytes] = MappingProxyType({})) -> bytes:
    return package("text", f"<office:text>{inside}</office:text>", more)


def sheet(rows: str) -> bytes:
    body = f'<office:spreadsheet><table:table table:name="S">{rows}</table:table></office:spreadsheet>'
    return package("spreadsheet", body)


def cell(shown: str, attributes: str = "") -> str:
    return f"<table:table-cell {attributes}><text:p>{shown}</text:p></table:table-cell>"


@pytest.mark.parametrize("name", ["report.odt", "table.ods", "slides.odp"])
def test_sample_reads_as_its_golden_text(tmp_path: Path, name: str) -> None:
    compare_with_golden(name, outline(read(DATA / name, tmp_path)))


def test_caption_in_the_frame_of_a_picture_belongs_to_it(tmp_path: Path) -> None:
    (picture,) = pictures(read(DATA / "report.odt", tmp_path))
    assert (picture.alt, picture.caption) == ("Gauge", "Figure 1: The gauge")


def test_pictures_of_slides_have_their_place(tmp_path: Path) -> None:
    (picture,) = pictures(read(DATA / "slides.odp", tmp_path))
    assert picture.box == (72.0, 72.0, 216.0, 144.0)


def test_only_the_pages_asked_for_are_given(tmp_path: Path) -> None:
    found = read(DATA / "slides.odp", tmp_path, options=Options(pages="2"))
    assert [page.number for page in pages(found)] == [2]
    assert pictures(found) == []


def test_known_pages_are_given_back(tmp_path: Path) -> None:
    for name in ("report.odt", "table.ods", "slides.odp"):
        first = pages(read(DATA / name, tmp_path))[0]
        again = read(DATA / name, tmp_path, known={1: first})
        assert pages(again)[0] is first
        assert pictures(again) == []


def test_cells_and_rows_repeated_to_the_edge_of_the_sheet_cost_nothing(tmp_path: Path) -> None:
    wide = 'table:number-columns-repeated="16384"'
    rows = (
        f"<table:table-row><table:table-cell {wide}/></table:table-row>"
        f"<table:table-row>{cell('a')}<table:table-cell {wide}/></table:table-row>"
        f'<table:table-row table:number-rows-repeated="1000000"><table:table-cell {wide}/></table:table-row>'
        f"<table:table-row>{cell('b')}{cell('c')}</table:table-row>"
    )
    (page,) = pages(read(sheet(rows), tmp_path, name="a.ods"))
    assert page.text == "S\n\na\n\nb | c"


def test_filled_cells_repeated_without_end_are_cut_and_said(tmp_path: Path) -> None:
    row = f'<table:table-row table:number-rows-repeated="1000000">{cell("x")}{cell("y")}</table:table-row>'
    parts = read(sheet(row), tmp_path, name="a.ods")
    assert [issue.code for issue in issues(parts)] == ["repeats_left_out"]
    assert text_of(parts).count("x | y") == 1000


def test_long_sheet_goes_on_upon_the_next_page(tmp_path: Path) -> None:
    rows = "".join(f"<table:table-row>{cell('x' * 999)}{cell(str(n))}</table:table-row>" for n in range(1100))
    found = pages(read(sheet(rows), tmp_path, name="a.ods"))
    assert [[block.continues for block in page.blocks] for page in found] == [[False, False], [True]]
    assert found[1].text.endswith("1099")


def test_too_many_sheets_are_refused(tmp_path: Path) -> None:
    tables = "".join(f'<table:table table:name="{n}"/>' for n in range(7))
    data = package("spreadsheet", f"<office:spreadsheet>{tables}</office:spreadsheet>")
    with pytest.raises(TooLarge) as caught:
        read(data, tmp_path, name="a.ods", limits=Limits(max_pages=5))
    assert caught.value.code == "too_many_pages"


def test_spreadsheet_that_breaks_off_keeps_its_whole_sheets(tmp_path: Path) -> None:
    one = f'<table:table table:name="one"><table:table-row>{cell("kept")}</table:table-row></table:table>'
    data = package("spreadsheet", f"<office:spreadsheet>{one}<table:table><broken</office:spreadsheet>")
    parts = read(data, tmp_path, name="a.ods")
    assert text_of(parts) == "one\n\nkept"
    assert [issue.code for issue in issues(parts)] == ["page_unreadable"]


@pytest.mark.parametrize("name", ["a.odt", "a.ods", "a.odp"])
def test_encrypted_documents_are_told_apart(tmp_path: Path, name: str) -> None:
    kind = {"t": "text", "s": "spreadsheet", "p": "presentation"}[name[-1]]
    manifest = (
        f'<manifest:manifest {NAMESPACES}><manifest:file-entry manifest:full-path="content.xml">'
        "<manifest:encryption-data/></manifest:file-entry></manifest:manifest>"
    ).encode()
    with pytest.raises(EncryptedDocument) as caught:
        read(package(kind, "", {"META-INF/manifest.xml": manifest, "content.xml": b"\x8f\x01"}), tmp_path, name=name)
    assert caught.value.code == "encryption_unsupported"


@pytest.mark.parametrize("kind", ["text", "spreadsheet", "presentation"])
def test_file_without_its_content_is_refused(tmp_path: Path, kind: str) -> None:
    name = {"text": "a.odt", "spreadsheet": "a.ods", "presentation": "a.odp"}[kind]
    with pytest.raises(UnreadableDocument) as caught:
        read(package(kind, "", {"content.xml": b"<broken"}), tmp_path, name=name)
    assert caught.value.code == "corrupt_document"


def test_entities_are_refused(tmp_path: Path) -> None:
    content = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]><x>&e;</x>'
    with pytest.raises(UnreadableDocument) as caught:
        read(text("", {"content.xml": content}), tmp_path, name="a.odt")
    assert caught.value.code == "xml_entities"


@pytest.mark.parametrize(
    ("opening", "closing"),
    [("<text:span>", "</text:span>"), ("<text:list><text:list-item>", "</text:list-item></text:list>")],
)
def test_elements_nested_beyond_reason_are_refused(tmp_path: Path, opening: str, closing: str) -> None:
    inside = "<text:p>" + opening * 110 + "x" + closing * 110 + "</text:p>"
    with pytest.raises(UnreadableDocument) as caught:
        read(text(inside), tmp_path, name="a.odt")
    assert caught.value.code == "nesting_too_deep"


def test_spans_of_a_table_cannot_blow_it_up(tmp_path: Path) -> None:
    row = '<table:table-row table:number-rows-repeated="99999999">' + cell(
        "x", 'table:number-columns-repeated="99999999"'
    )
    table = f"<table:table>{(row + '</table:table-row>') * 20}</table:table>"
    (page,) = pages(read(text(table), tmp_path, name="a.odt"))
    assert page.text.count("x") < 1_000_000


def test_objects_and_pictures_that_are_missing_or_broken_cost_nothing_else(tmp_path: Path) -> None:
    inside = (
        '<text:p>kept<draw:frame><draw:object xlink:href="./Object 1"/></draw:frame>'
        '<draw:frame><draw:image xlink:href="Pictures/absent.png"/></draw:frame>'
        '<draw:frame><draw:image xlink:href="Pictures/broken.png"/></draw:frame>'
        '<draw:frame><draw:image xlink:href="https://example.org/far.png"/></draw:frame></text:p>'
    )
    more = {"Object 1/content.xml": b"<broken", "Pictures/broken.png": b"\x89PNG\r\n\x1a\nnothing"}
    parts = read(text(inside, more), tmp_path, name="a.odt")
    assert text_of(parts) == "kept"
    assert [issue.code for issue in issues(parts)] == ["picture_unreadable"]


def test_insertion_over_two_paragraphs_marks_both(tmp_path: Path) -> None:
    inside = (
        '<text:tracked-changes><text:changed-region text:id="c"><text:insertion><office:change-info><dc:creator>Jo'
        "</dc:creator></office:change-info></text:insertion></text:changed-region></text:tracked-changes>"
        '<text:p>a<text:change-start text:change-id="c"/>b</text:p>'
        '<text:p>c<text:change-end text:change-id="c"/>d</text:p>'
    )
    (page,) = pages(read(text(inside), tmp_path, name="a.odt"))
    assert [(page.text[m.char_start : m.char_end], m.target) for m in page.marks] == [("b", "Jo"), ("c", "Jo")]


def test_links_that_could_run_something_are_no_marks(tmp_path: Path) -> None:
    inside = '<text:p><text:a xlink:href="javascript:alert(1)">a</text:a><text:a xlink:href="#x">b</text:a></text:p>'
    (page,) = pages(read(text(inside), tmp_path, name="a.odt"))
    assert [mark.target for mark in page.marks] == ["#x"]


def test_chart_is_read_with_its_title_and_data(tmp_path: Path) -> None:
    chart = (
        f"<office:document-content {NAMESPACES}><office:body><office:chart><chart:chart>"
        f"<chart:title><text:p>Depths</text:p></chart:title><table:table><table:table-row>{cell('')}{cell('2026')}</table:table-row><table:table-row>"
        f"{cell('North')}{cell('2.5')}</table:table-row></table:table></chart:chart></office:chart></office:body>"
        "</office:document-content>"
    ).encode()
    inside = '<text:p><draw:frame><draw:object xlink:href="./Object 2"/></draw:frame></text:p>'
    parts = read(text(inside, {"Object 2/content.xml": chart}), tmp_path, name="a.odt")
    assert isinstance(parts[0], DocumentInfo)
    (page,) = pages(parts)
    assert [block.kind for block in page.blocks] == [BlockKind.PARAGRAPH, BlockKind.TABLE]
    assert page.blocks[1].rows == (("", "2026"), ("North", "2.5"))


def test_full_rows_and_cells_repeated_make_no_endless_sheet(tmp_path: Path) -> None:
    row = cell("x" * 30_000, 'table:number-columns-repeated="1000"')
    rows = f'<table:table-row table:number-rows-repeated="1000">{row}</table:table-row>'
    parts = read(sheet(rows), tmp_path, name="a.ods")
    assert len(text_of(parts)) < 10_000_000
    assert [issue.code for issue in issues(parts)] == ["repeats_left_out"]


def test_sheets_that_repeat_more_text_than_is_read_are_refused(tmp_path: Path) -> None:
    many = 'table:number-columns-repeated="100"'
    row = f"<table:table-row>{cell('x' * 1000, many)}</table:table-row>"
    with pytest.raises(TooLarge) as caught:
        read(sheet(row * 30), tmp_path, name="a.ods", limits=Limits(max_unpacked_bytes=1_000_000))
    assert caught.value.code == "text_too_large"


@pytest.mark.parametrize("part", ["META-INF/manifest.xml", "meta.xml", "styles.xml"])
@pytest.mark.parametrize("name", ["a.odt", "a.ods"])
def test_damaged_part_costs_no_other(tmp_path: Path, name: str, part: str) -> None:
    inside = "<office:text><text:p>kept</text:p></office:text>"
    if name == "a.ods":
        row = f"<table:table-row>{cell('kept')}</table:table-row>"
        inside = f"<office:spreadsheet><table:table>{row}</table:table></office:spreadsheet>"
    kind = "text" if name == "a.odt" else "spreadsheet"
    parts = read(package(kind, inside, {part: b"<broken"}), tmp_path, name=name)
    assert "kept" in text_of(parts)
    assert [issue.code for issue in issues(parts)] == ["part_unreadable"]


def test_deletion_comes_out_once(tmp_path: Path) -> None:
    change = (
        '<text:tracked-changes><text:changed-region text:id="d"><text:deletion><text:p>gone</text:p></text:deletion>'
        "</text:changed-region></text:tracked-changes>"
    )
    place = '<text:p>a<text:change text:change-id="d"/></text:p>'
    assert text_of(read(text(change + place * 3), tmp_path, name="a.odt")).count("gone") == 1


def test_hidden_rows_and_columns_make_a_hidden_table(tmp_path: Path) -> None:
    columns = '<table:table-column/><table:table-column table:visibility="collapse"/><table:table-column/>'
    rows = "".join(
        f"<table:table-row{more}>{cell(f'a{n}')}{cell(f'b{n}')}{cell(f'c{n}')}</table:table-row>"
        for n, more in enumerate(("", ' table:visibility="collapse"', ' table:visibility="filter"', ""), 1)
    )
    (page,) = pages(read(sheet(columns + rows), tmp_path, name="a.ods"))
    assert [(block.hidden, block.rows) for block in page.blocks[1:]] == [
        (False, (("a1", "c1"), ("a4", "c4"))),
        (True, (("", "b1", ""), ("a2", "b2", "c2"), ("a3", "b3", "c3"), ("", "b4", ""))),
    ]


def test_comment_names_its_cell(tmp_path: Path) -> None:
    note = "<office:annotation><dc:creator>Jo</dc:creator><text:p>why?</text:p></office:annotation><text:p>x</text:p>"
    rows = (
        '<table:table-row table:number-rows-repeated="4"><table:table-cell/></table:table-row><table:table-row>'
        f'<table:table-cell table:number-columns-repeated="27"/><table:table-cell>{note}</table:table-cell>'
        "</table:table-row>"
    )
    (page,) = pages(read(sheet(rows), tmp_path, name="a.ods"))
    assert page.text.endswith("Jo (Cell AB5): why?")


def test_count_of_sheets_that_a_file_claims_is_not_believed(tmp_path: Path) -> None:
    meta = f'<office:document-meta {NAMESPACES}><office:meta><meta:document-statistic meta:table-count="4000"/>'
    body = "<office:spreadsheet><table:table/></office:spreadsheet>"
    more = {"meta.xml": f"{meta}</office:meta></office:document-meta>".encode()}
    info = read(package("spreadsheet", body, more), tmp_path, name="a.ods")[0]
    assert isinstance(info, DocumentInfo)
    assert info.page_count == 1
