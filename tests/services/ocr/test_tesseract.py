"""Tesseract: which installation is found, what it reads, and how it fails; pages in order from parallel processes."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from services.content import BlockKind, Limits
from services.errors import CapabilityMissing, UnreadableDocument
from services.ocr.base import NoOcr
from services.ocr.layout import Line, LooseBlock, LooseWord, compose
from services.ocr.tesseract.drivers import AUTOMATIC, BLOCK, COLUMN, Orientation, ProcessDriver, TesseractWord
from services.ocr.tesseract.engine import TesseractEngine
from services.ocr.tesseract.install import TesseractInstall, find_tesseract
from services.ocr.window import OcrWindow

DATA = Path(__file__).parents[2] / "data"
LEASE = "The tenant shall pay the monthly rent of 1,250 euros in advance"


@pytest.fixture(scope="module")
def install(tmp_path_factory: pytest.TempPathFactory) -> TesseractInstall:
    found = find_tesseract(cache_dir=tmp_path_factory.mktemp("cache"))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def letter() -> Image.Image:
    with Image.open(DATA / "letter.png") as image:
        return image.convert("L")


def test_an_installation_tells_its_version_languages_and_orientation_data(install: TesseractInstall) -> None:
    assert install.version[0].isdigit()
    assert "eng" in install.languages
    assert "osd" not in install.languages
    assert install.reads_orientation
    assert install.origin in ("system", "wheel")


def test_explicit_program_that_does_not_run_is_not_replaced(tmp_path: Path) -> None:
    assert find_tesseract(tmp_path / "absent") is None
    liar = tmp_path / "tesseract"
    liar.write_text("#!/bin/sh\necho something else\n")
    liar.chmod(0o755)
    assert find_tesseract(liar) is None


def test_explicit_program_is_used(install: TesseractInstall) -> None:
    found = find_tesseract(install.program)
    assert found is not None
    assert (found.program, found.version) == (install.program, install.version)


def test_data_folder_is_made_once_by_many_at_a_time(install: TesseractInstall, tmp_path: Path) -> None:
    if install.origin == "system":
        assert install.tessdata_dir is None
        return
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: find_tesseract(cache_dir=tmp_path), range(4)))
    assert len({f.tessdata_dir for f in found if f}) == 1
    assert [p.name for p in (tmp_path / "tessdata").iterdir()] == [found[0].tessdata_dir.name]  # type: ignore[union-attr]


def test_environment_of_this_process_is_left_alone(install: TesseractInstall, letter: Image.Image) -> None:
    before = dict(os.environ)
    TesseractEngine(install).read(letter, languages=("eng",), dpi=150, timeout_s=60)
    assert dict(os.environ) == before


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_a_page_turned_any_way_reads_alike(install: TesseractInstall, letter: Image.Image, turn: int) -> None:
    # Pillow turns counterclockwise, so the reader has to turn clockwise by as much.
    turned = letter.rotate(turn, expand=True)
    result = TesseractEngine(install).read(turned, languages=("eng",), dpi=150, timeout_s=60)
    assert result.rotation == turn
    assert result.text.startswith("LEASE AGREEMENT\n\n" + LEASE)
    assert result.confidence > 0.9
    x0, y0, x1, y1 = result.words[0].box
    width, height = turned.width * 72 / 150, turned.height * 72 / 150
    upright = {
        0: (x0, y0, x1, y1),
        90: (height - y1, x0, height - y0, x1),
        180: (width - x1, height - y1, width - x0, height - y0),
        270: (y0, width - x1, y1, width - x0),
    }[turn]
    assert upright == pytest.approx((59, 60.5, 101.8, 71), abs=1.5)


def test_words_and_blocks_slice_the_text(install: TesseractInstall, letter: Image.Image) -> None:
    leaning = letter.rotate(3, fillcolor=255)
    result = TesseractEngine(install).read(leaning, languages=("eng",), dpi=150, timeout_s=60)
    assert LEASE in result.text
    for word in result.words:
        assert result.text[word.char_start : word.char_end] == word.text
        assert word.confidence is not None
        assert 0 <= word.confidence <= 1
    assert "".join(result.text[b.char_start : b.char_end] for b in result.blocks) == result.text.replace("\n\n", "")


def test_empty_paper_has_no_text(install: TesseractInstall) -> None:
    result = TesseractEngine(install).read(Image.new("L", (400, 300), 255), languages=("eng",), dpi=72, timeout_s=60)
    assert (result.text, result.words, result.confidence) == ("", (), 0.0)


def test_page_that_takes_too_long_is_stopped(install: TesseractInstall, letter: Image.Image) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        TesseractEngine(install).read(letter, languages=("eng",), dpi=150, timeout_s=0.001)
    assert caught.value.code == "ocr_timeout"


def test_missing_language_is_named_with_what_to_install(install: TesseractInstall) -> None:
    with pytest.raises(CapabilityMissing, match="tesseract-ocr-tlh") as caught:
        TesseractEngine(install).require(("eng", "tlh"))
    assert caught.value.code == "ocr_language_missing"


def test_no_ocr_says_what_to_install() -> None:
    engine = NoOcr()
    assert (engine.name, engine.languages()) == ("none", ())
    with pytest.raises(CapabilityMissing) as caught:
        engine.read(Image.new("L", (5, 5)), languages=("eng",), dpi=72, timeout_s=1)
    assert caught.value.code == "ocr_unavailable"


def test_window_reads_several_pages_at_a_time_and_holds_few(install: TesseractInstall, letter: Image.Image) -> None:
    limits = Limits(ocr_processes=2)
    waiting: list[int] = []
    lock = threading.Lock()
    with OcrWindow(TesseractEngine(install), ("eng",), limits) as window:
        futures = []
        for _ in range(4):
            futures.append(window.submit(letter, 150))
            with lock:
                waiting.append(sum(not f.done() for f in futures))
        texts = [future.result()[0].text for future in futures]
    assert max(waiting) <= limits.ocr_processes + 1
    assert all(text.startswith("LEASE AGREEMENT") for text in texts)


def line(text: str, x0: float, y0: float, letter_width: float = 6.0) -> Line:
    words = []
    for word in text.split():
        words.append(LooseWord(word, (x0, y0, x0 + letter_width * len(word), y0 + 10)))
        x0 += letter_width * (len(word) + 1)
    return Line(words, 10)


def test_wrapped_lines_are_joined_and_meant_line_ends_kept() -> None:
    prose = [line("a sentence that fills the whole of the line and goes", 0, 0), line("on after it", 0, 12)]
    verse = [
        line("short lines that end", 0, 40),
        line("where the poet wished that all of them should end", 0, 52),
        line("and nowhere else", 0, 64),
    ]
    text, words, blocks = compose([LooseBlock(BlockKind.PARAGRAPH, prose), LooseBlock(BlockKind.PARAGRAPH, verse)])
    assert text == (
        "a sentence that fills the whole of the line and goes on after it\n\n"
        "short lines that end\nwhere the poet wished that all of them should end and nowhere else"
    )
    assert all(text[w.char_start : w.char_end] == w.text for w in words)
    assert [text[b.char_start : b.char_end] for b in blocks] == text.split("\n\n")


def test_broken_words_are_joined_and_compounds_keep_their_hyphen() -> None:
    block = LooseBlock(
        BlockKind.PARAGRAPH,
        [line("the quay was re-", 0, 0), line("paired by COVID-", 0, 12), line("19 workers", 0, 24)],
    )
    text, words, _ = compose([block])
    assert text == "the quay was repaired by COVID-19 workers"
    assert [w.text for w in words] == ["the", "quay", "was", "re", "paired", "by", "COVID-", "19", "workers"]
    assert all(text[w.char_start : w.char_end] == w.text for w in words)


def test_rows_with_wide_gaps_stay_rows() -> None:
    def row(name: str, price: str, y: float) -> Line:
        return Line([LooseWord(name, (0, y, 60, y + 10)), LooseWord(price, (200, y, 240, y + 10))], 10)

    text, _, _ = compose([LooseBlock(BlockKind.PARAGRAPH, [row("Bread", "7.80", 0), row("Cake", "4.50", 12)])])
    assert text == "Bread 7.80\nCake 4.50"


class WatchedDriver:
    """The real driver, with what it was asked."""

    def __init__(self, install: TesseractInstall) -> None:
        self._driver = ProcessDriver(install)
        self.runs: list[tuple[tuple[int, int], int, bool]] = []
        self.judged = 0

    def words(
        self, image: Image.Image, languages: Sequence[str], *, psm: int, local_threshold: bool, timeout_s: float
    ) -> list[TesseractWord]:
        self.runs.append((image.size, psm, local_threshold))
        return self._driver.words(image, languages, psm=psm, local_threshold=local_threshold, timeout_s=timeout_s)

    def orientation(self, image: Image.Image, timeout_s: float) -> Orientation | None:
        self.judged += 1
        return self._driver.orientation(image, timeout_s)


def test_clean_page_is_read_once_and_not_asked_about(install: TesseractInstall, letter: Image.Image) -> None:
    driver = WatchedDriver(install)
    TesseractEngine(install, driver).read(letter, languages=("eng",), dpi=150, timeout_s=60)
    ((_, psm, _),) = driver.runs
    assert (psm, driver.judged) == (AUTOMATIC, 0)


def test_small_print_is_enlarged_before_it_is_read(install: TesseractInstall, letter: Image.Image) -> None:
    driver = WatchedDriver(install)
    small = letter.resize((letter.width // 2, letter.height // 2), Image.Resampling.BOX)
    result = TesseractEngine(install, driver).read(small, languages=("eng",), dpi=75, timeout_s=60)
    assert driver.runs[0][0][0] > 1.5 * small.width
    assert LEASE in result.text
    assert max(word.box[2] for word in result.words) <= small.width * 72 / 75


def test_strip_is_read_as_one_block_and_doubtful_pages_in_other_ways(install: TesseractInstall) -> None:
    driver = WatchedDriver(install)
    strip = Image.new("L", (400, 1000), 200)
    draw = ImageDraw.Draw(strip)
    for n in range(30):
        draw.text((20, 20 + 30 * n), f"~~ #{n} xq;zv {n * 37} //", fill=150, font=ImageFont.load_default(11))
    noise = np.random.default_rng(3).normal(0, 22, (1000, 400))
    noisy = Image.fromarray(np.clip(np.asarray(strip) + noise, 0, 255).astype(np.uint8))
    TesseractEngine(install, driver).read(noisy, languages=("eng",), dpi=100, timeout_s=60)
    assert driver.runs[0][1] == BLOCK
    assert (BLOCK, True) in [(psm, local) for _, psm, local in driver.runs]
    assert COLUMN in [psm for _, psm, _ in driver.runs]
    assert driver.judged == 1
