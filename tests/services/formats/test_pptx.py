from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from lxml import etree

from services.content import Block, BlockKind, Limits, Page
from services.errors import EncryptedDocument, TooLarge, UnreadableDocument
from services.formats.office.charts import read_chart
from services.options import Options
from tests.data.build_presentations import DRAWING, PRESENTATION, build_slides, minimal_pptx, text_shape
from tests.data.build_samples import body_xml, minimal_docx
from tests.data.build_spreadsheets import RELATIONS, minimal_xlsx, picture_png, relations_xml
from tests.support.format_cases import DATA, compare_with_golden, issues, outline, pages, pictures, read, text_of
from tests.support.office_cases import encrypted

CHART = "http://schemas.openxmlformats.org/drawingml/2006/chart"
DIAGRAM = "http://schemas.openxmlformats.org/drawingml/2006/diagram"


def graphic(inside: str, namespaces: str = "") -> str:
    return (
        '<p:graphicFrame><p:nvGraphicFramePr><p:cNvPr id="1" name="g"/><p:nvPr/></p:nvGraphicFramePr><p:xfrm/>'
        f"<a:graphic><a:graphicData {namespaces}>{inside}</a:graphicData></a:graphic></p:graphicFrame>"
    )


def related(name: str, kind: str, target: str) -> str:
    return f'<Relationship Id="{name}" Type="{RELATIONS}/{kind}" Target="{target}"/>'


def kinds(page: Page) -> list[tuple[BlockKind, str]]:
    return [(block.kind, page.text[block.char_start : block.char_end]) for block in page.blocks]


def test_sample_reads_as_its_golden_text(tmp_path: Path) -> None:
    compare_with_golden("slides.pptx", outline(read(DATA / "slides.pptx", tmp_path)))


def test_sample_is_built_alike_each_time() -> None:
    assert build_slides() == build_slides()


def test_boxes_are_points_from_the_top_left_and_groups_are_unfolded(tmp_path: Path) -> None:
    group = (
        '<p:grpSp><p:nvGrpSpPr/><p:grpSpPr><a:xfrm><a:off x="1270000" y="1270000"/><a:ext cx="2540000" cy="1270000"/>'
        '<a:chOff x="0" y="0"/><a:chExt cx="1270000" cy="1270000"/></a:xfrm></p:grpSpPr>'
        f"{text_shape('inside', 10, 20, 30, 40)}</p:grpSp>"
    )
    size = '<p:sldSz cx="12192000" cy="6858000"/>'
    (page,) = pages(read(minimal_pptx(group, size=size), tmp_path, name="a.pptx"))
    assert (page.width, page.height) == (960, 540)
    assert page.blocks[0].box == (120, 120, 180, 160)


def test_title_comes_first_and_footers_last(tmp_path: Path) -> None:
    shapes = (
        text_shape("7", 0, 0, placeholder="sldNum")
        + text_shape("body", 0, 100)
        + text_shape("Title", 0, 300, placeholder="title")
    )
    (page,) = pages(read(minimal_pptx(shapes), tmp_path, name="a.pptx"))
    assert kinds(page) == [
        (BlockKind.HEADING, "Title"),
        (BlockKind.PARAGRAPH, "body"),
        (BlockKind.PAGE_FOOTER, "7"),
    ]


def test_columns_are_read_one_after_the_other(tmp_path: Path) -> None:
    shapes = "".join(
        text_shape(text, x, y, 300, 50)
        for text, x, y in (("B2", 400, 200), ("A1", 20, 100), ("B1", 400, 100), ("A2", 20, 200), ("end", 20, 400))
    )
    wide = text_shape("across", 20, 10, 700, 40)
    (page,) = pages(read(minimal_pptx(shapes + wide), tmp_path, name="a.pptx"))
    assert [text for _, text in kinds(page)] == ["across", "A1", "A2", "end", "B1", "B2"]


