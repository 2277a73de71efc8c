"""What is read and by whom: a format is one function and one row of `EXTRACTORS`.

Detection runs in the server on untrusted bytes and decodes nothing; extractors run in the parsing child. Each row
imports its module when it is called, so that the child of a text file loads no XML parser, and the server none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from services.content import Format, Issue, Limits, Page, Part, Upload
from services.options import Options

if TYPE_CHECKING:
    from services.ocr import OcrEngine


@dataclass(frozen=True, slots=True)
class Detection:
    """What a file is, told by its content; `warnings` hold what its name or declared type says otherwise."""

    format: Format
    media_type: str
    warnings: tuple[Issue, ...] = ()


@dataclass(frozen=True, slots=True)
class ExtractContext:
    """What an extractor is given beside the file."""

    options: Options
    password: str | None
    folder: Path
    """Private to this document; pictures are written here and adopted by the parent."""
    limits: Limits
    ocr: OcrEngine
    known_pages: Mapping[int, Page] = field(default_factory=dict)
    """Pages that an interrupted run has stored: yielded unchanged, without OCR and without their pictures."""
    known_pictures: frozenset[str] = frozenset()
    """SHA-256 of the pictures that were stored with them: as if this run had yielded them."""


Extractor = Callable[[Upload, ExtractContext], Iterator[Part]]
"""Yields one DocumentInfo, then page by page its pictures and issues and the page itself.

Raises InputError for a file that cannot be read as a whole; what concerns a part is yielded as an Issue.
"""


def _lazy(module: str, function: str) -> Extractor:
    def extract(upload: Upload, context: ExtractContext) -> Iterator[Part]:
        found: Extractor = getattr(import_module(f"services.formats.{module}"), function)
        return found(upload, context)

    extract.__name__ = extract.__qualname__ = function
    extract.__doc__ = f"Parts of a document, read by `services.formats.{module}.{function}`."
    return extract


_PICTURE = _lazy("picture", "extract_picture")

EXTRACTORS: Mapping[Format, Extractor] = MappingProxyType(
    {
        Format.PDF: _lazy("pdf", "extract_pdf"),
        Format.DOCX: _lazy("docx", "extract_docx"),
        Format.HTML: _lazy("webpage", "extract_html"),
        Format.MARKDOWN: _lazy("markdown", "extract_markdown"),
        Format.TEXT: _lazy("plain", "extract_text"),
        Format.CSV: _lazy("delimited", "extract_csv"),
        Format.PNG: _PICTURE,
        Format.JPEG: _PICTURE,
        Format.TIFF: _PICTURE,
        Format.WEBP: _PICTURE,
    }
)

MEDIA_TYPES: Mapping[Format, str] = MappingProxyType(
    {
        Format.PDF: "application/pdf",
        Format.DOCX: "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        Format.HTML: "text/html",
        Format.MARKDOWN: "text/markdown",
        Format.TEXT: "text/plain",
        Format.CSV: "text/csv",
        Format.PNG: "image/png",
        Format.JPEG: "image/jpeg",
        Format.TIFF: "image/tiff",
        Format.WEBP: "image/webp",
    }
)
"""The media type of each format. Source: the IANA media types registry."""


def detect_format(path: Path, filename: str, limits: Limits) -> Detection:
    """The format of the file at `path`; see `services.formats.detection.detect_format`."""
    from services.formats.detection import detect_format as detect

    return detect(path, filename, limits)
