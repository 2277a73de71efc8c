"""Names of what is not read, so that a refusal can say what the file seems to be."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from pathlib import Path

OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""Source: [MS-CFB] 2.2."""

_OLE_DIRECTORY_SECTORS = 256
_OLE_ENTRY_BYTES = 128

_OLE_KINDS = (
    ("WordDocument", "a Word 97-2003 document (.doc)"),
    ("Workbook", "an Excel 97-2003 workbook (.xls)"),
    ("Book", "an Excel 5 workbook (.xls)"),
    ("PowerPoint Document", "a PowerPoint 97-2003 presentation (.ppt)"),
    ("__properties_version1.0", "an Outlook message (.msg)"),
    ("__nameid_version1.0", "an Outlook message (.msg)"),
)

_ZIP_KINDS = (
    ("xl/workbook.xml", "an Excel workbook (.xlsx)"),
    ("xl/workbook.bin", "an Excel workbook (.xlsb)"),
    ("ppt/presentation.xml", "a PowerPoint presentation (.pptx)"),
    ("META-INF/container.xml", "an EPUB book"),
    ("content.xml", "an OpenDocument file"),
    ("META-INF/MANIFEST.MF", "a Java archive"),
)

_ZIP_MEDIA_TYPES = (
    ("application/epub+zip", "an EPUB book"),
    ("application/vnd.oasis.opendocument.text", "an OpenDocument text (.odt)"),
    ("application/vnd.oasis.opendocument.spreadsheet", "an OpenDocument spreadsheet (.ods)"),
    ("application/vnd.oasis.opendocument.presentation", "an OpenDocument presentation (.odp)"),
)

_BINARY_KINDS = (
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a Linux program"),
    (b"BM", "a BMP picture"),
    (b"GIF8", "a GIF picture"),
    (b"\x00\x00\x01\x00", "a Windows icon"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"SQLite format 3\x00", "an SQLite database"),
)
"""Signatures that puremagic reports with several rivals, or not at all."""

_MAIL_HEADER = re.compile(
    rb"(?im)^(received|return-path|delivered-to|from|to|cc|subject|date|message-id|mime-version|content-type|"
    rb"x-[\w-]{1,40}):[ \t]"
)


def ole_stream_names(path: Path) -> frozenset[str]:
    """Names in the directory of the OLE file at `path`; as many as could be followed in a damaged one."""
    names: set[str] = set()
    with path.open("rb") as file:
        header = file.read(512)
        if len(header) < 512:
            return frozenset()
        (shift,) = struct.unpack_from("<H", header, 30)
        if shift not in (9, 12):
            return frozenset()
        sector_bytes = 1 << shift
        (sector,) = struct.unpack_from("<L", header, 48)
        allocation = struct.unpack_from("<109L", header, 76)
        for _ in range(_OLE_DIRECTORY_SECTORS):
            if sector >= 0xFFFFFFFA:
                break
            file.seek((sector + 1) * sector_bytes)
            data = file.read(sector_bytes)
            for at in range(0, len(data) - _OLE_ENTRY_BYTES + 1, _OLE_ENTRY_BYTES):
                (length,) = struct.unpack_from("<H", data, at + 64)
                if 2 <= length <= 64:
                    names.add(data[at : at + length - 2].decode("utf-16-le", "replace"))
            table, entry = divmod(sector, sector_bytes // 4)
            if table >= len(allocation) or allocation[table] >= 0xFFFFFFFA:
                break
            file.seek((allocation[table] + 1) * sector_bytes + 4 * entry)
            link = file.read(4)
            if len(link) < 4:
                break
            (sector,) = struct.unpack("<L", link)
    return frozenset(names)


def name_ole(streams: Iterable[str]) -> str:
    """What an OLE file with these streams seems to be."""
    known = set(streams)
    return next((kind for name, kind in _OLE_KINDS if name in known), "an OLE compound file")


def name_zip(members: Iterable[str], head: bytes) -> str:
    """What a zip file seems to be; `head` may hold the `mimetype` member that EPUB and ODF begin with."""
    if head[30:38] == b"mimetype":
        for media_type, kind in _ZIP_MEDIA_TYPES:
            if head[38 : 38 + len(media_type)] == media_type.encode():
                return kind
    names = set(members)
    return next((kind for name, kind in _ZIP_KINDS if name in names), "a ZIP archive")


def name_binary(head: bytes) -> str:
    """What binary data seem to be, from their first bytes; empty where nothing is known of them."""
    if head[4:8] == b"ftyp":
        picture = head[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heim", b"heis", b"avif")
        return "a HEIC or AVIF picture" if picture else "an MP4 or QuickTime film"
    for magic, kind in _BINARY_KINDS:
        if head.startswith(magic):
            return kind
    import puremagic

    try:
        best = puremagic.magic_string(head)[0]
    except (puremagic.PureError, ValueError):
        return ""
    return f"“{best.name}”" if best.name and best.confidence >= 0.4 else ""


def name_structured_text(head: bytes) -> str:
    """What text with a syntax of its own seems to be (RTF, PostScript, XML, JSON, mail); empty for prose."""
    start = head.lstrip()
    if start.startswith(b"<?xml") or start[:4].lower() == b"<svg":
        return "an SVG picture" if b"<svg" in start[:4096].lower() else "an XML file"
    end = head.rstrip()
    if start[:1] in (b"{", b"[") and end[-1:] in (b"}", b"]", b",") and b'"' in start[:200]:
        return "a JSON file"
    first = start.split(b"\n", 1)[0]
    if _MAIL_HEADER.match(first):
        block = re.split(rb"\r?\n\r?\n", start[:8192], maxsplit=1)[0]
        if len({name.lower() for name in _MAIL_HEADER.findall(block)}) >= 2:
            return "an e-mail message"
    return ""