def test_placeholders_take_place_and_bullets_from_their_layout(tmp_path: Path) -> None:
    names = f'xmlns:p="{PRESENTATION}" xmlns:a="{DRAWING}"'
    layout = (
        f"<p:sldLayout {names}><p:cSld><p:spTree>{text_shape('Click to add', 50, 60, 70, 80, 'body')}</p:spTree>"
        "</p:cSld></p:sldLayout>"
    )
    master = (
        f"<p:sldMaster {names}><p:cSld><p:spTree/></p:cSld><p:txStyles><p:bodyStyle><a:lvl1pPr><a:buAutoNum/>"
        "</a:lvl1pPr></p:bodyStyle></p:txStyles></p:sldMaster>"
    )
    parts = {
        "ppt/layout.xml": layout,
        "ppt/_rels/layout.xml.rels": relations_xml(related("m", "slideMaster", "master.xml")),
        "ppt/master.xml": master,
    }
    data = minimal_pptx(
        text_shape("one", width=0, placeholder="body"),
        slide_relations=related("l", "slideLayout", "../layout.xml"),
        parts={name: text.encode() for name, text in parts.items()},
    )
    (page,) = pages(read(data, tmp_path, name="a.pptx"))
    assert page.blocks == (Block(BlockKind.LIST_ITEM, 0, 3, 1, (50, 60, 120, 140), ordered=True),)


def test_alternate_content_is_read_once(tmp_path: Path) -> None:
    shapes = (
        '<mc:AlternateContent xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006">'
        f'<mc:Choice Requires="x">{text_shape("new")}</mc:Choice><mc:Fallback>{text_shape("old")}</mc:Fallback>'
        "</mc:AlternateContent>"
    )
    assert text_of(read(minimal_pptx(shapes), tmp_path, name="a.pptx")) == "new"


def test_merged_cells_keep_the_columns_in_place(tmp_path: Path) -> None:
    def cell(text: str, more: str = "") -> str:
        return f"<a:tc {more}><a:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></a:txBody></a:tc>"

    wide = cell("wide", 'gridSpan="2"') + cell("", 'hMerge="1"')
    rows = f"<a:tr>{wide}{cell('c')}</a:tr><a:tr>{cell('d')}{cell('e')}{cell('f')}</a:tr>"
    (page,) = pages(read(minimal_pptx(graphic(f"<a:tbl>{rows}</a:tbl>")), tmp_path, name="a.pptx"))
    assert page.blocks[0].rows == (("wide", "", "c"), ("d", "e", "f"))


def test_chart_gives_its_title_and_values_as_they_are_shown(tmp_path: Path) -> None:
    def points(*values: str) -> str:
        return "".join(f'<c:pt idx="{n}"><c:v>{value}</c:v></c:pt>' for n, value in enumerate(values))

    series = "".join(
        f"<c:ser><c:tx><c:v>{name}</c:v></c:tx><c:cat><c:numRef><c:numCache><c:formatCode>mmm yy</c:formatCode>"
        f"{points('46023', '46054')}</c:numCache></c:numRef></c:cat><c:val><c:numRef><c:numCache>"
        f"<c:formatCode>0%</c:formatCode>{points(*values)}</c:numCache></c:numRef></c:val></c:ser>"
        for name, values in (("Sail", ("0.4", "0.5")), ("Motor", ("0.6",)))
    )
    chart = (
        f'<c:chartSpace xmlns:c="{CHART}" xmlns:a="{DRAWING}"><c:chart><c:title><c:tx><c:rich><a:p><a:r>'
        f"<a:t>Boats</a:t></a:r></a:p></c:rich></c:tx></c:title><c:plotArea><c:barChart>{series}</c:barChart></c:plotArea></c:chart>"
        "</c:chartSpace>"
    )
    data = minimal_pptx(
        graphic('<c:chart r:id="c"/>', f'xmlns:c="{CHART}"'),
        slide_relations=related("c", "chart", "../chart.xml"),
        parts={"ppt/chart.xml": chart.encode()},
    )
    (page,) = pages(read(data, tmp_path, name="a.pptx"))
    assert kinds(page)[0] == (BlockKind.CAPTION, "Boats")
    assert page.blocks[1].rows == (("", "Sail", "Motor"), ("Jan 26", "40%", "60%"), ("Feb 26", "50%", ""))


