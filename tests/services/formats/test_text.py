from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from services.content import BlockKind
from services.errors import UnreadableDocument
from services.formats.kit.decoding import clean_text, decode_text
from services.formats.markup.text import PAGE_CHARS
from services.options import Options
from tests.data.build_samples import JAPANESE, LEASE, RUSSIAN
from tests.support.format_cases import DATA, compare_with_golden, issues, outline, pages, read, text_of


@pytest.mark.parametrize("name", ["lease.txt", "lease_cp1252.txt", "ports.csv", "ports.tsv"])
def test_sample_reads_as_its_golden_text(tmp_path: Path, name: str) -> None:
    compare_with_golden(name, outline(read(DATA / name, tmp_path)))


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (LEASE, "utf-8"),
        (LEASE, "utf-8-sig"),
        (LEASE, "utf-16"),
        (LEASE, "utf-16-le"),
        (LEASE, "utf-16-be"),
        (LEASE, "utf-32"),
        (LEASE, "utf-32-le"),
        (LEASE, "cp1252"),
        ("El niño comió jamón en España; mañana irá a León con su compañía.\n", "latin-1"),
        ("Jürgen", "latin-1"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN.replace("—", "-"), "koi8-r"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc-jp"),
        ("这是一个中文文本。根据合同第三条的规定，租金应在每月最后一天支付。\n" * 3, "gb18030"),
        ("Příliš žluťoučký kůň úpěl ďábelské ódy. Zażółć gęślą jaźń.\n" * 3, "cp1250"),
    ],
)
def test_encoding_is_found_out(text: str, encoding: str) -> None:
    assert decode_text(text.encode(encoding))[0] == text


def test_declared_encoding_is_taken_unless_it_does_not_fit() -> None:
    assert decode_text("Größe".encode("cp1252"), "iso-8859-1") == ("Größe", "cp1252")
    assert decode_text("Größe".encode(), "iso-8859-1") == ("Größe", "utf-8")
    assert decode_text("naïve".encode("cp1252"), "no-such-charset")[0] == "naïve"
    assert decode_text("naïve".encode("cp1252"), "rot13")[0] == "naïve"


def test_characters_that_cannot_be_stored_are_taken_out() -> None:
    assert clean_text("a\x00b\r\nc\rd\ud800\x7f") == "ab\nc\nd\ufffd"
    text, _ = decode_text(b"ok \xed\xa0\x80 and \xff\xfe bad utf-8 \xc3\x28 end")
    assert text.startswith("ok \ufffd")
    assert text.endswith("( end")


def test_paragraphs_are_parted_by_blank_lines(tmp_path: Path) -> None:
    (page,) = pages(read(b"one\ntwo\n \n\n  three\n", tmp_path, name="a.txt"))
    assert page.text == "one\ntwo\n\nthree"
    assert [block.kind for block in page.blocks] == [BlockKind.PARAGRAPH] * 2


def test_text_of_white_space_gives_an_empty_page(tmp_path: Path) -> None:
    (page,) = pages(read(b" \n\n \t\n", tmp_path, name="a.txt"))
    assert (page.text, page.blocks) == ("", ())


