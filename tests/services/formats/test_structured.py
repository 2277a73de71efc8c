"""XML, reStructuredText, JSON, JSON Lines, notebooks and SVG: what is read, and what is refused."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from services.content import BlockKind, Limits
from services.errors import TooLarge, UnreadableDocument
from services.formats.data import json_values
from services.formats.markup.xml import PAGE_CHARS
from services.formats.page_images import render_page
from services.formats.registry import Format
from services.options import Options
from tests.data.build_samples import picture_bytes
from tests.data.build_structured import ANALYSIS, SAMPLES
from tests.support.format_cases import DATA, compare_with_golden, issues, outline, pages, pictures, read, text_of

LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;"><!ENTITY c "&b;&b;&b;">]>
<l>&c;</l>"""
OUTSIDE = b"""<?xml version="1.0"?><!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]><l><a>seen</a><b>&x;</b></l>"""


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_sample_is_read_as_a_person_would(tmp_path: Path, name: str) -> None:
    assert (DATA / name).read_bytes() == SAMPLES[name]
    compare_with_golden(name, outline(read(DATA / name, tmp_path)))


def xml(tmp_path: Path, source: str | bytes, name: str = "a.xml") -> list[str]:
    data = source.encode() if isinstance(source, str) else source
    return [block_text for page in pages(read(data, tmp_path, name=name)) for block_text in page.text.split("\n\n")]


