"""Pictures that lie inside documents: checked by their header, and kept as PNG, JPEG or WebP."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import warnings
from collections.abc import Iterator
from io import BytesIO
from urllib.parse import unquote_to_bytes

from services.content import Box, Issue, Picture
from services.formats import ExtractContext

_KEPT = {
    "PNG": ("image/png", "png"),
    "JPEG": ("image/jpeg", "jpg"),
    "WEBP": ("image/webp", "webp"),
    "MPO": ("image/jpeg", "jpg"),
}
"""MPO is what Pillow calls a JPEG that holds more pictures behind the first."""
_OPENED = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "ICO", "PPM")
_MIN_SIDE = 16
"""Pixels; smaller pictures are spacers, bullets and trackers, and are left out in silence."""

_DATA_URI = re.compile(r"data:(image/[\w.+-]{1,60})?(?:;[\w=.-]{1,60}){0,4}?(;base64)?,", re.I)
_WINDOWS_METAFILES = (b"\xd7\xcd\xc6\x9a", b"\x01\x00\x00\x00", b"\x01\x00\x09\x00")
_MAX_DATA_URI_CHARS = 100_000_000


class PictureWriter:
    """Writes the pictures of one document into its folder, each only once a page."""

    def __init__(self, context: ExtractContext) -> None:
        self._folder = context.folder
        self._max_pixels = context.limits.max_pixels
        self._written: set[tuple[int, str]] = set()

    def write_data_uri(self, uri: str, *, page: int, alt: str = "") -> Iterator[Picture | Issue]:
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
        yield from self.write(data, page=page, alt=alt)

    def write(self, data: bytes, *, page: int, box: Box | None = None, alt: str = "") -> Iterator[Picture | Issue]:
        """The picture with these bytes; an Issue where it is too large, of a kind that is not read, or broken."""
        from PIL import Image

        if not data:
            return
        if data.startswith(_WINDOWS_METAFILES) or data[:256].lstrip()[:5] in (b"<?xml", b"<svg "):
            yield Issue("picture_format", "A vector drawing (EMF, WMF or SVG) was left out of the pictures.", page)
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with Image.open(BytesIO(data), formats=_OPENED) as image:
                    width, height = image.size
                    if width * height > self._max_pixels:
                        yield Issue(
                            "picture_too_large",
                            f"A picture of {width:,} by {height:,} pixels was left out: limit {self._max_pixels:,}.",
                            page,
                        )
                        return
                    if min(width, height) < _MIN_SIDE:
                        return
                    if image.format in _KEPT:
                        image.load()  # the picture model opens it later, and must not be the first to find it broken
                        media_type, suffix = _KEPT[image.format]
                    else:
                        media_type, suffix = _KEPT["PNG"]
                        data = _as_png(image)
            except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
                yield _unreadable(page)
                return
        digest = hashlib.sha256(data).hexdigest()
        if (page, digest) in self._written:
            return
        self._written.add((page, digest))
        path = self._folder / f"{page}-{digest}.{suffix}"
        path.write_bytes(data)
        yield Picture(page, path, digest, media_type, width, height, box, alt[:1000])


def _as_png(image: object) -> bytes:
    from PIL import Image

    assert isinstance(image, Image.Image)
    target = BytesIO()
    image.convert("RGBA" if "A" in image.getbands() or "transparency" in image.info else "RGB").save(target, "PNG")
    return target.getvalue()


def _unreadable(page: int) -> Issue:
    return Issue("picture_unreadable", "An embedded picture could not be read and was left out.", page)
