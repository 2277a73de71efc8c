"""Tells what a file is: its first bytes, then its directory (zip, OLE), then its syntax; its name comes last.

Runs in the server on bytes from strangers, so it reads a bounded number of them and decodes and inflates nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from services.content import Issue, Limits
from services.errors import EncryptedDocument, UnreadableDocument, UnsupportedFormat
from services.formats.detection.containers import (
    ENCRYPTED_PACKAGE,
    OPEN_DOCUMENT,
    ZIP_MAGICS,
    ZipDirectory,
    name_by_media_type,
    name_by_members,
    name_by_streams,
    ole_names,
    zip_directory,
)
from services.formats.detection.detectors import (
    Detector,
    FirstBytes,
    Name,
    OfficePackage,
    OleStreams,
    OpenDocument,
    Syntax,
    ZipMembers,
)
from services.formats.detection.extensions import BINARY, FORMAT_OF, PROSE, TEXT_NOT_READ, extension_of
from services.formats.detection.signatures import OLE_MAGIC, name_binary
from services.formats.detection.syntax import TextSample
from services.formats.kit.decoding import looks_like_text
from services.formats.registry import Format

SUPPORTED: tuple[str, ...] = tuple(format.value for format in Format)

Kind = TypeVar("Kind", bound=Detector)


def _asked(kind: type[Kind]) -> tuple[tuple[Format, Kind], ...]:
    """The formats that are told by `kind`, with their detectors, in the order in which they are asked."""
    rows = [(format, format.spec.detector) for format in Format]
    return tuple(sorted(((f, d) for f, d in rows if isinstance(d, kind)), key=lambda row: row[1].rank))


_FIRST_BYTES = _asked(FirstBytes)
_ZIP_MEMBERS = _asked(ZipMembers)
_OFFICE_PACKAGES = _asked(OfficePackage)
_OPEN_DOCUMENTS = _asked(OpenDocument)
_OLE_STREAMS = _asked(OleStreams)
_SYNTAXES = _asked(Syntax)
_NAMES = _asked(Name)

_SAMPLE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Detection:
    """What a file is, told by its content; `warnings` hold what its name or declared type says otherwise."""

    format: Format
    media_type: str
    warnings: tuple[Issue, ...] = ()


def detect_format(path: Path, filename: str, limits: Limits) -> Detection:
    """The format of the file at `path`, told by its content; `filename` decides only between kinds of text.

    A name that contradicts the content is a warning (`extension_mismatch`). An encrypted Office document is of the
    format that its name says, DOCX where it says none: what is inside is seen only with the password.

    Raises:
        UnreadableDocument: `empty_file`, `corrupt_archive`, `corrupt_document` (OLE), `content_mismatch` (prose or a
            plain archive under the name of a binary format).
        UnsupportedFormat: the content is of no format that is read; `facts["supported"]` lists the formats.
        EncryptedDocument: a document whose zip members are encrypted.
        TooLarge: `too_many_entries`, `archive_too_large`, `compression_ratio`.
    """
    with path.open("rb") as file:
        head = file.read(_SAMPLE_BYTES)
        size = file.seek(0, 2)
        tail, sample = head, head
        if size > _SAMPLE_BYTES:
            # Four divides the places that are looked at, so that wide encodings stay in step.
            file.seek(max(0, size - _SAMPLE_BYTES) // 4 * 4)
            tail = file.read()
        if size > 4 * _SAMPLE_BYTES:
            file.seek(size // 2 // 4 * 4)
            sample = head + file.read(_SAMPLE_BYTES // 4) + tail[-_SAMPLE_BYTES // 4 :]
    if not head:
        raise UnreadableDocument("The file is empty. Upload one that has content.", code="empty_file")
    extension = extension_of(filename)
    format = next((format for format, row in _FIRST_BYTES if row.matches(head)), None)
    if format is None and head[:4] in ZIP_MAGICS:
        format = _inside_zip(path, extension, limits)
    if format is None and head.startswith(OLE_MAGIC):
        format = _inside_ole(path, extension)
    if format is None:
        named = FORMAT_OF.get(extension)
        text = TextSample(head, tail, extension, named.value if named else "", named in PROSE)
        format = _inside_text(text, named, sample)
    return Detection(format, format.spec.media_type, _mismatch(format, extension))


def _inside_zip(path: Path, extension: str, limits: Limits) -> Format:
    from services.formats.kit.archive import check_declared_sizes, list_members

    members = list_members(path, limits)
    format = _zip_format(zip_directory(path, members), extension)
    check_declared_sizes(members, limits)
    if format is Format.ZIP:
        named = FORMAT_OF.get(extension)
        if named and isinstance(named.spec.detector, ZipMembers | OfficePackage | OpenDocument):
            raise UnreadableDocument(
                f"The file is named .{extension}, but the archive holds no such document. If it is a batch of files, "
                "name it .zip, else it was damaged on its way: upload the original.",
                code="content_mismatch",
            )
    elif any(member.flag_bits & 0x1 for member in members):
        raise EncryptedDocument("The document is encrypted inside its archive. Save it without a password.")
    return format


def _zip_format(directory: ZipDirectory, extension: str) -> Format:
    """The format of a zip file by its directory; its name is asked only for an OpenDocument that does not say more.

    In this order: the media type that it states, the main part of an Office package, what else lies in such a package,
    members of other documents, and if all that is missing, ZIP. What is not read is refused where it shows.
    """
    for format, members in _ZIP_MEMBERS:
        if members.media_type and directory.media_type.startswith(members.media_type):
            return format
    for format, document in _OPEN_DOCUMENTS:
        if directory.media_type in [OPEN_DOCUMENT + kind for kind in document.kinds]:
            return format
    if seems := name_by_media_type(directory):
        raise _unsupported(seems)
    if directory.is_office_package:
        for format, package in _OFFICE_PACKAGES:
            if any(package.main_part.fullmatch(name) for name in directory.names):
                return format
    if seems := name_by_members(directory):
        raise _unsupported(seems)
    if directory.is_office_package:
        for format, package in _OFFICE_PACKAGES:
            if any(name.startswith(package.folder) for name in directory.names):
                return format
        raise _unsupported("an Office package of a kind that is not known")
    for format, members in _ZIP_MEMBERS:
        if members.matches(directory):
            return format
    if directory.is_open_document:
        named = FORMAT_OF.get(extension)
        return named if named and isinstance(named.spec.detector, OpenDocument) else Format.ODT
    if "meta-inf/manifest.mf" in directory.names and extension != "zip":
        raise _unsupported("a Java program (.jar)")
    return Format.ZIP


def _inside_ole(path: Path, extension: str) -> Format:
    """The format of an OLE file by the streams at its root, or in a damaged one by those that are found anywhere."""
    named = FORMAT_OF.get(extension)
    root, everything = ole_names(path)
    for names in (root, everything):
        if ENCRYPTED_PACKAGE in names:
            return named if named and isinstance(named.spec.detector, OfficePackage) else Format.DOCX
        for format, row in _OLE_STREAMS:
            if not names.isdisjoint(row.names):
                return format
    seems = name_by_streams(everything)
    if not seems and named and isinstance(named.spec.detector, OleStreams):
        raise UnreadableDocument(
            f"The .{extension} file is damaged or cut off: the list of its parts cannot be read. Upload it again, or "
            "save it anew in the program that made it.",
            code="corrupt_document",
        )
    raise _unsupported(seems or "an OLE compound file")


def _inside_text(text: TextSample, named: Format | None, sample: bytes) -> Format:
    """The format of what is no container: by its syntax, else by its name, else plain text.

    `sample` is from the beginning, the middle and the end of the file.
    """
    syntax = next((format for format, row in _SYNTAXES if row.matches(text)), None)
    if syntax is None:
        for format, row in _FIRST_BYTES:
            if row.matches_text and row.matches_text(text):
                return format
    if not looks_like_text(sample):
        raise _unsupported(name_binary(text.first_bytes))
    if text.head.startswith(b"%!PS"):
        raise _unsupported("a PostScript file")
    if text.extension in TEXT_NOT_READ and syntax in (None, Format.EML):
        raise _unsupported(f"a .{text.extension} file")
    if syntax is not None:
        return syntax
    if named and (named in PROSE or (isinstance(named.spec.detector, Syntax) and named.spec.detector.or_name)):
        return named
    if text.extension in BINARY:
        raise UnreadableDocument(
            f"The file is named .{text.extension}, but it holds plain text. If that is what you mean, name it .txt, "
            "else it was damaged on its way: upload the original.",
            code="content_mismatch",
        )
    if named is None:
        for format, prose in _NAMES:
            if prose.matches_unnamed and prose.matches_unnamed(text):
                return format
    return Format.TEXT


def _mismatch(format: Format, extension: str) -> tuple[Issue, ...]:
    known = extension in FORMAT_OF or extension in BINARY or extension in TEXT_NOT_READ
    if not known or extension in format.spec.extensions:
        return ()
    message = f"The file is named .{extension}, but its content is {format.value}; it was read as {format.value}."
    return (Issue("extension_mismatch", message),)


def _unsupported(seems: str) -> UnsupportedFormat:
    what = f"The file seems to be {seems}, which is not read." if seems else "The file is of no format that is known."
    return UnsupportedFormat(
        f"{what} Supported are: {', '.join(SUPPORTED)}.", facts={"supported": list(SUPPORTED), "seems": seems}
    )
