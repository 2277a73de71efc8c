"""Writes docs/formats.md from the registry of formats: `python -m docs.build_formats`, from the project's root."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from database.records import NOTICE_CODES
from services.content import Limits
from services.formats.detection.extensions import TEXT_NOT_READ
from services.formats.registry import Format
from services.formats.spec import FormatSpec, Group

PAGE = Path(__file__).with_name("formats.md")
_WIDTH = 120

LIMITS: Mapping[str, tuple[str, str, str]] = {
    "wall_s": ("Seconds by the clock", "parse_timeout", "PARSE_WALL_S"),
    "cpu_s": ("CPU seconds", "parse_cpu_limit", "PARSE_CPU_S"),
    "memory_bytes": ("Resident memory, bytes", "parse_memory_limit", "PARSE_MEMORY_BYTES"),
    "max_output_bytes": ("Text and pictures written, bytes", "parse_output_limit", "PARSE_OUTPUT_BYTES"),
    "max_processes": ("Processes at one time", "parse_process_limit", ""),
    "max_pages": ("Pages", "too_many_pages", "MAX_PAGES"),
    "max_pixels": ("Pixels of one picture", "too_many_pixels, picture_too_large", "MAX_PIXELS"),
    "max_unpacked_bytes": ("Bytes, unpacked", "archive_too_large, text_too_large", ""),
    "max_unpack_ratio": ("Times its size, unpacked, from 10 MB on", "compression_ratio", ""),
    "max_archive_entries": ("Entries of an archive, parts of a mail, files in all of them", "too_many_entries", ""),
    "max_nesting": ("Elements or values inside each other; 256 in HTML", "nesting_too_deep, nested_too_deep", ""),
    "max_archive_depth": ("Archives and mails inside each other", "archive_too_deep, nested_too_deep", ""),
    "ocr_processes": ("OCR processes at one time", "", "OCR_PROCESSES"),
    "ocr_page_s": ("Seconds of OCR for one page", "ocr_timeout", "OCR_PAGE_S"),
}
"""Each field of `Limits`: what it bounds, the codes that say so, and the setting that changes it."""

WARNINGS: Mapping[str, str] = {
    "archive_too_deep": "The file lies in too many archives and mails; what is inside it was not unpacked.",
    "attachment_skipped": "A file inside a mail or an archive was left out; the message says why.",
    "bad_line": "A line of JSON Lines is no JSON.",
    "converted": "LibreOffice converted the file first; lines and pages may break elsewhere than in the original.",
    "decoration_left_out": "Pictures too small to show anything, or the same on more than three pages; counted.",
    "document_cut_off": "The file ends in the middle.",
    "drawing_unreadable": "A chart, diagram or drawing is damaged.",
    "extension_mismatch": "The name says another format than the content; the content was believed.",
    "frames_left_out": "Frames of a GIF that repeat another, or of an animation.",
    "garbled_text": "The text layer of a page is garbage, and OCR is off.",
    "image_vectors_pending": "The pictures are kept; they can be searched once the picture model is installed.",
    "low_confidence": "OCR is unsure of a page.",
    "mail_encrypted": "A part of a mail is encrypted.",
    "malformed_csv": "Quotation marks lack their pairs and were read as characters.",
    "malformed_json": "The JSON is damaged; what stands before the damage was read.",
    "malformed_xml": "The XML is damaged; what stands before the damage was read.",
    "markup_kept": "The file is too long for its parser and was read as plain text.",
    "member_unreadable": "A member of an archive is damaged, or packed in a way that is not read.",
    "members_left_out": "Empty members, links and what file managers leave behind; counted.",
    "ocr_failed": "The OCR engine failed on a page.",
    "ocr_timeout": "OCR of a page took too long.",
    "ocr_unavailable": "A page needs OCR, and no engine is installed.",
    "output_cut": "What a notebook's cell printed was cut off.",
    "page_unreadable": "A page, chapter, frame or sheet is damaged; the others were read.",
    "page_without_text": "A page has no text layer, and OCR is off.",
    "part_unreadable": "A part of an Office document that is not its text is damaged.",
    "picture_format": "A drawing in EMF, WMF or SVM was left out.",
    "picture_too_large": "A picture in the document has too many pixels, or is too large to be drawn.",
    "picture_unreadable": "A picture in the document is damaged.",
    "repeats_left_out": "A cell or row that fills a sheet to its edge was given a thousand times.",
    "row_too_long": "The last cells of a row that holds millions of characters were left out.",
    "sheet_missing": "The workbook names a sheet that the file lacks.",
    "sheet_unreadable": "A sheet is damaged.",
    "slide_missing": "The presentation names a slide that the file lacks.",
    "too_many_pictures": "Only the first pictures of a document were kept.",
    "xml_entities": "Text that lies outside the file was not fetched.",
}
"""What a document or job may list under `warnings`. A part may also be left out with a code of `REFUSALS`."""

REFUSALS: Mapping[str, str] = {
    "archive_too_large": "It would unpack, or unpacks, to more bytes than are read.",
    "compression_ratio": "It unpacks to many times its size, as a zip bomb does.",
    "content_mismatch": "The name is that of a binary format and the content is not: the file was probably damaged.",
    "conversion_failed": "LibreOffice cannot read the file.",
    "conversion_timeout": "LibreOffice took too long.",
    "corrupt_archive": "The zip file is damaged or cut off.",
    "corrupt_document": "The document is damaged, or lacks the part that holds its content.",
    "corrupt_mail": "The file is no Outlook mail, or is damaged.",
    "empty_file": "The file has no bytes.",
    "encryption_unsupported": "It is encrypted in a way that no password opens here.",
    "file_too_large": "The file is larger than `DOCATLAS_MAX_UPLOAD_BYTES`.",
    "libreoffice_broken": "LibreOffice is there and cannot be started.",
    "libreoffice_missing": "Only LibreOffice reads the file, and it is not installed.",
    "malformed_csv": "A field has more than a million characters.",
    "malformed_json": "The JSON is damaged, and nothing stands before the damage.",
    "malformed_notebook": "The notebook has no cells.",
    "malformed_xml": "The XML is damaged, and nothing stands before the damage.",
    "nested_too_deep": "The parts of a mail, or of a file that broke its parser, nest too deep.",
    "nesting_too_deep": "Elements, groups or values nest too deep.",
    "no_such_page": "`options.pages` names no page of the document.",
    "not_a_mail": "The file has no mail headers.",
    "ocr_failed": "The OCR engine failed.",
    "ocr_language_missing": "A language of `options.ocr_languages` is not installed.",
    "ocr_timeout": "OCR of a page took too long.",
    "ocr_unavailable": "OCR was asked for, and no engine is installed.",
    "page_unreadable": "The page cannot be shown as a picture.",
    "parse_cpu_limit": "Parsing took too much CPU time.",
    "parse_memory_limit": "Parsing took too much memory.",
    "parse_open_files_limit": "Parsing opened too many files.",
    "parse_output_limit": "Parsing wrote too much.",
    "parse_process_limit": "Parsing started too many processes.",
    "parse_timeout": "Parsing took too long.",
    "parser_crashed": "The parser died of the file; nothing else is affected.",
    "parser_failed": "The parser failed on the file, which is probably damaged.",
    "parser_output_invalid": "The parser sent what it may not send.",
    "part_too_large": "A part of a document holds too much in one piece.",
    "password_required": "The file is encrypted: send `options.password`.",
    "password_wrong": "The password does not open the file.",
    "pdf_corrupt": "The PDF cannot be repaired, or no page of it can be read.",
    "picture_corrupt": "The picture cannot be decoded.",
    "picture_too_large": "A drawing, or a picture in it, is too large to be drawn.",
    "spreadsheet_too_large": "An XLS file over 64 MB.",
    "text_too_large": "A workbook shows more characters than are read.",
    "too_many_attributes": "An element of HTML has more than 1,000 attributes.",
    "too_many_entries": "Too many members of an archive, or parts of a mail.",
    "too_many_pages": "More pages, sheets, slides or frames than are read.",
    "too_many_pixels": "The picture has too many pixels.",
    "unreadable_html": "The HTML cannot be parsed.",
    "unreadable_rst": "The reStructuredText cannot be parsed.",
    "unreadable_svg": "The drawing is damaged, or is none.",
    "unsupported_format": "The content is of no format that is read.",
    "xml_entities": "The file declares XML entities as no honest program does.",
}
"""What ends the job of a file, or keeps it from being accepted; for a part of a document it is a warning."""

_INTRODUCTION = """\
# Formats

