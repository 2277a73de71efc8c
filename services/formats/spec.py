"""What the row of a format holds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from typing import Any

from services.formats.base import Extractor, Renderer
from services.formats.detection.detectors import Detector


class Group(Enum):
    """The parts of docs/formats.md, by their headings and in their order."""

    DOCUMENTS = "Documents"
    PRESENTATIONS = "Presentations"
    DATA = "Spreadsheets and data"
    MAIL = "Mail and archives"
    PICTURES = "Pictures"
    """Files that hold pictures and nothing else; they can be searched by."""


@dataclass(frozen=True, slots=True)
class Description:
    """What is read of a format and what is not, as Markdown on one line each."""

    reads: str
    left_out: str
    pages: str
    """What counts as a page."""
    libraries: tuple[str, ...] = ()
    """Distributions that read it, beside Python's standard library; the reader itself is our own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatSpec:
    """The row of a format."""

    word: str
    """What the API calls it."""
    title: str
    """What people call it."""
    group: Group
    media_type: str
    """Source: the IANA media types registry; for reStructuredText, JSON Lines and notebooks, common use."""
    extensions: tuple[str, ...]
    """Under which its files are known, without a dot, the usual one first. No two formats share one."""
    detector: Detector
    reader: str
    """`module.function` below services.formats: an Extractor."""
    sample: str
    """A small file of this format in tests/data."""
    described: Description
    renderer: str = ""
    """`module.function` below services.formats: a Renderer. Empty where pages have no look of their own."""
    takes_password: bool = False
    """True where `options.password` opens encrypted files."""

    @property
    def extract(self) -> Extractor:
        """The reader, loaded when it is first asked for."""
        found: Extractor = _load(self.reader)
        return found

    @property
    def render(self) -> Renderer | None:
        """The renderer, likewise; None where pages have no look of their own."""
        found: Renderer | None = _load(self.renderer) if self.renderer else None
        return found


def _load(name: str) -> Any:
    module, _, function = name.rpartition(".")
    return getattr(import_module(f"services.formats.{module}"), function)
