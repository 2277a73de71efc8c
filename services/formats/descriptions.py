"""What is read of each format and what is not, in words for people; docs/formats.md is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from services.content import Format


@dataclass(frozen=True, slots=True)
class FormatDescription:
    """One format in words, as Markdown on one line each."""

    title: str
    reads: str
    left_out: str
    pages: str
    """What counts as a page."""
    libraries: tuple[str, ...] = ()
    """Distributions that read it, beside Python's standard library; the reader itself is our own."""


_ONE_PAGE = "One."
_BY_CHARS = "One for each million characters or so."

_OFFICE_DRAWINGS = "EMF, WMF and SVM drawings (`picture_format`), embedded files (OLE) but for their preview picture"

_RASTER = FormatDescription(
    "",
    "The picture, turned as its EXIF orientation says and in the colours of sRGB, and its text by OCR with the box of "
    "each word.",
    "EXIF, XMP and IPTC metadata.",
    "One.",
    ("pillow",),
)

_DOCX = FormatDescription(
    "Word",
    "Headings, paragraphs, lists with their numbers, tables, text boxes, quotations, code, captions, links, formulas "
    "as a line of text, footnotes and endnotes below their page, comments with their replies, headers and footers "
    "(each text once), tracked insertions (marked) and deletions (a block of their own), hidden text (marked), "
    "charts as tables, words of diagrams, pictures with alternative text and caption. With a password.",
    f"Macros, {_OFFICE_DRAWINGS}, other documents drawn in as a part (altChunk), fonts and colours. Links, "
    "insertions and hidden text inside table cells are plain text. A table in a cell becomes words of that cell.",
    "Where Word noted that a page began when it last laid the document out; without such notes, at page breaks and "
    "sections that begin a page.",
    ("lxml", "msoffcrypto-tool"),
)

_PPTX = FormatDescription(
    "PowerPoint",
    "Each slide in reading order with the box of every shape: titles, text, lists, tables, groups, charts as tables, "
    "diagrams as lists, links, footers (marked), pictures with alternative text and caption, speaker notes, comments "
    "with their replies. Hidden slides are read and marked. With a password.",
    f"Macros, animations, sound and film, {_OFFICE_DRAWINGS}, what layouts and masters show on every slide, ink, links "
    "in table cells and links of whole shapes.",
    "One a slide.",
    ("lxml", "msoffcrypto-tool"),
)

_XLS_NUMBERS = (
    "Dates and times whose format follows the reader's computer are shown as ISO 8601, and names of months and days "
    "are English, whatever the locale"
)

