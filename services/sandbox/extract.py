"""Reads a document in a child process of its own: pages, pictures, issues and chunks come out, whatever goes in."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.content import Limits, Upload
from services.formats.registry import Format
from services.options import Options
from services.sandbox.folders import private_folder
from services.sandbox.pool import ChildPool
from services.sandbox.received_files import ReceivedFiles, receiving
from services.sandbox.supervisor import invalid_output, run_child
from services.sandbox.wire import MALFORMED, Piece, pack_options, pack_upload, picture_type, unpack_part

__all__ = ["ExtractRequest", "Piece", "extract", "rendered_page"]

BYTES_A_PIXEL = 4
"""Bound of a rendered page: a picture file is not larger than its pixels with red, green, blue and alpha."""


@dataclass(frozen=True, slots=True)
class ExtractRequest:
    """What the child is asked to do with one file."""

    upload: Upload
    format: Format
    options: Options
    limits: Limits
    password: str | None = None
    ocr: dict[str, Any] | None = None
    """See services.sandbox.ocr_choice; None for no engine."""
    tokenizer: Path | None = None
    """tokenizer.json of the text model; None counts words."""
    max_tokens: int = 384
    chunk: bool = True
    known_pages: Path | None = None
    """File with the pages that an interrupted run has stored, one JSON object a line; they are not read again."""
    known_pictures: Sequence[str] = ()
    """SHA-256 of the pictures that were stored with them."""
    archive_depth: int = 0
    """How many archives and mails this file lies in."""
    libreoffice: Path | None = None
    """The program that converts old Office files; None for having none."""


def extract(
    request: ExtractRequest,
    *,
    scratch: Path,
    tick: Callable[[], None] = lambda: None,
    pool: ChildPool | None = None,
) -> Generator[Piece]:
    """The pieces of a document in order; a chunk comes behind the page that completes it.

    The paths of pictures and attachments are copies that the child cannot change. The private folder under `scratch`,
    with those files, and the child are gone when the generator ends or is closed. Raises what `run_child` raises.
    """
    with _folders(scratch, request.limits) as (folder, pictures, files):
        message = {
            "task": "extract",
            "upload": pack_upload(request.upload),
            "format": request.format.value,
            "options": pack_options(request.options),
            "password": request.password,
            "ocr": request.ocr,
            "tokenizer": None if request.tokenizer is None else str(request.tokenizer),
            "max_tokens": request.max_tokens,
            "chunk": request.chunk,
            "known_pages": None if request.known_pages is None else str(request.known_pages),
            "known_pictures": list(request.known_pictures),
            "archive_depth": request.archive_depth,
            "libreoffice": None if request.libreoffice is None else str(request.libreoffice),
            "folder": str(pictures),
        }
        with closing(run_child(message, limits=request.limits, folder=folder, tick=tick, pool=pool)) as replies:
            for reply in replies:
                yield _checked(reply, files)


@contextmanager
def _folders(scratch: Path, limits: Limits) -> Iterator[tuple[Path, Path, ReceivedFiles]]:
    """The child's own folder, the one in it for files to hand over, and those files as they are received."""
    with private_folder(scratch) as private:
        child, received = private / "child", private / "received"
        handed_over = child / "pictures"
        for folder in (child, received, handed_over):
            folder.mkdir(mode=0o700)
        with receiving(handed_over, received, max_bytes=limits.max_output_bytes) as files:
            yield child, handed_over, files


def _checked(reply: dict[str, Any], files: ReceivedFiles) -> Piece:
    try:
        return unpack_part(reply, files)
    except MALFORMED as error:
        raise invalid_output() from error


def rendered_page(
    upload: Upload,
    format: Format,
    number: int,
    width: int,
    *,
    limits: Limits,
    password: str | None,
    scratch: Path,
    pool: ChildPool | None = None,
) -> tuple[bytes, str]:
    """A picture of page `number` (from 1), `width` pixels wide: its bytes and media type."""
    with _folders(scratch, limits) as (folder, handed_over, files):
        message = {
            "task": "render",
            "upload": pack_upload(upload),
            "format": format.value,
            "password": password,
            "page": number,
            "width": width,
            "folder": str(handed_over),
        }
        replies = list(run_child(message, limits=limits, folder=folder, pool=pool))
        if len(replies) != 1:
            raise invalid_output()
        try:
            content = files.read("page", max_bytes=BYTES_A_PIXEL * limits.max_pixels)
            return content, picture_type(replies[0].get("media_type"), content)
        except MALFORMED as error:
            raise invalid_output() from error
