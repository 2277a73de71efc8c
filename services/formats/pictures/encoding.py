"""Encodes pictures anew, so that no byte of the original file is handed on."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from services.content import Box, Picture

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_SIDE_PX = 2048
"""Longer side of a stored picture: seven times what CLIP looks at, enough to look at on a screen."""

JPEG_QUALITY = 88
_FEW_COLOURS = 4096
"""Colours up to which a picture is taken for a drawing, which PNG keeps sharp and small."""


def flatten(image: Image) -> Image:
    """`image` as L or RGB: transparency over white, CMYK and 16 bits converted."""
    from PIL import Image as Images

    if image.mode in ("L", "RGB"):
        return image
    if image.mode == "1":
        return image.convert("L")
    if image.mode in ("I", "F", "I;16", "I;16B", "I;16L"):
        from services.ocr.preparation import to_gray

        return to_gray(image)
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        paper = Images.new("RGB", rgba.size, (255, 255, 255))
        paper.paste(rgba, mask=rgba.getchannel("A"))
        return paper
    return image.convert("RGB")


def to_srgb(image: Image) -> Image:
    """`image` with its colour profile applied, where it has one that can be read.

    Without one it is given as it is.

    CMYK without its profile looks garish, and a scan in a wide colour space pale.
    """
    from io import BytesIO

    from PIL import ImageCms

    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or image.mode not in ("CMYK", "RGB", "L", "LAB"):
        return image
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    if converted is None:
        return image
    converted.info.pop("icc_profile", None)
    return converted


def write_picture(image: Image, folder: Path, *, page: int, box: Box | None, alt: str = "") -> Picture:
    """Writes `image`, at most `MAX_SIDE_PX` on its longer side, into `folder` and tells about it.

    The file is named by the SHA-256 of its bytes, so the same picture is written once.
    """
    import io

    shown = flatten(image)
    if max(shown.size) > MAX_SIDE_PX:
        shown = shown.copy() if shown is image else shown
        shown.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
    buffer = io.BytesIO()
    if shown.getcolors(_FEW_COLOURS) is not None:
        media_type, suffix = "image/png", ".png"
        shown.save(buffer, "PNG")
    else:
        media_type, suffix = "image/jpeg", ".jpg"
        shown.save(buffer, "JPEG", quality=JPEG_QUALITY)
    data = buffer.getvalue()
    sha256 = hashlib.sha256(data).hexdigest()
    path = folder / (sha256 + suffix)
    path.write_bytes(data)
    return Picture(page, path, sha256, media_type, shown.width, shown.height, box, alt)
