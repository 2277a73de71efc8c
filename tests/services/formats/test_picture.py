"""Picture files of all kinds: frames as pages and pictures, orientation, colours, and what is damaged or huge."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageCms

from services.content import DocumentInfo, Issue, Limits, Page, Part, Picture, TextSource, Upload
from services.errors import CapabilityMissing, InvalidOption, TooLarge, UnreadableDocument
from services.formats.base import ExtractContext
from services.formats.page_images import render_page
from services.formats.pictures.gif import MAX_ANIMATION_FRAMES
from services.formats.pictures.reader import extract_picture
from services.formats.registry import Format
from services.ocr.base import NoOcr, OcrEngine
from services.ocr.tesseract.engine import TesseractEngine
from services.ocr.tesseract.install import find_tesseract
from services.options import Options
from tests.data.build_pictures import SLIDES, gif_bytes, slide

DATA = Path(__file__).parents[2] / "data"
LEASE = "The tenant shall pay the monthly rent of 1,250 euros in advance"


@pytest.fixture(scope="module")
def tesseract(tmp_path_factory: pytest.TempPathFactory) -> OcrEngine:
    install = find_tesseract(cache_dir=tmp_path_factory.mktemp("cache"))
    assert install is not None
    return TesseractEngine(install)


@pytest.fixture
def context(tmp_path: Path) -> ExtractContext:
    folder = tmp_path / "pictures"
    folder.mkdir()
    return ExtractContext(Options(), None, folder, Limits(), NoOcr())


def parts_of(path: Path, context: ExtractContext) -> list[Part]:
    return list(extract_picture(Upload(path, path.name, "", "0" * 64, path.stat().st_size), context))


def pages_of(parts: list[Part]) -> list[Page]:
    return [part for part in parts if isinstance(part, Page)]


@pytest.mark.parametrize("name", ["letter.png", "letter_exif.jpg"])
def test_letter_is_read_as_it_is_shown(name: str, context: ExtractContext, tesseract: OcrEngine) -> None:
    parts = parts_of(DATA / name, replace(context, ocr=tesseract))
    assert parts[0] == DocumentInfo(page_count=1)
    (page,) = pages_of(parts)
    assert (page.source, page.reason, page.rotation) == (TextSource.OCR, "picture", 0)
    assert (page.width, page.height) == pytest.approx((595.2, 364.8), abs=0.1)
    assert page.text.startswith("LEASE AGREEMENT\n\n" + LEASE)
    assert page.words[0].box == pytest.approx((59, 60.5, 101.8, 71), abs=1.5)
    for word in page.words:
        assert page.text[word.char_start : word.char_end] == word.text
    (picture,) = [p for p in parts if isinstance(p, Picture)]
    assert (picture.width, picture.height) == (1240, 760)
    with Image.open(picture.path) as kept:
        assert kept.size == (1240, 760)
        assert Image.MIME[kept.format or ""] == picture.media_type


def test_every_frame_of_a_tiff_is_a_page_and_a_turned_one_is_put_upright(
    context: ExtractContext, tesseract: OcrEngine
) -> None:
    parts = parts_of(DATA / "letters.tif", replace(context, ocr=tesseract))
    first, second = pages_of(parts)
    assert (first.rotation, second.rotation) == (0, 90)
    assert LEASE in first.text
    assert second.text.startswith("SECOND SHEET\n\n" + LEASE)
    # The frame shows its heading along the left edge, near the bottom.
    x0, y0, x1, y1 = second.words[0].box
    assert x1 - x0 < y1 - y0
    assert (x0, y1) == pytest.approx((60.5, 536.8), abs=2)
    assert [p.page for p in parts if isinstance(p, Picture)] == [1, 2]


def test_receipt_keeps_its_rows(context: ExtractContext, tesseract: OcrEngine) -> None:
    (page,) = pages_of(parts_of(DATA / "receipt.webp", replace(context, ocr=tesseract)))
    lines = page.text.splitlines()
    for row in ("2 Rye bread 7.80", "TOTAL 20.70", "CHANGE 4.30"):
        assert row in lines


def test_without_ocr_the_picture_is_still_kept(context: ExtractContext) -> None:
    off = parts_of(DATA / "letter.png", replace(context, options=Options(ocr="off")))
    assert [type(p).__name__ for p in off] == ["DocumentInfo", "Picture", "Page", "Progress"]
    missing = parts_of(DATA / "letter.png", context)
    assert [p.code for p in missing if isinstance(p, Issue)] == ["ocr_unavailable"]
    assert pages_of(missing)[0].text == ""


def test_language_that_is_not_installed_is_named(context: ExtractContext, tesseract: OcrEngine) -> None:
    with pytest.raises(CapabilityMissing, match="tlh") as caught:
        parts_of(DATA / "letter.png", replace(context, ocr=tesseract, options=Options(ocr_languages=("eng", "tlh"))))
    assert caught.value.code == "ocr_language_missing"


def png_header(path: Path, width: int, height: int) -> Path:
    """A PNG whose header promises `width` by `height` pixels and which has none of them."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )
    return path


