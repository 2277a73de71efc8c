"""Zip and OLE files: which format their directory says that they are. Nothing is inflated, and little is read."""

from __future__ import annotations

import re
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from services.content import Format

ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")

_OFFICE_PARTS = (
    (re.compile(r"word/document\d*\.xml"), Format.DOCX),
    (re.compile(r"xl/workbook\d*\.xml"), Format.XLSX),
    (re.compile(r"ppt/presentation\d*\.xml"), Format.PPTX),
)
_OFFICE_FOLDERS = ((("word/",), Format.DOCX), (("xl/worksheets/",), Format.XLSX), (("ppt/slides/",), Format.PPTX))
"""For packages whose main part has a name of its own, which only the relations tell."""

_OPEN_DOCUMENTS = {
    "text": Format.ODT,
    "text-template": Format.ODT,
    "text-master": Format.ODT,
    "spreadsheet": Format.ODS,
    "spreadsheet-template": Format.ODS,
    "presentation": Format.ODP,
    "presentation-template": Format.ODP,
}
_OPEN_DOCUMENT = "application/vnd.oasis.opendocument."
"""Source: OpenDocument 1.3, part 3, appendix A."""

_OPEN_DOCUMENTS_NOT_READ = {
    "graphics": "an OpenDocument drawing (.odg)",
    "formula": "an OpenDocument formula (.odf)",
    "chart": "an OpenDocument chart (.odc)",
    "database": "an OpenDocument database (.odb)",
    "image": "an OpenDocument picture (.odi)",
}
_ZIP_NOT_READ = (
    ("xl/workbook.bin", "a binary Excel workbook (.xlsb): save it as .xlsx"),
    ("visio/document.xml", "a Visio drawing (.vsdx)"),
    ("fixeddocseq.fdseq", "an XPS document"),
    ("fixeddocumentsequence.fdseq", "an XPS document"),
    ("androidmanifest.xml", "an Android program (.apk)"),
    ("index/document.iwa", "an Apple iWork document: export it as PDF or as an Office document"),
    ("index.zip", "an Apple iWork document: export it as PDF or as an Office document"),
    ("index.apxl", "an Apple iWork document: export it as PDF or as an Office document"),
)
_ROOT_STREAMS = (
    ("EncryptedPackage", None),
    ("__properties_version1.0", Format.MSG),
    ("WordDocument", Format.DOC),
    ("PowerPoint Document", Format.PPT),
    ("Workbook", Format.XLS),
    ("Book", Format.XLS),
)
_OLE_NOT_READ = (
    ("VisioDocument", "a Visio drawing (.vsd)"),
    ("Quill", "a Publisher document (.pub)"),
    ("HwpSummaryInformation", "a Hangul document (.hwp)"),
    ("MatOST", "a Works document (.wps)"),
    ("!_StringData", "a Windows installer (.msi)"),
)
ENCRYPTED_PACKAGE = "EncryptedPackage"
OLE_UNKNOWN = "an OLE compound file"

_OLE_DIRECTORY_SECTORS = 4096
_OLE_TABLE_SECTORS = 128
"""Sectors of the list of table sectors; each leads to 127 tables of 64 KB of file, so this reaches past 1 GB."""
_OLE_ENTRY = struct.Struct("<64sHBB3L")
_OLE_ENTRY_BYTES = 128
_NO_ENTRY = 0xFFFFFFFF
_LAST_SECTOR = 0xFFFFFFFA


def zip_format(path: Path, members: Sequence[zipfile.ZipInfo], extension: str) -> tuple[Format | None, str]:
    """(format, what it seems to be) of a zip file; the name decides only for an OpenDocument that does not say.

    The format is None for what is not read.
    """
    names = {member.filename.replace("\\", "/").lstrip("/").casefold() for member in members}
    media_type = _stored_media_type(path, members)
    if media_type.startswith("application/epub"):
        return Format.EPUB, ""
    if media_type.startswith(_OPEN_DOCUMENT):
        kind = media_type.removeprefix(_OPEN_DOCUMENT)
        return _OPEN_DOCUMENTS.get(kind), _OPEN_DOCUMENTS_NOT_READ.get(kind, "an OpenDocument file")
    if media_type.startswith("application/vnd.sun.xml"):
        return None, "an OpenOffice 1 document: save it in the OpenDocument format"
    is_package = "[content_types].xml" in names or "_rels/.rels" in names
    if is_package:
        for pattern, format in _OFFICE_PARTS:
            if any(pattern.fullmatch(name) for name in names):
                return format, ""
    for name, seems in _ZIP_NOT_READ:
        if name in names:
            return None, seems
    if is_package:
        for folders, format in _OFFICE_FOLDERS:
            if any(name.startswith(folders) for name in names):
                return format, ""
        return None, "an Office package of a kind that is not known"
    if "meta-inf/container.xml" in names and any(name.endswith(".opf") for name in names):
        return Format.EPUB, ""
    if "content.xml" in names and ("meta-inf/manifest.xml" in names or "styles.xml" in names):
        by_name = {"ods": Format.ODS, "ots": Format.ODS, "odp": Format.ODP, "otp": Format.ODP}
        return by_name.get(extension, Format.ODT), ""
    if "meta-inf/manifest.mf" in names and extension != "zip":
        return None, "a Java program (.jar)"
    return Format.ZIP, ""