def test_words_on_one_line_stay_one_paragraph(tmp_path: Path) -> None:
    source = "<d><p><b>Hello</b> <i>dear</i> world</p><r><a>x</a><b>y</b></r><q>\n<a>one</a>\n<a>two</a>\n</q></d>"
    assert xml(tmp_path, source) == ["Hello dear world", "x", "y", "one", "two"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-5", "koi8-r", "windows-1251"])
def test_xml_in_any_encoding_is_read(tmp_path: Path, encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?><a><b>Договор аренды</b><c>срок — год</c></a>'
    assert xml(tmp_path, text.replace("—", "и").encode(encoding)) == ["Договор аренды", "срок и год"]


def test_harmless_entities_are_put_in_and_others_left_out(tmp_path: Path) -> None:
    source = '<!DOCTYPE d [<!ENTITY co "Harbour &amp; Sons">]><d><a>&co;&nbsp;&eacute;</a><b t="&lt;">&what;</b></d>'
    assert xml(tmp_path, source) == ["Harbour & Sons é", "&what;"]


def test_entities_made_of_entities_are_refused(tmp_path: Path) -> None:
    for data, name in ((LAUGHS, "a.xml"), (LAUGHS.replace(b"<l>", b"<svg>").replace(b"</l>", b"</svg>"), "a.svg")):
        with pytest.raises(UnreadableDocument) as caught:
            read(data, tmp_path, name=name)
        assert caught.value.code == "xml_entities"


def test_entity_that_blows_the_text_up_is_refused(tmp_path: Path) -> None:
    data = f'<!DOCTYPE d [<!ENTITY a "{"x" * 50_000}">]><d>{"&a;" * 50}</d>'
    with pytest.raises(UnreadableDocument) as caught:
        read(data.encode(), tmp_path, name="a.xml")
    assert caught.value.code == "xml_entities"


def test_text_outside_the_file_is_never_fetched(tmp_path: Path) -> None:
    parts = read(OUTSIDE, tmp_path, name="a.xml")
    assert text_of(parts) == "seen"
    assert [issue.code for issue in issues(parts)] == ["xml_entities"]


def test_table_of_docbook_is_a_table(tmp_path: Path) -> None:
    source = (
        "<article><title>T</title><table><tgroup><thead><row><entry>A</entry><entry>B</entry></row></thead><tbody>"
        "<row><entry><para>1</para></entry><entry>2</entry></row></tbody></tgroup></table><para>after</para></article>"
    )
    (page,) = pages(read(source.encode(), tmp_path, name="a.xml"))
    assert [block.kind for block in page.blocks] == [BlockKind.HEADING, BlockKind.TABLE, BlockKind.PARAGRAPH]
    assert page.blocks[1].rows == (("A", "B"), ("1", "2"))


def test_xml_that_nests_too_deep_is_refused(tmp_path: Path) -> None:
    for depth in (101, 300, 100_000):
        with pytest.raises(UnreadableDocument) as caught:
            read(b"<a>" * depth + b"x" + b"</a>" * depth, tmp_path, name="a.xml")
        assert caught.value.code == "nesting_too_deep"


def test_damaged_xml_is_read_up_to_the_damage(tmp_path: Path) -> None:
    parts = read(b"<?xml version='1.0'?><a><b>one</b><c>two</c><d>thr", tmp_path, name="a.xml")
    assert text_of(parts) == "one\n\ntwo\n\nthr"
    assert [issue.code for issue in issues(parts)] == ["malformed_xml"]
    with pytest.raises(UnreadableDocument) as caught:
        read(b"<?xml version='1.0'?><a <", tmp_path, name="a.xml")
    assert caught.value.code == "malformed_xml"


def test_long_xml_is_cut_into_pages(tmp_path: Path) -> None:
    row = b"<r><a>" + b"word " * 200 + b"</a></r>\n"
    found = pages(read(b"<d>" + row * 5_000 + b"</d>", tmp_path, name="a.xml"))
    assert [page.number for page in found] == [1, 2, 3, 4, 5]
    assert all(len(page.text) < PAGE_CHARS + 2_000 for page in found)


def test_rst_includes_no_file_and_no_raw_markup(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("SECRET")
    source = (
        "Words.\n\n.. include:: secret.txt\n.. csv-table::\n   :file: secret.txt\n\n.. raw:: html\n\n   <b>RAW</b>\n"
    )
    text = text_of(read(source.encode(), tmp_path, name="a.rst"))
    assert "Words." in text
    assert "SECRET" not in text
    assert "RAW" not in text


def test_cells_below_a_cell_of_several_rows_stay_in_their_columns(tmp_path: Path) -> None:
    source = (
        "+---+---+---+\n| A | B | C |\n+===+===+===+\n| 1 | 2 | 3 |\n|   +---+---+\n|   | 4 | 5 |\n"
        "+---+---+   +\n| 6 | 7 |   |\n+---+---+---+\n"
    )
    (page,) = pages(read(source.encode(), tmp_path, name="a.rst"))
    assert page.blocks[0].rows == (("A", "B", "C"), ("1", "2", "3"), ("", "4", "5"), ("6", "7", ""))
    wide = "+---+---+---+\n| A     | C |\n|       +---+\n|       | D |\n+---+---+---+\n| 1 | 2 | 3 |\n+---+---+---+\n"
    (page,) = pages(read(wide.encode(), tmp_path, name="b.rst"))
    assert page.blocks[0].rows == (("A", "", "C"), ("", "", "D"), ("1", "2", "3"))


def test_directives_and_roles_of_sphinx_keep_their_words(tmp_path: Path) -> None:
    source = "See :ref:`the quay <quay>` and :py:func:`fee`.\n\n.. versionadded:: 2.0\n   :mark: x\n\n   Pays twice.\n"
    assert text_of(read(source.encode(), tmp_path, name="a.rst")) == "See the quay and fee.\n\n2.0\n\nPays twice."


def test_rst_that_nests_too_deep_is_refused(tmp_path: Path) -> None:
    source = "".join(" " * depth + "- x\n\n" for depth in range(0, 1200, 2))
    with pytest.raises(UnreadableDocument) as caught:
        read(source.encode(), tmp_path, name="a.rst")
    assert caught.value.code == "nesting_too_deep"


def test_numbers_of_json_stay_as_they_are_written(tmp_path: Path) -> None:
    data = b'{"price": 2.50, "big": 12345678901234567890.123456789, "n": 1000000000000000000000}'
    assert text_of(read(data, tmp_path, name="a.json")) == (
        "price: 2.50\nbig: 12345678901234567890.123456789\nn: 1000000000000000000000"
    )
    lines = b'{"a": 1.50}\n{"a": 2e5}\n'
    assert text_of(read(lines, tmp_path, name="a.jsonl")) == "a\n1.50\n2e5"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"[]", ""),
        (b"{}", ""),
        (b"null", "null"),
        (b'"one string"', "one string"),
        (b"[1, [2, 3], {}]", "1\n2, 3"),
        (b'{"a": {"b": {"c": {"d": 1}}}}', "a.b.c\n\nd: 1"),
        (b'{"a": NaN, "b": [Infinity, -Infinity]}', "a: NaN\n\nb\n\nInfinity\n-Infinity"),
        (b'{"a": "values: NaN, 3", "b": "\\\\", "c": NaN }', "a: values: NaN, 3\nb: \\\nc: NaN"),
        (b'{"a": "\\", NaN, \\"", /* a " mark: NaN, */ "b": NaN} // "', 'a: ", NaN, "\nb: NaN'),
        (
            b'[{"a": 1}, {"a": 2, "b": true}, {"c": [1, {"d": 2}]}]',
            "a | b\n1 | \n2 | true\n\n[2].c\n\n1\n\n[2].c[1]\n\nd: 2",
        ),
    ],
)
def test_json_is_laid_out_for_readers(tmp_path: Path, data: bytes, expected: str) -> None:
    assert text_of(read(data, tmp_path, name="a.json")) == expected


