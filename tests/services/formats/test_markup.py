from __future__ import annotations

from pathlib import Path

import pytest

from services.content import BlockKind, DocumentInfo, Limits, MarkKind
from services.errors import UnreadableDocument
from services.formats.kit.xml import parse_part
from services.options import Options
from tests.data.build_samples import HTML, MARKDOWN, with_picture
from tests.support.format_cases import DATA, compare_with_golden, issues, outline, pages, pictures, read, text_of


@pytest.mark.parametrize("name", ["harbour.md", "tides.html"])
def test_sample_reads_as_its_golden_text(tmp_path: Path, name: str) -> None:
    compare_with_golden(name, outline(read(DATA / name, tmp_path)))


def test_scripts_and_hidden_parts_never_come_out(tmp_path: Path) -> None:
    text = text_of(read(DATA / "tides.html", tmp_path))
    assert "secret" not in text
    assert "not shown" not in text
    assert "nor th" not in text


def test_markup_in_a_title_comes_out_as_text(tmp_path: Path) -> None:
    parts = read(b"<html><title>A &lt;script&gt; b</title><p onclick=x>seen</p></html>", tmp_path, name="a.html")
    assert isinstance(parts[0], DocumentInfo)
    assert parts[0].title == "A <script> b"
    assert text_of(parts) == "seen"


def test_charset_of_a_meta_element_is_used(tmp_path: Path) -> None:
    page = '<html><head><meta http-equiv="Content-Type" content="text/html; charset=windows-1251"></head><p>Договор'
    assert text_of(read(page.encode("cp1251"), tmp_path, name="a.html")) == "Договор"


def test_html_nested_beyond_reason_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        read(b"<html>" + b"<div>" * 200_000 + b"x", tmp_path, name="a.html")
    assert caught.value.code == "nesting_too_deep"


def test_layout_table_is_read_as_blocks(tmp_path: Path) -> None:
    inner = b"<table><tr><td>a</td><td>b</td></tr></table>"
    source = b"<html><table><tr><td><h2>Left</h2>" + inner + b"</td><td>Right</td></tr></table>"
    (page,) = pages(read(source, tmp_path, name="a.html"))
    assert [block.kind for block in page.blocks] == [BlockKind.HEADING, BlockKind.TABLE, BlockKind.PARAGRAPH]


def test_spans_of_a_table_cannot_blow_it_up(tmp_path: Path) -> None:
    row = b"<tr>" + b'<td colspan="999999" rowspan="999999">x</td>' * 30 + b"</tr>"
    (page,) = pages(read(b"<html><table>" + row * 30 + b"</table>", tmp_path, name="a.html"))
    assert page.text.count("x") == 900


def test_pictures_in_addresses_are_kept_only_when_asked_for(tmp_path: Path) -> None:
    source = with_picture(HTML).encode()
    (picture,) = pictures(read(source, tmp_path, name="a.html"))
    assert (picture.width, picture.height, picture.media_type, picture.alt) == (48, 32, "image/png", "Gauge")
    assert picture.path.is_file()
    assert pictures(read(source, tmp_path, name="a.html", options=Options(extract_images=False))) == []


def test_picture_of_too_many_pixels_is_an_issue(tmp_path: Path) -> None:
    parts = read(with_picture(HTML).encode(), tmp_path, name="a.html", limits=Limits(max_pixels=100))
    assert [issue.code for issue in issues(parts)] == ["picture_too_large"]
    assert "Gauge" in text_of(parts)


def test_broken_picture_is_an_issue(tmp_path: Path) -> None:
    source = b'<html><p>text<img src="data:image/png;base64,iVBORw0KGgoAAAAN">'
    parts = read(source, tmp_path, name="a.html")
    assert [issue.code for issue in issues(parts)] == ["picture_unreadable"]
    assert text_of(parts) == "text"


def test_front_matter_names_the_document_and_leaves_the_text(tmp_path: Path) -> None:
    parts = read(with_picture(MARKDOWN).encode(), tmp_path, name="a.md")
    assert isinstance(parts[0], DocumentInfo)
    assert (parts[0].title, parts[0].author, parts[0].language) == ("Harbour handbook", "Petra Lind", "en-GB")
    assert "Petra" not in text_of(parts)


