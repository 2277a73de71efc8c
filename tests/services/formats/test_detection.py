from __future__ import annotations

import re
import struct
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from services.content import Limits
from services.errors import EncryptedDocument, TooLarge, UnreadableDocument, UnsupportedFormat
from services.formats.detection.detect import Detection, detect_format
from services.formats.detection.extensions import BINARY, FORMAT_OF, PROSE, TEXT_NOT_READ
from services.formats.registry import Format
from tests.data.build_samples import (
    SAMPLES,
    body_xml,
    bomb_docx,
    encrypted_office,
    minimal_docx,
    picture_bytes,
    report_docx,
    zip_bytes,
)
from tests.data.build_structured import ole_bytes
from tests.support.paths import DATA


def detect(folder: Path, data: bytes, name: str, limits: Limits = Limits()) -> Detection:
    path = folder / "upload"
    path.write_bytes(data)
    return detect_format(path, name, limits)


PDF = b"%PDF-1.7\n"
MAIL = b"From: a@example.org\r\nTo: b@example.org\r\nSubject: x\r\nMessage-ID: <1@example.org>\r\n\r\nHi"
NOTEBOOK = b'{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>'
XML = b'<?xml version="1.0"?>\n<data><a>1</a></data>\n'
JSONL = b'{"a": 1}\n{"a": 2}\n{"a": 3}\n'


def package(part: str) -> bytes:
    """A package of Office with this main part."""
    return zip_bytes({"[Content_Types].xml": b"<Types/>", "_rels/.rels": b"<R/>", part: b"<x/>"})


