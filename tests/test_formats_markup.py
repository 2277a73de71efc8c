from __future__ import annotations

from pathlib import Path

import pytest

from services.content import BlockKind, DocumentInfo, Limits
from services.errors import UnreadableDocument
from services.options import Options
from tests.data.build_samples import HTML, MARKDOWN, with_picture
from tests.format_cases import DATA, compare_with_golden, issues, outline, pages, pictures, read, text_of


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
