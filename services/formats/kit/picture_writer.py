"""Writes the pictures that lie inside documents as PNG, JPEG or WebP.

They are checked by their header before.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import warnings
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from services.content import Box, Issue, Picture
from services.errors import InputError
from services.formats.base import ExtractContext

if TYPE_CHECKING:
    from PIL.Image import Image

_KEPT = {
    "PNG": ("image/png", "png"),
    "JPEG": ("image/jpeg", "jpg"),
    "WEBP": ("image/webp", "webp"),
    "MPO": ("image/jpeg", "jpg"),
}
"""MPO is what Pillow calls a JPEG that holds more pictures behind the first."""
_KEPT_MODES = frozenset(("1", "L", "LA", "P", "RGB", "RGBA", "PA"))
"""Modes that every reader of pictures shows alike; CMYK and 16 bits a channel are converted."""

_OPENED = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "ICO", "PPM", "AVIF")
_MIN_SIDE = 16
"""Pixels; smaller pictures are spacers, bullets and trackers."""
_MAX_REPEATS = 3
"""Pages on which the same picture is kept; on more it is a letterhead or a background. Source: figures of reports are
shown again once or twice; a logo stands on every page."""

_DATA_URI = re.compile(r"data:(image/[\w.+-]{1,60})?(?:;[\w=.-]{1,60}){0,4}?(;base64)?,", re.I)
_WINDOWS_METAFILES = (b"\xd7\xcd\xc6\x9a", b"\x01\x00\x00\x00", b"\x01\x00\x09\x00")
_STARVIEW_METAFILE = b"VCLMTF"
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
"""Source: ISO/IEC 23008-12, annex B; AVIF has brands of its own, and Pillow reads it."""
_SVG_START = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]{0,200}>\s*)?(?:<!--.{0,2000}?-->\s*)*"
                        rb"(?:<!DOCTYPE[^>\[]{0,500}>\s*)?<(?:svg:)?svg[\s>]", re.S)  # fmt: skip
_MAX_DATA_URI_CHARS = 100_000_000


class PictureWriter:
    """Writes the pictures of one document into its folder, each only once a page.

    `left_out` counts those that are decoration: too small to show anything, or the same on many pages.
    """

    def __init__(self, context: ExtractContext) -> None:
        self._folder = context.folder
        self._max_pixels = context.limits.max_pixels
        self._written: set[tuple[int, str]] = set()
        self._pages: dict[str, int] = {}
        self._places: dict[str, set[int]] = {}
        self.left_out = 0

    def wants(self, source: str, page: int) -> bool:
        """True where the picture at `source` in the file is worth unpacking for `page`.

        False where it is there already, or on as many other pages as it may be: it would be inflated again for
        nothing, and what a document inflates is bounded.
        """
        places = self._places.setdefault(source, set())
        if page in places:
            return False
        if len(places) >= _MAX_REPEATS:
            self.left_out += 1
            return False
        places.add(page)
        return True

    def write_data_uri(self, uri: str, *, page: int, alt: str = "", caption: str = "") -> Iterator[Picture | Issue]:
        """The picture in a `data:` address; an Issue where it cannot be read."""
        match = _DATA_URI.match(uri)
        if match is None or len(uri) > _MAX_DATA_URI_CHARS:
            return
        payload = uri[match.end() :]
        if match.group(2):
            try:
                data = base64.b64decode(unquote_to_bytes(payload), validate=False)
            except binascii.Error:
                yield _unreadable(page)
                return
        else:
            data = unquote_to_bytes(payload)
        yield from self.write(data, page=page, alt=alt, caption=caption)

    def write(
        self, data: bytes, *, page: int, box: Box | None = None, alt: str = "", caption: str = ""
    ) -> Iterator[Picture | Issue]:
        """The picture with these bytes.

        An Issue where it is too large, of a kind that is not read, or broken.

        PNG, JPEG and WebP are kept as they are; GIF, BMP, TIFF, HEIC, AVIF, drawings in SVG, and what is CMYK or has 16
        bits a channel, become PNG or JPEG.
        """
        from PIL import Image

        if not data:
            return
        if data.startswith(_WINDOWS_METAFILES) or data.startswith(_STARVIEW_METAFILE) or data[40:44] == b" EMF":
            yield Issue("picture_format", "A vector drawing (EMF, WMF or SVM) was left out of the pictures.", page)
            return
        if _SVG_START.match(data[:8192]):
            from services.formats.pictures.svg_pixels import render_svg

            try:
                data = render_svg(data, max_pixels=self._max_pixels)
            except InputError as error:
                code = "picture_too_large" if error.code == "picture_too_large" else "picture_unreadable"
                yield Issue(code, f"A vector drawing was left out. {error.detail}", page)
                return
        formats: tuple[str, ...] = _OPENED
        if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
            import pi_heif

            pi_heif.register_heif_opener()
            formats = ("HEIF",)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with Image.open(BytesIO(data), formats=formats) as image:
                    width, height = image.size
                    if width * height > self._max_pixels:
                        yield Issue(
                            "picture_too_large",
                            f"A picture of {width:,} by {height:,} pixels was left out: limit {self._max_pixels:,}.",
                            page,
                        )
                        return
                    if min(width, height) < _MIN_SIDE:
                        self.left_out += 1
                        return
                    if image.format in _KEPT and image.mode in _KEPT_MODES:
                        image.load()  # the picture model opens it later, and must not be the first to find it broken
                        media_type, suffix = _KEPT[image.format]
                    else:
                        data, media_type, suffix = _converted(image)
            except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
                yield _unreadable(page)
                return
        digest = hashlib.sha256(data).hexdigest()
        if (page, digest) in self._written:
            return
        self._written.add((page, digest))
        self._pages[digest] = self._pages.get(digest, 0) + 1
        if self._pages[digest] > _MAX_REPEATS:
            self.left_out += 1
            return
        path = self._folder / f"{page}-{digest}.{suffix}"
        path.write_bytes(data)
        yield Picture(page, path, digest, media_type, width, height, box, alt[:1000], caption[:1000])

    def close(self) -> Iterator[Issue]:
        """An Issue that says how many pictures were left out as decoration.

        None where it was none.
        """
        if self.left_out:
            yield Issue(
                "decoration_left_out",
                f"{self.left_out:,} pictures were left out: smaller than {_MIN_SIDE} pixels, or the same on more than "
                f"{_MAX_REPEATS} pages.",
            )


def _converted(image: Image) -> tuple[bytes, str, str]:
    """(bytes, media type, suffix) of `image` in the colours of sRGB: JPEG stays one, all else becomes PNG."""
    from services.formats.pictures.encoding import JPEG_QUALITY, flatten

    target = BytesIO()
    is_photo = image.format in ("JPEG", "MPO")
    shown = _to_srgb(image)
    shown = shown.convert("RGBA") if "A" in shown.getbands() or "transparency" in shown.info else flatten(shown)
    if is_photo:
        shown.save(target, "JPEG", quality=JPEG_QUALITY)
        return target.getvalue(), *_KEPT["JPEG"]
    shown.save(target, "PNG", icc_profile=None)
    return target.getvalue(), *_KEPT["PNG"]


def _to_srgb(image: Image) -> Image:
    """`image` with its ICC profile applied, where it has one that can be read.

    Without one it is given as it is.
    """
    from PIL import ImageCms

    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or image.mode not in ("CMYK", "RGB", "L", "LAB"):
        return image
    try:
        return (
            ImageCms.profileToProfile(
                image, ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            or image
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image


def _unreadable(page: int) -> Issue:
    return Issue("picture_unreadable", "An embedded picture could not be read and was left out.", page)
