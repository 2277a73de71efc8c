from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from services.content import Issue, Limits, Picture
from services.formats.base import ExtractContext
from services.formats.kit.picture_writer import PictureWriter
from services.formats.pictures.svg_pixels import render_svg
from services.ocr.base import NoOcr
from services.options import Options
from tests.data.build_samples import picture_bytes


@pytest.fixture
def writer(tmp_path: Path) -> PictureWriter:
    return PictureWriter(ExtractContext(Options(), None, tmp_path, Limits(max_pixels=100_000), NoOcr()))


def saved(mode: str, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image = Image.new(mode, (40, 30), None)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def only_picture(parts: Iterator[Picture | Issue]) -> Picture:
    (part,) = parts
    assert isinstance(part, Picture)
    return part


@pytest.mark.parametrize(
    ("mode", "kind", "media_type"),
    [
        ("RGB", "PNG", "image/png"), ("P", "PNG", "image/png"), ("I;16", "PNG", "image/png"),
        ("RGB", "JPEG", "image/jpeg"), ("CMYK", "JPEG", "image/jpeg"), ("RGB", "WEBP", "image/webp"),
        ("P", "GIF", "image/png"), ("RGB", "BMP", "image/png"), ("CMYK", "TIFF", "image/png"),
        ("RGB", "AVIF", "image/png"), ("LA", "PNG", "image/png"),
    ],
)  # fmt: skip
def test_pictures_are_kept_in_a_kind_that_every_browser_shows(
    writer: PictureWriter, mode: str, kind: str, media_type: str
) -> None:
    picture = only_picture(writer.write(saved(mode, kind), page=1, alt="alt", caption="caption"))
    assert (picture.media_type, picture.alt, picture.caption) == (media_type, "alt", "caption")
    with Image.open(picture.path) as image:
        assert image.size == (picture.width, picture.height) == (40, 30)
        assert image.mode in ("L", "LA", "P", "RGB", "RGBA")


def test_heic_is_converted(writer: PictureWriter) -> None:
    data = (Path(__file__).parents[2] / "data" / "photo.heic").read_bytes()
    assert only_picture(writer.write(data, page=1)).media_type == "image/png"


def test_drawing_is_rendered(writer: PictureWriter) -> None:
    shape = b'<rect width="80" height="40"/>'
    drawing = (
        b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="80" height="40">' + shape + b"</svg>"
    )
    picture = only_picture(writer.write(drawing, page=1))
    assert (picture.media_type, picture.width, picture.height) == ("image/png", 80, 40)


def test_drawing_reads_no_file(writer: PictureWriter, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture_bytes())
    shape = f'<image width="40" height="40" href="{secret}"/>'
    drawing = f'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40">{shape}</svg>'
    with Image.open(only_picture(writer.write(drawing.encode(), page=1)).path) as image:
        assert image.convert("RGBA").getcolors() == [(1600, (0, 0, 0, 0))]


@pytest.mark.parametrize(
    "drawing",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg" width="1e9" height="99999999"/>',
        b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 999999999"/>',
        b'<svg xmlns="http://www.w3.org/2000/svg" width="-5" height="0"/>',
        b'<svg xmlns="http://www.w3.org/2000/svg"><broken',
        b"<svg >",
    ],
)
def test_hostile_drawings_end(writer: PictureWriter, drawing: bytes) -> None:
    for part in writer.write(drawing, page=1):
        assert isinstance(part, Issue) or max(part.width, part.height) <= 2048


@pytest.mark.parametrize("data", [b"\xd7\xcd\xc6\x9a" + b"0" * 40, struct.pack("<2L", 1, 88) + b"0" * 32 + b" EMF"])
def test_metafiles_are_left_out_and_said(writer: PictureWriter, data: bytes) -> None:
    (issue,) = writer.write(data, page=3)
    assert isinstance(issue, Issue)
    assert (issue.code, issue.page) == ("picture_format", 3)


def test_same_picture_is_given_once_a_page(writer: PictureWriter) -> None:
    data = picture_bytes()
    assert [len(list(writer.write(data, page=page))) for page in (1, 1, 2)] == [1, 0, 1]
    assert list(writer.close()) == []


def test_letterheads_and_spacers_are_counted(writer: PictureWriter) -> None:
    given = [len(list(writer.write(picture_bytes(), page=page))) for page in range(1, 8)]
    given += [len(list(writer.write(picture_bytes(8, 200), page=1)))]
    assert given == [1, 1, 1, 0, 0, 0, 0, 0]
    (issue,) = writer.close()
    assert issue.code == "decoration_left_out"
    assert issue.message.startswith("5 pictures")


def test_too_many_pixels_are_refused_by_the_header(writer: PictureWriter) -> None:
    (issue,) = writer.write(picture_bytes(1000, 200), page=1)
    assert isinstance(issue, Issue)
    assert issue.code == "picture_too_large"


def test_picture_is_unpacked_for_a_few_pages_only(writer: PictureWriter) -> None:
    wanted = [writer.wants("media/a.png", page) for page in (1, 1, 2, 3, 4, 5)]
    assert wanted == [True, False, True, True, False, False]
    assert writer.left_out == 2


@pytest.mark.parametrize(
    "effect",
    [
        '<feGaussianBlur stdDeviation="500"/>' * 50,
        '<feTurbulence baseFrequency="0.1" numOctaves="1000000"/>',
        '<feMorphology radius="1000"/>',
    ],
)
def test_drawing_is_shown_without_its_filters(tmp_path: Path, effect: str) -> None:
    drawing = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="2000" height="2000"><style>rect { filter: url(#f) }</style>'
        f'<filter id="f">{effect}</filter><rect width="2000" height="2000" fill="red" filter="url(#f)"/></svg>'
    )
    with Image.open(BytesIO(render_svg(drawing.encode(), max_pixels=10_000_000))) as shown:
        assert shown.convert("RGB").getpixel((1000, 1000)) == (255, 0, 0)
