from __future__ import annotations

from pathlib import Path

import pytest

from services.content import BlockKind, DocumentInfo, Limits
from services.errors import EncryptedDocument, TooLarge, UnreadableDocument
from services.options import Options
from tests.data.build_epub import CHAPTER, PACKAGE, book
from tests.support.format_cases import DATA, compare_with_golden, issues, outline, pages, pictures, read, text_of

RIGHTS = """<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container"
 xmlns:enc="http://www.w3.org/2001/04/xmlenc#"><enc:EncryptedData><enc:EncryptionMethod Algorithm="{}"/><enc:CipherData>
<enc:CipherReference URI="{}"/></enc:CipherData></enc:EncryptedData></encryption>"""


def test_sample_reads_as_its_golden_text(tmp_path: Path) -> None:
    compare_with_golden("book.epub", outline(read(DATA / "book.epub", tmp_path)))


def test_cover_comes_first_and_captions_belong_to_their_pictures(tmp_path: Path) -> None:
    cover, gauge = pictures(read(DATA / "book.epub", tmp_path))
    assert (cover.page, cover.width) == (1, 60)
    assert (gauge.page, gauge.alt, gauge.caption) == (1, "Gauge", "The gauge at noon")


def test_pages_asked_for_and_pages_known(tmp_path: Path) -> None:
    first, second = pages(read(DATA / "book.epub", tmp_path))
    (only,) = pages(read(DATA / "book.epub", tmp_path, options=Options(pages="2")))
    assert only == second
    again = read(DATA / "book.epub", tmp_path, known={1: first})
    assert pages(again)[0] is first
    assert pictures(again) == []


def test_protected_chapter_is_told_apart(tmp_path: Path) -> None:
    rights = RIGHTS.format("http://www.w3.org/2001/04/xmlenc#aes128-cbc", "OEBPS/text/chapter2.xhtml").encode()
    with pytest.raises(EncryptedDocument) as caught:
        read(book(**{"META-INF/encryption.xml": rights}), tmp_path, name="a.epub")
    assert caught.value.code == "encryption_unsupported"


@pytest.mark.parametrize(
    ("method", "part"),
    [
        ("http://www.idpf.org/2008/embedding", "OEBPS/fonts/a.otf"),
        ("http://www.w3.org/2001/04/xmlenc#aes128-cbc", "OEBPS/fonts/a.otf"),
    ],
)
def test_scrambled_fonts_are_no_protection(tmp_path: Path, method: str, part: str) -> None:
    parts = read(book(**{"META-INF/encryption.xml": RIGHTS.format(method, part).encode()}), tmp_path, name="a.epub")
    assert len(pages(parts)) == 2


def test_broken_chapter_costs_no_other(tmp_path: Path) -> None:
    deep = b"<html>" + b"<div>" * 5000 + b"x"
    parts = read(book(**{"OEBPS/text/chapter 1.xhtml": deep}), tmp_path, name="a.epub")
    assert [(issue.code, issue.page) for issue in issues(parts)] == [("page_unreadable", 1)]
    assert [page.text[:5] for page in pages(parts)] == ["", "Flood"]


def test_missing_chapter_is_said(tmp_path: Path) -> None:
    package = PACKAGE.replace("chapter2.xhtml", "gone.xhtml").encode()
    parts = read(book(**{"OEBPS/content.opf": package}), tmp_path, name="a.epub")
    assert [(issue.code, issue.page) for issue in issues(parts)] == [("page_unreadable", 2)]


@pytest.mark.parametrize("broken", [b"<broken", b"<package/>", b""])
def test_book_without_chapters_is_refused(tmp_path: Path, broken: bytes) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        read(book(**{"OEBPS/content.opf": broken}), tmp_path, name="a.epub")
    assert caught.value.code == "corrupt_document"


def test_addresses_never_leave_the_book(tmp_path: Path) -> None:
    chapter = CHAPTER.format(
        '<p>safe<img src="file:///etc/hostname"/><img src="../../../../etc/hostname"/>'
        '<img src="https://example.org/far.png"/></p>'
    )
    parts = read(book(**{"OEBPS/text/chapter 1.xhtml": chapter.encode()}), tmp_path, name="a.epub")
    assert len(pictures(parts)) == 1
    assert issues(parts) == []


def test_too_many_chapters_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TooLarge) as caught:
        read(DATA / "book.epub", tmp_path, limits=Limits(max_pages=1))
    assert caught.value.code == "too_many_pages"


def test_drawn_cover_page_gives_its_picture_and_words(tmp_path: Path) -> None:
    chapter = CHAPTER.format(
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"><title>x</title>'
        '<image xlink:href="../images/cover.png" width="60" height="80"/><text>Tales</text></svg>'
    )
    parts = read(book(**{"OEBPS/text/chapter 1.xhtml": chapter.encode()}), tmp_path, name="a.epub")
    assert isinstance(parts[0], DocumentInfo)
    assert text_of(parts).startswith("Tales")
    assert [picture.width for picture in pictures(parts)] == [60]


def test_formulas_are_read_on_one_line(tmp_path: Path) -> None:
    chapter = CHAPTER.format(
        '<p>So <math xmlns="http://www.w3.org/1998/Math/MathML"><mi>E</mi><mo>=</mo><mi>m</mi><msup><mi>c</mi><mn>2</mn>'
        "</msup></math>.</p>"
    )
    parts = read(book(**{"OEBPS/text/chapter 1.xhtml": chapter.encode()}), tmp_path, name="a.epub")
    assert pages(parts)[0].text == "So E = mc² ."
    assert pages(parts)[0].blocks[0].kind is BlockKind.PARAGRAPH
