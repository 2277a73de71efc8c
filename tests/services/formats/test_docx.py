from __future__ import annotations

from pathlib import Path

import pytest

from services.content import BlockKind, Limits, MarkKind
from services.errors import EncryptedDocument, TooLarge, UnreadableDocument
from services.formats.kit.archive import Archive
from tests.data.build_docx import NAMESPACES, reviewed
from tests.data.build_samples import body_xml, bomb_docx, encrypted_office, minimal_docx
from tests.support.format_cases import DATA, compare_with_golden, issues, outline, pages, pictures, read, text_of


def paragraph(text: str, before: str = "") -> str:
    return f"<w:p>{before}<w:r><w:t>{text}</w:t></w:r></w:p>"


@pytest.mark.parametrize("name", ["survey.docx", "reviewed.docx"])
def test_sample_reads_as_its_golden_text(tmp_path: Path, name: str) -> None:
    compare_with_golden(name, outline(read(DATA / name, tmp_path)))


def test_pages_are_those_that_word_noted(tmp_path: Path) -> None:
    inside = paragraph("one") + "<w:p><w:r><w:t>two </w:t><w:lastRenderedPageBreak/><w:t>three</w:t></w:r></w:p>"
    found = pages(read(minimal_docx(body_xml(inside)), tmp_path, name="a.docx"))
    assert [page.text for page in found] == ["one\n\ntwo", "three"]


def test_page_break_and_the_note_of_it_make_one_page(tmp_path: Path) -> None:
    inside = (
        paragraph("one")
        + '<w:p><w:r><w:br w:type="page"/></w:r></w:p>'
        + "<w:p><w:r><w:lastRenderedPageBreak/><w:t>two</w:t></w:r></w:p>"
    )
    found = pages(read(minimal_docx(body_xml(inside)), tmp_path, name="a.docx"))
    assert [page.text for page in found] == ["one", "two"]


def test_table_over_two_pages_is_parted_between_rows(tmp_path: Path) -> None:
    def row(*cells: str) -> str:
        return "<w:tr>" + "".join(f"<w:tc>{cell}</w:tc>" for cell in cells) + "</w:tr>"

    broken = "<w:p><w:r><w:lastRenderedPageBreak/><w:t>{}</w:t></w:r></w:p>"
    table = row(paragraph("a"), paragraph("b")) + row(broken.format("c"), broken.format("d"))
    found = pages(read(minimal_docx(body_xml(f"<w:tbl>{table}</w:tbl>")), tmp_path, name="a.docx"))
    assert [page.text for page in found] == ["a | b", "c | d"]


def test_merged_cells_keep_the_columns_in_place(tmp_path: Path) -> None:
    wide = '<w:tcPr><w:gridSpan w:val="2"/></w:tcPr>'
    down = "<w:tcPr><w:vMerge{}/></w:tcPr>"
    table = (
        f"<w:tr><w:tc>{wide}{paragraph('wide')}</w:tc><w:tc>{paragraph('c')}</w:tc></w:tr>"
        f"<w:tr><w:tc>{down.format(' w:val=' + chr(34) + 'restart' + chr(34))}{paragraph('tall')}</w:tc>"
        f"<w:tc>{paragraph('e')}</w:tc><w:tc>{paragraph('f')}</w:tc></w:tr>"
        f"<w:tr><w:tc>{down.format('')}{paragraph('not again')}</w:tc><w:tc>{paragraph('h')}</w:tc>"
        f"<w:tc>{paragraph('i')}</w:tc></w:tr>"
    )
    (page,) = pages(read(minimal_docx(body_xml(f"<w:tbl>{table}</w:tbl>")), tmp_path, name="a.docx"))
    assert page.blocks[0].rows == (("wide", "", "c"), ("tall", "e", "f"), ("", "h", "i"))


