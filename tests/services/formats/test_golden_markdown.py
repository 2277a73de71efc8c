"""Every sample as Markdown, compared with what a person has read beside the rendered page."""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path

import pytest

from services.content import Limits, Page, TextSource, Upload
from services.documents.export import page_markdown
from services.formats.base import ExtractContext
from services.formats.detection.detect import detect_format
from services.ocr.base import OcrEngine
from services.ocr.engines import find_engines, open_reader
from services.options import Options
from tests.support.libreoffice_install import libreoffice
from tests.support.paths import DATA

GOLDEN = DATA / "golden"
PASSWORDS = {"encrypted.pdf": "open sesame"}
BROKEN = frozenset({"truncated.pdf"})
OCR_LIKENESS = 0.97
"""Of texts that OCR read: engines differ by version and by processor."""

SAMPLES = sorted(
    path.name for path in DATA.iterdir() if path.is_file() and path.suffix != ".py" and path.name not in BROKEN
)


@pytest.fixture(scope="module")
def engine() -> Iterator[OcrEngine]:
    opened = open_reader(find_engines("auto"))
    yield opened
    opened.close()


def markdown_of(path: Path, folder: Path, engine: OcrEngine) -> tuple[str, bool]:
    """(the whole document, each page behind a line that numbers it; whether OCR read any of it)."""
    limits = Limits()
    context = ExtractContext(Options(), PASSWORDS.get(path.name), folder, limits, engine, libreoffice=libreoffice())
    detection = detect_format(path, path.name, limits)
    upload = Upload(path, path.name, "", "0" * 64, path.stat().st_size)
    parts: list[str] = []
    in_table = was_read = False
    for part in detection.format.spec.extract(upload, context):
        if not isinstance(part, Page):
            continue
        body = page_markdown(part.text, part.blocks, part.marks, after_table=in_table)
        in_table = body.ends_in_table
        was_read = was_read or part.source is not TextSource.NATIVE
        parts.append(f"<!-- page {part.number} -->\n\n{body.text}".rstrip() + "\n")
    return "\n".join(parts), was_read


@pytest.mark.parametrize("name", SAMPLES)
def test_sample_reads_as_it_did(name: str, tmp_path: Path, engine: OcrEngine) -> None:
    found, was_read = markdown_of(DATA / name, tmp_path, engine)
    golden = GOLDEN / f"{name}.md"
    if os.environ.get("DOCATLAS_REWRITE_GOLDEN") == "1":
        golden.write_text(found, encoding="utf-8")
    expected = golden.read_text(encoding="utf-8")
    if was_read:
        assert SequenceMatcher(None, found, expected, autojunk=False).ratio() >= OCR_LIKENESS
    else:
        assert found == expected


def test_no_golden_text_is_left_of_a_sample_that_is_gone() -> None:
    assert {path.name for path in GOLDEN.glob("*.md")} == {f"{name}.md" for name in SAMPLES}