def test_large_array_of_records_repeats_its_header_on_every_page(tmp_path: Path) -> None:
    note = "moored in the northern basin, " * 3
    columns = ("name", "length", *(f"note {n}" for n in range(40)))
    records = [dict(zip(columns, (f"boat {n}", n, *[note] * 40), strict=True)) for n in range(1_100)]
    for data, name, count in (
        (json.dumps({"boats": records}).encode(), "a.json", 1_100),
        ("\n".join(map(json.dumps, records[:600])).encode(), "a.jsonl", 600),
    ):
        found = pages(read(data, tmp_path, name=name))
        tables = [block for page in found for block in page.blocks if block.kind is BlockKind.TABLE]
        assert len(found) == len(tables) > 2
        assert {table.rows[0] for table in tables} == {columns}
        assert sum(len(table.rows) - 1 for table in tables) == count
        assert all(len(page.text) < 2 * json_values.PAGE_CHARS for page in found)


def test_records_that_share_few_keys_do_not_blow_the_text_up(tmp_path: Path) -> None:
    data = json.dumps([{"id": n, f"key {n}": "word"} for n in range(3_000)]).encode()
    text = text_of(read(data, tmp_path, name="a.json"))
    assert len(text) < 2 * len(data)
    assert all(f"key {n}" in text for n in (0, 1_499, 2_999))
    optional = [{"id": n, **({"note": "dry"} if n % 50 == 0 else {})} for n in range(300)]
    (page,) = pages(read(json.dumps(optional).encode(), tmp_path, name="b.json"))
    assert [len(block.rows) for block in page.blocks] == [301]


def test_damaged_json_is_read_up_to_the_damage(tmp_path: Path) -> None:
    parts = read(b'{"a": "one", "b": "two", "c": tru', tmp_path, name="a.json")
    assert text_of(parts) == "a: one\nb: two"
    assert [issue.code for issue in issues(parts)] == ["malformed_json"]
    for data, name in ((b"{a: 1}", "a.json"), (b'{"a"\n{"b"\n', "a.jsonl")):
        with pytest.raises(UnreadableDocument) as caught:
            read(data if name == "a.jsonl" else b"[x]" + data, tmp_path, name=name)
        assert caught.value.code == "malformed_json"


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.ipynb"])
def test_json_that_nests_too_deep_is_refused(tmp_path: Path, name: str) -> None:
    for depth in (150, 100_000)[name == "a.ipynb" :]:
        value = b'{"nbformat": 4, "cells": ' * (name == "a.ipynb") + b"[" * depth + b"]" * depth
        with pytest.raises(UnreadableDocument) as caught:
            read(value + b"}" * (name == "a.ipynb") + b"\n", tmp_path, name=name)
        assert caught.value.code in ("nesting_too_deep", "malformed_json")