def test_diagram_is_an_outline(tmp_path: Path) -> None:
    def point(name: str, text: str, kind: str = "node") -> str:
        return f'<d:pt modelId="{name}" type="{kind}"><d:t><a:p><a:r><a:t>{text}</a:t></a:r></a:p></d:t></d:pt>'

    links = "".join(
        f'<d:cxn srcId="{above}" destId="{below}" srcOrd="{order}"/>'
        for above, below, order in (("0", "2", 1), ("0", "1", 0), ("1", "3", 0), ("3", "1", 0))
    )
    diagram = (
        f'<d:dataModel xmlns:d="{DIAGRAM}" xmlns:a="{DRAWING}"><d:ptLst>{point("0", "", "doc")}{point("2", "second")}'
        f"{point('1', 'first')}{point('3', 'below')}{point('9', 'arrow', 'parTrans')}</d:ptLst>"
        f"<d:cxnLst>{links}</d:cxnLst></d:dataModel>"
    )
    data = minimal_pptx(
        graphic('<d:relIds r:dm="d"/>', f'xmlns:d="{DIAGRAM}"'),
        slide_relations=related("d", "diagramData", "../data.xml"),
        parts={"ppt/data.xml": diagram.encode()},
    )
    (page,) = pages(read(data, tmp_path, name="a.pptx"))
    assert [(text, block.level) for (_, text), block in zip(kinds(page), page.blocks, strict=True)] == [
        ("first", 1),
        ("below", 2),
        ("second", 1),
    ]


def test_old_comments_name_their_authors(tmp_path: Path) -> None:
    data = minimal_pptx(
        text_shape("text"),
        slide_relations=related("c", "comments", "../comments/comment1.xml"),
        parts={
            "ppt/comments/comment1.xml": b'<cmLst><cm authorId="0"><text>Why?</text></cm></cmLst>',
            "ppt/commentAuthors.xml": b'<p:cmAuthorLst xmlns:p="p"><p:cmAuthor id="0" name="Ann"/></p:cmAuthorLst>',
            "ppt/_rels/presentation.xml.rels": relations_xml(
                related("r1", "slide", "slides/slide1.xml") + related("a", "commentAuthors", "commentAuthors.xml")
            ).encode(),
        },
    )
    (page,) = pages(read(data, tmp_path, name="a.pptx"))
    assert kinds(page) == [(BlockKind.PARAGRAPH, "text"), (BlockKind.COMMENT, "Ann: Why?")]


def picture(identifier: str, y: int = 0) -> str:
    return (
        '<p:pic><p:nvPicPr><p:cNvPr id="4" name="p" descr="A buoy"/></p:nvPicPr><p:blipFill>'
        f'<a:blip r:embed="{identifier}"/></p:blipFill><p:spPr><a:xfrm><a:off x="0" y="{y * 12700}"/>'
        '<a:ext cx="1270000" cy="1270000"/></a:xfrm></p:spPr></p:pic>'
    )


def test_picture_has_its_box_alternative_text_and_caption(tmp_path: Path) -> None:
    data = minimal_pptx(
        picture("i", 50) + text_shape("Buoy 7", 20, 155, 60, 20) + text_shape("far away", 20, 300, 60, 20),
        slide_relations=related("i", "image", "../media/a.png"),
        parts={"ppt/media/a.png": picture_png()},
    )
    parts = read(data, tmp_path, name="a.pptx")
    (found,) = pictures(parts)
    assert (found.box, found.alt, found.caption) == ((0, 50, 100, 150), "A buoy", "Buoy 7")
    assert (BlockKind.CAPTION, "Buoy 7") in kinds(pages(parts)[0])
    assert not pictures(read(data, tmp_path, name="a.pptx", options=Options(extract_images=False)))