def open_document(media_type: str, **members: bytes) -> bytes:
    """A zip that begins with the stored member `mimetype`, as EPUB and OpenDocument do."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("mimetype", media_type)
        for name, data in {"META-INF/manifest.xml": b"<m/>", "content.xml": b"<c/>", **members}.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def iso_media(brand: bytes, *more: bytes) -> bytes:
    """The beginning of a HEIF or AVIF file."""
    box = b"ftyp" + brand + b"\x00\x00\x00\x00" + b"".join(more)
    return struct.pack(">L", len(box) + 4) + box + b"\x00" * 40


BY_CONTENT: list[tuple[bytes, str, Format]] = [
    (PDF, "a.pdf", Format.PDF),
    (b"junk from a mail gateway\r\n%PDF-1.4\n", "a.pdf", Format.PDF),
    (picture_bytes(), "a.png", Format.PNG),
    (b"\xff\xd8\xff\xe0\x00\x10JFIF", "a.jpg", Format.JPEG),
    (b"II*\x00\x08\x00\x00\x00", "a.tif", Format.TIFF),
    (b"MM\x00*\x00\x00\x00\x08", "a.tif", Format.TIFF),
    (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "a.webp", Format.WEBP),
    (b"GIF89a" + b"\x00" * 30, "a.gif", Format.GIF),
    (b"BM" + struct.pack("<3L", 100, 0, 54) + struct.pack("<L", 40) + b"\x00" * 60, "a.bmp", Format.BMP),
    (iso_media(b"heic", b"mif1"), "a.heic", Format.HEIC),
    (iso_media(b"mif1", b"mif1", b"heic"), "a.heif", Format.HEIC),
    (iso_media(b"avif", b"mif1"), "a.avif", Format.AVIF),
    (iso_media(b"mif1", b"mif1", b"avif"), "a.avif", Format.AVIF),
    (minimal_docx(body_xml("")), "a.docx", Format.DOCX),
    (package("xl/workbook.xml"), "a.xlsx", Format.XLSX),
    (package("xl/workbook2.xml"), "a.xltx", Format.XLSX),
    (package("ppt/presentation.xml"), "a.ppsx", Format.PPTX),
    (open_document("application/vnd.oasis.opendocument.text"), "a.odt", Format.ODT),
    (open_document("application/vnd.oasis.opendocument.spreadsheet"), "a.ods", Format.ODS),
    (open_document("application/vnd.oasis.opendocument.presentation-template"), "a.otp", Format.ODP),
    (open_document("application/epub+zip"), "a.epub", Format.EPUB),
    (zip_bytes({"META-INF/container.xml": b"<c/>", "OEBPS/book.opf": b"<p/>"}), "a.epub", Format.EPUB),
    (zip_bytes({"note.txt": b"x"}), "a.zip", Format.ZIP),
    (ole_bytes("WordDocument", "1Table"), "a.doc", Format.DOC),
    (ole_bytes("Workbook"), "a.xls", Format.XLS),
    (ole_bytes("Book"), "a.xls", Format.XLS),
    (ole_bytes("PowerPoint Document", "Current User"), "a.ppt", Format.PPT),
    (ole_bytes("__properties_version1.0", "__nameid_version1.0"), "a.msg", Format.MSG),
    (b"{\\rtf1\\ansi hello}", "a.rtf", Format.RTF),
    (SAMPLES["tides.html"], "a.html", Format.HTML),
    (b"\xef\xbb\xbf<div>Part of a page<br></div>", "", Format.HTML),
    ("\ufeff<html><body>x</body></html>".encode("utf-16"), "a.htm", Format.HTML),
    (b"<html><!--\n%PDF-1.7\n-->", "a.html", Format.HTML),
    (b'<?xml version="1.0"?><!-- a --><!DOCTYPE html SYSTEM "x.dtd"><html/>', "a.xhtml", Format.HTML),
    (XML, "a.xml", Format.XML),
    (XML.replace(b'"1.0"', b'"1.0" encoding="UTF-16"').decode().encode("utf-16"), "a.xml", Format.XML),
    (b'<!-- no declaration --><feed xmlns="x"><title>T</title></feed>', "a.rss", Format.XML),
    (b"<notes><note>x</note></notes>\n", "", Format.XML),
    (SVG, "a.svg", Format.SVG),
    (b'<svg:svg xmlns:svg="http://www.w3.org/2000/svg"></svg:svg>', "", Format.SVG),
    (b'{"a": [1, 2]}', "a.json", Format.JSON),
    (b"[]", "a.json", Format.JSON),
    (b'"only a string"', "a.json", Format.JSON),
    (JSONL, "a.jsonl", Format.JSONL),
    (b'{"only": "one line"}\n', "a.ndjson", Format.JSONL),
    (b"[1, 2]\n[3, 4]\n", "", Format.JSONL),
    (NOTEBOOK, "a.ipynb", Format.NOTEBOOK),
    (MAIL, "a.eml", Format.EML),
    (b"From someone Sat Jan  3 01:05:34 2026\n" + MAIL, "", Format.EML),
    (SAMPLES["harbour.md"], "a.md", Format.MARKDOWN),
    (b"Title\n=====\n\nWords.\n", "a.rst", Format.RST),
    (SAMPLES["ports.csv"], "a.csv", Format.CSV),
    (SAMPLES["ports.tsv"], "a.tsv", Format.CSV),
    (b"a;b;c\n1;2;3\n4;5;6\n7;8;9\n", "export", Format.CSV),
    (SAMPLES["lease_cp1252.txt"], "a.txt", Format.TEXT),
    (b"plain words", "README", Format.TEXT),
    ("ein Wort\r\n".encode("utf-16-le"), "a.txt", Format.TEXT),
    (b"before\x00after\x01\x02\x1b[31mred\x7f end\n", "a.txt", Format.TEXT),
]


@pytest.mark.parametrize(("data", "name", "expected"), BY_CONTENT)
def test_format_is_told_by_content(tmp_path: Path, data: bytes, name: str, expected: Format) -> None:
    found = detect(tmp_path, data, name)
    assert (found.format, found.media_type, found.warnings) == (expected, expected.spec.media_type, ())


def test_every_format_is_told_by_content(tmp_path: Path) -> None:
    for format in Format:
        sample = DATA / format.spec.sample
        found = detect(tmp_path, sample.read_bytes(), sample.name)
        assert (found.format, found.media_type, found.warnings) == (format, format.spec.media_type, ())


@pytest.mark.parametrize(("data", "name", "expected"), [row for row in BY_CONTENT if row[2] not in PROSE])
def test_format_with_a_syntax_needs_no_name(tmp_path: Path, data: bytes, name: str, expected: Format) -> None:
    if data in (b"[]", b'"only a string"', b'{"only": "one line"}\n'):
        expected = {b'"only a string"': Format.TEXT}.get(data, Format.JSON)  # only a name makes more of these
    found = detect(tmp_path, data, "")
    assert (found.format, found.warnings) == (expected, ())


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (picture_bytes(), "scan.pdf", Format.PNG),
        (PDF, "double.pdf.exe", Format.PDF),
        (PDF, "a.docx", Format.PDF),
        (b"\xff\xd8\xff\xe0", "a.png", Format.JPEG),
        (b"II*\x00\x08", "a.jpg", Format.TIFF),
        (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "a.jpg", Format.WEBP),
        (b"GIF89a\x00", "a.png", Format.GIF),
        (b"BM" + bytes(12) + b"\x28\x00\x00\x00", "a.jpg", Format.BMP),
        (iso_media(b"heic"), "IMG_1.JPG", Format.HEIC),
        (iso_media(b"avif"), "a.webp", Format.AVIF),
        (b"<html><body>Hello</body></html>", "page.txt", Format.HTML),
        (b"<html><body>Hello</body></html>", "report.doc", Format.HTML),
        (b"{\\rtf1 x}", "letter.doc", Format.RTF),
        (report_docx(), "report.xlsx", Format.DOCX),
        (package("xl/workbook.xml"), "a.xls", Format.XLSX),
        (package("ppt/presentation.xml"), "a.zip", Format.PPTX),
        (open_document("application/vnd.oasis.opendocument.text"), "a.docx", Format.ODT),
        (open_document("application/vnd.oasis.opendocument.spreadsheet"), "a.odt", Format.ODS),
        (open_document("application/vnd.oasis.opendocument.presentation"), "a.pptx", Format.ODP),
        (open_document("application/epub+zip"), "a.zip", Format.EPUB),
        (zip_bytes({"note.txt": b"x"}), "a.pdf", Format.ZIP),
        (ole_bytes("WordDocument"), "a.docx", Format.DOC),
        (ole_bytes("Workbook"), "a.csv", Format.XLS),
        (ole_bytes("PowerPoint Document"), "a.pptx", Format.PPT),
        (ole_bytes("__properties_version1.0"), "a.eml", Format.MSG),
        (XML, "a.txt", Format.XML),
        (SVG, "a.png", Format.SVG),
        (SVG, "a.xml", Format.SVG),
        (b'{"a": [1, 2]}', "a.pdf", Format.JSON),
        (b'{\n "a": [\n1, 2]\n}', "a.jsonl", Format.JSON),
        (JSONL, "a.json", Format.JSONL),
        (NOTEBOOK, "a.json", Format.NOTEBOOK),
        (MAIL, "mail.txt", Format.EML),
        (b"no markup at all", "a.xml", Format.TEXT),
        (b"no data at all", "a.json", Format.TEXT),
    ],
)
def test_wrong_extension_is_a_warning_and_no_obstacle(tmp_path: Path, data: bytes, name: str, expected: Format) -> None:
    found = detect(tmp_path, data, name)
    assert found.format is expected
    assert [warning.code for warning in found.warnings] == ["extension_mismatch"]


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (b"[Harbour](https://example.org)\n\n[x]", "a.md", Format.MARKDOWN),
        (b"[[[[[[[[[[[]", "a.md", Format.MARKDOWN),
        (b"{curly} words and [more]", "a.txt", Format.TEXT),
        (b"[12] Falk, I.: Survey. [13]", "", Format.TEXT),
        (b"From: the board\nTo: all members\nSubject: rent\n\nIt rises.", "memo.txt", Format.TEXT),
        (b"Note: one\nand: two\n\nwords", "", Format.TEXT),
        (b"<b>Important:</b> read this\n\n# Then this\n", "a.md", Format.MARKDOWN),
        (b"How a file of type %PDF-1.7 begins", "a.txt", Format.TEXT),
        (b"BMW has a car, and that is all.", "a.txt", Format.TEXT),
        (b"We met Ann, Bob and Cy.\nThen we left, and it rained.\nNo one, not even Ann,\ncame.\n", "", Format.TEXT),
    ],
)
def test_prose_is_not_taken_for_data(tmp_path: Path, data: bytes, name: str, expected: Format) -> None:
    found = detect(tmp_path, data, name)
    assert (found.format, found.warnings) == (expected, ())


@pytest.mark.parametrize("name", ["photo.jpg", "report.pdf", "letter.docx", "setup.exe", "all.tar.gz", "a.doc"])
def test_text_under_the_name_of_a_binary_format_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        detect(tmp_path, b"just some text, not a picture\n" * 20, name)
    assert caught.value.code == "content_mismatch"


@pytest.mark.parametrize("name", ["a.xlsx", "a.docx", "a.odt", "a.epub"])
def test_plain_archive_under_the_name_of_a_document_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        detect(tmp_path, zip_bytes({"note.txt": b"x"}), name)
    assert caught.value.code == "content_mismatch"


@pytest.mark.parametrize(
    ("data", "name", "seems"),
    [
        (b"MZ\x90\x00" + b"\x00" * 300, "a.pdf", "Windows program"),
        (b"\x00\x00\x00\x20ftypisom" + b"\x00" * 30, "a.heic", "film"),
        (b"\x1f\x8b\x08\x00" + bytes(range(200)), "a.tgz", "gzip"),
        (b"8BPS\x00\x01" + b"\x00" * 40, "a.psd", "Photoshop"),
        (b"%!PS-Adobe-3.0\nshowpage\n", "a.ps", "PostScript"),
        (b"From a@b Mon\nFrom: a@b\nMessage-ID: <1>\n\nhi\n\nFrom c@d Mon\nFrom: c@d\n\nho\n", "a.mbox", ".mbox"),
        (package("xl/workbook.bin"), "a.xlsb", "xlsb"),
        (package("visio/document.xml"), "a.vsdx", "Visio"),
        (package("other/thing.xml"), "a.docx", "not known"),
        (open_document("application/vnd.oasis.opendocument.graphics"), "a.odg", "drawing"),
        (open_document("application/vnd.oasis.opendocument.formula"), "a.odf", "formula"),
        (zip_bytes({"META-INF/MANIFEST.MF": b"", "A.class": b""}), "a.jar", "Java"),
        (zip_bytes({"AndroidManifest.xml": b"", "META-INF/MANIFEST.MF": b""}), "a.apk", "Android"),
        (zip_bytes({"Index/Document.iwa": b""}), "a.pages", "iWork"),
        (ole_bytes("VisioDocument"), "a.vsd", "Visio"),
        (ole_bytes("Contents"), "a.xyz", "OLE"),
        (bytes(range(256)) * 40, "a.bin", ""),
    ],
)
def test_other_formats_are_refused_by_name(tmp_path: Path, data: bytes, name: str, seems: str) -> None:
    with pytest.raises(UnsupportedFormat) as caught:
        detect(tmp_path, data, name)
    assert seems in caught.value.detail
    assert caught.value.facts["supported"] == [format.value for format in Format]


def test_batch_that_holds_a_java_manifest_is_read_as_a_zip(tmp_path: Path) -> None:
    assert detect(tmp_path, zip_bytes({"META-INF/MANIFEST.MF": b"", "a.txt": b"x"}), "a.zip").format is Format.ZIP


def test_open_document_without_media_type_goes_by_its_name(tmp_path: Path) -> None:
    data = zip_bytes({"content.xml": b"<c/>", "META-INF/manifest.xml": b"<m/>"})
    assert [detect(tmp_path, data, name).format for name in ("a.odt", "a.ods", "a.odp", "")] == [
        Format.ODT,
        Format.ODS,
        Format.ODP,
        Format.ODT,
    ]


def test_what_is_embedded_does_not_make_the_format(tmp_path: Path) -> None:
    data = ole_bytes("Workbook", "MBD0001", nested=("WordDocument", "PowerPoint Document"))
    assert detect(tmp_path, data, "a.xls").format is Format.XLS


def test_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        detect(tmp_path, b"", "a.pdf")
    assert caught.value.code == "empty_file"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.docx", Format.DOCX), ("a.xlsm", Format.XLSX), ("a.pptx", Format.PPTX), ("unnamed", Format.DOCX)],
)
def test_encrypted_office_file_is_of_the_format_that_its_name_says(tmp_path: Path, name: str, expected: Format) -> None:
    assert detect(tmp_path, encrypted_office(), name).format is expected


def test_document_with_encrypted_members_is_refused(tmp_path: Path) -> None:
    data = bytearray(minimal_docx(body_xml("")))
    at = data.find(b"PK\x01\x02")
    while at >= 0:
        data[at + 8] |= 1
        at = data.find(b"PK\x01\x02", at + 4)
    with pytest.raises(EncryptedDocument):
        detect(tmp_path, bytes(data), "a.docx")


def test_docx_that_inflates_to_a_gigabyte_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    data = bomb_docx(1 << 30)
    assert len(data) < 2_000_000
    with pytest.raises(TooLarge) as caught:
        detect(tmp_path, data, "a.docx")
    assert caught.value.code == "archive_too_large"


def test_docx_of_suspicious_ratio_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TooLarge) as caught:
        detect(tmp_path, bomb_docx(1 << 26), "a.docx")
    assert caught.value.code == "compression_ratio"


def test_archive_of_too_many_entries_is_refused_by_its_end_record(tmp_path: Path) -> None:
    members = {f"{n}": b"" for n in range(30)}
    with pytest.raises(TooLarge) as caught:
        detect(tmp_path, zip_bytes(members), "a.docx", Limits(max_archive_entries=20))
    assert caught.value.code == "too_many_entries"


@pytest.mark.parametrize("cut", [10, 100, 300])
def test_truncated_archive_is_refused(tmp_path: Path, cut: int) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        detect(tmp_path, minimal_docx(body_xml("<w:p/>"))[:-cut], "a.docx")
    assert caught.value.code == "corrupt_archive"


def test_damaged_ole_directory_ends(tmp_path: Path) -> None:
    data = bytearray(encrypted_office())
    struct.pack_into("<L", data, 512 + 4, 1)  # the directory's sector follows itself
    assert detect(tmp_path, bytes(data), "a.doc").format is Format.DOCX


@pytest.mark.parametrize("keep", [8, 100, 512, 1030, 1500])
def test_truncated_ole_file_is_refused(tmp_path: Path, keep: int) -> None:
    data = ole_bytes(*(f"Stream {n}" for n in range(9)), "WordDocument")[:keep]
    with pytest.raises(UnreadableDocument) as caught:
        detect(tmp_path, data, "a.doc")
    assert caught.value.code == "corrupt_document"
    with pytest.raises(UnsupportedFormat):
        detect(tmp_path, data, "a.bin")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"from: here\nto: there\nsubject: routes\n", "a.yaml"),
        (b"from: here\nto: there\n\nstop\n", "a.unknown"),
        (b"export const a = 1;\n", "a.js"),
        (b"<script setup>\nconst a = 1\n</script>\n", "a.vue"),
        (b"[section]\nkey = 1\n", "a.ini"),
        (b"a, b, c = 1, 2, 3\n" * 9, "a.py"),
        (b"BEGIN:VCALENDAR\nEND:VCALENDAR\n", "a.ics"),
        (b"1\n00:00:01,000 --> 00:00:02,000\nHello\n", "a.srt"),
    ],
)
def test_sources_and_settings_are_read_as_text_without_a_warning(tmp_path: Path, data: bytes, name: str) -> None:
    found = detect(tmp_path, data, name)
    assert (found.format, found.warnings) == (Format.TEXT, ())


def test_every_format_has_an_extractor_and_a_media_type() -> None:
    for format in Format:
        assert callable(format.spec.extract)
        assert re.fullmatch(r"[a-z]+/[a-z0-9.+-]+", format.spec.media_type)


def test_every_format_has_extensions_and_no_extension_has_two_meanings() -> None:
    assert all(format.spec.extensions for format in Format)
    assert sum(len(format.spec.extensions) for format in Format) == len(FORMAT_OF)
    assert not TEXT_NOT_READ & (set(FORMAT_OF) | BINARY)
