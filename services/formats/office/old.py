"""DOC and PPT of Office 97 to 2003: made into DOCX and PPTX, which are then read.

DOC is converted by msdoc2docx, which is Python and bounded by its input, and by LibreOffice where that gives up; PPT
by LibreOffice. Measured on 14 files (13 of them saved as .doc by LibreOffice, one of 872 pages): where msdoc2docx
converts, the text is the same word for word; it refused one.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from services.content import Issue, Part, Upload
from services.errors import EncryptedDocument, UnreadableDocument
from services.formats.base import ExtractContext
from services.formats.office.libreoffice import DOC_TO_DOCX, PPT_TO_PPTX, Conversion, convert, libreoffice_missing
from services.formats.registry import Format

_MAX_DIRECTORY_ENTRIES = 20_000

_DAMAGE = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError, ArithmeticError, OSError, struct.error,
)  # fmt: skip
"""What a converter of binary structures may raise on damaged files beside its own errors."""


def extract_doc(upload: Upload, context: ExtractContext) -> Iterator[Part]:
    """Parts of a Word 97-2003 document, as of the DOCX that it is converted to.

    Raises:
        EncryptedDocument: `password_required`, `password_wrong`, `encryption_unsupported`.
        UnreadableDocument: `corrupt_document`, `conversion_failed`, and what the extractor of DOCX raises.
        CapabilityMissing: `libreoffice_missing` where only LibreOffice may know how to read the file.
        TooLarge: `conversion_timeout`, and what the extractor of DOCX raises.
    """
    with tempfile.TemporaryDirectory(prefix="convert-", dir=context.folder) as name:
        folder = Path(name)
        result, issues = _doc_to_docx(upload.path, context, folder), list[Issue]()
        if result is None:
            result = _by_libreoffice(upload.path, DOC_TO_DOCX, context, folder, "this .doc file")
            issues.append(_converted(DOC_TO_DOCX))
        yield from _read(Format.DOCX, upload, result, issues, context)


def extract_ppt(upload: Upload, context: ExtractContext) -> Iterator[Part]:
    """Parts of a PowerPoint 97-2003 presentation, as of the PPTX that LibreOffice converts it to.

    Raises as `extract_doc` does, and `libreoffice_missing` wherever LibreOffice is missing.
    """
    with tempfile.TemporaryDirectory(prefix="convert-", dir=context.folder) as name:
        folder = Path(name)
        path = _decrypted_ppt(upload.path, context, folder)
        result = _by_libreoffice(path, PPT_TO_PPTX, context, folder, "a .ppt file")
        yield from _read(Format.PPTX, upload, result, [_converted(PPT_TO_PPTX)], context)


def _read(format: Format, upload: Upload, result: Path, issues: list[Issue], context: ExtractContext) -> Iterator[Part]:
    converted = replace(upload, path=result, size_bytes=result.stat().st_size)
    parts = iter(format.spec.extract(converted, context))
    yield next(parts)
    yield from issues
    yield from parts


def _converted(conversion: Conversion) -> Issue:
    return Issue(
        "converted",
        f"The .{conversion.suffix} file was converted to .{conversion.to_suffix} by LibreOffice before it was read; "
        "where lines and pages break may differ from the original.",
    )


def _by_libreoffice(path: Path, conversion: Conversion, context: ExtractContext, folder: Path, what: str) -> Path:
    if context.libreoffice is None:
        raise libreoffice_missing(what)
    private = folder / "office"
    private.mkdir()
    return convert(context.libreoffice, path, conversion, private, context.limits)


def _doc_to_docx(path: Path, context: ExtractContext, folder: Path) -> Path | None:
    """The converted file; None where the converter does not understand the document.

    Raises as `extract_doc` does.
    """
    import doc2docx
    from doc2docx import errors
    from doc2docx.cfb.container import CompoundFileLimits

    bound = context.limits.max_unpacked_bytes
    target = folder / "document.docx"
    try:
        doc2docx.convert(
            path,
            target,
            limits=CompoundFileLimits(bound, bound, _MAX_DIRECTORY_ENTRIES),
            password=context.password,
        )
    except errors.EncryptedDocumentError as error:
        raise _encrypted(str(error), context.password) from error
    except errors.StreamNotFound:  # as in documents of Word 6 and 95, which have everything in one stream
        return None
    except (errors.InvalidCompoundFile, errors.BinaryBoundsError, *_DAMAGE) as error:
        if context.libreoffice is None:
            raise UnreadableDocument(
                "The document is damaged or cut off. Open it in Word, save it as .docx and upload that.",
                code="corrupt_document",
            ) from error
        return None
    except errors.Doc2DocxError:
        return None
    return target


def _encrypted(message: str, password: str | None) -> EncryptedDocument:
    if "unsupported" in message:
        return EncryptedDocument(
            "The document is encrypted in a way that is not read. Save it without a password.",
            code="encryption_unsupported",
        )
    if password is None:
        return EncryptedDocument("The document is encrypted. Send its password in `options.password`.")
    return EncryptedDocument(
        "The password does not open the document. Send the right one in `options.password`.", code="password_wrong"
    )


def _decrypted_ppt(path: Path, context: ExtractContext, folder: Path) -> Path:
    """`path`, or where the presentation is encrypted a decrypted copy in `folder`."""
    import msoffcrypto
    from msoffcrypto.exceptions import DecryptionError, FileFormatError

    from services.formats.office.encryption import decrypted

    try:
        with path.open("rb") as file:
            is_encrypted = bool(msoffcrypto.OfficeFile(file).is_encrypted())
    except (FileFormatError, DecryptionError, *_DAMAGE):
        return path  # LibreOffice repairs more than this check understands
    return decrypted(path, context.password, folder) if is_encrypted else path
