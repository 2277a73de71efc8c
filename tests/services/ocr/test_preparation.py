"""Preparing a page for OCR: skew, size of type, paper, and the way back from prepared to original pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from services.ocr.preparation import (
    Placement,
    estimate_skew,
    estimate_text_height,
    even_background,
    sideways_ratio,
    straighten,
    to_gray,
)

SENTENCE = "the quay was dredged in spring and its joints were closed by masons from the town before winter came"
WORDS = SENTENCE.split(" ")
LINES = [" ".join(WORDS[(5 * n + k) % len(WORDS)] for k in range(9)) for n in range(22)]


def page(type_px: int = 24, size: tuple[int, int] = (1000, 1300)) -> Image.Image:
    image = Image.new("L", size, 255)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(type_px)
    for number, line in enumerate(LINES):
        draw.text((80, 80 + number * type_px * 2), line, fill=0, font=font)
    return image


@pytest.mark.parametrize("angle", [-5.0, -1.5, 0.0, 0.8, 3.0])
def test_skew_is_measured_to_a_fifth_of_a_degree(angle: float) -> None:
    # Pillow turns counterclockwise; the content then leans by the opposite.
    leaning = page().rotate(-angle, resample=Image.Resampling.BICUBIC, fillcolor=255)
    assert estimate_skew(leaning) == pytest.approx(angle, abs=0.2)
    assert abs(estimate_skew(straighten(leaning, estimate_skew(leaning)))) <= 0.3


def test_no_skew_is_seen_where_there_are_no_lines() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (600, 500), dtype=np.uint8)
    assert estimate_skew(Image.fromarray(noise)) == 0.0
    assert estimate_skew(Image.new("L", (500, 500), 255)) == 0.0


@pytest.mark.parametrize("type_px", [12, 24, 40])
def test_height_of_type_follows_the_print(type_px: int) -> None:
    height = estimate_text_height(page(type_px, (1400, 2000)))
    assert height is not None
    assert 0.5 * type_px <= height <= 1.1 * type_px


def test_height_of_type_is_unknown_on_an_empty_page() -> None:
    assert estimate_text_height(Image.new("L", (800, 800), 255)) is None


def test_page_on_its_side_is_told_from_an_upright_one() -> None:
    assert sideways_ratio(page()) < 0.7
    assert sideways_ratio(page().transpose(Image.Transpose.ROTATE_90)) > 1.6


def test_shadow_is_evened_out_and_even_paper_is_left_alone() -> None:
    clean = page()
    assert even_background(clean) is clean
    shade = np.linspace(0.45, 1.0, clean.width, dtype=np.float32)
    shaded = Image.fromarray((np.asarray(clean) * shade[None, :]).astype(np.uint8))
    flat = np.asarray(even_background(shaded))
    assert np.percentile(flat[:, :100], 90) > 240
    assert flat.min() < 80


def test_white_on_black_becomes_black_on_white() -> None:
    inverted = page().point([255 - v for v in range(256)])
    assert np.median(np.asarray(even_background(inverted))) > 240


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "F", "I;16"])
def test_every_mode_becomes_gray(mode: str) -> None:
    assert to_gray(Image.new("L", (30, 20), 255).convert(mode)).mode == "L"


def test_transparent_paper_is_white() -> None:
    assert to_gray(Image.new("RGBA", (4, 4), (0, 0, 0, 0))).getpixel((1, 1)) == 255


@given(
    quarter=st.sampled_from([0, 90, 180, 270]),
    skew=st.sampled_from([0.0, -4.0, 2.5]),
    scale=st.sampled_from([0.5, 1.0, 2.0]),
    x=st.integers(60, 300),
    y=st.integers(60, 200),
)
def test_a_box_comes_back_to_where_its_ink_was(quarter: int, skew: float, scale: float, x: int, y: int) -> None:
    size = (400, 300)
    placement = Placement(size, quarter, skew, scale)  # type: ignore[arg-type]
    turned_size = size if quarter in (0, 180) else size[::-1]
    # The same way forth as the reader goes: quarter turn, then straightening around the centre, then scaling.
    px, py = {
        0: (x, y),
        90: (size[1] - y, x),
        180: (size[0] - x, size[1] - y),
        270: (y, size[0] - x),
    }[quarter]
    angle = math.radians(skew)
    cx, cy = turned_size[0] / 2, turned_size[1] / 2
    dx, dy = px - cx, py - cy
    sx = (cx + dx * math.cos(angle) + dy * math.sin(angle)) * scale
    sy = (cy - dx * math.sin(angle) + dy * math.cos(angle)) * scale
    box = placement.box_in_original((sx, sy, sx, sy))
    assert box == pytest.approx((x, y, x, y), abs=1e-6)


def test_placement_agrees_with_pillows_turns() -> None:
    image = Image.new("L", (400, 300), 255)
    ImageDraw.Draw(image).rectangle((100, 80, 140, 90), fill=0)
    turned = image.transpose(Image.Transpose.ROTATE_270)
    prepared = straighten(turned, 3.0)
    ys, xs = np.nonzero(np.asarray(prepared) < 128)
    middle = (float(xs.mean()), float(ys.mean()))
    x0, y0, x1, y1 = Placement((400, 300), 90, 3.0, 1.0).box_in_original((*middle, *middle))
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((120, 85), abs=1.0)
