"""Reads Office documents that are encrypted.

Their name does not say what they are, and what is inside is seen only without the encryption.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from services.content import Part, Upload
from services.errors import UnreadableDocument
from services.formats.base import ExtractContext
from services.formats.detection.detect import detect_format
from services.formats.detection.detectors import OfficePackage
from services.formats.office.encryption import decrypted, is_ole


def extract_encrypted(upload: Upload, context: ExtractContext) -> Iterator[Part]:
    """The parts of the document that the password opens, read as what its package says that it is.

    Raises:
        EncryptedDocument: `password_required`, `password_wrong`, `encryption_unsupported`.
        UnreadableDocument: `corrupt_document`, and what the format's extractor raises.
    """
    path = decrypted(upload.path, context.password, context.folder)
    try:
        found = None if is_ole(path) else detect_format(path, upload.filename, context.limits).format
        if found is None or not isinstance(found.spec.detector, OfficePackage):
            raise UnreadableDocument(
                "What the password opens is no Word, PowerPoint or Excel document of 2007 or later. Save it anew "
                "without a password.",
                code="corrupt_document",
            )
        yield from found.spec.extract(replace(upload, path=path, size_bytes=path.stat().st_size), context)
    finally:
        path.unlink(missing_ok=True)
