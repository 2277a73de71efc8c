"""Rendered pages and small copies of pictures, kept in a bounded cache on disk."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from database.documents import documents, images
from database.ids import new_id
from database.records import Actor
from services.content import Upload
from services.errors import NotFound
from services.formats.registry import RENDERED_FORMATS, Format
from services.missing import no_document, no_image
from services.runtime import Runtime
from services.storage import blob_path

MIN_WIDTH, MAX_WIDTH, DEFAULT_WIDTH = 64, 4000, 1200
"""Pixels. 1200 shows an A4 page at about 145 dpi, where 8-point print can be read."""

THUMBNAIL_WIDTH, MAX_THUMBNAIL_WIDTH = 256, 1024
"""Pixels. 256 is what a grid of pictures needs on a screen of double density."""

CACHE_BYTES = 512 * 1024**2
"""What the rendered pages of a data folder may take on disk: some 3,000 pages of text at the default width."""

MAX_PAGE_NUMBER = 2**31 - 1
"""Larger numbers name no page of any format, and do not fit every database."""

_EXTENSIONS = {"image/png": "png", "image/webp": "webp", "image/jpeg": "jpeg"}
_DOCUMENT_ID = re.compile(r"[0-9a-f-]{36}")


@dataclass(frozen=True, slots=True)
class PageImage:
    """A page as a picture; `tag` changes whenever the bytes may."""

    content: bytes
    media_type: str
    tag: str


def page_image(runtime: Runtime, actor: Actor, document_id: str, number: int, width: int) -> PageImage:
    """Page `number` (from 1) as a picture `width` pixels wide.

    A child process renders it where it is not cached. The caller bounds how many run at a time. Raises NotFound, and
    what reading the file raises.
    """
    with runtime.store.begin(actor) as tx:
        document = documents.get(tx, document_id)
    if document is None:
        raise no_document(document_id)
    if document.file_type not in RENDERED_FORMATS:
        raise NotFound(
            f"A {document.file_type} document has no page layout to show; read its text instead.", code="no_page_image"
        )
    if not 1 <= number <= MAX_PAGE_NUMBER:
        raise no_page(number)
    stem = f"{document_id}-{number}-{width}"
    folder = _cache_folder(runtime)
    found = _cached(folder, stem)
    if found is None:
        path = blob_path(runtime.blobs, document.sha256)
        upload = Upload(path, document.filename, document.media_type, document.sha256, document.file_size)
        content, media_type = found = runtime.render_file(upload, Format(document.file_type), number, width)
        _keep(folder, f"{stem}.{_EXTENSIONS[media_type]}", content)
    # The original of a document never changes, so neither does the picture of its page.
    return PageImage(found[0], found[1], f"{document.sha256[:32]}-{number}-{width}")


def thumbnail(runtime: Runtime, actor: Actor, image_id: str, width: int) -> PageImage:
    """The picture `image_id` scaled down to `width` pixels, never up.

    A child process makes it where it is not cached. The caller bounds how many run at a time. Raises NotFound, and what
    reading the picture raises.
    """
    with runtime.store.begin(actor) as tx:
        image = images.get_image(tx, image_id)
    if image is None:
        raise no_image(image_id)
    width = min(width, image.width)
    stem = f"{image.document_id}-image-{image.image_id}-{width}"
    folder = _cache_folder(runtime)
    found = _cached(folder, stem)
    if found is None:
        path = blob_path(runtime.blobs, image.sha256)
        upload = Upload(path, path.name, image.media_type, image.sha256, path.stat().st_size)
        format = next(f for f in RENDERED_FORMATS if f.spec.media_type == image.media_type)
        content, media_type = found = runtime.render_file(upload, format, 1, width)
        _keep(folder, f"{stem}.{_EXTENSIONS[media_type]}", content)
    return PageImage(found[0], found[1], f"{image.sha256[:32]}-{width}")


def no_page(number: int) -> NotFound:
    return NotFound(f"The document has no page {str(number)[:20]} that was read.", code="page_not_found")


def forget_page_images(runtime: Runtime, document_id: str) -> None:
    """Removes the rendered pages of a document."""
    if _DOCUMENT_ID.fullmatch(document_id):
        for path in _cache_folder(runtime).glob(f"{document_id}-*"):
            path.unlink(missing_ok=True)


def _cache_folder(runtime: Runtime) -> Path:
    folder = runtime.settings.data_dir / "cache" / "pages"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _cached(folder: Path, stem: str) -> tuple[bytes, str] | None:
    for media_type, extension in _EXTENSIONS.items():
        path = folder / f"{stem}.{extension}"
        try:
            content = path.read_bytes()
            path.touch()
        except FileNotFoundError:
            continue
        return content, media_type
    return None


def _keep(folder: Path, name: str, content: bytes) -> None:
    staged = folder / f".{new_id()}"
    staged.write_bytes(content)
    staged.replace(folder / name)
    _prune(folder)


def _prune(folder: Path) -> None:
    """Removes the pictures that were not asked for longest.

    What is left takes at most three quarters of the bound.
    """
    entries = []
    for path in folder.iterdir():
        try:
            status = path.stat()
        except FileNotFoundError:  # another thread pruned it
            continue
        entries.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in entries)
    if total <= CACHE_BYTES:
        return
    for _, size, path in sorted(entries, key=lambda entry: entry[:2]):
        path.unlink(missing_ok=True)
        total -= size
        if total <= CACHE_BYTES * 3 // 4:
            return
