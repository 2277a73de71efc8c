"""Extensions of file names: which format each stands for, and which name something that is not read."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from services.content import Format

EXTENSIONS: Mapping[Format, tuple[str, ...]] = MappingProxyType(
    {
        Format.PDF: ("pdf",),
        Format.DOCX: ("docx", "docm", "dotx", "dotm"),
        Format.PPTX: ("pptx", "pptm", "potx", "potm", "ppsx", "ppsm"),
        Format.XLSX: ("xlsx", "xlsm", "xltx", "xltm"),
        Format.DOC: ("doc", "dot"),
        Format.PPT: ("ppt", "pps", "pot"),
        Format.XLS: ("xls", "xlt"),
        Format.ODT: ("odt", "ott", "odm"),
        Format.ODS: ("ods", "ots"),
        Format.ODP: ("odp", "otp"),
        Format.RTF: ("rtf",),
        Format.EPUB: ("epub",),
        Format.HTML: ("html", "htm", "xhtml", "xht"),
        Format.XML: (
            "xml", "xsd", "xsl", "xslt", "rss", "atom", "rdf", "owl", "kml", "gpx", "tei", "dita", "ditamap", "dbk",
            "jats", "nxml", "xlf", "xliff", "tmx", "opml", "plist", "wsdl", "fodt", "fods", "fodp",
        ),
        Format.MARKDOWN: ("md", "markdown", "mdown", "mkd", "mkdn", "mdx"),
        Format.RST: ("rst", "rest"),
        Format.TEXT: (
            "txt", "text", "log", "asc", "adoc", "tex", "bib", "srt", "vtt", "ics", "vcf", "yaml", "yml", "toml", "ini",
            "cfg", "conf", "css", "js", "jsx", "ts", "tsx", "vue", "py", "php", "rb", "java", "go", "rs", "c", "h",
            "cpp", "cs", "sql", "sh",
        ),
        Format.CSV: ("csv", "tsv", "tab"),
        Format.JSON: ("json", "geojson", "topojson", "jsonld", "har"),
        Format.JSONL: ("jsonl", "ndjson", "jsonlines"),
        Format.NOTEBOOK: ("ipynb",),
        Format.EML: ("eml", "mht", "mhtml"),
        Format.MSG: ("msg", "oft"),
        Format.ZIP: ("zip",),
        Format.PNG: ("png",),
        Format.JPEG: ("jpg", "jpeg", "jpe", "jfif"),
        Format.TIFF: ("tif", "tiff"),
        Format.GIF: ("gif",),
        Format.WEBP: ("webp",),
        Format.BMP: ("bmp", "dib"),
        Format.HEIC: ("heic", "heif", "hif"),
        Format.AVIF: ("avif",),
        Format.SVG: ("svg",),
    }
)  # fmt: skip
"""The extensions under which each format is known, the usual one first."""

FORMAT_OF: Mapping[str, Format] = MappingProxyType(
    {extension: format for format, extensions in EXTENSIONS.items() for extension in extensions}
)

PROSE = frozenset({Format.TEXT, Format.MARKDOWN, Format.RST, Format.CSV})
"""Kinds of text without a syntax of their own to be told by: the name decides."""

ZIPPED = frozenset({Format.DOCX, Format.PPTX, Format.XLSX, Format.ODT, Format.ODS, Format.ODP, Format.EPUB})
"""Documents that are zip files."""

TEXT_NOT_READ = frozenset({"ps", "eps", "mbox"})
"""Extensions of text that is not read: drawings, and mailboxes, of whose mails only the first would be seen as one."""

_WORDS_OF_BINARY = (
    "exe dll msi com bat cmd so gz tgz bz2 xz zst 7z rar tar jar apk iso xlsb mobi azw3 ico psd mp3 mp4 m4a wav ogg "
    "flac avi mov mkv webm db sqlite parquet pages numbers key woff woff2 ttf otf class pyc odg odf odc odb vsd vsdx "
    "pub one mpp wmf emf jp2 jxl djvu xps svgz"
)
_TEXT_FORMATS = PROSE | {
    Format.HTML, Format.XML, Format.JSON, Format.JSONL, Format.NOTEBOOK, Format.EML, Format.SVG, Format.RTF,
}  # fmt: skip
BINARY = frozenset(_WORDS_OF_BINARY.split()) | {
    extension for extension, format in FORMAT_OF.items() if format not in _TEXT_FORMATS
}
"""Extensions of binary formats: text under such a name is not what its owner takes it for."""


def extension_of(filename: str) -> str:
    """The extension of a file name in small letters, without its dot; empty where there is none."""
    stem, dot, extension = filename.strip().rstrip(". ").rpartition(".")
    return extension.lower() if dot and len(extension) <= 10 and (stem or extension) else ""