def _stored_media_type(path: Path, members: Sequence[zipfile.ZipInfo]) -> str:
    """What the member `mimetype` of EPUB and OpenDocument holds, where it is stored uncompressed, as both demand."""
    for member in members:
        if member.filename == "mimetype" and member.compress_type == zipfile.ZIP_STORED and member.file_size <= 256:
            if member.header_offset < 0:  # a directory that lies about where it starts
                return ""
            with path.open("rb") as file:
                file.seek(member.header_offset)
                header = file.read(30)
                if len(header) < 30 or header[:4] != ZIP_MAGICS[0]:
                    return ""
                file.seek(sum(struct.unpack_from("<2H", header, 26)), 1)
                return file.read(member.file_size).decode("ascii", "replace").strip().casefold()
    return ""


def ole_format(path: Path) -> tuple[Format | None, str]:
    """(format, what it seems to be) of an OLE file.

    `seems` is `ENCRYPTED_PACKAGE` for an Office document of the newer kind that is encrypted as a whole; the format
    is then None, as it is for what is not read.
    """
    with path.open("rb") as file:
        root, everything = _ole_names(file)
    for names in (root, everything):
        for name, format in _ROOT_STREAMS:
            if name in names:
                return format, ENCRYPTED_PACKAGE if format is None else ""
    return None, next((kind for name, kind in _OLE_NOT_READ if name in everything), OLE_UNKNOWN)


def _ole_names(file: BinaryIO) -> tuple[frozenset[str], frozenset[str]]:
    """(names at the root, all names) of an OLE directory; as many as could be followed in a damaged one.

    What is embedded lies below the root: a workbook inside a Word document makes it no workbook.
    """
    entries = _ole_entries(file)
    names = {number: name for number, (name, *_) in enumerate(entries) if name}
    root: set[str] = set()
    todo, seen = [entries[0][3]] if entries else [], set[int]()
    while todo:
        number = todo.pop()
        if number in seen or number >= len(entries):
            continue
        seen.add(number)
        name, left, right, _ = entries[number]
        root.add(name)
        todo += [left, right]
    return frozenset(root), frozenset(names.values())


def _ole_entries(file: BinaryIO) -> list[tuple[str, int, int, int]]:
    """(name, left sibling, right sibling, child) of every entry. Source: [MS-CFB] 2.6.1."""
    header = file.read(512)
    if len(header) < 512:
        return []
    (shift,) = struct.unpack_from("<H", header, 30)
    if shift not in (9, 12):
        return []
    sector_bytes = 1 << shift
    tables = _ole_tables(file, header, sector_bytes)
    (sector,) = struct.unpack_from("<L", header, 48)
    entries: list[tuple[str, int, int, int]] = []
    for _ in range(_OLE_DIRECTORY_SECTORS):
        if sector >= _LAST_SECTOR:
            break
        file.seek((sector + 1) * sector_bytes)
        data = file.read(sector_bytes)
        for at in range(0, len(data) - _OLE_ENTRY_BYTES + 1, _OLE_ENTRY_BYTES):
            encoded, length, _, _, left, right, child = _OLE_ENTRY.unpack_from(data, at)
            name = encoded[: length - 2].decode("utf-16-le", "replace") if 2 <= length <= 64 else ""
            entries.append((name, left, right, child))
        table, entry = divmod(sector, sector_bytes // 4)
        if table >= len(tables) or tables[table] >= _LAST_SECTOR:
            break
        file.seek((tables[table] + 1) * sector_bytes + 4 * entry)
        link = file.read(4)
        if len(link) < 4:
            break
        (sector,) = struct.unpack("<L", link)
    return entries


def _ole_tables(file: BinaryIO, header: bytes, sector_bytes: int) -> list[int]:
    """Sectors of the allocation table: 109 are named in the header, more in a chain. Source: [MS-CFB] 2.5."""
    tables = list(struct.unpack_from("<109L", header, 76))
    (sector,) = struct.unpack_from("<L", header, 68)
    for _ in range(_OLE_TABLE_SECTORS):
        if sector >= _LAST_SECTOR:
            break
        file.seek((sector + 1) * sector_bytes)
        data = file.read(sector_bytes)
        if len(data) < sector_bytes:
            break
        *more, sector = struct.unpack(f"<{sector_bytes // 4}L", data)
        tables += more
    return tables
