"""Finds originals and pictures as files on this node, or as signed addresses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from database.records import Actor
from services.documents.documents import get_document, get_image
from services.filenames import download_name
from services.runtime import Runtime
from services.storage import blob_path


@dataclass(frozen=True, slots=True)
class FileName:
    """What a stored file is, before anybody looks where it lies."""

    sha256: str
    filename: str
    media_type: str


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An original or a picture on disk, to be sent."""

    path: Path
    filename: str
    media_type: str
    sha256: str


def original(runtime: Runtime, actor: Actor, document_id: str) -> FileName:
    """The document's bytes as they were uploaded. Raises NotFound."""
    document = get_document(runtime, actor, document_id)
    return FileName(document.sha256, document.filename, document.media_type)


def picture(runtime: Runtime, actor: Actor, image_id: str) -> FileName:
    """A picture of a document. Raises NotFound."""
    image = get_image(runtime, actor, image_id)
    extension = image.media_type.rpartition("/")[2]
    return FileName(image.sha256, f"page-{image.page}-{image.ordinal}.{extension}", image.media_type)


def stored_file(runtime: Runtime, file: FileName) -> StoredFile:
    """The file on this node. Raises as `blob_path`."""
    return StoredFile(blob_path(runtime.blobs, file.sha256), file.filename, file.media_type, file.sha256)


def signed_address(runtime: Runtime, file: FileName) -> str | None:
    """An address that serves the file to anybody for `signed_url_s` seconds.

    None where this server has to send it.
    """
    name = download_name(file.filename)
    return runtime.blobs.url(file.sha256, filename=name, expires_s=runtime.settings.signed_url_s)
