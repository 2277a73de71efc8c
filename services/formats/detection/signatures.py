"""First bytes of files: which format they begin, or what that is not read they seem to be."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

from services.formats.detection.syntax import TextSample

OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""Source: [MS-CFB] 2.2."""

_NO_ISO_MEDIA = rb"(?!.{4}ftyp)"
"""What is called `ftyp` at byte 4 is an ISO media file, whatever the four bytes of its length look like."""

BMP = _NO_ISO_MEDIA + rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\x00{3}"
"""Behind the 14 bytes of the file's header stands the size of another. Source: Microsoft's BITMAPINFO family and OS/2's
(16, 64)."""

RTF = _NO_ISO_MEDIA + rb"(?:\xef\xbb\xbf)?\s*\{\\rtf"
TIFF = rb"II[*+]\x00|MM\x00[*+]"
"""Source: TIFF 6.0, section 2, and BigTIFF, whose number is 43 (`+`)."""

_PDF_HEADER_WITHIN = 1024
"""Source: ISO 32000-1, annex H, note 13: readers accept a header within the first 1,024 bytes."""

_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
"""Source: ISO/IEC 23008-12, annex B (HEIF); AV1 Image File Format 1.1, section 8 (AVIF)."""

_BINARY_KINDS = (
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a Linux program"),
    (b"\x00\x00\x01\x00", "a Windows icon"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"8BPS", "a Photoshop picture"),
    (b"\xd7\xcd\xc6\x9a", "a Windows metafile (.wmf)"),
    (b"\xc5\xd0\xd3\xc6", "an Encapsulated PostScript file"),
    (b"AT&TFORM", "a DjVu document"),
)
"""Signatures that puremagic reports with several rivals, or not at all."""


def begins(pattern: bytes) -> Callable[[bytes], bool]:
    """A test whether first bytes match `pattern`, a regular expression in which a dot is any byte."""
    compiled = re.compile(pattern, re.S)
    return lambda head: compiled.match(head) is not None


def holds_pdf(text: TextSample) -> bool:
    """True where a PDF begins a little behind the file's beginning, as mail gateways leave it.

    What is named as prose may speak of PDF; a file of that format has its table of contents at its end.
    """
    head = text.first_bytes
    return (
        b"%PDF-" in head[: _PDF_HEADER_WITHIN + 5]
        and not head.startswith((b"MZ", b"\x7fELF"))
        and (not text.is_named_prose or b"startxref" in text.last_bytes)
    )


def is_avif(head: bytes) -> bool:
    """True for an AVIF picture, which may name the brands of HEIF too."""
    return bool(_picture_brands(head) & _AVIF_BRANDS)


def is_heic(head: bytes) -> bool:
    """True for a HEIC or HEIF picture."""
    brands = _picture_brands(head)
    return bool(brands) and not brands & _AVIF_BRANDS


def _picture_brands(head: bytes) -> frozenset[bytes]:
    """The brands of an ISO media file that is a picture; its own may be the family's, then the others tell."""
    if head[4:8] != b"ftyp" or head[8:12] not in _HEIF_BRANDS | _AVIF_BRANDS:
        return frozenset()
    end = min(struct.unpack_from(">L", head)[0], 512, len(head))
    return frozenset(head[at : at + 4] for at in (8, *range(16, end - 3, 4)))


def name_binary(head: bytes) -> str:
    """What binary data seem to be, from their first bytes; empty where nothing is known of them."""
    if head[4:8] == b"ftyp":
        return "an MP4 or QuickTime film"
    for magic, kind in _BINARY_KINDS:
        if head.startswith(magic):
            return kind
    if head[40:44] == b" EMF":
        return "a Windows metafile (.emf)"
    import puremagic

    try:
        best = puremagic.magic_string(head)[0]
    except (puremagic.PureError, ValueError):
        return ""
    return f"“{best.name}”" if best.name and best.confidence >= 0.4 else ""