def test_clause_numbers_are_shown_and_counted(tmp_path: Path) -> None:
    levels = "".join(
        f'<w:lvl w:ilvl="{n}"><w:start w:val="1"/><w:numFmt w:val="{kind}"/><w:lvlText w:val="{text}"/></w:lvl>'
        for n, (kind, text) in enumerate([("decimal", "%1."), ("decimal", "%1.%2"), ("lowerLetter", "(%3)")])
    )
    namespace = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    numbering = (
        f'<w:numbering {namespace}><w:abstractNum w:abstractNumId="0">{levels}</w:abstractNum>'
        '<w:num w:numId="5"><w:abstractNumId w:val="0"/></w:num></w:numbering>'
    )
    relations = (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" '
        'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/numbering" Target="numbering.xml"/>'
        "</Relationships>"
    )

    def item(level: int, text: str) -> str:
        return paragraph(text, f'<w:pPr><w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="5"/></w:numPr></w:pPr>')

    inside = (
        item(0, "Rent") + item(1, "Amount") + item(1, "Date") + item(2, "early") + item(0, "Term") + item(1, "Year")
    )
    more = {"word/numbering.xml": numbering.encode(), "word/_rels/document.xml.rels": relations.encode()}
    (page,) = pages(read(minimal_docx(body_xml(inside), **more), tmp_path, name="a.docx"))
    assert page.text.split("\n") == ["Rent", "1.1 Amount", "1.2 Date", "(a) early", "Term", "2.1 Year"]
    assert [(block.kind, block.level, block.ordered) for block in page.blocks[:2]] == [
        (BlockKind.LIST_ITEM, 1, True),
        (BlockKind.LIST_ITEM, 2, False),
    ]


def test_entities_are_refused(tmp_path: Path) -> None:
    document = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]>' + body_xml(paragraph("&e;"))
    with pytest.raises(UnreadableDocument) as caught:
        read(minimal_docx(document), tmp_path, name="a.docx")
    assert caught.value.code == "xml_entities"


def test_member_that_leaves_the_folder_is_not_written(tmp_path: Path) -> None:
    data = minimal_docx(body_xml(paragraph("safe")), **{"../../escaped.txt": b"x"})
    assert text_of(read(data, tmp_path, name="a.docx")) == "safe"
    assert not list(tmp_path.parent.glob("escaped*"))


def test_damaged_xml_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        read(minimal_docx(b"<w:document><w:body>"), tmp_path, name="a.docx")
    assert caught.value.code == "corrupt_document"


def test_wrong_checksum_is_reported(tmp_path: Path) -> None:
    data = bytearray(minimal_docx(body_xml(paragraph("text"))))
    at = data.rfind(b"PK\x01\x02")
    data[at + 16] ^= 0xFF
    with pytest.raises(UnreadableDocument) as caught:
        read(bytes(data), tmp_path, name="a.docx")
    assert caught.value.code == "corrupt_archive"


def test_tables_nested_beyond_reason_are_refused(tmp_path: Path) -> None:
    inside = paragraph("x")
    for _ in range(70):
        inside = f"<w:tbl><w:tr><w:tc>{inside}</w:tc></w:tr></w:tbl>"
    with pytest.raises(UnreadableDocument) as caught:
        read(minimal_docx(body_xml(inside)), tmp_path, name="a.docx")
    assert caught.value.code in ("nesting_too_deep", "corrupt_document")


def test_parts_are_limited_while_they_are_inflated(tmp_path: Path) -> None:
    path = tmp_path / "a.docx"
    path.write_bytes(bomb_docx(1 << 24))
    with Archive(path, Limits(max_unpack_ratio=10_000)) as archive, pytest.raises(TooLarge) as caught:
        archive.read("word/document.xml", at_most=1 << 20)
    assert caught.value.code == "archive_too_large"


