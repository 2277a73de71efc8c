"""Every format that is read, one row each: how it is told, who reads it, what is said of it. There is no other table.

Detection, capabilities, docs/formats.md and the tests are made of these rows. Readers are named, not imported: each is
loaded when a file of its format is read, so that the child of a text file loads no XML parser, and the server none.
"""

from __future__ import annotations

import re
from dataclasses import replace
from enum import StrEnum
from typing import Self

from services.formats.detection.containers import is_book
from services.formats.detection.detectors import (
    FirstBytes,
    Name,
    OfficePackage,
    OleStreams,
    OpenDocument,
    PlainZip,
    Syntax,
    ZipMembers,
)
from services.formats.detection.signatures import BMP, RTF, TIFF, begins, holds_pdf, is_avif, is_heic
from services.formats.detection.syntax import (
    is_delimited,
    is_html,
    is_json,
    is_json_lines,
    is_mail,
    is_notebook,
    is_svg,
    is_xml,
)
from services.formats.spec import Description, FormatSpec, Group

_TEXT_EXTENSIONS = (
    "txt", "text", "log", "asc", "adoc", "tex", "bib", "srt", "vtt", "ics", "vcf", "yaml", "yml", "toml", "ini",
    "cfg", "conf", "css", "js", "jsx", "ts", "tsx", "vue", "py", "php", "rb", "java", "go", "rs", "c", "h", "cpp",
    "cs", "sql", "sh",
)  # fmt: skip
_XML_EXTENSIONS = (
    "xml", "xsd", "xsl", "xslt", "rss", "atom", "rdf", "owl", "kml", "gpx", "tei", "dita", "ditamap", "dbk", "jats",
    "nxml", "xlf", "xliff", "tmx", "opml", "plist", "wsdl", "fodt", "fods", "fodp",
)  # fmt: skip

_ONE_PAGE = "One."

_BY_CHARS = "One for each million characters or so."

_OFFICE_DRAWINGS = "EMF, WMF and SVM drawings (`picture_format`), embedded files (OLE) but for their preview picture"

_RASTER = Description(
    "The picture, turned as its EXIF orientation says and in the colours of sRGB, and its text by OCR with the box of "
    "each word.",
    "EXIF, XMP and IPTC metadata.",
    "One.",
    ("pillow",),
)