def test_rule_at_the_top_is_no_front_matter(tmp_path: Path) -> None:
    assert text_of(read(b"---\n\nwords\n\n---\nmore\n", tmp_path, name="a.md")) == "words\n\nmore"


@pytest.mark.parametrize(
    "hostile",
    ["[" * 50_000, "".join("`" * n + "a" for n in range(1000)), ">" * 50_000 + "a", "*a " * 40_000, "[a](b" * 10_000],
)
def test_hostile_markdown_ends(tmp_path: Path, hostile: str) -> None:
    assert len(pages(read(hostile.encode(), tmp_path, name="a.md"))) == 1


def test_figure_gives_its_caption_to_its_picture(tmp_path: Path) -> None:
    (picture,) = pictures(read(with_picture(HTML).encode(), tmp_path, name="a.html"))
    assert picture.caption == "The gauge"


def test_links_are_marked_where_they_stand(tmp_path: Path) -> None:
    source = (
        b"<html><p>  See  <a href='https://example.org/a'> the\n plan </a> or<br><a href='javascript:x()'>run</a>"
        b"<a href='#b'>below</a>.</p>"
    )
    (page,) = pages(read(source, tmp_path, name="a.html"))
    assert page.text == "See the plan or\nrunbelow."
    found = [(page.text[mark.char_start : mark.char_end].strip(), mark.target) for mark in page.marks]
    assert found == [("the plan", "https://example.org/a"), ("below", "#b")]


def test_menu_and_foot_of_a_site_are_told_from_its_text(tmp_path: Path) -> None:
    source = (
        b"<html><body><nav><a href='/'>Home</a></nav><article><header><h1>Title</h1></header><p>Words of the page that "
        b"say something.</p><footer>By Jo</footer></article><footer>Imprint</footer></body>"
    )
    (page,) = pages(read(source, tmp_path, name="a.html"))
    assert [block.kind for block in page.blocks] == [
        BlockKind.PAGE_HEADER, BlockKind.HEADING, BlockKind.PARAGRAPH, BlockKind.PARAGRAPH, BlockKind.PAGE_FOOTER,
    ]  # fmt: skip


def test_page_that_is_all_menu_is_text(tmp_path: Path) -> None:
    (page,) = pages(read(b"<html><body><nav><p>All of it is in here</p></nav></body>", tmp_path, name="a.html"))
    assert page.blocks[0].kind is BlockKind.PARAGRAPH


def test_formulas_and_drawings_give_their_words(tmp_path: Path) -> None:
    source = (
        b"<html><p>So <math><mfrac><mn>1</mn><mi>x</mi></mfrac><annotation>no</annotation></math> holds."
        b"<svg><style>p{}</style><text>North</text><text>South</text></svg>"
    )
    assert text_of(read(source, tmp_path, name="a.html")) == "So 1/x holds.\n\nNorth South"


def test_insertions_are_marked(tmp_path: Path) -> None:
    (page,) = pages(read(b"<html><p>Rent <del>400</del> <ins>450</ins>", tmp_path, name="a.html"))
    assert [(mark.kind, page.text[mark.char_start : mark.char_end]) for mark in page.marks] == [
        (MarkKind.INSERTION, "450")
    ]


def test_footnotes_of_markdown_are_notes_and_no_addresses(tmp_path: Path) -> None:
    source = b"# T\n\nText.[^1] [ref]\n\n[^1]: Word\n[^b]: Two *words*\n  and more\n\n[ref]: https://example.org\n"
    (page,) = pages(read(source, tmp_path, name="a.md"))
    notes = [page.text[b.char_start : b.char_end] for b in page.blocks if b.kind is BlockKind.FOOTNOTE]
    assert notes == ["[1] Word", "[b] Two words and more"]
    assert [mark.target for mark in page.marks] == ["https://example.org"]


def test_html_inside_markdown_is_read_without_its_tags(tmp_path: Path) -> None:
    source = b"# T\n\n<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>\n\nSo <b>it</b> is.\n"
    (page,) = pages(read(source, tmp_path, name="a.md"))
    assert page.text == "T\n\na | b\n1 | 2\n\nSo it is."


