"""Zip and OLE files: which format their directory says that they are. Nothing is inflated, and little is read."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")

OPEN_DOCUMENT = "application/vnd.oasis.opendocument."
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
_OLE_NOT_READ = (
    ("VisioDocument", "a Visio drawing (.vsd)"),
    ("Quill", "a Publisher document (.pub)"),
    ("HwpSummaryInformation", "a Hangul document (.hwp)"),
    ("MatOST", "a Works document (.wps)"),
    ("!_StringData", "a Windows installer (.msi)"),
)
ENCRYPTED_PACKAGE = "EncryptedPackage"
"""The stream that holds an encrypted document of Office 2007 or later. Source: [MS-OFFCRYPTO] 1.3.2."""

_OLE_DIRECTORY_SECTORS = 4096
_OLE_TABLE_SECTORS = 128
"""Sectors of the list of table sectors; each leads to 127 tables of 64 KB of file, so this reaches past 1 GB."""
_OLE_ENTRY = struct.Struct("<64sHBB3L")
_OLE_ENTRY_BYTES = 128
_NO_ENTRY = 0xFFFFFFFF
_LAST_SECTOR = 0xFFFFFFFA


@dataclass(frozen=True, slots=True)
class ZipDirectory:
    """What the directory of a zip file shows."""

    names: frozenset[str]
    """Of the members, in small letters."""
    media_type: str
    """What the stored member `mimetype` holds, in small letters; empty where there is none."""

    @property
    def is_office_package(self) -> bool:
        return "[content_types].xml" in self.names or "_rels/.rels" in self.names

    @property
    def is_open_document(self) -> bool:
        """True for a package of OpenDocument, also where it does not say of which kind."""
        return "content.xml" in self.names and ("meta-inf/manifest.xml" in self.names or "styles.xml" in self.names)


def zip_directory(path: Path, members: Sequence[zipfile.ZipInfo]) -> ZipDirectory:
    names = frozenset(member.filename.replace("\\", "/").lstrip("/").casefold() for member in members)
    return ZipDirectory(names, _stored_media_type(path, members))


def is_book(directory: ZipDirectory) -> bool:
    """True for an EPUB that lacks its media type."""
    return "meta-inf/container.xml" in directory.names and any(name.endswith(".opf") for name in directory.names)


def name_by_media_type(directory: ZipDirectory) -> str:
    """What a zip file is whose media type says that it is not read; empty where it says no such thing."""
    if directory.media_type.startswith(OPEN_DOCUMENT):
        kind = directory.media_type.removeprefix(OPEN_DOCUMENT)
        return _OPEN_DOCUMENTS_NOT_READ.get(kind, "an OpenDocument file")
    if directory.media_type.startswith("application/vnd.sun.xml"):
        return "an OpenOffice 1 document: save it in the OpenDocument format"
    return ""


def name_by_members(directory: ZipDirectory) -> str:
    """What a zip file is whose members show that it is not read; empty where they show no such thing."""
    return next((kind for name, kind in _ZIP_NOT_READ if name in directory.names), "")


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


def name_by_streams(names: frozenset[str]) -> str:
    """What an OLE file is whose names show that it is not read; empty where they show no such thing."""
    return next((kind for name, kind in _OLE_NOT_READ if name in names), "")


def ole_names(path: Path) -> tuple[frozenset[str], frozenset[str]]:
    """(names at the root, all names) of an OLE directory; as many as could be followed in a damaged one.

    What is embedded lies below the root: a workbook inside a Word document makes it no workbook.
    """
    with path.open("rb") as file:
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