def test_many_bad_lines_are_summed_up(tmp_path: Path) -> None:
    data = b'{"a": 1}\n' * 100 + b"{bad\n" * 50
    codes = [issue.message for issue in issues(read(data, tmp_path, name="a.jsonl"))]
    assert len(codes) == 21
    assert "30 further lines" in codes[-1]


def test_notebook_of_format_3_is_read(tmp_path: Path) -> None:
    old = {
        "nbformat": 3,
        "worksheets": [
            {
                "cells": [
                    {"cell_type": "heading", "level": 2, "source": ["Tides"]},
                    {
                        "cell_type": "code",
                        "language": "python",
                        "input": "1+1",
                        "outputs": [{"output_type": "pyout", "text": ["2"]}],
                    },
                ]
            }
        ],
    }
    (page,) = pages(read(json.dumps(old).encode(), tmp_path, name="a.ipynb"))
    assert [(block.kind.value, block.language) for block in page.blocks] == [
        ("heading", ""),
        ("code", "python"),
        ("code", ""),
    ]


def test_notebook_leaves_out_pictures_that_are_not_wanted(tmp_path: Path) -> None:
    data = json.dumps(ANALYSIS).encode()
    assert pictures(read(data, tmp_path, name="a.ipynb", options=Options(extract_images=False))) == []


def test_long_output_of_a_notebook_is_cut_off(tmp_path: Path) -> None:
    cell = {"cell_type": "code", "source": "x", "outputs": [{"output_type": "stream", "text": "line\n" * 100_000}]}
    parts = read(json.dumps({"nbformat": 4, "cells": [cell]}).encode(), tmp_path, name="a.ipynb")
    assert [issue.code for issue in issues(parts)] == ["output_cut"]


def test_notebook_without_cells_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        read(b'{"nbformat": 4, "cells": 7}', tmp_path, name="a.ipynb")
    assert caught.value.code == "malformed_notebook"


def svg(inside: str, size: str = 'width="100" height="50"') -> bytes:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:x="http://www.w3.org/1999/xlink" {size}>{inside}</svg>'.encode()
    )


def test_drawing_is_a_page_and_a_picture(tmp_path: Path) -> None:
    data = svg('<rect width="100" height="50" fill="#ff0000"/><text x="1" y="20">Red</text>')
    parts = read(data, tmp_path, name="a.svg")
    (picture,) = pictures(parts)
    with Image.open(picture.path) as shown:
        assert shown.convert("RGB").getpixel((90, 40)) == (255, 0, 0)
    rendered, media_type = render_page(tmp_path / "upload", Format.SVG, 1, 64, None, Limits())
    with Image.open(BytesIO(rendered)) as shown:
        assert (shown.size, media_type) == ((64, 32), "image/webp")


@pytest.mark.parametrize("inside", ["<text y='9'>seen &x;</text>", "<rect width='50' height='50'/>"])
def test_entity_outside_a_drawing_is_left_out_and_said(tmp_path: Path, inside: str) -> None:
    data = b'<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + svg(inside)
    parts = read(data, tmp_path, name="a.svg", options=Options(ocr="off"))
    assert "xml_entities" in [issue.code for issue in issues(parts)]
    assert text_of(parts) in ("seen", "")