What is read of each format, what is not, and by which library. This page is written by `python -m docs.build_formats`
from the rows of `services/formats/registry.py`; a test compares it with them.

A format is told by the content of a file, not by its name; a name that says otherwise is a warning
(`extension_mismatch`). Only between kinds of plain text does the name decide. What an installation reads is also in
`GET /v1/capabilities`.
"""

_COMMON = """\
## What holds for all of them

- Nothing is run and nothing is fetched: no macro, script, external entity, remote picture or style sheet.
- Characters come as they are shown, in Unicode. What an office program or a PDF hides is read and marked `hidden`;
  headers, footers and tracked deletions are in a page's text and in no chunk.
- Links keep addresses that begin with `http:`, `https:`, `mailto:` or `#`.
- Pictures in documents are kept as PNG, JPEG and WebP; GIF, BMP, TIFF, ICO, HEIC, AVIF, SVG, CMYK and 16 bits a channel
  become PNG or JPEG in the colours of sRGB. EMF, WMF and SVM are left out (`picture_format`). Decoration, which is what
  is smaller than 16 pixels (32 in a PDF) or the same on more than three pages, is left out and counted.
- A broken part costs that part and is a warning; only a file of which nothing can be read is refused.
- A page without layout has no boxes. `GET …/pages/{n}/image` shows pages of the formats that say so above; the others
  are only text.