def test_very_long_text_is_cut_into_pages_at_a_blank_line(tmp_path: Path) -> None:
    paragraph = b"word " * 2000 + b"\n\n"
    found = pages(read(paragraph * (PAGE_CHARS // len(paragraph) + 10), tmp_path, name="a.txt"))
    assert [page.number for page in found] == [1, 2]
    assert all(len(page.text) <= PAGE_CHARS for page in found)
    assert found[1].text.startswith("word word")


def test_known_page_is_given_back_unchanged_and_others_left_out(tmp_path: Path) -> None:
    (first,) = pages(read(b"old", tmp_path, name="a.txt"))
    assert pages(read(b"new", tmp_path, name="a.txt", known={1: first})) == [first]
    assert pages(read(b"new", tmp_path, name="a.txt", options=Options(pages="2-"))) == []


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter_is_found_out(tmp_path: Path, delimiter: str) -> None:
    lines = ["name|city|note", "Ann|Paris|a, b; c", "Bob|Rome|d"]
    data = "\n".join('"' + line.replace("|", f'"{delimiter}"') + '"' for line in lines).encode()
    (page,) = pages(read(data, tmp_path, name="a.csv"))
    assert page.blocks[0].rows == (("name", "city", "note"), ("Ann", "Paris", "a, b; c"), ("Bob", "Rome", "d"))


def test_formulas_in_csv_stay_text(tmp_path: Path) -> None:
    assert '=HYPERLINK("x")' in text_of(read(b'a,b\n"=HYPERLINK(""x"")",2\n', tmp_path, name="a.csv"))


def test_large_csv_repeats_its_header_on_every_page(tmp_path: Path) -> None:
    data = b"name,value\n" + b"a long enough name for a row,1234567890\n" * 60_000
    found = pages(read(data, tmp_path, name="a.csv"))
    assert len(found) == 3
    assert all(page.blocks[0].rows[0] == ("name", "value") for page in found)
    assert sum(len(page.blocks[0].rows) - 1 for page in found) == 60_000


@pytest.mark.parametrize("rows", [3, 6_000])
def test_quotation_mark_without_its_pair_swallows_no_rows(tmp_path: Path, rows: int) -> None:
    data = b'a,b\n"x, y\nz",2\n"open,1\n' + b"c" * 200 + b",2\n"
    parts = read(data + (b"c" * 200 + b",2\n") * (rows - 1), tmp_path, name="a.csv")
    found = [row for page in pages(parts) for row in page.blocks[0].rows if row != ("a", "b")]
    assert found == [("x, y z", "2"), ('"open', "1"), *[("c" * 200, "2")] * rows]
    assert [issue.code for issue in issues(parts)] == ["malformed_csv"]


def test_quotation_mark_without_its_pair_in_a_tsv_is_a_character(tmp_path: Path) -> None:
    data = b'size\tname\tnote\n1\t"5 in. hose\tx\n2\tpump\ty\n3\t"rope"\tz\n4\thook\t"two\nlines"\n'
    parts = read(data, tmp_path, name="a.tsv")
    assert pages(parts)[0].blocks[0].rows == (
        ("size", "name", "note"),
        ("1", '"5 in. hose', "x"),
        ("2", "pump", "y"),
        ("3", "rope", "z"),
        ("4", "hook", "two lines"),
    )
    (issue,) = issues(parts)
    assert (issue.code, "in lines 2 (1 in all)" in issue.message) == ("malformed_csv", True)


def test_unpaired_quotation_marks_on_every_line_cost_no_quadratic_time(tmp_path: Path) -> None:
    data = b'a\tb\n1\t"\n' + b'x"\t"\n' * 20_000 + b'x"\t"1\t2\t3\n'
    assert len(pages(read(data, tmp_path, name="a.tsv"))[0].blocks[0].rows) > 1


def test_field_of_more_than_a_million_characters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        read(b"a,b\n1," + b"x" * 1_000_001 + b"\n", tmp_path, name="a.csv")
    assert caught.value.code == "malformed_csv"


def test_plain_text_is_read_without_heavy_imports(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("Words enough.")
    code = (
        "import sys; from pathlib import Path; from services.content import *; from services.options import Options\n"
        "from services.formats.base import ExtractContext; from services.formats.registry import Format\n"
        "from services.chunking.chunker import Chunker; from services.ocr.base import NoOcr\n"
        f"p = Path({str(path)!r}); c = ExtractContext(Options(), None, p.parent, Limits(), NoOcr())\n"
        "list(Format.TEXT.spec.extract(Upload(p, 'a.txt', '', '', 13), c))\n"
        "print([m for m in ('numpy', 'pydantic', 'lxml', 'docx', 'PIL', 'markdown_it') if m in sys.modules])"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "[]"