def test_too_many_pages_are_refused(tmp_path: Path) -> None:
    inside = (paragraph("x") + '<w:p><w:r><w:br w:type="page"/></w:r></w:p>') * 6
    with pytest.raises(TooLarge) as caught:
        read(minimal_docx(body_xml(inside)), tmp_path, name="a.docx", limits=Limits(max_pages=5))
    assert caught.value.code == "too_many_pages"


def test_caption_below_a_picture_belongs_to_it(tmp_path: Path) -> None:
    (picture,) = pictures(read(DATA / "reviewed.docx", tmp_path))
    assert (picture.alt, picture.caption) == ("Gauge", "Figure 1: The gauge")


@pytest.mark.parametrize(
    "part", ["styles.xml", "comments.xml", "commentsExtended.xml", "footnotes.xml", "header1.xml", "footer1.xml"]
)
def test_damaged_part_costs_no_other(tmp_path: Path, part: str) -> None:
    parts = read(reviewed(**{f"word/{part}": b"<broken"}), tmp_path, name="a.docx")
    assert [issue.code for issue in issues(parts)] == ["part_unreadable"]
    assert "The rent is 450 euros." in text_of(parts)


def test_damaged_picture_costs_nothing_else(tmp_path: Path) -> None:
    parts = read(reviewed(**{"word/media/gauge.png": b"\x89PNG\r\n\x1a\nnothing"}), tmp_path, name="a.docx")
    assert {issue.code for issue in issues(parts)} == {"picture_unreadable"}
    assert "The rent is 450 euros." in text_of(parts)


def test_both_ways_to_write_a_text_box_are_read_once(tmp_path: Path) -> None:
    box = f"<w:txbxContent>{paragraph('once')}</w:txbxContent>"
    choice = f"<mc:Choice Requires='wps'><w:drawing>{box}</w:drawing></mc:Choice>"
    fallback = f"<mc:Fallback><w:pict>{box}</w:pict></mc:Fallback>"
    space = "http://schemas.openxmlformats.org/markup-compatibility/2006"
    inside = f"<w:p><w:r><mc:AlternateContent xmlns:mc='{space}'>{choice}{fallback}</mc:AlternateContent></w:r></w:p>"
    assert text_of(read(minimal_docx(body_xml(inside)), tmp_path, name="a.docx")) == "once"


def test_links_that_could_run_something_are_no_marks(tmp_path: Path) -> None:
    code = "<w:fldSimple w:instr=' HYPERLINK \"{}\" '><w:r><w:t>{}</w:t></w:r></w:fldSimple>"
    inside = f"<w:p>{code.format('javascript:alert(1)', 'bad')}{code.format('https://example.org', 'good')}</w:p>"
    (page,) = pages(read(minimal_docx(body_xml(inside)), tmp_path, name="a.docx"))
    assert [(mark.kind, page.text[mark.char_start : mark.char_end]) for mark in page.marks] == [(MarkKind.LINK, "good")]


def test_answers_in_a_circle_end(tmp_path: Path) -> None:
    circle = (
        f'<w15:commentsEx {NAMESPACES}><w15:commentEx w15:paraId="00000002" w15:paraIdParent="00000001"/>'
        '<w15:commentEx w15:paraId="00000001" w15:paraIdParent="00000002"/></w15:commentsEx>'
    ).encode()
    (page,) = pages(read(reviewed(**{"word/commentsExtended.xml": circle}), tmp_path, name="a.docx"))
    assert sum(block.kind is BlockKind.COMMENT for block in page.blocks) == 3


def test_encrypted_document_asks_for_its_password(tmp_path: Path) -> None:
    with pytest.raises((EncryptedDocument, UnreadableDocument)):
        read(encrypted_office(), tmp_path, name="a.docx")