def test_picture_of_too_many_pixels_is_refused_by_its_header(context: ExtractContext, tmp_path: Path) -> None:
    with pytest.raises(TooLarge) as caught:
        parts_of(png_header(tmp_path / "huge.png", 60_000, 60_000), context)
    assert caught.value.code == "too_many_pixels"


def test_later_frame_of_too_many_pixels_is_refused(context: ExtractContext, tmp_path: Path) -> None:
    path = tmp_path / "frames.tif"
    Image.new("1", (20, 20)).save(path, save_all=True, append_images=[Image.new("1", (400, 400))])
    with pytest.raises(TooLarge) as caught:
        parts_of(path, replace(context, limits=Limits(max_pixels=10_000)))
    assert caught.value.code == "too_many_pixels"


def test_tiff_of_too_many_frames_is_refused(context: ExtractContext, tmp_path: Path) -> None:
    path = tmp_path / "frames.tif"
    frame = Image.new("1", (20, 20))
    frame.save(path, save_all=True, append_images=[frame] * 4)
    with pytest.raises(TooLarge) as caught:
        parts_of(path, replace(context, limits=Limits(max_pages=3)))
    assert caught.value.code == "too_many_pages"


@pytest.mark.parametrize("name", ["letter.png", "letter_exif.jpg", "letters.tif", "receipt.webp"])
def test_truncated_picture_is_refused(name: str, context: ExtractContext, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes((DATA / name).read_bytes()[:1500])
    with pytest.raises(UnreadableDocument) as caught:
        parts_of(path, context)
    assert caught.value.code == "picture_corrupt"


def test_file_that_is_no_picture_is_refused(context: ExtractContext, tmp_path: Path) -> None:
    path = tmp_path / "words.png"
    path.write_bytes(b"these are words, no picture")
    with pytest.raises(UnreadableDocument) as caught:
        parts_of(path, context)
    assert caught.value.code == "picture_corrupt"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_colour_mode_becomes_a_stored_picture(mode: str, context: ExtractContext, tmp_path: Path) -> None:
    path = tmp_path / ("a.tif" if mode in ("CMYK", "I;16", "LA") else "a.png")
    Image.new("L", (80, 40), 200).convert("I;16" if mode == "I;16" else mode).save(path)
    (picture,) = [p for p in parts_of(path, context) if isinstance(p, Picture)]
    with Image.open(picture.path) as kept:
        assert kept.size == (80, 40)
        assert kept.mode in ("L", "RGB", "P", "1")


def test_chosen_frame_alone_is_read_and_an_absent_one_refused(context: ExtractContext) -> None:
    parts = parts_of(DATA / "letters.tif", replace(context, options=Options(pages="2")))
    assert isinstance(parts[0], DocumentInfo)
    assert parts[0].page_count == 2
    assert [p.number for p in pages_of(parts)] == [2]
    with pytest.raises(InvalidOption) as caught:
        parts_of(DATA / "letters.tif", replace(context, options=Options(pages="3")))
    assert caught.value.code == "no_such_page"


def test_known_frames_are_handed_on_without_their_pictures(context: ExtractContext) -> None:
    known = Page(1, "stored before")
    parts = parts_of(DATA / "letters.tif", replace(context, known_pages={1: known}))
    assert pages_of(parts)[0] is known
    assert [p.page for p in parts if isinstance(p, Picture)] == [2]


def read_text(parts: list[Part]) -> list[str]:
    return [page.text for page in pages_of(parts)]


def test_slides_of_a_gif_are_pages(context: ExtractContext, tesseract: OcrEngine) -> None:
    parts = parts_of(DATA / "frames.gif", replace(context, ocr=tesseract))
    assert read_text(parts) == list(SLIDES)
    assert [p.page for p in parts if isinstance(p, Picture)] == [1, 2, 3]


def test_same_frame_of_a_gif_is_one_page(context: ExtractContext, tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    first, second = slide("one"), slide("two")
    path.write_bytes(gif_bytes([first, second, first, second, first], 1000))
    parts = parts_of(path, replace(context, options=Options(ocr="off")))
    assert parts[0] == DocumentInfo(page_count=2)
    assert [p.code for p in parts if isinstance(p, Issue)] == ["frames_left_out"]


def test_animation_is_sampled(context: ExtractContext, tmp_path: Path) -> None:
    frames = [Image.new("L", (64, 64), shade) for shade in range(0, 250, 5)]
    path = tmp_path / "a.gif"
    path.write_bytes(gif_bytes(frames, 40))
    off = replace(context, options=Options(ocr="off"))
    assert parts_of(path, off)[0] == DocumentInfo(page_count=MAX_ANIMATION_FRAMES)
    still = [Image.new("L", (64, 64), 90 + n % 2) for n in range(30)]
    path.write_bytes(gif_bytes(still, 40))
    assert parts_of(path, off)[0] == DocumentInfo(page_count=1)


def test_frames_of_a_gif_beyond_the_limit_are_refused(context: ExtractContext, tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    path.write_bytes(gif_bytes([Image.new("L", (64, 64), shade) for shade in range(0, 250, 50)], 1000))
    with pytest.raises(TooLarge) as caught:
        parts_of(path, replace(context, limits=Limits(max_pages=3)))
    assert caught.value.code == "too_many_pages"


def test_stamp_in_a_bmp_is_read(context: ExtractContext, tesseract: OcrEngine) -> None:
    assert read_text(parts_of(DATA / "stamp.bmp", replace(context, ocr=tesseract))) == ["PAID 12 May"]


@pytest.mark.parametrize("name", ["photo.heic", "photo.avif"])
def test_photo_is_shown_upright(name: str, context: ExtractContext) -> None:
    parts = parts_of(DATA / name, replace(context, options=Options(ocr="off")))
    (picture,) = [p for p in parts if isinstance(p, Picture)]
    assert (picture.width, picture.height) == (320, 240)
    with Image.open(picture.path) as shown:
        buoy, sky = (shown.convert("RGB").crop((160, y, 161, y + 1)).tobytes() for y in (140, 20))
    assert buoy[0] > 150 > max(buoy[1:])  # it stands on its foot, below the sky
    assert min(sky) > 120
    data, _ = render_page(DATA / name, Format(name.partition(".")[2]), 1, 160, None, Limits())
    with Image.open(BytesIO(data)) as page:
        assert page.size == (160, 120)


@pytest.mark.parametrize("name", ["frames.gif", "stamp.bmp", "photo.heic", "photo.avif"])
def test_truncated_picture_of_any_kind_ends_in_a_clear_error(
    name: str, context: ExtractContext, tmp_path: Path
) -> None:
    data = (DATA / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: max(30, len(data) // 40)])
    with pytest.raises(UnreadableDocument) as caught:
        parts_of(path, context)
    assert caught.value.code == "picture_corrupt"


@pytest.mark.parametrize("name", ["stamp.bmp", "photo.heic", "photo.avif", "frames.gif"])
def test_pixels_are_limited_for_every_kind(name: str, context: ExtractContext) -> None:
    with pytest.raises(TooLarge) as caught:
        parts_of(DATA / name, replace(context, limits=Limits(max_pixels=10_000)))
    assert caught.value.code == "too_many_pixels"


def test_colours_are_those_of_the_profile(tmp_path: Path, context: ExtractContext) -> None:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ", 128), profile.index(b"gXYZ", 128)
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    path = tmp_path / "swapped.png"
    Image.new("RGB", (40, 40), (255, 0, 0)).save(path, icc_profile=bytes(profile))
    (picture,) = [p for p in parts_of(path, context) if isinstance(p, Picture)]
    with Image.open(picture.path) as shown:
        assert shown.convert("RGB").getpixel((20, 20)) == pytest.approx((0, 255, 0), abs=12)
        assert "icc_profile" not in shown.info


@pytest.mark.parametrize("mode", ["CMYK", "I;16", "LA", "RGBA", "P", "1"])
def test_every_colour_mode_becomes_a_picture(mode: str, tmp_path: Path, context: ExtractContext) -> None:
    path = tmp_path / "a.tif"
    image = Image.new("I;16", (40, 40), 30_000) if mode == "I;16" else Image.new("RGBA", (40, 40), (9, 9, 9, 0))
    (image if mode == "I;16" else image.convert(mode)).save(path)
    (picture,) = [p for p in parts_of(path, context) if isinstance(p, Picture)]
    with Image.open(picture.path) as shown:
        assert shown.mode in ("L", "RGB")
        if mode in ("LA", "RGBA"):
            assert shown.convert("L").getpixel((20, 20)) == 255


def test_a_frame_that_is_larger_than_the_header_says_is_not_decoded(tmp_path: Path, context: ExtractContext) -> None:
    buffer = BytesIO()
    first, second = Image.new("RGB", (60, 40), "white"), Image.new("RGB", (60, 40), "black")
    first.save(buffer, "GIF", save_all=True, append_images=[second], duration=2000, optimize=False)
    data = bytearray(buffer.getvalue())
    # An image descriptor is a comma, left, top, width, height. Source: GIF89a, 20.
    descriptor = data.rindex(b"\x2c" + struct.pack("<4H", 0, 0, 60, 40))
    data[descriptor + 5 : descriptor + 9] = struct.pack("<2H", 65_535, 65_535)
    path = tmp_path / "large.gif"
    path.write_bytes(data)
    with pytest.raises(TooLarge) as caught:
        parts_of(path, context)
    assert caught.value.code == "too_many_pixels"