def test_picture_on_most_slides_is_left_out_and_counted(tmp_path: Path) -> None:
    data = minimal_pptx(
        *[picture("i") + text_shape(f"slide {n}", 0, 200) for n in range(4)],
        slide_relations=related("i", "image", "../media/a.png"),
        parts={"ppt/media/a.png": picture_png()},
    )
    parts = read(data, tmp_path, name="a.pptx")
    assert not pictures(parts)
    assert [issue.code for issue in issues(parts)] == ["decoration_left_out"]


def test_strict_files_are_read_like_others(tmp_path: Path) -> None:
    strict = {
        "http://schemas.openxmlformats.org/presentationml/2006/main": "http://purl.oclc.org/ooxml/presentationml/main",
        "http://schemas.openxmlformats.org/drawingml/2006/main": "http://purl.oclc.org/ooxml/drawingml/main",
        RELATIONS: "http://purl.oclc.org/ooxml/officeDocument/relationships",
    }
    plain = minimal_pptx(text_shape("strict"))
    target = BytesIO()
    with zipfile.ZipFile(BytesIO(plain)) as source, zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            text = source.read(name).decode()
            for old, new in strict.items():
                text = text.replace(old, new)
            archive.writestr(name, text)
    assert text_of(read(target.getvalue(), tmp_path, name="a.pptx")) == "strict"


def test_broken_and_missing_slides_cost_only_themselves(tmp_path: Path) -> None:
    data = minimal_pptx(
        text_shape("one"), text_shape("two"), text_shape("three"), parts={"ppt/slides/slide2.xml": b"<p:sld"}
    )
    parts = read(data, tmp_path, name="a.pptx")
    assert [page.text for page in pages(parts)] == ["one", "", "three"]
    assert [(issue.code, issue.page) for issue in issues(parts)] == [("corrupt_document", 2)]
    relations = relations_xml(related("r1", "slide", "slides/gone.xml") + related("r2", "slide", "slides/slide2.xml"))
    data = minimal_pptx(
        text_shape("one"), text_shape("two"), parts={"ppt/_rels/presentation.xml.rels": relations.encode()}
    )
    parts = read(data, tmp_path, name="a.pptx")
    assert [page.text for page in pages(parts)] == ["", "two"]
    assert [issue.code for issue in issues(parts)] == ["slide_missing"]


def test_damaged_relationships_and_charts_cost_only_what_they_hold(tmp_path: Path) -> None:
    chart = graphic('<c:chart r:id="c"/>', f'xmlns:c="{CHART}"')
    data = minimal_pptx(
        text_shape("one") + chart,
        text_shape("two"),
        slide_relations=related("c", "chart", "../gone.xml"),
        parts={"ppt/slides/_rels/slide2.xml.rels": b"<Relationships"},
    )
    parts = read(data, tmp_path, name="a.pptx")
    assert pages(parts)[0].text == "one"
    assert ("drawing_unreadable", 1) in [(issue.code, issue.page) for issue in issues(parts)]


def test_groups_without_end_cost_only_their_slide(tmp_path: Path) -> None:
    deep = "<p:grpSp>" * 150 + text_shape("deep") + "</p:grpSp>" * 150
    parts = read(minimal_pptx(deep, text_shape("flat")), tmp_path, name="a.pptx")
    assert [page.text for page in pages(parts)] == ["", "flat"]
    assert [(issue.code, issue.page) for issue in issues(parts)] == [("nesting_too_deep", 1)]


