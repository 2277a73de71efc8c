"""What is read and by whom: a format is one function and one row of `EXTRACTORS`.

Detection runs in the server on untrusted bytes and decodes nothing; extractors run in the parsing child. Each row
imports its module when it is called, so that the child of a text file loads no XML parser, and the server none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from types import MappingProxyType

from services.content import Format, Part, Upload
from services.formats.base import ExtractContext, Extractor


def _lazy(module: str, function: str) -> Extractor:
    def extract(upload: Upload, context: ExtractContext) -> Iterator[Part]:
        found: Extractor = getattr(import_module(f"services.formats.{module}"), function)
        return found(upload, context)

    extract.__name__ = extract.__qualname__ = function
    extract.__doc__ = f"Parts of a document, read by `services.formats.{module}.{function}`."
    return extract


_PICTURE = _lazy("pictures.reader", "extract_picture")

EXTRACTORS: Mapping[Format, Extractor] = MappingProxyType(
    {
        Format.PDF: _lazy("pdf.reader", "extract_pdf"),
        Format.DOCX: _lazy("office.word.reader", "extract_docx"),
        Format.HTML: _lazy("web.html", "extract_html"),
        Format.MARKDOWN: _lazy("markup.markdown", "extract_markdown"),
        Format.TEXT: _lazy("markup.text", "extract_text"),
        Format.CSV: _lazy("data.csv", "extract_csv"),
        Format.PNG: _PICTURE,
        Format.JPEG: _PICTURE,
        Format.TIFF: _PICTURE,
        Format.WEBP: _PICTURE,
        Format.GIF: _PICTURE,
        Format.BMP: _PICTURE,
        Format.HEIC: _PICTURE,
        Format.AVIF: _PICTURE,
        Format.SVG: _lazy("pictures.svg", "extract_svg"),
        Format.PPTX: _lazy("office.slides.reader", "extract_pptx"),
        Format.XLSX: _lazy("office.sheets.reader", "extract_xlsx"),
        Format.DOC: _lazy("office.old", "extract_doc"),
        Format.PPT: _lazy("office.old", "extract_ppt"),
        Format.XLS: _lazy("office.sheets.xls", "extract_xls"),
        Format.ODT: _lazy("opendocument.text", "extract_odt"),
        Format.ODS: _lazy("opendocument.sheets", "extract_ods"),
        Format.ODP: _lazy("opendocument.slides", "extract_odp"),
        Format.RTF: _lazy("rtf.reader", "extract_rtf"),
        Format.EPUB: _lazy("web.epub", "extract_epub"),
        Format.XML: _lazy("markup.xml", "extract_xml"),
        Format.RST: _lazy("markup.rst", "extract_rst"),
        Format.JSON: _lazy("data.json", "extract_json"),
        Format.JSONL: _lazy("data.json", "extract_jsonl"),
        Format.NOTEBOOK: _lazy("markup.notebook", "extract_notebook"),
        Format.EML: _lazy("mail.eml", "extract_eml"),
        Format.MSG: _lazy("mail.msg", "extract_msg"),
        Format.ZIP: _lazy("archives", "extract_zip"),
    }
)

MEDIA_TYPES: Mapping[Format, str] = MappingProxyType(
    {
        Format.PDF: "application/pdf",
        Format.DOCX: "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        Format.HTML: "text/html",
        Format.MARKDOWN: "text/markdown",
        Format.TEXT: "text/plain",
        Format.CSV: "text/csv",
        Format.PNG: "image/png",
        Format.JPEG: "image/jpeg",
        Format.TIFF: "image/tiff",
        Format.WEBP: "image/webp",
        Format.GIF: "image/gif",
        Format.BMP: "image/bmp",
        Format.HEIC: "image/heic",
        Format.AVIF: "image/avif",
        Format.SVG: "image/svg+xml",
        Format.PPTX: "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        Format.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        Format.DOC: "application/msword",
        Format.PPT: "application/vnd.ms-powerpoint",
        Format.XLS: "application/vnd.ms-excel",
        Format.ODT: "application/vnd.oasis.opendocument.text",
        Format.ODS: "application/vnd.oasis.opendocument.spreadsheet",
        Format.ODP: "application/vnd.oasis.opendocument.presentation",
        Format.RTF: "application/rtf",
        Format.EPUB: "application/epub+zip",
        Format.XML: "application/xml",
        Format.RST: "text/x-rst",
        Format.JSON: "application/json",
        Format.JSONL: "application/jsonl",
        Format.NOTEBOOK: "application/x-ipynb+json",
        Format.EML: "message/rfc822",
        Format.MSG: "application/vnd.ms-outlook",
        Format.ZIP: "application/zip",
    }
)
"""The media type of each format.

Source: the IANA media types registry; for reStructuredText, JSON Lines and notebooks, which it lacks, common use."""

RENDERED_FORMATS = frozenset(
    {
        Format.PDF,
        Format.PNG,
        Format.JPEG,
        Format.TIFF,
        Format.WEBP,
        Format.GIF,
        Format.BMP,
        Format.HEIC,
        Format.AVIF,
        Format.SVG,
    }
)
"""Formats whose pages have a look of their own, which services.formats.page_images shows; the others are only text."""
