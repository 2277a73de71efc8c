"""How the tests of formats read a file: through detection and the table, as the parsing child does."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from services.content import Attachment, DocumentInfo, Issue, Limits, Page, Part, Picture, Upload
from services.formats.base import ExtractContext
from services.formats.detection.detect import detect_format
from services.formats.registry import Format
from services.ocr.base import NoOcr
from services.options import Options

DATA = Path(__file__).resolve().parents[1] / "data"


def read(
    source: Path | bytes,
    folder: Path,
    *,
    name: str = "",
    options: Options = Options(),
    limits: Limits = Limits(),
    known: dict[int, Page] | None = None,
    password: str | None = None,
    libreoffice: Path | None = None,
    archive_depth: int = 0,
) -> list[Part]:
    """All parts of a file; bytes are written into `folder` first."""
    path = source if isinstance(source, Path) else folder / "upload"
    if isinstance(source, bytes):
        path.write_bytes(source)
    name = name or path.name
    detection = detect_format(path, name, limits)
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    context = ExtractContext(
        options,
        password,
        pictures,
        limits,
        NoOcr(),
        known or {},
        archive_depth=archive_depth,
        libreoffice=libreoffice,
    )
    upload = Upload(path, name, "", "0" * 64, path.stat().st_size)
    parts = list(detection.format.spec.extract(upload, context))
    assert isinstance(parts[0], DocumentInfo)
    for page in pages(parts):
        check_offsets(page)
    return parts


def pages(parts: list[Part]) -> list[Page]:
    return [part for part in parts if isinstance(part, Page)]


def pictures(parts: list[Part]) -> list[Picture]:
    return [part for part in parts if isinstance(part, Picture)]


def issues(parts: list[Part]) -> list[Issue]:
    return [part for part in parts if isinstance(part, Issue)]


def text_of(parts: list[Part]) -> str:
    return "\n\n".join(page.text for page in pages(parts))


def check_offsets(page: Page) -> None:
    """Blocks are in order, do not overlap, and hold all text; a table's lines are its rows."""
    end = 0
    for block in page.blocks:
        assert end <= block.char_start < block.char_end <= len(page.text)
        assert not page.text[end : block.char_start].strip()
        end = block.char_end
        if block.rows:
            assert page.text[block.char_start : block.char_end] == "\n".join(" | ".join(row) for row in block.rows)
    assert not page.text[end:].strip()


def outline(parts: list[Part]) -> str:
    """All that a person needs to judge an extraction, one block a line."""
    lines = [repr(parts[0])]
    for part in parts[1:]:
        if isinstance(part, Picture):
            lines.append(f"picture {part.media_type} {part.width}x{part.height} page {part.page} {part.alt!r}")
        elif isinstance(part, Page):
            lines.append(f"page {part.number} {part.width:g}x{part.height:g}")
            for block in part.blocks:
                flags = ("ordered" * block.ordered, "hidden" * block.hidden, "continues" * block.continues)
                words = (f"{block.kind.value}{block.level or ''}", *flags, block.language)
                kind = " ".join(word for word in words if word)
                lines.append(f"  {kind}: {part.text[block.char_start : block.char_end]!r}")
            for mark in part.marks:
                lines.append(f"  {mark.kind.value} {mark.target!r}: {part.text[mark.char_start : mark.char_end]!r}")
        else:
            lines.append(repr(part))
    return "\n".join(lines) + "\n"


def compare_with_golden(name: str, found: str) -> None:
    """Compares with `data/golden/<name>.txt`; DOCATLAS_REWRITE_GOLDEN=1 writes it anew, for a person to read."""
    path = DATA / "golden" / f"{name}.txt"
    if os.environ.get("DOCATLAS_REWRITE_GOLDEN") == "1":
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")


def extract(
    format: Format,
    data: bytes,
    folder: Path,
    *,
    password: str | None = None,
    limits: Limits = Limits(),
    archive_depth: int = 0,
    options: Options = Options(),
) -> list[Part]:
    """The parts of a file that is known to be of `format`."""
    path = folder / "upload"
    path.write_bytes(data)
    out = Path(tempfile.mkdtemp(prefix="out-", dir=folder))
    context = ExtractContext(options, password, out, limits, NoOcr(), archive_depth=archive_depth)
    return list(format.spec.extract(Upload(path, f"a.{format}", "", "0" * 64, len(data)), context))


def attachments(parts: list[Part]) -> dict[str, bytes]:
    return {part.filename: part.path.read_bytes() for part in parts if isinstance(part, Attachment)}


def codes(parts: list[Part]) -> list[str]:
    return [issue.code for issue in issues(parts)]