DESCRIPTIONS: Mapping[Format, FormatDescription] = MappingProxyType(
    {
        Format.PDF: FormatDescription(
            "PDF",
            "The text layer with words, boxes and blocks in reading order: headings (by type, tags and bookmarks), "
            "lists, ruled and unruled tables (also over page breaks), captions, footnotes, code, headers and footers "
            "(marked), hyphens at line ends joined, ligatures resolved. Links, readers' remarks, filled form fields, "
            "hidden text (marked). OCR of pages that are empty, garbled or partly an image, and of scanned parts of "
            "digital pages. Embedded pictures as the page shows them, vector figures as crops of the rendered page. "
            "With a password.",
            "Files attached to the PDF, JavaScript, XFA forms that were never drawn, sound, film and 3D, signatures, "
            "links inside the document, layers that are switched off, buttons and password fields.",
            "Those of the file.",
            ("pypdfium2", "pdfplumber", "pillow"),
        ),
        Format.DOCX: _DOCX,
        Format.PPTX: _PPTX,
        Format.XLSX: FormatDescription(
            "Excel",
            "The cells of all sheets as they are shown: number formats, dates, fractions, percentages, errors, results "
            "of formulas (the formula itself where no result is stored). Tables apart from titles and from tables "
            "beside them. Comments with their cell, links, headers and footers, text boxes, titles, axes and series of "
            "charts, words of diagrams, pictures. Hidden sheets, rows and columns are marked. With a password.",
            f"XLSB (binary workbooks: save as .xlsx), macros, {_OFFICE_DRAWINGS}, pictures inside cells, conditional "
            "formats, the values of charts (they stand in cells). A merged cell's text stands in its first cell. "
            f"{_XLS_NUMBERS}.",
            "One a sheet, and one more for each further million characters of it, under the header row again.",
            ("lxml", "msoffcrypto-tool"),
        ),
        Format.DOC: replace(
            _DOCX,
            title="Word 97–2003",
            reads="What the DOCX reader finds in the converted document. msdoc2docx converts; what it does not "
            "understand, as documents of Word 6 and 95, LibreOffice does (`converted`). With a password.",
            left_out="As for DOCX, and without LibreOffice the documents that only it understands "
            "(`libreoffice_missing`).",
            pages="As for DOCX; where LibreOffice converted, its line and page breaks.",
            libraries=("msdoc2docx", "lxml", "msoffcrypto-tool"),
        ),
        Format.PPT: replace(
            _PPTX,
            title="PowerPoint 97–2003",
            reads="What the PPTX reader finds in the presentation that LibreOffice makes of it (`converted`). With a "
            "password.",
            left_out="Everything, where LibreOffice is not installed (`libreoffice_missing`); else as for PPTX.",
        ),
        Format.XLS: FormatDescription(
            "Excel 5 to 2003",
            "The cells of all sheets as they are shown, as for XLSX, with notes and links. Hidden sheets, rows and "
            "columns are read and marked. With a password.",
            "Charts, text boxes, pictures, headers and footers, macros; files over 64 MB (`spreadsheet_too_large`); "
            f"Excel 2 to 4. {_XLS_NUMBERS}.",
            "As for XLSX.",
            ("xlrd", "olefile", "msoffcrypto-tool"),
        ),
        Format.ODT: FormatDescription(
            "OpenDocument text",
            "Headings, paragraphs, lists, tables, text boxes, links, formulas, charts with their values, footnotes and "
            "endnotes below their page, comments, tracked insertions (marked) and deletions (a block of their own), "
            "hidden text and sections (marked), headers and footers (each text once), pictures.",
            f"Documents with a password (`encryption_unsupported`), macros, {_OFFICE_DRAWINGS}, form controls, links "
            "inside table cells.",
            "Where the program noted that a page began; without such notes, at page breaks.",
            ("lxml",),
        ),
        Format.ODS: FormatDescription(
            "OpenDocument spreadsheet",
            "The cells of all sheets as the file shows them, comments with their cell, text boxes, titles of charts, "
            "pictures. Hidden sheets, rows and columns are marked.",
            f"Documents with a password (`encryption_unsupported`), macros, {_OFFICE_DRAWINGS}, links of cells, "
            "headers and footers. Tables beside each other are one. A cell or row repeated more than 1,000 times is "
            "given that often (`repeats_left_out`).",
            "One a sheet, and one more for each further million characters of it; their table is marked as going on.",
            ("lxml",),
        ),
        Format.ODP: FormatDescription(
            "OpenDocument presentation",
            "Each slide, its title first and the rest in the order of the file, with boxes: text, lists, tables, "
            "charts with their values, links, footers and what the master shows (marked, each text once), comments, "
            "speaker notes, pictures. Hidden slides are read and marked.",
            f"Documents with a password (`encryption_unsupported`), macros, animations, sound and film, "
            f"{_OFFICE_DRAWINGS}.",
            "One a slide.",
            ("lxml",),
        ),
        Format.RTF: FormatDescription(
            "Rich Text Format",
            "Text in all its code pages, headings (by style or outline), lists with their numbers, tables, links, "
            "footnotes and endnotes, comments, headers and footers (each text once), tracked insertions and deletions, "
            "hidden paragraphs (marked), text boxes, pictures in PNG and JPEG.",
            f"{_OFFICE_DRAWINGS}, the structure of formulas (their letters are read), fonts and colours. Tables in "
            "cells are flattened to a line, merged cells are empty cells, links in cells are plain text.",
            "At the file's page breaks and at sections that begin a page.",
            ("pillow",),
        ),
        Format.EPUB: FormatDescription(
            "EPUB 2 and 3",
            "The documents of the spine in order, through the reader of HTML: headings, lists, tables, footnotes, "
            "code, formulas, links, labels of drawings, pictures with the cover first; title, authors and language.",
            "Books under digital rights management (`encryption_unsupported`), scripts, sound and film, style sheets "
            "(what they hide is read), the table of contents outside the spine.",
            "One a document of the spine, mostly a chapter.",
            ("lxml", "pillow", "resvg-py"),
        ),
        Format.HTML: FormatDescription(
            "HTML",
            "What a reader of the page would see: headings, paragraphs, lists, tables with spanning cells, quotations, "
            "code with its language, captions, footnotes, formulas (MathML), labels of SVG, links, `ins` (marked), "
            "`del` and `s` (a block of their own behind theirs). `nav` and the page's `footer` become header and "
            "footer unless they are most of the page. Pictures in "
            "`data:` addresses. Any encoding.",
            "Whatever lies at an address: pictures, frames, style sheets (what they hide is read; what an attribute or "
            "an inline style hides is not). Scripts, "
            "`noscript`, `canvas`, values of form fields. Links inside tables are plain text. A table "
            "within a table, or with a cell over 2,000 characters, is read as layout.",
            _ONE_PAGE,
            ("lxml",),
        ),
        Format.XML: FormatDescription(
            "XML",
            "The text of all elements in order. Names that DocBook, DITA, JATS, TEI and HTML share become headings, "
            "lists, tables, code, quotations, footnotes and captions. Attributes that hold words (`title`, `alt`, "
            "`label`, …). A file's own entities that stand for plain words.",
            "Comments, processing instructions, other attributes; entities outside the file (`xml_entities`), and "
            "files whose entities are made of entities. Flat OpenDocument (.fodt, .fods, .fodp) is read as any XML: "
            "without its pictures, and with its metadata as text.",
            _BY_CHARS,
            ("lxml",),
        ),
        Format.MARKDOWN: FormatDescription(
            "Markdown",
            "CommonMark with tables, strike-through and footnotes: headings, lists, tables, code with its language, "
            "quotations, links, HTML blocks, front matter (title, author, language), pictures in `data:` addresses. "
            "Struck text is a block of its own behind its block.",
            "Pictures at addresses (their alternative text is read), formulas (kept as TeX), components of MDX. A "
            "paragraph over 50,000 characters keeps its markup.",
            _ONE_PAGE,
            ("markdown-it-py", "lxml"),
        ),
        Format.RST: FormatDescription(
            "reStructuredText",
            "Headings, lists, tables, code, quotations, footnotes, admonitions, field lists, links; of directives that "
            "are not known (Sphinx) their words.",
            "`include`, `raw` and `csv-table` from files (never carried out), pictures but for their alternative text, "
            "comments. Cells that span rows leave no gap: the cells below move to the left. A file over 3,000,000 "
            "characters is read as plain text (`markup_kept`).",
            _ONE_PAGE,
            ("docutils",),
        ),
        Format.TEXT: FormatDescription(
            "Plain text",
            "Paragraphs, told by blank lines, in any encoding (UTF-8, UTF-16, UTF-32, and what fits best of the old "
            "ones). Source code and whatever else has no format of its own here is read as text.",
            "Structure: there are no headings, lists or tables, nor the parts of source code, settings or subtitles. "
            "PostScript is refused (`unsupported_format`).",
            "One for each eight million characters.",
            ("charset-normalizer",),
        ),
        Format.CSV: FormatDescription(
            "CSV and TSV",
            "One table, its first row taken for the header; comma, semicolon, tab or bar, told by the lines; any "
            "encoding.",
            "Types: cells stay as they are written. Line breaks in cells become spaces. A quotation mark without its "
            "pair is read as a character, and a field over a million characters is refused (both `malformed_csv`).",
            "One for each million characters, under the header row again.",
            ("charset-normalizer",),
        ),
        Format.JSON: FormatDescription(
            "JSON",
            "Values in the file's order as `key: value`, arrays of records as tables, long strings as text, numbers as "
            "they are written. A damaged file is read up to the damage (`malformed_json`).",
            "Text hidden in encoded strings. Records that share few keys are parted into several tables.",
            _BY_CHARS,
            ("ijson",),
        ),
        Format.JSONL: FormatDescription(
            "JSON Lines",
            "Records with the same keys as rows of one table, others as `key: value`.",
            "Lines that are no JSON (`bad_line`).",
            _BY_CHARS,
            ("charset-normalizer",),
        ),
        Format.NOTEBOOK: FormatDescription(
            "Jupyter notebook",
            "nbformat 3 and 4: prose as Markdown, code with its language, what cells printed, tables of HTML output, "
            "name and text of errors, pictures in PNG and JPEG, attachments of cells.",
            "Drawings in SVG, widgets, JavaScript and HTML output without a table (their plain text is read), "
            "tracebacks, output beyond 100,000 characters of a cell (`output_cut`). Nothing is run.",
            "One for each million characters or so, at the end of a cell.",
            ("markdown-it-py", "lxml"),
        ),
        Format.EML: FormatDescription(
            "Mail (EML, MHT)",
            "Subject, From, To, Cc and Date, the text (HTML, plain or both where each says something of its own), "
            "quotations, pictures in the text. Attachments and attached mails become documents of their own, to ten "
            "levels.",
            "Other headers. Encrypted mails (`encryption_unsupported`) and parts (`mail_encrypted`). Of mails signed "
            "as a whole (smime.p7m) and of winmail.dat only the attachment's name is told. Calendar entries are read "
            "as text. Pictures of a saved web page (MHT) are attachments, not pictures. Mailboxes (.mbox) are refused.",
            _ONE_PAGE,
            ("lxml", "charset-normalizer"),
        ),
        Format.MSG: FormatDescription(
            "Outlook mail",
            "As for EML; the text is HTML, plain, or where there is neither that of the RTF body. A mail attached to "
            "it becomes an EML document.",
            "Other properties: of appointments, contacts and tasks only the text. Attachments by reference and "
            "embedded OLE objects. Encrypted mails (`encryption_unsupported`).",
            _ONE_PAGE,
            ("olefile", "lxml"),
        ),
        Format.ZIP: FormatDescription(
            "ZIP archive",
            "Each member becomes a document of its own, to ten levels of archives; the page is the list of them. With "
            "a password (ZipCrypto).",
            "Members under AES encryption (`encryption_unsupported`), or packed by other methods than stored, deflate, "
            "bzip2 and LZMA (`member_unreadable`); empty ones, links and what file managers leave behind "
            "(`members_left_out`); files of formats that are not read (`attachment_skipped`). 7-Zip, RAR, tar and gzip "
            "are refused.",
            "One, the list.",
        ),
        Format.PNG: replace(_RASTER, title="PNG", left_out="Frames behind the first (APNG), metadata."),
        Format.JPEG: replace(_RASTER, title="JPEG", reads="As for PNG."),
        Format.TIFF: replace(_RASTER, title="TIFF", reads="As for PNG.", pages="One a frame."),
        Format.WEBP: replace(_RASTER, title="WebP", reads="As for PNG.", left_out="Frames behind the first, metadata."),
        Format.GIF: replace(
            _RASTER,
            title="GIF",
            reads="As for PNG.",
            left_out="Frames that repeat another; of an animation all but 16 that differ (`frames_left_out`).",
            pages="One a frame that shows something new.",
        ),
        Format.BMP: replace(_RASTER, title="BMP", reads="As for PNG.", left_out="Nothing."),
        Format.HEIC: replace(
            _RASTER,
            title="HEIC and HEIF",
            reads="As for PNG.",
            left_out="Pictures behind the first (bursts, films), depth maps, metadata.",
            libraries=("pi-heif", "pillow"),
        ),
        Format.AVIF: replace(_RASTER, title="AVIF", reads="As for PNG.", left_out="Frames behind the first, metadata."),
        Format.SVG: FormatDescription(
            "SVG",
            "Title, description and the words of the drawing line by line, and the drawing as a picture; where it has "
            "no words, as when letters were turned into shapes, OCR of the picture.",
            "Whatever lies at an address, scripts, animations, style sheets in the search for words (what they hide "
            "is read), compressed drawings (.svgz).",
            _ONE_PAGE,
            ("lxml", "resvg-py", "pillow"),
        ),
    }
)
"""Every format in words. Source: the readers themselves; a test compares docs/formats.md with this table."""