_DOCX = Description(
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

_PPTX = Description(
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


class Format(StrEnum):
    """A file format that is read, by the word that the API uses for it."""

    spec: FormatSpec

    def __new__(cls, row: FormatSpec | str) -> Self:
        """The member of a row. `Format("pdf")` looks a member up and makes none."""
        if isinstance(row, str):
            raise ValueError(f"{row!r} is no row of a format")
        member = str.__new__(cls, row.word)
        member._value_ = row.word
        member.spec = row
        return member

    PDF = FormatSpec(
        word="pdf",
        title="PDF",
        group=Group.DOCUMENTS,
        media_type="application/pdf",
        extensions=("pdf",),
        detector=FirstBytes(begins(rb"%PDF-"), matches_text=holds_pdf),
        reader="pdf.reader.extract_pdf",
        renderer="page_images.draw_pdf_page",
        takes_password=True,
        sample="report.pdf",
        described=Description(
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
    )
    DOCX = FormatSpec(
        word="docx",
        title="Word",
        group=Group.DOCUMENTS,
        media_type="application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        extensions=("docx", "docm", "dotx", "dotm"),
        detector=OfficePackage(re.compile(r"word/document\d*\.xml"), "word/"),
        reader="office.word.reader.extract_docx",
        takes_password=True,
        sample="survey.docx",
        described=_DOCX,
    )
    DOC = FormatSpec(
        word="doc",
        title="Word 97–2003",
        group=Group.DOCUMENTS,
        media_type="application/msword",
        extensions=("doc", "dot"),
        detector=OleStreams(("WordDocument",)),
        reader="office.old.extract_doc",
        takes_password=True,
        sample="memo.doc",
        described=replace(
            _DOCX,
            reads="What the DOCX reader finds in the converted document. msdoc2docx converts; what it does not "
            "understand, as documents of Word 6 and 95, LibreOffice does (`converted`). With a password.",
            left_out="As for DOCX, and without LibreOffice the documents that only it understands "
            "(`libreoffice_missing`).",
            pages="As for DOCX; where LibreOffice converted, its line and page breaks.",
            libraries=("msdoc2docx", "lxml", "msoffcrypto-tool"),
        ),
    )
    ODT = FormatSpec(
        word="odt",
        title="OpenDocument text",
        group=Group.DOCUMENTS,
        media_type="application/vnd.oasis.opendocument.text",
        extensions=("odt", "ott", "odm"),
        detector=OpenDocument(("text", "text-template", "text-master")),
        reader="opendocument.text.extract_odt",
        sample="report.odt",
        described=Description(
            "Headings, paragraphs, lists, tables, text boxes, links, formulas, charts with their values, footnotes and "
            "endnotes below their page, comments, tracked insertions (marked) and deletions (a block of their own), "
            "hidden text and sections (marked), headers and footers (each text once), pictures.",
            f"Documents with a password (`encryption_unsupported`), macros, {_OFFICE_DRAWINGS}, form controls, links "
            "inside table cells.",
            "Where the program noted that a page began; without such notes, at page breaks.",
            ("lxml",),
        ),
    )
    RTF = FormatSpec(
        word="rtf",
        title="Rich Text Format",
        group=Group.DOCUMENTS,
        media_type="application/rtf",
        extensions=("rtf",),
        detector=FirstBytes(begins(RTF), is_text=True),
        reader="rtf.reader.extract_rtf",
        sample="letter.rtf",
        described=Description(
            "Text in all its code pages, headings (by style or outline), lists with their numbers, tables, links, "
            "footnotes and endnotes, comments, headers and footers (each text once), tracked insertions and deletions, "
            "hidden paragraphs (marked), text boxes, pictures in PNG and JPEG.",
            f"{_OFFICE_DRAWINGS}, the structure of formulas (their letters are read), fonts and colours. Tables in "
            "cells are flattened to a line, merged cells are empty cells, links in cells are plain text.",
            "At the file's page breaks and at sections that begin a page.",
            ("pillow",),
        ),
    )
    EPUB = FormatSpec(
        word="epub",
        title="EPUB 2 and 3",
        group=Group.DOCUMENTS,
        media_type="application/epub+zip",
        extensions=("epub",),
        detector=ZipMembers(is_book, media_type="application/epub"),
        reader="web.epub.extract_epub",
        sample="book.epub",
        described=Description(
            "The documents of the spine in order, through the reader of HTML: headings, lists, tables, footnotes, "
            "code, formulas, links, labels of drawings, pictures with the cover first; title, authors and language.",
            "Books under digital rights management (`encryption_unsupported`), scripts, sound and film, style sheets "
            "(what they hide is read), the table of contents outside the spine.",
            "One a document of the spine, mostly a chapter.",
            ("lxml", "pillow", "resvg-py"),
        ),
    )
    HTML = FormatSpec(
        word="html",
        title="HTML",
        group=Group.DOCUMENTS,
        media_type="text/html",
        extensions=("html", "htm", "xhtml", "xht"),
        detector=Syntax(is_html, or_name=True),
        reader="web.html.extract_html",
        sample="tides.html",
        described=Description(
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
    )
    MARKDOWN = FormatSpec(
        word="markdown",
        title="Markdown",
        group=Group.DOCUMENTS,
        media_type="text/markdown",
        extensions=("md", "markdown", "mdown", "mkd", "mkdn", "mdx"),
        detector=Name(),
        reader="markup.markdown.extract_markdown",
        sample="harbour.md",
        described=Description(
            "CommonMark with tables, strike-through and footnotes: headings, lists, tables, code with its language, "
            "quotations, links, HTML blocks, front matter (title, author, language), pictures in `data:` addresses. "
            "Struck text is a block of its own behind its block.",
            "Pictures at addresses (their alternative text is read), formulas (kept as TeX), components of MDX. A "
            "paragraph over 50,000 characters keeps its markup.",
            _ONE_PAGE,
            ("markdown-it-py", "lxml"),
        ),
    )
    RST = FormatSpec(
        word="rst",
        title="reStructuredText",
        group=Group.DOCUMENTS,
        media_type="text/x-rst",
        extensions=("rst", "rest"),
        detector=Name(),
        reader="markup.rst.extract_rst",
        sample="guide.rst",
        described=Description(
            "Headings, lists, tables, code, quotations, footnotes, admonitions, field lists, links; of directives that "
            "are not known (Sphinx) their words.",
            "`include`, `raw` and `csv-table` from files (never carried out), pictures but for their alternative text, "
            "comments. Cells that span rows leave no gap: the cells below move to the left. A file over 3,000,000 "
            "characters is read as plain text (`markup_kept`).",
            _ONE_PAGE,
            ("docutils",),
        ),
    )
    TEXT = FormatSpec(
        word="text",
        title="Plain text",
        group=Group.DOCUMENTS,
        media_type="text/plain",
        extensions=_TEXT_EXTENSIONS,
        detector=Name(),
        reader="markup.text.extract_text",
        sample="lease.txt",
        described=Description(
            "Paragraphs, told by blank lines, in any encoding (UTF-8, UTF-16, UTF-32, and what fits best of the old "
            "ones). Source code and whatever else has no format of its own here is read as text.",
            "Structure: there are no headings, lists or tables, nor the parts of source code, settings or subtitles. "
            "PostScript is refused (`unsupported_format`).",
            "One for each eight million characters.",
            ("charset-normalizer",),
        ),
    )
    PPTX = FormatSpec(
        word="pptx",
        title="PowerPoint",
        group=Group.PRESENTATIONS,
        media_type="application/vnd.openxmlformats-officedocument.presentationml.presentation",
        extensions=("pptx", "pptm", "potx", "potm", "ppsx", "ppsm"),
        detector=OfficePackage(re.compile(r"ppt/presentation\d*\.xml"), "ppt/slides/", rank=1),
        reader="office.slides.reader.extract_pptx",
        takes_password=True,
        sample="slides.pptx",
        described=_PPTX,
    )
    PPT = FormatSpec(
        word="ppt",
        title="PowerPoint 97–2003",
        group=Group.PRESENTATIONS,
        media_type="application/vnd.ms-powerpoint",
        extensions=("ppt", "pps", "pot"),
        detector=OleStreams(("PowerPoint Document",)),
        reader="office.old.extract_ppt",
        takes_password=True,
        sample="talk.ppt",
        described=replace(
            _PPTX,
            reads="What the PPTX reader finds in the presentation that LibreOffice makes of it (`converted`). With a "
            "password.",
            left_out="Everything, where LibreOffice is not installed (`libreoffice_missing`); else as for PPTX.",
        ),
    )
    ODP = FormatSpec(
        word="odp",
        title="OpenDocument presentation",
        group=Group.PRESENTATIONS,
        media_type="application/vnd.oasis.opendocument.presentation",
        extensions=("odp", "otp"),
        detector=OpenDocument(("presentation", "presentation-template")),
        reader="opendocument.slides.extract_odp",
        sample="slides.odp",
        described=Description(
            "Each slide, its title first and the rest in the order of the file, with boxes: text, lists, tables, "
            "charts with their values, links, footers and what the master shows (marked, each text once), comments, "
            "speaker notes, pictures. Hidden slides are read and marked.",
            f"Documents with a password (`encryption_unsupported`), macros, animations, sound and film, "
            f"{_OFFICE_DRAWINGS}.",
            "One a slide.",
            ("lxml",),
        ),
    )
    XLSX = FormatSpec(
        word="xlsx",
        title="Excel",
        group=Group.DATA,
        media_type="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        extensions=("xlsx", "xlsm", "xltx", "xltm"),
        detector=OfficePackage(re.compile(r"xl/workbook\d*\.xml"), "xl/worksheets/"),
        reader="office.sheets.reader.extract_xlsx",
        takes_password=True,
        sample="workbook.xlsx",
        described=Description(
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
    )
    XLS = FormatSpec(
        word="xls",
        title="Excel 5 to 2003",
        group=Group.DATA,
        media_type="application/vnd.ms-excel",
        extensions=("xls", "xlt"),
        detector=OleStreams(("Workbook", "Book")),
        reader="office.sheets.xls.extract_xls",
        takes_password=True,
        sample="legacy.xls",
        described=Description(
            "The cells of all sheets as they are shown, as for XLSX, with notes and links. Hidden sheets, rows and "
            "columns are read and marked. With a password.",
            "Charts, text boxes, pictures, headers and footers, macros; files over 64 MB (`spreadsheet_too_large`); "
            f"Excel 2 to 4. {_XLS_NUMBERS}.",
            "As for XLSX.",
            ("xlrd", "olefile", "msoffcrypto-tool"),
        ),
    )
    ODS = FormatSpec(
        word="ods",
        title="OpenDocument spreadsheet",
        group=Group.DATA,
        media_type="application/vnd.oasis.opendocument.spreadsheet",
        extensions=("ods", "ots"),
        detector=OpenDocument(("spreadsheet", "spreadsheet-template")),
        reader="opendocument.sheets.extract_ods",
        sample="table.ods",
        described=Description(
            "The cells of all sheets as the file shows them, comments with their cell, text boxes, titles of charts, "
            "pictures. Hidden sheets, rows and columns are marked.",
            f"Documents with a password (`encryption_unsupported`), macros, {_OFFICE_DRAWINGS}, links of cells, "
            "headers and footers. Tables beside each other are one. A cell or row repeated more than 1,000 times is "
            "given that often (`repeats_left_out`).",
            "One a sheet, and one more for each further million characters of it; their table is marked as going on.",
            ("lxml",),
        ),
    )
    CSV = FormatSpec(
        word="csv",
        title="CSV and TSV",
        group=Group.DATA,
        media_type="text/csv",
        extensions=("csv", "tsv", "tab"),
        detector=Name(matches_unnamed=is_delimited),
        reader="data.csv.extract_csv",
        sample="ports.csv",
        described=Description(
            "One table, its first row taken for the header; comma, semicolon, tab or bar, told by the lines; any "
            "encoding.",
            "Types: cells stay as they are written. Line breaks in cells become spaces. A quotation mark without its "
            "pair is read as a character, and a field over a million characters is refused (both `malformed_csv`).",
            "One for each million characters, under the header row again.",
            ("charset-normalizer",),
        ),
    )
    JSON = FormatSpec(
        word="json",
        title="JSON",
        group=Group.DATA,
        media_type="application/json",
        extensions=("json", "geojson", "topojson", "jsonld", "har"),
        detector=Syntax(is_json),
        reader="data.json.extract_json",
        sample="records.json",
        described=Description(
            "Values in the file's order as `key: value`, arrays of records as tables, long strings as text, numbers as "
            "they are written. A damaged file is read up to the damage (`malformed_json`).",
            "Text hidden in encoded strings. Records that share few keys are parted into several tables.",
            _BY_CHARS,
            ("ijson",),
        ),
    )
    JSONL = FormatSpec(
        word="jsonl",
        title="JSON Lines",
        group=Group.DATA,
        media_type="application/jsonl",
        extensions=("jsonl", "ndjson", "jsonlines"),
        detector=Syntax(is_json_lines),
        reader="data.json.extract_jsonl",
        sample="events.jsonl",
        described=Description(
            "Records with the same keys as rows of one table, others as `key: value`.",
            "Lines that are no JSON (`bad_line`).",
            _BY_CHARS,
            ("charset-normalizer",),
        ),
    )
    XML = FormatSpec(
        word="xml",
        title="XML",
        group=Group.DATA,
        media_type="application/xml",
        extensions=_XML_EXTENSIONS,
        detector=Syntax(is_xml),
        reader="markup.xml.extract_xml",
        sample="catalogue.xml",
        described=Description(
            "The text of all elements in order. Names that DocBook, DITA, JATS, TEI and HTML share become headings, "
            "lists, tables, code, quotations, footnotes and captions. Attributes that hold words (`title`, `alt`, "
            "`label`, …). A file's own entities that stand for plain words.",
            "Comments, processing instructions, other attributes; entities outside the file (`xml_entities`), and "
            "files whose entities are made of entities. Flat OpenDocument (.fodt, .fods, .fodp) is read as any XML: "
            "without its pictures, and with its metadata as text.",
            _BY_CHARS,
            ("lxml",),
        ),
    )
    NOTEBOOK = FormatSpec(
        word="ipynb",
        title="Jupyter notebook",
        group=Group.DATA,
        media_type="application/x-ipynb+json",
        extensions=("ipynb",),
        detector=Syntax(is_notebook),
        reader="markup.notebook.extract_notebook",
        sample="analysis.ipynb",
        described=Description(
            "nbformat 3 and 4: prose as Markdown, code with its language, what cells printed, tables of HTML output, "
            "name and text of errors, pictures in PNG and JPEG, attachments of cells.",
            "Drawings in SVG, widgets, JavaScript and HTML output without a table (their plain text is read), "
            "tracebacks, output beyond 100,000 characters of a cell (`output_cut`). Nothing is run.",
            "One for each million characters or so, at the end of a cell.",
            ("markdown-it-py", "lxml"),
        ),
    )
    EML = FormatSpec(
        word="eml",
        title="Mail (EML, MHT)",
        group=Group.MAIL,
        media_type="message/rfc822",
        extensions=("eml", "mht", "mhtml"),
        detector=Syntax(is_mail),
        reader="mail.eml.extract_eml",
        sample="message.eml",
        described=Description(
            "Subject, From, To, Cc and Date, the text (HTML, plain or both where each says something of its own), "
            "quotations, pictures in the text. Attachments and attached mails become documents of their own, to ten "
            "levels.",
            "Other headers. Encrypted mails (`encryption_unsupported`) and parts (`mail_encrypted`). Of mails signed "
            "as a whole (smime.p7m) and of winmail.dat only the attachment's name is told. Calendar entries are read "
            "as text. Pictures of a saved web page (MHT) are attachments, not pictures. Mailboxes (.mbox) are refused.",
            _ONE_PAGE,
            ("lxml", "charset-normalizer"),
        ),
    )
    MSG = FormatSpec(
        word="msg",
        title="Outlook mail",
        group=Group.MAIL,
        media_type="application/vnd.ms-outlook",
        extensions=("msg", "oft"),
        detector=OleStreams(("__properties_version1.0",), rank=-1),
        reader="mail.msg.extract_msg",
        sample="message.msg",
        described=Description(
            "As for EML; the text is HTML, plain, or where there is neither that of the RTF body. A mail attached to "
            "it becomes an EML document.",
            "Other properties: of appointments, contacts and tasks only the text. Attachments by reference and "
            "embedded OLE objects. Encrypted mails (`encryption_unsupported`).",
            _ONE_PAGE,
            ("olefile", "lxml"),
        ),
    )
    ZIP = FormatSpec(
        word="zip",
        title="ZIP archive",
        group=Group.MAIL,
        media_type="application/zip",
        extensions=("zip",),
        detector=PlainZip(),
        reader="archives.extract_zip",
        takes_password=True,
        sample="batch.zip",
        described=Description(
            "Each member becomes a document of its own, to ten levels of archives; the page is the list of them. With "
            "a password (ZipCrypto).",
            "Members under AES encryption (`encryption_unsupported`), or packed by other methods than stored, deflate, "
            "bzip2 and LZMA (`member_unreadable`); empty ones, links and what file managers leave behind "
            "(`members_left_out`); files of formats that are not read (`attachment_skipped`). 7-Zip, RAR, tar and gzip "
            "are refused.",
            "One, the list.",
        ),
    )
    PNG = FormatSpec(
        word="png",
        title="PNG",
        group=Group.PICTURES,
        media_type="image/png",
        extensions=("png",),
        detector=FirstBytes(begins(rb"\x89PNG\r\n\x1a\n")),
        reader="pictures.reader.extract_picture",
        renderer="page_images.draw_frame",
        sample="letter.png",
        described=replace(_RASTER, left_out="Frames behind the first (APNG), metadata."),
    )
    JPEG = FormatSpec(
        word="jpeg",
        title="JPEG",
        group=Group.PICTURES,
        media_type="image/jpeg",
        extensions=("jpg", "jpeg", "jpe", "jfif"),
        detector=FirstBytes(begins(rb"\xff\xd8\xff")),
        reader="pictures.reader.extract_picture",
        renderer="page_images.draw_frame",
        sample="letter_exif.jpg",
        described=replace(_RASTER, reads="As for PNG."),
    )
    TIFF = FormatSpec(
        word="tiff",
        title="TIFF",
        group=Group.PICTURES,
        media_type="image/tiff",
        extensions=("tif", "tiff"),
        detector=FirstBytes(begins(TIFF)),
        reader="pictures.reader.extract_picture",
        renderer="page_images.draw_frame",
        sample="letters.tif",
        described=replace(_RASTER, reads="As for PNG.", pages="One a frame."),
    )
    WEBP = FormatSpec(
        word="webp",
        title="WebP",
        group=Group.PICTURES,
        media_type="image/webp",
        extensions=("webp",),
        detector=FirstBytes(begins(rb"RIFF.{4}WEBP")),
        reader="pictures.reader.extract_picture",
        renderer="page_images.draw_frame",
        sample="receipt.webp",
        described=replace(_RASTER, reads="As for PNG.", left_out="Frames behind the first, metadata."),
    )
    GIF = FormatSpec(
        word="gif",
        title="GIF",
        group=Group.PICTURES,
        media_type="image/gif",
        extensions=("gif",),
        detector=FirstBytes(begins(rb"GIF8[79]a")),
        reader="pictures.reader.extract_picture",
        renderer="page_images.draw_frame",
        sample="frames.gif",
        described=replace(
            _RASTER,
            reads="As for PNG.",
            left_out="Frames that repeat another; of an animation all but 16 that differ (`frames_left_out`).",
            pages="One a frame that shows something new.",
        ),
    )
    BMP = FormatSpec(
        word="bmp",
        title="BMP",
        group=Group.PICTURES,
        media_type="image/bmp",
        extensions=("bmp", "dib"),
        detector=FirstBytes(begins(BMP)),
        reader="pictures.reader.extract_picture",
        renderer="page_images.draw_frame",
        sample="stamp.bmp",
        described=replace(_RASTER, reads="As for PNG.", left_out="Nothing."),
    )
    HEIC = FormatSpec(
        word="heic",
        title="HEIC and HEIF",
        group=Group.PICTURES,
        media_type="image/heic",
        extensions=("heic", "heif", "hif"),
        detector=FirstBytes(is_heic),
        reader="pictures.reader.extract_picture",
        renderer="page_images.draw_frame",
        sample="photo.heic",
        described=replace(
            _RASTER,
            reads="As for PNG.",
            left_out="Pictures behind the first (bursts, films), depth maps, metadata.",
            libraries=("pi-heif", "pillow"),
        ),
    )
    AVIF = FormatSpec(
        word="avif",
        title="AVIF",
        group=Group.PICTURES,
        media_type="image/avif",
        extensions=("avif",),
        detector=FirstBytes(is_avif),
        reader="pictures.reader.extract_picture",
        renderer="page_images.draw_frame",
        sample="photo.avif",
        described=replace(_RASTER, reads="As for PNG.", left_out="Frames behind the first, metadata."),
    )
    SVG = FormatSpec(
        word="svg",
        title="SVG",
        group=Group.PICTURES,
        media_type="image/svg+xml",
        extensions=("svg",),
        detector=Syntax(is_svg),
        reader="pictures.svg.extract_svg",
        renderer="page_images.draw_svg",
        sample="diagram.svg",
        described=Description(
            "Title, description and the words of the drawing line by line, and the drawing as a picture; where it has "
            "no words, as when letters were turned into shapes, OCR of the picture.",
            "Whatever lies at an address, scripts, animations, style sheets in the search for words (what they hide "
            "is read), compressed drawings (.svgz).",
            _ONE_PAGE,
            ("lxml", "resvg-py", "pillow"),
        ),
    )


RENDERED_FORMATS = frozenset(format for format in Format if format.spec.renderer)
"""Formats whose pages have a look of their own; the others are only text."""

PICTURE_FORMATS = frozenset(format for format in Format if format.spec.group is Group.PICTURES)
"""Files that hold pictures and nothing else."""
