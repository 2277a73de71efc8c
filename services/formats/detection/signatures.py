"""First bytes of files: which format they begin, or what that is not read they seem to be."""

from __future__ import annotations

import struct

from services.content import Format

OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""Source: [MS-CFB] 2.2."""

_PDF_HEADER_WITHIN = 1024
"""Source: ISO 32000-1, annex H, note 13: readers accept a header within the first 1,024 bytes."""

_PICTURES = (
    (b"\x89PNG\r\n\x1a\n", Format.PNG),
    (b"\xff\xd8\xff", Format.JPEG),
    (b"II*\x00", Format.TIFF),
    (b"MM\x00*", Format.TIFF),
    (b"II+\x00", Format.TIFF),
    (b"MM\x00+", Format.TIFF),
    (b"GIF87a", Format.GIF),
    (b"GIF89a", Format.GIF),
)
_BMP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
"""Sizes of the header behind the 14 bytes of the file's. Source: Microsoft's BITMAPINFO family and OS/2's (16, 64)."""

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


def format_by_magic(head: bytes) -> Format | None:
    """The format that a file with this beginning is of; None where its first bytes do not say."""
    for magic, format in _PICTURES:
        if head.startswith(magic):
            return format
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Format.WEBP
    if head[4:8] == b"ftyp":
        return _by_brands(head)
    if head[:2] == b"BM" and len(head) >= 18 and struct.unpack_from("<L", head, 14)[0] in _BMP_HEADERS:
        return Format.BMP
    if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:5] == b"{\\rtf":
        return Format.RTF
    return Format.PDF if head.startswith(b"%PDF-") else None


def holds_pdf(head: bytes) -> bool:
    """True where a PDF begins a little behind the file's beginning, as mail gateways leave it."""
    return b"%PDF-" in head[: _PDF_HEADER_WITHIN + 5] and not head.startswith((b"MZ", b"\x7fELF"))


def _by_brands(head: bytes) -> Format | None:
    """HEIC or AVIF by the brands of an ISO media file; its own brand may be the family's, then the others tell."""
    end = min(struct.unpack_from(">L", head)[0], 512, len(head))
    brands = {head[at : at + 4] for at in (8, *range(16, end - 3, 4))}
    if head[8:12] in _HEIF_BRANDS | _AVIF_BRANDS:
        return Format.AVIF if brands & _AVIF_BRANDS else Format.HEIC
    return None


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