def test_entities_are_refused(tmp_path: Path) -> None:
    data = minimal_pptx(
        text_shape("x"), parts={"ppt/presentation.xml": b'<!DOCTYPE p [<!ENTITY e "x">]><p:presentation xmlns:p="p"/>'}
    )
    with pytest.raises(UnreadableDocument) as caught:
        read(data, tmp_path, name="a.pptx")
    assert caught.value.code == "xml_entities"


def test_slides_are_limited_and_known_pages_given_back(tmp_path: Path) -> None:
    data = minimal_pptx(text_shape("one"), text_shape("two"))
    with pytest.raises(TooLarge) as caught:
        read(data, tmp_path, name="a.pptx", limits=Limits(max_pages=1))
    assert caught.value.code == "too_many_pages"
    known = Page(2, "stored", blocks=(Block(BlockKind.PARAGRAPH, 0, 6),))
    found = pages(read(data, tmp_path, name="a.pptx", known={2: known}, options=Options(pages="2")))
    assert found == [known]


def test_encrypted_presentation_needs_its_password(tmp_path: Path) -> None:
    data = encrypted(minimal_pptx(text_shape("behind the door")), "tide")
    with pytest.raises(EncryptedDocument) as caught:
        read(data, tmp_path, name="a.pptx")
    assert caught.value.code == "password_required"
    assert text_of(read(data, tmp_path, name="a.pptx", password="tide")) == "behind the door"


def test_groups_that_stretch_beyond_all_numbers_give_no_box(tmp_path: Path) -> None:
    stretched = text_shape("inside", 10, 20, 30, 40)
    for _ in range(30):
        stretched = (
            '<p:grpSp><p:grpSpPr><a:xfrm><a:off x="0" y="0"/><a:ext cx="999999999999999" cy="999999999999999"/>'
            f'<a:chOff x="0" y="0"/><a:chExt cx="1" cy="1"/></a:xfrm></p:grpSpPr>{stretched}</p:grpSp>'
        )
    (page,) = pages(read(minimal_pptx(stretched), tmp_path, name="a.pptx"))
    assert [(block.box, page.text) for block in page.blocks] == [(None, "inside")]


def test_stand_in_for_the_number_of_a_slide_is_left_out(tmp_path: Path) -> None:
    shape = text_shape("WORDS").replace(
        "<a:r><a:t>WORDS</a:t></a:r>",
        '<a:r><a:t>Say it</a:t></a:r><a:fld type="slidenum"><a:t>&lt;number&gt;</a:t></a:fld>',
    )
    assert "slidenum" in shape
    assert text_of(read(minimal_pptx(shape), tmp_path, name="a.pptx")) == "Say it"


def test_series_that_share_no_point_do_not_fill_a_square() -> None:
    series = "".join(
        f'<c:ser><c:val><c:numLit><c:pt idx="{at}"><c:v>1</c:v></c:pt></c:numLit></c:val></c:ser>' for at in range(5000)
    )
    root = etree.fromstring(f'<c:chart xmlns:c="{CHART}">{series}</c:chart>')
    (table,) = read_chart(root).tables
    assert sum(map(len, table)) < 1_100_000


@pytest.mark.parametrize("name", ["secret", "a.docx", "a.pptx", "a.xlsx"])
@pytest.mark.parametrize("kind", ["docx", "pptx", "xlsx"])
def test_encrypted_document_is_read_as_what_it_is_whatever_its_name(tmp_path: Path, name: str, kind: str) -> None:
    plain = {
        "docx": minimal_docx(body_xml("<w:p><w:r><w:t>behind the door</w:t></w:r></w:p>")),
        "pptx": minimal_pptx(text_shape("behind the door")),
        "xlsx": minimal_xlsx("<sheetData><row><c t='str'><v>behind the door</v></c></row></sheetData>"),
    }[kind]
    assert "behind the door" in text_of(read(encrypted(plain, "tide"), tmp_path, name=name, password="tide"))
    assert list(tmp_path.rglob("decrypted-document")) == []
