"""Which engine reads a page, in processes that may hang or die, with Tesseract as a library or as a program."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
import reportlab
from PIL import Image, ImageDraw, ImageFont

from services.content import Limits
from services.errors import CapabilityMissing, UnreadableDocument
from services.ocr.auto import AutoEngine
from services.ocr.base import NoOcr, OcrEngine
from services.ocr.engines import Engines, find_engines, open_engine, open_reader, pack_engines, unpack_engines
from services.ocr.tesseract.drivers import AUTOMATIC, LibraryDriver, ProcessDriver, RunTooLong, TesseractDriver
from services.ocr.tesseract.engine import TesseractEngine
from services.ocr.tesseract.install import TesseractInstall
from services.ocr.tesseract.scripts import candidates, script_of
from services.ocr.window import OcrWindow
from services.ocr.workers import OcrWorkers
from services.sandbox.ocr_choice import open_engine as open_in_child
from services.sandbox.ocr_choice import pack_choice

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Engines:
    return find_engines(cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def install(engines: Engines) -> TesseractInstall:
    assert engines.tesseract is not None
    return engines.tesseract


@pytest.fixture(scope="module")
def letter() -> Image.Image:
    with Image.open(DATA / "letter.png") as image:
        return image.convert("L")


@pytest.fixture(scope="module")
def receipt() -> Image.Image:
    with Image.open(DATA / "receipt.webp") as image:
        return image.convert("L")


def poor_form() -> Image.Image:
    """A page in print so small and faint that Tesseract is unsure of it."""
    image = Image.new("L", (420, 560), 190)
    draw = ImageDraw.Draw(image)
    for n in range(24):
        draw.text(
            (20, 20 + 21 * n), f"Item {n}: delivered to the harbour office", fill=110, font=ImageFont.load_default(9)
        )
    return image.resize((330, 440), Image.Resampling.BILINEAR)


def test_auto_keeps_tesseracts_reading_of_a_clean_page(engines: Engines, letter: Image.Image) -> None:
    result = open_reader(engines).read(letter, languages=("eng",), dpi=150, timeout_s=120)
    assert (result.engine, result.languages) == ("tesseract", ("eng",))
    assert result.text.startswith("LEASE AGREEMENT")


def test_auto_has_rapidocr_read_what_tesseract_is_unsure_of(engines: Engines) -> None:
    result = open_reader(engines).read(poor_form(), languages=("eng",), dpi=72, timeout_s=120)
    assert result.engine == "rapidocr"
    assert "harbour" in result.text


def test_auto_has_rapidocr_read_a_long_receipt(engines: Engines, receipt: Image.Image) -> None:
    longer = Image.new("L", (receipt.width, max(receipt.height, 2 * receipt.width)), 255)
    longer.paste(receipt)
    result = open_reader(engines).read(longer, languages=("eng",), dpi=150, timeout_s=120)
    assert result.engine == "rapidocr"
    assert "7.80" in result.text


def test_auto_keeps_tesseracts_reading_of_a_long_page(engines: Engines, letter: Image.Image) -> None:
    legal = Image.new("L", (letter.width, round(1.7 * letter.width)), 255)
    legal.paste(letter)
    assert open_reader(engines).read(legal, languages=("eng",), dpi=150, timeout_s=120).engine == "tesseract"


def test_language_that_one_engine_reads_is_read_by_that_one(engines: Engines, letter: Image.Image) -> None:
    auto = open_reader(engines)
    assert isinstance(auto, AutoEngine)
    assert {"eng", "fra"} <= set(auto.languages())
    strip = letter.crop((0, 0, letter.width, 200))
    assert auto.read(strip, languages=("chi_sim",), dpi=150, timeout_s=120).engine == "rapidocr"
    with pytest.raises(CapabilityMissing) as caught:
        auto.require(("eng", "tlh"))
    assert caught.value.code == "ocr_language_missing"


def test_either_engine_works_without_the_other(engines: Engines) -> None:
    assert open_reader(Engines("auto", tesseract=engines.tesseract)).name == "tesseract"
    assert open_reader(Engines("auto", rapidocr=engines.rapidocr)).name == "rapidocr"
    assert open_reader(Engines("auto")).name == "none"
    assert find_engines("none").name == "none"
    assert find_engines("rapidocr").tesseract is None


def test_engines_survive_the_way_to_the_child(engines: Engines) -> None:
    assert unpack_engines(pack_engines(engines)) == engines
    assert pack_choice(Engines("none")) is None
    assert isinstance(open_in_child(None), NoOcr)
    opened = open_in_child(pack_choice(engines))
    assert (opened.name, opened.languages()) == (engines.name, engines.languages())


def driver_of(name: str, install: TesseractInstall) -> TesseractDriver:
    return ProcessDriver(install) if name == "process" else LibraryDriver(str(install.library_data))


@pytest.mark.parametrize("name", ["process", "library"])
def test_library_and_program_read_alike(name: str, install: TesseractInstall, letter: Image.Image) -> None:
    driver = driver_of(name, install)
    for turn in (0, 180):
        turned = letter.rotate(turn, expand=True)
        found = driver.orientation(turned, 60)
        assert found is not None
        assert (found.turn, found.script) == (turn, "Latin")
    words = driver.words(letter, ("eng",), psm=AUTOMATIC, local_threshold=False, timeout_s=60)
    assert [word.text for word in words[:2]] == ["LEASE", "AGREEMENT"]
    assert words[0].confidence > 0.9
    assert words[0].line_height > 10
    assert driver.orientation(Image.new("L", (300, 300), 255), 60) is None
    with pytest.raises(RunTooLong):
        driver.words(letter, ("eng",), psm=AUTOMATIC, local_threshold=True, timeout_s=0.001)


def test_library_reads_the_second_page_as_if_it_were_the_first(install: TesseractInstall, letter: Image.Image) -> None:
    first = LibraryDriver(str(install.library_data))
    again = LibraryDriver(str(install.library_data))
    again.words(poor_form(), ("eng",), psm=AUTOMATIC, local_threshold=True, timeout_s=60)
    given = {"psm": AUTOMATIC, "local_threshold": False, "timeout_s": 60}
    assert first.words(letter, ("eng",), **given) == again.words(letter, ("eng",), **given)  # type: ignore[arg-type]


def test_language_is_found_out_among_those_installed(install: TesseractInstall, letter: Image.Image) -> None:
    if "deu" not in install.languages:
        assert install.languages
        return
    engine = TesseractEngine(install)
    result = engine.read(letter, languages=("auto",), dpi=150, timeout_s=120)
    assert result.languages[0] == "eng"
    font = ImageFont.truetype(Path(reportlab.__file__).parent / "fonts" / "Vera.ttf", 34)
    image = Image.new("L", (1200, 500), 255)
    draw = ImageDraw.Draw(image)
    for n, line in enumerate(
        (
            "Die Behörde prüft die Anträge der Bürger",
            "und läßt über die Straße möglichst bald",
            "Öfen für die Häuser liefern",
        )
        * 3
    ):
        draw.text((40, 30 + 50 * n), line, fill=0, font=font)
    german = engine.read(image, languages=("auto",), dpi=150, timeout_s=120)
    assert german.languages[0] == "deu"
    assert "Behörde" in german.text


def test_script_narrows_the_languages_that_are_tried() -> None:
    from services.ocr.tesseract.drivers import Orientation

    installed = ("deu", "ell", "eng", "jpn", "rus", "script/Latin", "ukr")
    assert candidates(installed, Orientation(0, 5.0, "Cyrillic", 3.0)) == ["rus", "ukr"]
    assert candidates(installed, Orientation(0, 5.0, "Katakana", 3.0)) == ["jpn"]
    assert candidates(installed, Orientation(0, 5.0, "Latin", 0.1)) == ["deu", "ell", "eng", "jpn", "rus", "ukr"]
    assert candidates(installed, Orientation(0, 5.0, "Tamil", 3.0)) == ["deu", "ell", "eng", "jpn", "rus", "ukr"]
    assert script_of("script/Fraktur") == "Latin"


@pytest.fixture
def workers(install: TesseractInstall) -> OcrEngine:
    return open_engine(Engines("tesseract", tesseract=install))


def children() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children(recursive=True):
        # One that has ended meanwhile, ours or another test's, is none.
        with contextlib.suppress(psutil.NoSuchProcess):
            if "services.ocr.worker" in child.cmdline():
                found.append(child)
    return found


def test_process_reads_page_after_page_and_ends_with_the_window(workers: OcrEngine, letter: Image.Image) -> None:
    with OcrWindow(workers, ("eng",), Limits(ocr_processes=1)) as window:
        first = window.submit(letter, 150).result()[0]
        pids = [child.pid for child in children()]
        second = window.submit(letter, 150).result()[0]
        assert [child.pid for child in children()] == pids
        assert len(pids) == 1
    assert children() == []
    assert first == second
    assert first.text.startswith("LEASE AGREEMENT")
    assert all(first.text[word.char_start : word.char_end] == word.text for word in first.words)


def test_process_that_dies_costs_its_page_only(workers: OcrEngine, letter: Image.Image) -> None:
    assert isinstance(workers, OcrWorkers)
    read = {"languages": ("eng",), "dpi": 150.0, "timeout_s": 60.0}
    workers.read(letter, **read)  # type: ignore[arg-type]
    (child,) = children()
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(UnreadableDocument) as caught:
        workers.read(letter, **read)  # type: ignore[arg-type]
    assert caught.value.code == "ocr_failed"
    assert workers.read(letter, **read).text.startswith("LEASE")  # type: ignore[arg-type]
    workers.close()
    assert children() == []


def test_process_that_hangs_is_killed_when_its_page_is_due(workers: OcrEngine, letter: Image.Image) -> None:
    workers.read(letter, languages=("eng",), dpi=150, timeout_s=60)
    (child,) = children()
    child.suspend()
    start = time.monotonic()
    with pytest.raises(UnreadableDocument) as caught:
        workers.read(letter, languages=("eng",), dpi=150, timeout_s=0.2)
    assert caught.value.code == "ocr_timeout"
    assert time.monotonic() - start < 30
    assert children() == []


def test_slow_page_is_told_by_the_process_which_goes_on(workers: OcrEngine, letter: Image.Image) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        workers.read(letter, languages=("eng",), dpi=150, timeout_s=0.01)
    assert caught.value.code == "ocr_timeout"
    assert workers.read(letter, languages=("eng",), dpi=150, timeout_s=60).text.startswith("LEASE")
    workers.close()


def test_missing_language_is_told_before_a_process_is_started(workers: OcrEngine, letter: Image.Image) -> None:
    with pytest.raises(CapabilityMissing):
        workers.read(letter, languages=("tlh",), dpi=150, timeout_s=60)
    assert children() == []


def test_fewer_processes_where_the_memory_is_not_enough(engines: Engines, letter: Image.Image) -> None:
    limits = Limits(ocr_processes=8, memory_bytes=1024**3)
    with OcrWindow(open_engine(engines), ("eng",), limits) as window:
        futures = [window.submit(letter.crop((0, 0, letter.width, 200)), 150) for _ in range(3)]
        assert all(future.result()[0].text.startswith("LEASE") for future in futures)
        assert len(children()) == 1
