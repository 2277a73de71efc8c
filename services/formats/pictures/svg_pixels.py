"""SVG drawings turned into pixels, for the pictures inside documents.

Nothing but the drawing itself is read.
"""

from __future__ import annotations

import base64
import binascii
import re
from io import BytesIO
from typing import Any

from services.errors import TooLarge, UnreadableDocument
from services.formats.pictures.encoding import MAX_SIDE_PX

_MAX_SVG_BYTES = 20_000_000
"""Source: maps of a whole country stay below it, and the tree takes eight times as much."""

_MAX_SIDE = 1_000_000.0
_MAX_ASPECT = 1000.0
"""Longer side to shorter. Source: resvg needs minutes for a drawing that is a billion times as high as wide."""

_LENGTH = re.compile(r"\s*\+?(\d{1,9}(?:\.\d{0,9})?)\s*(px|pt|pc|mm|cm|in|em|ex|)\s*")
_UNIT_PX = {"": 1.0, "px": 1.0, "pt": 96 / 72, "pc": 16.0, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0, "em": 16.0,
            "ex": 8.0}  # fmt: skip
"""Source: CSS Values 3, section 6.2; 16 px is the initial font size."""

_DEFAULT_SIDE_PX = 512.0
_FILTER = re.compile(r"(?<![\w-])filter\s*:[^;}]*", re.I)
_DATA = re.compile(r"data:[^,]{0,200};base64,", re.I)


def render_svg(data: bytes, *, max_pixels: int) -> bytes:
    """A PNG of the drawing, in its own size and at most `MAX_SIDE_PX` on the longer side.

    References to files and addresses are taken out before it is drawn, as resvg opens absolute paths, and so are the
    effects of filters, such as shadows.

    Raises UnreadableDocument (`unreadable_svg`), TooLarge (`picture_too_large`: the file, or a picture in it).
    """
    if len(data) > _MAX_SVG_BYTES:
        raise TooLarge(f"The drawing has more than {_MAX_SVG_BYTES:,} bytes.", code="picture_too_large")
    import resvg_py
    from lxml import etree

    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise _unreadable() from error
    if not isinstance(root.tag, str) or etree.QName(root).localname != "svg":
        raise _unreadable()
    for element in list(root.iter()):
        _cut_references(element, max_pixels)
        _cut_filters(element)
    width, height = _size(root)
    if max(width, height) > min(_MAX_SIDE, _MAX_ASPECT * min(width, height)):
        raise TooLarge(
            f"The drawing measures {width:,.0f} by {height:,.0f}, which is too large or too thin to be drawn.",
            code="picture_too_large",
        )
    scale = min(1.0, MAX_SIDE_PX / max(width, height))
    try:
        drawn = resvg_py.svg_to_bytes(
            svg_string=etree.tostring(root, encoding="unicode"),
            width=max(1, round(width * scale)),
            height=max(1, round(height * scale)),
        )
    except ValueError as error:
        raise _unreadable() from error
    return bytes(drawn)


def _cut_references(element: Any, max_pixels: int) -> None:
    for name in list(element.attrib):
        if name != "href" and not name.endswith("}href"):
            continue
        target = element.get(name).strip()
        if not target.startswith("#") and not (_DATA.match(target) and _is_small(target, max_pixels)):
            del element.attrib[name]


def _cut_filters(element: Any) -> None:
    """Takes filters off: a blur or a turbulence of a few bytes keeps resvg busy for minutes, and adds no words."""
    from lxml import etree

    element.attrib.pop("filter", None)
    if style := element.get("style"):
        element.set("style", _FILTER.sub("", style))
    if not isinstance(element.tag, str):
        return
    name = etree.QName(element).localname
    if name == "style" and element.text:
        element.text = _FILTER.sub("", element.text)
    elif name == "filter":
        space = etree.QName(element).namespace
        for item in list(element):
            element.remove(item)
        # What refers to an empty filter would not be drawn; this one shows it as it is.
        etree.SubElement(element, f"{{{space}}}feOffset" if space else "feOffset")


def _is_small(address: str, max_pixels: int) -> bool:
    """True for a picture whose header says that it may be decoded. Raises TooLarge."""
    from PIL import Image

    try:
        with Image.open(
            BytesIO(base64.b64decode(address.partition(",")[2])), formats=("PNG", "JPEG", "GIF", "WEBP")
        ) as it:
            width, height = it.size
    except (OSError, ValueError, SyntaxError, binascii.Error, Image.DecompressionBombError):
        return False
    if width * height > max_pixels:
        raise TooLarge(
            f"A drawing holds a picture of {width:,} by {height:,} pixels; the limit is {max_pixels:,}.",
            code="picture_too_large",
        )
    return True


def _size(root: Any) -> tuple[float, float]:
    """Width and height in pixels: as stated, else those of the view box."""
    stated = [_pixels(root.get(name) or "") for name in ("width", "height")]
    numbers = re.split(r"[\s,]+", (root.get("viewBox") or "").strip())
    box = [_pixels(number) for number in numbers[2:4]] if len(numbers) == 4 else [0.0, 0.0]
    if stated[0] and stated[1]:
        return stated[0], stated[1]
    if box[0] and box[1]:
        if stated[0]:
            return stated[0], stated[0] * box[1] / box[0]
        if stated[1]:
            return stated[1] * box[0] / box[1], stated[1]
        return box[0], box[1]
    return stated[0] or _DEFAULT_SIDE_PX, stated[1] or _DEFAULT_SIDE_PX


def _pixels(value: str) -> float:
    match = _LENGTH.fullmatch(value)
    return float(match.group(1)) * _UNIT_PX[match.group(2)] if match else 0.0


def _unreadable() -> UnreadableDocument:
    return UnreadableDocument("The SVG drawing is damaged.", code="unreadable_svg")
