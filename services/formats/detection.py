"""Tells what a file is: its first bytes, then the members of a zip, then whether it is text; its name comes last.

Runs in the server on bytes from strangers, so it reads a bounded number of them and decodes and inflates nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from services.content import Format, Issue, Limits
from services.errors import DocatlasError, EncryptedDocument, UnreadableDocument, UnsupportedFormat
from services.formats import MEDIA_TYPES, Detection
from services.formats.decoding import looks_like_text, wide_encoding
from services.formats.signatures import (
    OLE_MAGIC,
    name_binary,
    name_ole,
    name_structured_text,
    name_zip,
    ole_stream_names,
)

SUPPORTED: tuple[str, ...] = tuple(format.value for format in Format)

_SAMPLE_BYTES = 65_536
_PDF_HEADER_WITHIN = 1024
"""Source: ISO 32000-1, annex H, note 13: readers accept a header within the first 1,024 bytes."""

_EXTENSIONS: Mapping[Format, tuple[str, ...]] = MappingProxyType(
    {
        Format.PDF: ("pdf",),
        Format.DOCX: ("docx", "docm", "dotx", "dotm"),
        Format.HTML: ("html", "htm", "xhtml", "xht"),
        Format.MARKDOWN: ("md", "markdown", "mdown", "mkd", "mkdn", "mdx"),
        Format.TEXT: ("txt", "text", "log", "asc", "rst", "adoc", "tex"),
        Format.CSV: ("csv", "tsv", "tab"),
        Format.PNG: ("png",),
        Format.JPEG: ("jpg", "jpeg", "jpe", "jfif"),
        Format.TIFF: ("tif", "tiff"),
        Format.WEBP: ("webp",),
    }
)
_FORMAT_OF = {extension: format for format, extensions in _EXTENSIONS.items() for extension in extensions}
_TEXT_FORMATS = (Format.TEXT, Format.MARKDOWN, Format.CSV, Format.HTML)

_WORDS_OF_NOT_READ = (
    "json jsonl ndjson geojson ipynb xml svg rtf eml mht mhtml ps eps yaml yml toml ini css js ts vcf ics"
)
_NOT_READ = frozenset(_WORDS_OF_NOT_READ.split())
"""Extensions of text that is not read: it has a syntax that plain text would spoil."""

_WORDS_OF_BINARY = (
    "exe dll msi com bat cmd so zip gz tgz bz2 xz zst 7z rar tar jar iso doc dot xls xlsx xlsm xlsb ppt pptx pptm "
    "odt ods odp epub mobi msg gif bmp ico heic heif avif psd mp3 mp4 m4a wav ogg flac avi mov mkv webm db sqlite "
    "parquet pages numbers key woff woff2 ttf otf class pyc"
)
_BINARY = frozenset(_WORDS_OF_BINARY.split())
"""Extensions of binary formats: text under such a name is not what its owner takes it for."""

_HTML_START = re.compile(
    rb"\s*(?:<\?xml[^>]{0,200}\?>\s*)?(?:<!--(?:(?!-->).){0,8192}-->\s*){0,8}<(?:!doctype\s+html|html|head|body)\b",
    re.I | re.S,
)


def detect_format(path: Path, filename: str, limits: Limits) -> Detection:
    """The format of the file at `path`, told by its content; `filename` decides only between kinds of text.

    A name that contradicts the content is a warning (`extension_mismatch`).

    Raises:
        UnreadableDocument: `empty_file`, `corrupt_archive`, `content_mismatch` (text named as a binary format).
        UnsupportedFormat: the content is of no format that is read; `facts["supported"]` lists the formats.
        EncryptedDocument: an Office document that is encrypted as a whole.
        TooLarge: `too_many_entries`, `archive_too_large`, `compression_ratio`.
    """
    with path.open("rb") as file:
        head = file.read(_SAMPLE_BYTES)
        size = file.seek(0, 2)
        sample = head
        if size > 4 * _SAMPLE_BYTES:
            for at in (size // 2, size - _SAMPLE_BYTES // 4):
                file.seek(at - at % 4)
                sample += file.read(_SAMPLE_BYTES // 4)
    if not head:
        raise UnreadableDocument("The file is empty. Upload one that has content.", code="empty_file")
    extension = _extension(filename)
    format = _by_magic(head)
    if format is None and head[:4] in (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"):
        format = _inside_zip(path, head, limits)
    if format is None and head.startswith(OLE_MAGIC):
        raise _refuse_ole(path)
    if format is None:
        format = _text_format(sample, head, extension)
    return Detection(format, MEDIA_TYPES[format], _mismatch(format, extension))


def _by_magic(head: bytes) -> Format | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return Format.PNG
    if head.startswith(b"\xff\xd8\xff"):
        return Format.JPEG
    if head[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
        return Format.TIFF
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Format.WEBP
    if head.startswith(b"%PDF-"):
        return Format.PDF
    if _HTML_START.match(head) or head.startswith((b"PK\x03\x04", b"MZ", b"\x7fELF", OLE_MAGIC)):
        return None
    return Format.PDF if b"%PDF-" in head[: _PDF_HEADER_WITHIN + 5] else None


def _inside_zip(path: Path, head: bytes, limits: Limits) -> Format:
    from services.formats.archive import check_declared_sizes, list_members

    members = list_members(path, limits)
    names = [member.filename.lstrip("/") for member in members]
    is_word = "[Content_Types].xml" in names and any(re.fullmatch(r"word/document\d*\.xml", name) for name in names)
    if not is_word:
        raise _unsupported(name_zip(names, head))
    if any(member.flag_bits & 0x1 for member in members):
        raise EncryptedDocument("The document is encrypted inside its archive. Save it without a password.")
    check_declared_sizes(members, limits)
    return Format.DOCX


def _refuse_ole(path: Path) -> DocatlasError:
    streams = ole_stream_names(path)
    if {"EncryptedPackage", "EncryptionInfo"} & streams:
        return EncryptedDocument(
            "The Office document is protected by a password. Save it without one and upload it again."
        )
    return _unsupported(name_ole(streams))


def _text_format(sample: bytes, head: bytes, extension: str) -> Format:
    if not looks_like_text(sample):
        raise _unsupported(name_binary(head))
    encoding = wide_encoding(head)
    plain = head.replace(b"\x00", b"") if encoding else head
    plain = plain.removeprefix(b"\xef\xbb\xbf").removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff")
    if plain.startswith(b"{\\rtf"):
        raise _unsupported("a Rich Text file (.rtf)")
    if plain.startswith(b"%!PS"):
        raise _unsupported("a PostScript file")
    if _HTML_START.match(plain):
        return Format.HTML
    named = _FORMAT_OF.get(extension)
    if named in _TEXT_FORMATS:
        return named
    if named is not None or extension in _BINARY:
        raise UnreadableDocument(
            f"The file is named .{extension}, but it holds plain text. If that is what you mean, name it .txt, "
            "else it was damaged on its way: upload the original.",
            code="content_mismatch",
        )
    syntax = name_structured_text(plain)
    if syntax or extension in _NOT_READ:
        raise _unsupported(syntax or f"a .{extension} file")
    return Format.TEXT


def _mismatch(format: Format, extension: str) -> tuple[Issue, ...]:
    known = extension in _FORMAT_OF or extension in _BINARY or extension in _NOT_READ
    if not known or extension in _EXTENSIONS[format]:
        return ()
    message = f"The file is named .{extension}, but its content is {format.value}; it was read as {format.value}."
    return (Issue("extension_mismatch", message),)


def _extension(filename: str) -> str:
    stem, dot, extension = filename.strip().rstrip(". ").rpartition(".")
    return extension.lower() if dot and len(extension) <= 10 and (stem or extension) else ""


def _unsupported(seems: str) -> UnsupportedFormat:
    what = f"The file seems to be {seems}, which is not read." if seems else "The file is of no format that is known."
    return UnsupportedFormat(
        f"{what} Supported are: {', '.join(SUPPORTED)}.", facts={"supported": list(SUPPORTED), "seems": seems}
    )