def test_drawing_loads_no_file(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(picture_bytes())
    uri = base64.b64encode(picture_bytes()).decode()
    for target, drawn in ((str(tmp_path / "secret.png"), False), (f"data:image/png;base64,{uri}", True)):
        data = svg(f'<title>t</title><image x:href="{target}" width="100" height="50" preserveAspectRatio="none"/>')
        (picture,) = pictures(read(data, tmp_path, name="a.svg", options=Options(ocr="off")))
        with Image.open(picture.path) as shown:
            assert (shown.convert("RGB").getpixel((50, 25)) != (255, 255, 255)) is drawn


def test_labels_are_read_line_by_line_where_they_stand(tmp_path: Path) -> None:
    data = svg(
        '<text x="50" y="40">four</text><g transform="translate(40,0) scale(2)"><text x="10" y="5">two</text></g>'
        '<text transform="matrix(1 0 0 1 5 12)">one</text><text><tspan x="1" y="38">three</tspan></text>'
        '<switch><foreignObject><div xmlns="http://www.w3.org/1999/xhtml">full <b>label</b></div></foreignObject>'
        '<text x="0" y="80">full l…</text></switch><defs><text>unused</text></defs><text style="display:none">no</text>'
    )
    (page,) = pages(read(data, tmp_path, name="a.svg"))
    assert page.text.split("\n\n") == ["one", "two", "three", "four", "full label"]


def test_huge_or_damaged_drawing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        read(svg("<rect")[:-20], tmp_path, name="a.svg")
    assert caught.value.code == "corrupt_document"
    with pytest.raises(TooLarge) as large:
        read(svg("<g/>") + b" " * 20_000_001, tmp_path, name="a.svg")
    assert large.value.code == "picture_too_large"


def test_large_drawing_is_shown_small_and_an_enormous_one_only_read(tmp_path: Path) -> None:
    (picture,) = pictures(read(svg("<text>x</text>", 'width="9000" height="4500"'), tmp_path, name="a.svg"))
    assert (picture.width, picture.height) == (2048, 1024)
    parts = read(svg('<text y="9">x</text>', 'width="900000000" height="1"'), tmp_path, name="a.svg")
    assert text_of(parts) == "x"
    assert [issue.code for issue in issues(parts)] == ["picture_unreadable"]


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"[ ] buy rope\n[x] paint the hull\n[z]", "todo.md"),
        (b"[1, 2] berths are free\n(see the list) ]", "harbour.log"),
        (b'{"a": 1, and more}', "a.txt"),
    ],
)
def test_text_that_only_looks_like_json_is_read_as_text(tmp_path: Path, data: bytes, name: str) -> None:
    parts = read(data, tmp_path, name=name)
    assert text_of(parts) == data.decode()
    assert issues(parts) == []


def test_json_with_comments_is_read(tmp_path: Path) -> None:
    parts = read(b'{\n  // where\n  "berth": 7, /* free */ "boat": null\n}\n', tmp_path, name="settings.json")
    assert (text_of(parts), issues(parts)) == ("berth: 7\nboat: null", [])


def test_a_number_longer_than_python_takes_is_damage_and_no_crash(tmp_path: Path) -> None:
    parts = read(b'{"a": "one", "n": ' + b"1" * 200_000 + b"}", tmp_path, name="a.json")
    assert text_of(parts) == "a: one"
    assert [issue.code for issue in issues(parts)] == ["malformed_json"]


def test_paragraphs_of_a_cell_stay_apart(tmp_path: Path) -> None:
    source = b"<table><tr><td><p>one</p><p>two</p><p>three</p></td><td>a<b>b</b>c</td></tr></table>"
    (page,) = pages(read(source, tmp_path, name="a.xml"))
    assert page.text == "one two three | abc"


@pytest.mark.parametrize(
    "source",
    [
        b"*a " * 100_000,
        b"|a " * 100_000,
        b"x_ " * 100_000,
        b"+--+\n" + b"| *a *b *c |\n" * 40_000 + b"+--+\n",
        b".. |a| replace:: " + b"x" * 10_000 + b"\n\n" + b"|a| " * 20_000,
        b".. |z| replace:: word\n"
        + b"".join(b".. |%d| replace:: " % n + b"|%d| " % (n + 1) * 10 + b"\n" for n in range(7))
        + b".. |7| replace:: "
        + b"|z| " * 10
        + b"\n\n|0|\n",
    ],
    ids=["emphasis", "bars", "references", "cell", "substitution", "nested substitutions"],
)
def test_markup_that_takes_quadratic_time_is_kept_as_text(tmp_path: Path, source: bytes) -> None:
    parts = read(source, tmp_path, name="a.rst")
    assert [issue.code for issue in issues(parts)] == ["markup_kept"]


def test_substitutions_of_a_usual_size_are_put_in(tmp_path: Path) -> None:
    source = b".. |a| replace:: the |b|\n.. |b| replace:: quay\n\nSee |a|. " + b"*Soon* " * 2_000
    parts = read(source, tmp_path, name="a.rst")
    assert (text_of(parts)[:14], issues(parts)) == ("See the quay. ", [])
