"""Tells what a file is: its first bytes, then its directory (zip, OLE), then its syntax; its name comes last.

Runs in the server on bytes from strangers, so it reads a bounded number of them and decodes and inflates nothing.
"""

from __future__ import annotations

from pathlib import Path

from services.content import Format, Issue, Limits
from services.errors import EncryptedDocument, UnreadableDocument, UnsupportedFormat
from services.formats.base import Detection
from services.formats.detection.containers import ENCRYPTED_PACKAGE, OLE_UNKNOWN, ZIP_MAGICS, ole_format, zip_format
from services.formats.detection.extensions import (
    BINARY,
    EXTENSIONS,
    FORMAT_OF,
    PROSE,
    TEXT_NOT_READ,
    ZIPPED,
    extension_of,
)
from services.formats.detection.signatures import OLE_MAGIC, format_by_magic, holds_pdf, name_binary
from services.formats.detection.syntax import is_delimited, text_format
from services.formats.kit.decoding import looks_like_text, wide_encoding
from services.formats.registry import MEDIA_TYPES

SUPPORTED: tuple[str, ...] = tuple(format.value for format in Format)

_OLE_FORMATS = frozenset({Format.DOC, Format.XLS, Format.PPT, Format.MSG})
_SAMPLE_BYTES = 65_536
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


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
    format = format_by_magic(head)
    if format is None and head[:4] in ZIP_MAGICS:
        format = _inside_zip(path, extension, limits)
    if format is None and head.startswith(OLE_MAGIC):
        format = _inside_ole(path, extension)
    if format is None:
        format = _text_format(head, tail, sample, extension)
    return Detection(format, MEDIA_TYPES[format], _mismatch(format, extension))


def _inside_zip(path: Path, extension: str, limits: Limits) -> Format:
    from services.formats.kit.archive import check_declared_sizes, list_members

    members = list_members(path, limits)
    format, seems = zip_format(path, members, extension)
    if format is None:
        raise _unsupported(seems)
    check_declared_sizes(members, limits)
    if format is Format.ZIP:
        if FORMAT_OF.get(extension) in ZIPPED:
            raise UnreadableDocument(
                f"The file is named .{extension}, but the archive holds no such document. If it is a batch of files, "
                "name it .zip, else it was damaged on its way: upload the original.",
                code="content_mismatch",
            )
    elif any(member.flag_bits & 0x1 for member in members):
        raise EncryptedDocument("The document is encrypted inside its archive. Save it without a password.")
    return format


def _inside_ole(path: Path, extension: str) -> Format:
    format, seems = ole_format(path)
    if format is not None:
        return format
    if seems == ENCRYPTED_PACKAGE:
        named = FORMAT_OF.get(extension)
        return named if named in (Format.XLSX, Format.PPTX) else Format.DOCX
    if seems == OLE_UNKNOWN and FORMAT_OF.get(extension) in _OLE_FORMATS:
        raise UnreadableDocument(
            f"The .{extension} file is damaged or cut off: the list of its parts cannot be read. Upload it again, or "
            "save it anew in the program that made it.",
            code="corrupt_document",
        )
    raise _unsupported(seems)


def _text_format(head: bytes, tail: bytes, sample: bytes, extension: str) -> Format:
    encoding = wide_encoding(head)
    start, end = _narrow(head, encoding), _narrow(tail, encoding)
    syntax = text_format(start, end, extension)
    named = FORMAT_OF.get(extension)
    # What is named as prose may speak of PDF; a file of that format has its table of contents at its end.
    if syntax is None and holds_pdf(head) and (named not in PROSE or b"startxref" in tail):
        return Format.PDF
    if not looks_like_text(sample):
        raise _unsupported(name_binary(head))
    if start.startswith(b"%!PS"):
        raise _unsupported("a PostScript file")
    if extension in TEXT_NOT_READ and syntax in (None, Format.EML):
        raise _unsupported(f"a .{extension} file")
    if syntax is not None:
        return syntax
    if named in PROSE or named is Format.HTML:
        return named
    if extension in BINARY:
        raise UnreadableDocument(
            f"The file is named .{extension}, but it holds plain text. If that is what you mean, name it .txt, "
            "else it was damaged on its way: upload the original.",
            code="content_mismatch",
        )
    if named is None and is_delimited(start.rpartition(b"\n")[0].decode("utf-8", "replace")):
        return Format.CSV
    return Format.TEXT


def _narrow(part: bytes, encoding: str) -> bytes:
    """`part` with the ASCII of a wide encoding as one byte each, and without a byte order mark."""
    part = part.replace(b"\x00", b"") if encoding else part
    while part.startswith(_MARKS):
        for mark in _MARKS:
            part = part.removeprefix(mark)
    return part


def _mismatch(format: Format, extension: str) -> tuple[Issue, ...]:
    known = extension in FORMAT_OF or extension in BINARY or extension in TEXT_NOT_READ
    if not known or extension in EXTENSIONS[format]:
        return ()
    message = f"The file is named .{extension}, but its content is {format.value}; it was read as {format.value}."
    return (Issue("extension_mismatch", message),)


def _unsupported(seems: str) -> UnsupportedFormat:
    what = f"The file seems to be {seems}, which is not read." if seems else "The file is of no format that is known."
    return UnsupportedFormat(
        f"{what} Supported are: {', '.join(SUPPORTED)}.", facts={"supported": list(SUPPORTED), "seems": seems}
    )
