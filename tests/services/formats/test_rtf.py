from __future__ import annotations

from pathlib import Path

import pytest

from services.content import BlockKind, DocumentInfo, Limits
from services.errors import TooLarge, UnreadableDocument
from services.options import Options
from tests.support.format_cases import DATA, compare_with_golden, issues, outline, pages, pictures, read, text_of


def rtf(inside: str) -> bytes:
    return (r"{\rtf1\ansi\ansicpg1252 " + inside + "}").encode("latin-1")


def test_sample_reads_as_its_golden_text(tmp_path: Path) -> None:
    compare_with_golden("letter.rtf", outline(read(DATA / "letter.rtf", tmp_path)))


def test_picture_has_its_words(tmp_path: Path) -> None:
    (picture,) = pictures(read(DATA / "letter.rtf", tmp_path))
    assert (picture.alt, picture.caption, picture.width) == ("Gauge", "Figure 1: The gauge", 48)


def test_pages_asked_for_and_pages_known(tmp_path: Path) -> None:
    first, second = pages(read(DATA / "letter.rtf", tmp_path))
    assert pages(read(DATA / "letter.rtf", tmp_path, options=Options(pages="2"))) == [second]
    again = read(DATA / "letter.rtf", tmp_path, known={1: first})
    assert pages(again)[0] is first
    assert pictures(again) == []


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        (r"\u8220?quoted\u8221?", "“quoted”"),
        (r"\uc2\u8364xxa", "€a"),
        (r"\uc0\u8364a", "€a"),
        (r"\uc1\u8364\'80a", "€a"),
        (r"{\fonttbl{\f1\fcharset128 Gothic;}}\f1 \'8f\'80a", "準a"[:0] + bytes([0x8F, 0x80]).decode("cp932") + "a"),
        (r"{\fonttbl{\f0\fcharset238 A;}}\deff0\plain \'b3", "ł"),
        (r"a\~b\_c\-d\tab e\emdash f", "a\u00a0b\u2011cd\te—f"),
        ("split\r\n over lines", "split over lines"),
        (r"{\upr{\*\bkmkstart x}{\*\ud{kept}}}", "kept"),
        (r"{\object{\*\objdata 0102}{\result shown}}", "shown"),
        (r"{\*\unknown {hidden {deep}}}shown", "shown"),
        (r"a{\xe index}b", "ab"),
    ],
)
def test_characters(tmp_path: Path, inside: str, expected: str) -> None:
    assert text_of(read(rtf(inside), tmp_path, name="a.rtf")) == expected


def test_bytes_above_127_are_read_in_the_code_page_of_the_document(tmp_path: Path) -> None:
    assert text_of(read(rb"{\rtf1\ansi\ansicpg1251 " + "Договор".encode("cp1251") + b"}", tmp_path, name="a.rtf")) == (
        "Договор"
    )


def test_binary_picture_may_hold_braces(tmp_path: Path) -> None:
    from tests.data.build_samples import picture_bytes

    data = picture_bytes() + b"}}{\\par"
    source = b"{\\rtf1 before{\\pict\\pngblip\\bin%d %b}after}" % (len(data), data)
    parts = read(source, tmp_path, name="a.rtf")
    assert text_of(parts) == "beforeafter"
    assert len(pictures(parts)) == 1


def test_groups_nested_beyond_reason_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        read(rtf("{" * 100_000 + "x"), tmp_path, name="a.rtf")
    assert caught.value.code == "nesting_too_deep"


def test_file_that_is_cut_off_is_read_to_its_end(tmp_path: Path) -> None:
    source = (DATA / "letter.rtf").read_bytes()
    parts = read(source[: len(source) * 2 // 3], tmp_path, name="a.rtf")
    assert "Findings" in text_of(parts)
    assert "document_cut_off" in [issue.code for issue in issues(parts)]


def test_braces_without_a_partner_do_no_harm(tmp_path: Path) -> None:
    assert text_of(read(rtf(r"a}}}}b{\par"), tmp_path, name="a.rtf")) == "a"


def test_pages_are_counted_before_the_first_is_given(tmp_path: Path) -> None:
    source = rtf(r"one\page\page two{\footnote a\page b}\sect three\page ")
    padded = source[:-1] + b" " * 4_000_000 + b"}"  # a long file is read twice
    for data in (source, padded):
        parts = read(data, tmp_path, name="a.rtf", options=Options(pages="2"))
        assert parts[0] == DocumentInfo(page_count=4)
        assert [page.number for page in pages(parts)] == [2]


def test_too_many_pages_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TooLarge) as caught:
        read(rtf(r"x\page " * 9), tmp_path, name="a.rtf", limits=Limits(max_pages=5))
    assert caught.value.code == "too_many_pages"


def test_broken_picture_is_an_issue(tmp_path: Path) -> None:
    parts = read(rtf(r"a{\pict\pngblip 89504e470d0a1a0a00}"), tmp_path, name="a.rtf")
    assert [issue.code for issue in issues(parts)] == ["picture_unreadable"]
    assert text_of(parts) == "a"


@pytest.mark.parametrize(
    "hostile",
    [r"\bin9999999999 x", r"\u99999999?" * 1000, r"{\footnote " * 50, r"\cell\row" * 20_000, r"\'" * 10_000,
     r"{\field{\*\fldinst{HYPERLINK " + "a" * 100_000 + "}}", r"{\deleted x}" * 20_000, r"\trowd\page\sect" * 1000],
)  # fmt: skip
def test_hostile_words_end(tmp_path: Path, hostile: str) -> None:
    assert pages(read(rtf(hostile), tmp_path, name="a.rtf"))


def test_footers_come_below_and_once(tmp_path: Path) -> None:
    inside = r"{\footer Again\par}one\sect{\footer Again\par}two"
    found = pages(read(rtf(inside), tmp_path, name="a.rtf"))
    assert [page.text for page in found] == ["one\n\nAgain", "two"]
    assert found[0].blocks[1].kind is BlockKind.PAGE_FOOTER