"""


def formats_page() -> str:
    """The text of docs/formats.md."""
    return "\n".join([*_head(), *_formats(), _COMMON + _passwords() + "\n", *_limits(), *_codes()]).rstrip("\n") + "\n"


def _head() -> Iterator[str]:
    yield _INTRODUCTION
    yield "| format | `format` | names | media type |"
    yield "| --- | --- | --- | --- |"
    for format in [format for group in Group for format in _of(group)]:
        row = format.spec
        shown = " ".join(f".{extension}" for extension in row.extensions)
        yield f"| {row.title} | `{format.value}` | {shown} | `{row.media_type}` |"
    refused = ", ".join(f".{extension}" for extension in sorted(TEXT_NOT_READ))
    yield ""
    yield _wrapped(f"Text under these names is refused: {refused}.")
    yield ""


def _of(group: Group) -> list[Format]:
    return [format for format in Format if format.spec.group is group]


def _formats() -> Iterator[str]:
    for group in Group:
        yield f"## {group.value}\n"
        for format in _of(group):
            yield from _format(format.spec)


def _format(row: FormatSpec) -> Iterator[str]:
    described = row.described
    yield f"### {row.title}\n"
    yield _item(f"**Read:** {described.reads}")
    yield _item(f"**Not read:** {described.left_out}")
    shown = " They can be shown as pictures." if row.renderer else ""
    yield _item(f"**Pages:** {described.pages}{shown}")
    module = row.reader.rpartition(".")[0].replace(".", "/")
    by = f"`services/formats/{module}.py`"
    yield _item(f"**By:** {', '.join([by, *described.libraries])}")
    yield ""


def _passwords() -> str:
    *most, last = [format.value.upper() for group in Group for format in _of(group) if format.spec.takes_password]
    return _item(f"`options.password` opens {', '.join(most)} and {last}.")


def _limits() -> Iterator[str]:
    yield "## Limits\n"
    yield _wrapped(
        "For one document; a file inside a mail or an archive is a document of its own. Files themselves may have "
        "`DOCATLAS_MAX_UPLOAD_BYTES` (`file_too_large`). What a single format allows stands with it above."
    )
    yield "\n| limit | default | code | setting |"
    yield "| --- | --- | --- | --- |"
    defaults = Limits()
    for field, (meaning, codes, setting) in LIMITS.items():
        shown = ", ".join(f"`{code}`" for code in codes.split(", ") if code)
        named = f"`DOCATLAS_{setting}`" if setting else ""
        yield f"| {meaning} | {getattr(defaults, field):,} | {shown} | {named} |".replace("|  |", "| – |")
    yield ""


def _codes() -> Iterator[str]:
    yield "## Warnings\n"
    yield _wrapped(
        "A document with warnings has been read but for what they name. Beside these, the code of a refusal is a "
        "warning where it concerns a part, such as one sheet or one member. A document is `completed` where it has no "
        f"others than {', '.join(f'`{code}`' for code in sorted(NOTICE_CODES))}; else `completed_with_errors`."
    )
    yield from _table(WARNINGS)
    yield "## Refusals\n"
    yield _wrapped("A file of which nothing can be read fails with one of these; the detail says what to do next.")
    yield from _table(REFUSALS)


def _table(codes: Mapping[str, str]) -> Iterable[str]:
    return ["\n| code | meaning |", "| --- | --- |", *(f"| `{code}` | {said} |" for code, said in codes.items()), ""]


def _item(text: str) -> str:
    return _wrapped(text, first="- ", rest="  ")


def _wrapped(text: str, *, first: str = "", rest: str = "") -> str:
    return textwrap.fill(
        text, _WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


if __name__ == "__main__":
    PAGE.write_text(formats_page(), encoding="utf-8")