@pytest.mark.parametrize("value", ["9" * 5000, "-1", "x"])
def test_numbers_beyond_reason_are_taken_for_none(tmp_path: Path, value: str) -> None:
    level = f'<w:pPr><w:outlineLvl w:val="{value}"/></w:pPr>'
    section = f'<w:sectPr><w:pgSz w:w="{value}" w:h="1e999pt"/></w:sectPr>'
    (page,) = pages(read(minimal_docx(body_xml(paragraph("text", level) + section)), tmp_path, name="a.docx"))
    assert (page.text, page.width, page.height) == ("text", 0.0, 0.0)


def test_name_of_a_member_that_is_no_utf_8_is_reported(tmp_path: Path) -> None:
    data = bytearray(
        minimal_docx(body_xml(paragraph("text"))).replace(b"word/document.xml", b"word/document.xm\xff", 1)
    )
    at = -1
    while (at := data.find(b"PK\x01\x02", at + 1)) >= 0:
        data[at + 9] |= 0x08  # the flag that says that names are UTF-8
    with pytest.raises(UnreadableDocument) as caught:
        read(bytes(data), tmp_path, name="a.docx")
    assert caught.value.code == "corrupt_archive"


def test_rows_that_a_change_took_out_stand_behind_their_table(tmp_path: Path) -> None:
    gone = '<w:p><w:del w:id="1"><w:r><w:delText>{}</w:delText></w:r></w:del></w:p>'
    table = (
        f"<w:tr><w:tc>{paragraph('a')}</w:tc><w:tc>{paragraph('b')}</w:tc></w:tr>"
        f"<w:tr><w:trPr><w:del w:id='2'/></w:trPr><w:tc>{gone.format('c')}</w:tc><w:tc>{gone.format('d')}</w:tc></w:tr>"
    )
    (page,) = pages(read(minimal_docx(body_xml(f"<w:tbl>{table}</w:tbl>{paragraph('e')}")), tmp_path, name="a.docx"))
    assert [(block.kind, page.text[block.char_start : block.char_end]) for block in page.blocks] == [
        (BlockKind.TABLE, "a | b"),
        (BlockKind.DELETION, "c | d"),
        (BlockKind.PARAGRAPH, "e"),
    ]


def test_chart_gives_its_title_and_a_table_of_its_values(tmp_path: Path) -> None:
    space = "http://schemas.openxmlformats.org/drawingml/2006"
    chart = (
        f'<c:chartSpace xmlns:c="{space}/chart" xmlns:a="{space}/main"><c:chart><c:title><c:tx><c:rich><a:p><a:r>'
        "<a:t>Boats</a:t></a:r></a:p></c:rich></c:tx></c:title><c:plotArea><c:barChart><c:ser><c:tx><c:v>Sail</c:v>"
        '</c:tx><c:cat><c:strLit><c:pt idx="0"><c:v>2019</c:v></c:pt><c:pt idx="1"><c:v>2020</c:v></c:pt></c:strLit>'
        '</c:cat><c:val><c:numLit><c:pt idx="0"><c:v>7</c:v></c:pt><c:pt idx="1"><c:v>9.5</c:v></c:pt></c:numLit>'
        "</c:val></c:ser></c:barChart></c:plotArea></c:chart></c:chartSpace>"
    )
    drawing = (
        f'<w:p><w:r><w:t>See:</w:t></w:r><w:r><w:drawing><c:chart xmlns:c="{space}/chart" r:id="c" xmlns:r='
        '"http://schemas.openxmlformats.org/officeDocument/2006/relationships"/></w:drawing></w:r></w:p>'
    )
    relations = (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="c" '
        'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/chart" Target="chart.xml"/>'
        "</Relationships>"
    )
    more = {"word/_rels/document.xml.rels": relations.encode(), "word/chart.xml": chart.encode()}
    (page,) = pages(read(minimal_docx(body_xml(drawing), **more), tmp_path, name="a.docx"))
    assert [block.kind for block in page.blocks] == [BlockKind.PARAGRAPH, BlockKind.CAPTION, BlockKind.TABLE]
    assert page.text == "See:\n\nBoats\n\n | Sail\n2019 | 7\n2020 | 9.5"
