"""Extensions of file names: which format each stands for, and which name something that is not read."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from services.formats.detection.detectors import FirstBytes, Name, Syntax
from services.formats.registry import Format

FORMAT_OF: Mapping[str, Format] = MappingProxyType(
    {extension: format for format in Format for extension in format.spec.extensions}
)

PROSE = frozenset(format for format in Format if isinstance(format.spec.detector, Name))
"""Kinds of text without a syntax of their own to be told by: the name decides."""

TEXT_NOT_READ = frozenset({"ps", "eps", "mbox"})
"""Extensions of text that is not read: drawings, and mailboxes, of whose mails only the first would be seen as one."""

_WORDS_OF_BINARY = (
    "exe dll msi com bat cmd so gz tgz bz2 xz zst 7z rar tar jar apk iso xlsb mobi azw3 ico psd mp3 mp4 m4a wav ogg "
    "flac avi mov mkv webm db sqlite parquet pages numbers key woff woff2 ttf otf class pyc odg odf odc odb vsd vsdx "
    "pub one mpp wmf emf jp2 jxl djvu xps svgz"
)


def _is_text(format: Format) -> bool:
    detector = format.spec.detector
    return isinstance(detector, Syntax | Name) or (isinstance(detector, FirstBytes) and detector.is_text)


BINARY = frozenset(_WORDS_OF_BINARY.split()) | {
    extension for extension, format in FORMAT_OF.items() if not _is_text(format)
}
"""Extensions of binary formats: text under such a name is not what its owner takes it for."""


def extension_of(filename: str) -> str:
    """The extension of a file name in small letters, without its dot; empty where there is none."""
    stem, dot, extension = filename.strip().rstrip(". ").rpartition(".")
    return extension.lower() if dot and len(extension) <= 10 and (stem or extension) else ""