def test_rows_that_span_many_rows_below_cannot_fill_them_without_end(tmp_path: Path) -> None:
    row = b"<tr>" + b'<td colspan="100" rowspan="100">x</td>' * 15_000 + b"</tr>"
    (page,) = pages(read(b"<html><table>" + row + b"<tr></tr>" * 99 + b"</table>", tmp_path, name="a.html"))
    assert page.text.count("x") == 15_000
    assert len(page.text) < 20_000_000


def test_one_long_row_does_not_fill_up_all_short_ones(tmp_path: Path) -> None:
    source = b"<html><table><tr>" + b"<td>x" * 30_000 + b"</tr>" + b"<tr><td>y</td></tr>" * 30_000 + b"</table>"
    (page,) = pages(read(source, tmp_path, name="a.html"))
    (table,) = page.blocks
    assert sum(map(len, table.rows)) < 5_000_000
    assert (page.text.count("x"), page.text.count("y")) == (30_000, 30_000)


@pytest.mark.parametrize("name", ["a.html", "a.md", "a.svg"])
def test_large_picture_in_an_address_costs_no_text(tmp_path: Path, name: str) -> None:
    address = "data:image/png;base64," + "A" * 11_000_000
    source = f"<html><p>before</p><p><img src='{address}'></p><p>after</p></html>"
    if name == "a.svg":
        source = (
            '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="90"><text x="1" y="20">before</text>'
            f'<image href="{address}"/><text x="1" y="60">after</text></svg>'
        )
    assert text_of(read(source.encode(), tmp_path, name=name)) == "before\n\nafter"


def test_entities_of_a_drawing_with_a_large_picture_are_still_bounded(tmp_path: Path) -> None:
    entities = '<!ENTITY a0 "ha">' + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    source = f'<!DOCTYPE svg [{entities}]><svg xmlns="http://www.w3.org/2000/svg" id="&a11;"><text>x</text></svg>'
    with pytest.raises(UnreadableDocument):
        parse_part(source.encode(), Limits(), what="drawing")


def test_element_with_endless_attributes_is_refused(tmp_path: Path) -> None:
    many = " ".join(f"a{n}=1" for n in range(100_000))
    with pytest.raises(UnreadableDocument) as caught:
        read(f"<html><!-- <a b=' --><p {many}>x</p>".encode(), tmp_path, name="a.html")
    assert caught.value.code == "too_many_attributes"


def test_deep_html_in_markdown_costs_that_block_only(tmp_path: Path) -> None:
    parts = read(("before\n\n" + "<div>" * 300 + "deep\n\nafter\n").encode(), tmp_path, name="a.md")
    assert text_of(parts) == "before\n\nafter"
    assert [(issue.code, issue.page) for issue in issues(parts)] == [("nesting_too_deep", 1)]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("a.html", "<html><p>old <del>go<s>n</s>e</del> new</p><table><tr><td><s>a</s> b<td>c</table><p>end"),
        ("a.md", "old ~~gone~~ new\n\n|~~a~~ b|c|\n|--|--|\n\nend"),
        ("b.md", "old <del>gone</del> new\n\n|<s>a</s> b|c|\n|--|--|\n\nend"),
    ],
)
def test_struck_text_stands_behind_its_block(tmp_path: Path, name: str, source: str) -> None:
    (page,) = pages(read(source.encode(), tmp_path, name=name))
    assert [(block.kind, page.text[block.char_start : block.char_end]) for block in page.blocks] == [
        (BlockKind.PARAGRAPH, "old new"),
        (BlockKind.DELETION, "gone"),
        (BlockKind.TABLE, "b | c"),
        (BlockKind.DELETION, "a"),
        (BlockKind.PARAGRAPH, "end"),
    ]


def test_quotation_goes_on_behind_its_table(tmp_path: Path) -> None:
    source = b"<html><blockquote>a<table><tr><td>b<td>c</table>d</blockquote>e"
    (page,) = pages(read(source, tmp_path, name="a.html"))
    kinds = [block.kind for block in page.blocks]
    assert kinds == [BlockKind.QUOTE, BlockKind.TABLE, BlockKind.QUOTE, BlockKind.PARAGRAPH]
