"""The ways in which a format is told by its content; each row of the registry names one.

`detect` asks them kind by kind: first bytes, zip members, OLE streams, syntax of a text, and the name last.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from services.formats.detection.containers import ZipDirectory
from services.formats.detection.syntax import TextSample


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """What the kinds have in common."""

    rank: int = 0
    """Detectors of one kind are asked by rank, lowest first, and those of one rank in the order of the rows."""


@dataclass(frozen=True, slots=True)
class FirstBytes(Detector):
    """A file that begins as no other does."""

    matches: Callable[[bytes], bool]
    """True for the first bytes of such a file (up to 64 KB)."""
    matches_text: Callable[[TextSample], bool] | None = None
    """Asked again where neither containers nor the syntax of a text have told the format."""
    is_text: bool = False
    """True where a person could open the file as text."""


@dataclass(frozen=True, slots=True)
class ZipMembers(Detector):
    """A zip file with members of its own."""

    matches: Callable[[ZipDirectory], bool]
    media_type: str = ""
    """How the stored member `mimetype` begins, where the format has one; asked before everything else."""


@dataclass(frozen=True, slots=True)
class OfficePackage(Detector):
    """A document of Office 2007 or later. Encrypted, it is an OLE file, and told by its name."""

    main_part: re.Pattern[str]
    """Name of the main part, in small letters."""
    folder: str
    """Where parts of such a document lie, for one whose main part is named by its relations only."""


@dataclass(frozen=True, slots=True)
class OpenDocument(Detector):
    """An OpenDocument file; where the file does not say of which kind, its name does."""

    kinds: tuple[str, ...]
    """What its media type says behind `application/vnd.oasis.opendocument.`."""


@dataclass(frozen=True, slots=True)
class PlainZip(Detector):
    """A zip file that is no document."""


@dataclass(frozen=True, slots=True)
class OleStreams(Detector):
    """An OLE compound file with a stream or storage of one of these names."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Syntax(Detector):
    """A text whose syntax shows what it is."""

    matches: Callable[[TextSample], bool]
    or_name: bool = False
    """True where, of a text without a syntax, the name is believed."""


@dataclass(frozen=True, slots=True)
class Name(Detector):
    """A text without a syntax to be told by: the name decides, and only between such texts."""

    matches_unnamed: Callable[[TextSample], bool] | None = None
    """Asked last, of a text whose name says nothing."""
