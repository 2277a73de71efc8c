from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import pytest

from services.content import Block, BlockKind, Limits, Page
from services.errors import DocatlasError, TooLarge
from services.options import Options
from tests.support.format_cases import DATA, compare_with_golden, outline, pages, read, text_of

SAMPLE = DATA / "legacy.xls"


def test_sample_reads_as_its_golden_text(tmp_path: Path) -> None:
    compare_with_golden("legacy.xls", outline(read(SAMPLE, tmp_path)))


def test_old_and_new_format_show_the_same_tables(tmp_path: Path) -> None:
    old, new = (pages(read(DATA / name, tmp_path)) for name in ("legacy.xls", "workbook.xlsx"))
    assert [[b.rows for b in p.blocks if b.rows] for p in old] == [[b.rows for b in p.blocks if b.rows] for p in new]


def test_hidden_sheet_is_kept_and_marked(tmp_path: Path) -> None:
    last = pages(read(SAMPLE, tmp_path))[-1]
    assert all(block.hidden for block in last.blocks)


def test_only_pages_that_are_asked_for_are_given_and_known_ones_unchanged(tmp_path: Path) -> None:
    known = Page(2, "stored", blocks=(Block(BlockKind.PARAGRAPH, 0, 6),))
    found = pages(read(SAMPLE, tmp_path, options=Options(pages="2-3"), known={2: known}))
    assert [page.number for page in found] == [2, 3]
    assert found[0] == known


def test_pages_and_text_are_limited(tmp_path: Path) -> None:
    for limits, code in ((Limits(max_pages=2), "too_many_pages"), (Limits(max_unpacked_bytes=50), "text_too_large")):
        with pytest.raises(TooLarge) as caught:
            read(SAMPLE, tmp_path, limits=limits)
        assert caught.value.code == code


def test_properties_without_end_do_not_keep_the_reader_busy(tmp_path: Path) -> None:
    data = bytearray(SAMPLE.read_bytes())
    start = data.index(b"\xe0\x85\x9f\xf2\xf9\x4f\x68\x10\xab\x91\x08\x00\x2b\x27\xb3\xd9")  # FMTID_SummaryInformation
    section = start - 28 + int.from_bytes(data[start + 16 : start + 20], "little")
    data[section + 4 : section + 8] = b"\xff\xff\xff\x7f"
    assert "Berth fees 2026" in text_of(read(bytes(data), tmp_path, name="a.xls"))


def test_damaged_files_end_in_a_clear_error_or_a_partial_result(tmp_path: Path) -> None:
    whole = SAMPLE.read_bytes()
    dice = random.Random(7)
    for _ in range(150):
        data = bytearray(whole[: dice.choice((len(whole), dice.randrange(2000, len(whole))))])
        for _ in range(dice.randrange(1, 12)):
            data[dice.randrange(600, len(data))] = dice.randrange(256)
        with suppress(DocatlasError):  # any other error fails the test
            text_of(read(bytes(data), tmp_path, name="a.xls"))
