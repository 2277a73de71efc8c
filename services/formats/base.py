"""What a format brings: a function that reads a file, perhaps one that draws its pages; and what they are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from services.content import Limits, Page, Part, Upload
from services.options import Options

if TYPE_CHECKING:
    from PIL.Image import Image

    from services.ocr.base import OcrEngine


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
    archive_depth: int = 0
    """How many archives and mails this file lies in."""
    libreoffice: Path | None = None
    """The program that converts old Office files; None where it is not installed."""


Extractor = Callable[[Upload, ExtractContext], Iterator[Part]]
"""Yields one DocumentInfo, then page by page its pictures and issues and the page itself.

Raises InputError for a file that cannot be read as a whole; what concerns a part is yielded as an Issue.
"""

Renderer = Callable[[Path, int, int, str | None, Limits], "Image"]
"""Draws a page of a file: path, number of the page from 1, width in pixels, password, limits.

Raises NotFound (`page_not_found`) for a page that does not exist, and what the extractor of the format raises.
"""
