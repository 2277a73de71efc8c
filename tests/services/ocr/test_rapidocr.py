"""RapidOCR: what it reads, its words and boxes, the ways up, and the order of what it finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from services.content import BlockKind
from services.errors import CapabilityMissing, UnreadableDocument
from services.ocr.layout import LooseWord, compose
from services.ocr.rapidocr.engine import RapidOcrEngine
from services.ocr.rapidocr.models import LATIN, RapidOcrModels, decode, find_rapidocr, is_latin
from services.ocr.rapidocr.ordering import FoundLine, arrange

DATA = Path(__file__).parents[2] / "data"

LETTERS = {
    "ces": "áčďéěíňóřšťúůýž", "cym": "âêîôûŵŷ", "dan": "æøå", "deu": "äöüßÄÖÜ", "est": "õäöüšž", "fra": "éèêëàâùûîïôçœ",
    "hrv": "čćđšž", "hun": "áéíóöőúüű", "isl": "áðéíóúýþæö", "lav": "āčēģīķļņšūž", "lit": "ąčęėįšųūž", "mlt": "ċġħż",
    "nld": "ëïé", "pol": "ąćęłńóśźż", "por": "ãõçáéíóú", "ron": "ăâîșț", "slk": "áäčďéíĺľňóôŕšťúýž", "spa": "ñáéíóúü¿",
    "sqi": "çë", "swe": "åäö", "tur": "çğıöşüİ", "aze": "əğıöçş", "cat": "àçèéíïòóúü·",
}  # fmt: skip


@pytest.fixture(scope="module")
def engine() -> RapidOcrEngine:
    install = find_rapidocr()
    assert install is not None
    return RapidOcrEngine(install)


def read(engine: RapidOcrEngine, image: Image.Image, dpi: float = 150) -> str:
    return engine.read(image, languages=("eng",), dpi=dpi, timeout_s=120).text


def small_letter() -> Image.Image:
    with Image.open(DATA / "letter.png") as image:
        return image.convert("L").crop((0, 0, image.width, 420))


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_a_page_turned_any_way_reads_alike(engine: RapidOcrEngine, turn: int) -> None:
    turned = small_letter().rotate(turn, expand=True)
    result = engine.read(turned, languages=("eng",), dpi=150, timeout_s=120)
    assert result.rotation == turn
    assert result.engine == "rapidocr"
    assert result.text.startswith("LEASE AGREEMENT\n\n")
    assert result.confidence > 0.9
    x0, y0, x1, y1 = result.words[0].box
    width, height = turned.width * 72 / 150, turned.height * 72 / 150
    upright = {
        0: (x0, y0, x1, y1),
        90: (height - y1, x0, height - y0, x1),
        180: (width - x1, height - y1, width - x0, height - y0),
        270: (y0, width - x1, y1, width - x0),
    }[turn]
    assert result.words[0].text == "LEASE"
    assert upright == pytest.approx((59, 60.5, 101.8, 71), abs=4)


def test_words_of_a_skewed_page_slice_its_text_in_order(engine: RapidOcrEngine) -> None:
    leaning = small_letter().rotate(4, fillcolor=255, resample=Image.Resampling.BICUBIC)
    result = engine.read(leaning, languages=("eng",), dpi=150, timeout_s=120)
    assert "The tenant shall pay the monthly rent" in result.text
    for word in result.words:
        assert result.text[word.char_start : word.char_end] == word.text
        assert word.confidence is not None
        assert 0 <= word.confidence <= 1


def test_receipt_keeps_its_rows(engine: RapidOcrEngine) -> None:
    with Image.open(DATA / "receipt.webp") as image:
        lines = read(engine, image.convert("L")).splitlines()
    assert any("Rye bread" in line and line.rstrip().endswith("7.80") for line in lines)


def test_lone_digit_is_read_standing(engine: RapidOcrEngine) -> None:
    image = Image.new("L", (600, 200), 255)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(32)
    draw.text((20, 20), "Quantity of the goods", fill=0, font=font)
    draw.text((500, 20), "7", fill=0, font=font)
    assert read(engine, image).split()[-1] == "7"


def test_empty_paper_and_a_speck_have_no_text(engine: RapidOcrEngine) -> None:
    for size in ((400, 300), (3, 3)):
        result = engine.read(Image.new("L", size, 255), languages=("eng",), dpi=72, timeout_s=60)
        assert (result.text, result.words, result.confidence) == ("", (), 0.0)


def test_page_that_takes_too_long_is_stopped(engine: RapidOcrEngine) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        engine.read(small_letter(), languages=("eng",), dpi=150, timeout_s=0.0)
    assert caught.value.code == "ocr_timeout"


def test_languages_are_those_whose_letters_the_model_knows(engine: RapidOcrEngine) -> None:
    models = RapidOcrModels(engine.install)
    known = models.characters()
    assert set(LETTERS) <= set(LATIN)
    assert {code: set(letters) - known for code, letters in LETTERS.items() if set(letters) - known} == {}
    assert all(is_latin(letter) for letters in LETTERS.values() for letter in letters)
    assert not set("абвжщ") & known
    with pytest.raises(CapabilityMissing) as caught:
        engine.require(("eng", "rus"))
    assert (caught.value.code, caught.value.facts["missing"]) == ("ocr_language_missing", ["rus"])
    engine.require(("auto",))


def test_other_scripts_are_no_latin() -> None:
    assert not any(map(is_latin, "入口θЖ一Ａあ"))
    assert all(map(is_latin, "Aé€£§–“”•½²ß"))


def test_likely_space_parts_words_and_repeated_letters_need_a_blank() -> None:
    characters = ["", "a", "b", " "]
    odds = np.zeros((8, 4), dtype=np.float32)
    for step, (best, space) in enumerate([(1, 0), (1, 0), (0, 0), (1, 0), (0, 0.3), (2, 0), (0, 0.02), (2, 0)]):
        odds[step, best], odds[step, 3] = 0.6, space
    assert "".join(letter.text for letter in decode(odds, characters, 1 / 8)) == "aa bb"


def found(text: str, x0: float, y0: float, width: float) -> FoundLine:
    return FoundLine((LooseWord(text, (x0, y0, x0 + width, y0 + 10)),), (x0, y0, x0 + width, y0 + 10))


def test_columns_of_prose_are_read_one_after_the_other_under_their_heading() -> None:
    lines = [found("heading", 0, 0, 300)]
    for n in range(8):
        lines += [found(f"left{n}", 0, 30 + 12 * n, 140), found(f"right{n}", 160, 30 + 12 * n, 140)]
    text, _, _ = compose(arrange(lines, 1.0))
    expected = ["heading", *(f"left{n}" for n in range(8)), *(f"right{n}" for n in range(8))]
    assert text.split() == expected


def test_labels_and_values_stay_on_their_rows() -> None:
    lines = [found(f"label{n}", 0, 20 * n, 40) for n in range(8)] + [
        found(f"{n}.50", 200, 20 * n + 2, 20) for n in range(8)
    ]
    text, _, blocks = compose(arrange(lines, 1.0))
    assert [row.split() for row in text.splitlines() if row] == [[f"label{n}", f"{n}.50"] for n in range(8)]
    assert {block.kind for block in blocks} == {BlockKind.PARAGRAPH}
