"""The nouns that flow from an upload to its chunks. Imports nothing heavy: the parsing child uses it too.

Boxes are `(x0, y0, x1, y1)` in PDF points (1/72 inch), origin at the top left of the page as it is shown.
Offsets count Unicode code points, from 0, end excluded. Pages count from 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from services.errors import DocatlasError

Box = tuple[float, float, float, float]

PAGE_SEPARATOR = "\n\n"
"""Stands between the texts of two pages in a document's text: `PAGE_SEPARATOR.join(page.text for page in pages)`."""

STAGES_AFTER_EXTRACTION = ("embedding", "storing")
"""Stages of a job in which every page of its document is stored."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as it arrived; the bytes stay on disk at `path`."""

    path: Path
    filename: str
    """For display only: never a path, already cleaned."""
    declared_type: str
    """The media type that the client named; may be empty or wrong."""
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Received:
    """A file of an upload request: either on disk (`upload`), or refused while it arrived (`error`)."""

    filename: str
    upload: Upload | None
    error: DocatlasError | None = None


class TextSource(StrEnum):
    """Where a page's text comes from."""

    NATIVE = "native"
    OCR = "ocr"
    HYBRID = "hybrid"


class BlockKind(StrEnum):
    HEADING = "heading"
    PARAGRAPH = "paragraph"
    LIST_ITEM = "list_item"
    TABLE = "table"
    CODE = "code"
    QUOTE = "quote"
    CAPTION = "caption"
    FOOTNOTE = "footnote"
    COMMENT = "comment"
    """A reviewer's remark, `author: text`; behind the block that it is about."""
    SPEAKER_NOTE = "speaker_note"
    PAGE_HEADER = "page_header"
    PAGE_FOOTER = "page_footer"
    DELETION = "deletion"
    """Text that a tracked change took out; behind the block that it was taken from."""


UNSEARCHED = frozenset({BlockKind.PAGE_HEADER, BlockKind.PAGE_FOOTER, BlockKind.DELETION})
"""Blocks that stand in a page's text but in no chunk: what repeats on every page, and what is no longer said."""


class MarkKind(StrEnum):
    """What a run of characters is, beside text."""

    LINK = "link"
    INSERTION = "insertion"
    """Text that a tracked change put in."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A run of a page's text with a meaning of its own. In order of their starts; may lie inside each other."""

    kind: MarkKind
    char_start: int
    char_end: int
    target: str = ""
    """Of a link its address (http, https, mailto or a fragment only), of an insertion its author."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a page with its box; `char_start:char_end` slices the page's text."""

    text: str
    box: Box
    char_start: int
    char_end: int
    confidence: float | None = None
    """0 to 1 from the OCR engine; None for native text."""


@dataclass(frozen=True, slots=True)
class Block:
    """A structural part of a page; `char_start:char_end` slices the page's text. In order, not overlapping."""

    kind: BlockKind
    char_start: int
    char_end: int
    level: int = 0
    """Headings 1 to 6; list items count nesting from 1; else 0."""
    box: Box | None = None
    rows: tuple[tuple[str, ...], ...] = ()
    """Cells of a table, the header row first; a table's slice of the text has one line a row, cells joined by ` | `."""
    ordered: bool = False
    """True for the items of a numbered list."""
    language: str = ""
    """Programming language of a code block, where it is named."""
    hidden: bool = False
    """True for what the program that made the file does not show: hidden sheets, slides and text."""
    continues: bool = False
    """True for a table that goes on from the one that ends the page before: its rows lack the header row."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page that was read. Width and height are points, 0 where the format has no layout."""

    number: int
    text: str
    words: tuple[Word, ...] = ()
    blocks: tuple[Block, ...] = ()
    width: float = 0.0
    height: float = 0.0
    source: TextSource = TextSource.NATIVE
    reason: str = ""
    """Why `source` was chosen: empty for native text, else `empty`, `garbled`, `partly_image`, `forced`, `picture`."""
    rotation: int = 0
    """Degrees clockwise by which the page's content was turned to be upright: 0, 90, 180 or 270."""
    confidence: float = 1.0
    """0 to 1: mean word confidence of OCR; 1 for native text."""
    languages: tuple[str, ...] = ()
    """Tesseract's language codes that were used; empty for native text."""
    elapsed_ms: int = 0
    engine: str = ""
    """Name of the OCR engine that read the page or a part of it; empty for native text."""
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture cut out of a document, written as PNG, JPEG or WebP at `path`."""

    page: int
    path: Path
    sha256: str
    media_type: str
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    box: Box | None = None
    alt: str = ""
    """What the file says that the picture shows."""
    caption: str = ""
    """The caption that stands beside it on the page."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file inside a file (mail, archive), unpacked at `path`: it becomes a document of its own."""

    path: Path
    filename: str
    """For display only; may hold folders of an archive, parted by `/`."""
    declared_type: str
    """The media type that the container names; may be empty or wrong."""
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Issue:
    """Something that went wrong with a part and did not cost the rest; `page` is None for the whole document."""

    code: str
    message: str
    page: int | None = None


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """What a file says of itself. Extractors yield one before the first page."""

    title: str = ""
    author: str = ""
    language: str = ""
    """BCP 47, where the file names it."""
    page_count: int = 1


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the extraction of a document is."""

    stage: str
    pages_done: int
    pages_total: int


Part = DocumentInfo | Page | Picture | Attachment | Issue | Progress
"""What an extractor yields: one DocumentInfo, then the pages in order, each page's pictures before the page itself;
attachments at any time."""


@dataclass(frozen=True, slots=True)
class Span:
    """A slice of the document's text that lies on one page (its end may include the page separator)."""

    page: int
    char_start: int
    char_end: int
    boxes: tuple[Box, ...] = ()
    """One box per line of text or per block, in reading order; empty where the format has no layout."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage. `text` equals the joined slices of its spans; `prefix` is embedded with it but is no slice."""

    ordinal: int
    text: str
    prefix: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one document may cost while it is parsed."""

    wall_s: float = 900.0
    cpu_s: float = 1800.0
    memory_bytes: int = 2 * 1024**3
    """Resident memory of the parsing processes together; their address space is bounded by a multiple of it."""
    max_output_bytes: int = 2 * 1024**3
    """Of what is sent, of the files in the private folder at one time, and of all the files that are handed over."""
    max_processes: int = 64
    """Processes at one time, of the parser and of the programs that it starts."""
    max_pages: int = 5000
    max_pixels: int = 50_000_000
    """Of one picture, read from its header before it is decoded."""
    max_unpacked_bytes: int = 500_000_000
    max_unpack_ratio: int = 200
    max_archive_entries: int = 10_000
    max_nesting: int = 100
    """Levels of elements in XML; HTML, whose parser closes what was left open, may nest deeper."""
    max_archive_depth: int = 10
    """Levels of archives and mails inside each other."""
    ocr_processes: int = 2
    """Pages that are read by OCR at the same time."""
    ocr_page_s: float = 120.0
    """Wall clock for one page in the OCR engine."""
