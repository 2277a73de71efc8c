"""Opening a PDF, and what it says of itself."""

from __future__ import annotations

import ctypes
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from services.content import DocumentInfo
from services.errors import EncryptedDocument, UnreadableDocument

if TYPE_CHECKING:
    import pypdfium2
    from _typeshed import WriteableBuffer

_MAX_METADATA = 500
_PLACEHOLDERS = frozenset({"untitled", "anonymous", "(anonymous)", "unspecified"})
"""What programs write where nobody gave a title or an author."""

OPENING_READS, OPENING_BYTES = 32, 1 << 20
"""How often the bytes of a file, and how many more, may be read to open it.

PDFium searches a damaged file for its objects, and for the end of each stream again from there: quadratic work.
Source: measured, .05 times for the PDFs of the development corpus, up to 400 times for a mutation of 4 MB."""


class _PdfFile(io.FileIO):
    """A file that PDFium reads from.

    Nothing more comes out of it once opening it has taken too many reads.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.left: int | None = OPENING_READS * path.stat().st_size + OPENING_BYTES

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        # Nothing may be raised here: PDFium calls it, and takes less than it asked for as an error.
        if self.left is not None:
            self.left -= memoryview(buffer).nbytes
            if self.left < 0:
                return 0
        return super().readinto(buffer)


@contextmanager
def open_pdf(path: Path, password: str | None) -> Iterator[pypdfium2.PdfDocument]:
    """The PDF at `path`, closed on leaving.

    Raises EncryptedDocument and UnreadableDocument as `extract_pdf` does.
    """
    import pypdfium2
    from pypdfium2 import raw

    file = _PdfFile(path)
    try:
        document = pypdfium2.PdfDocument(file, password=password)
    except pypdfium2.PdfiumError as error:
        file.close()
        if error.err_code == raw.FPDF_ERR_PASSWORD:
            if password:
                raise EncryptedDocument(
                    "The password does not open the PDF. Send the right one in `options.password`.",
                    code="password_wrong",
                ) from error
            raise EncryptedDocument(
                "The PDF is encrypted. Send its password in `options.password`.", code="password_required"
            ) from error
        if error.err_code == raw.FPDF_ERR_SECURITY:
            raise EncryptedDocument(
                "The PDF is encrypted by a scheme that cannot be opened with a password. Save it without encryption.",
                code="encryption_unsupported",
            ) from error
        raise UnreadableDocument(
            "The PDF is damaged beyond repair or cut off. Upload it again, or save it anew where it was made.",
            code="pdf_corrupt",
        ) from error
    file.left = None
    try:
        if document.get_formtype() != raw.FORMTYPE_NONE:
            document.init_forms()
        yield document
    finally:
        document.close()
        file.close()


def document_info(document: pypdfium2.PdfDocument, count: int) -> DocumentInfo:
    """Title, author and language as the file names them."""
    from pypdfium2 import raw

    def said(key: str) -> str:
        value = "".join(c if c.isprintable() else " " for c in document.get_metadata_value(key))
        value = " ".join(value.split())[:_MAX_METADATA]
        return "" if value in _PLACEHOLDERS else value

    language = ""
    size = raw.FPDFCatalog_GetLanguage(document, None, 0)
    if 2 < size <= 128:
        buffer = ctypes.create_string_buffer(size)
        raw.FPDFCatalog_GetLanguage(document, ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)), size)
        language = buffer.raw[: size - 2].decode("utf-16-le", "ignore").strip("\x00 ")
    return DocumentInfo(said("Title"), said("Author"), language, count)
