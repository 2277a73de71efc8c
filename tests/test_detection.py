from __future__ import annotations

import struct
from pathlib import Path

import pytest

from services.content import Format, Limits
from services.errors import DocatlasError, EncryptedDocument, TooLarge, UnreadableDocument, UnsupportedFormat
from services.formats import EXTRACTORS, MEDIA_TYPES, Detection, detect_format
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


def detect(folder: Path, data: bytes, name: str, limits: Limits = Limits()) -> Detection:
    path = folder / "upload"
    path.write_bytes(data)
    return detect_format(path, name, limits)


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (b"%PDF-1.7\n", "a.pdf", Format.PDF),
        (b"junk from a mail gateway\r\n%PDF-1.4\n", "a.pdf", Format.PDF),
        (picture_bytes(), "a.png", Format.PNG),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "a.jpg", Format.JPEG),
        (b"II*\x00\x08\x00\x00\x00", "a.tif", Format.TIFF),
        (b"MM\x00*\x00\x00\x00\x08", "a.tif", Format.TIFF),
        (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "a.webp", Format.WEBP),
        (minimal_docx(body_xml("")), "a.docx", Format.DOCX),
        (SAMPLES["tides.html"], "a.html", Format.HTML),
        (SAMPLES["harbour.md"], "a.md", Format.MARKDOWN),
        (SAMPLES["ports.csv"], "a.csv", Format.CSV),
        (SAMPLES["ports.tsv"], "a.tsv", Format.CSV),
        (SAMPLES["lease_cp1252.txt"], "a.txt", Format.TEXT),
        (b"plain words", "README", Format.TEXT),
        ("ein Wort\r\n".encode("utf-16-le"), "a.txt", Format.TEXT),
        ("\ufeff<html><body>x</body></html>".encode("utf-16"), "a.htm", Format.HTML),
        (b"<html><!--\n%PDF-1.7\n-->", "a.html", Format.HTML),
        (b"before\x00after\x01\x02\x1b[31mred\x7f end\n", "a.txt", Format.TEXT),
    ],
)
def test_format_is_told_by_content(tmp_path: Path, data: bytes, name: str, expected: Format) -> None:
    found = detect(tmp_path, data, name)
    assert (found.format, found.media_type, found.warnings) == (expected, MEDIA_TYPES[expected], ())


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (picture_bytes(), "scan.pdf", Format.PNG),
        (b"%PDF-1.7\n", "double.pdf.exe", Format.PDF),
        (b"<html><body>Hello</body></html>", "page.txt", Format.HTML),
        (report_docx(), "report.xlsx", Format.DOCX),
    ],
)
def test_wrong_extension_is_a_warning_and_no_obstacle(tmp_path: Path, data: bytes, name: str, expected: Format) -> None:
    found = detect(tmp_path, data, name)
    assert found.format is expected
    assert [warning.code for warning in found.warnings] == ["extension_mismatch"]


@pytest.mark.parametrize("name", ["photo.jpg", "report.pdf", "letter.docx", "setup.exe", "all.tar.gz"])
def test_text_under_the_name_of_a_binary_format_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        detect(tmp_path, b"just some text, not a picture\n" * 20, name)
    assert caught.value.code == "content_mismatch"


@pytest.mark.parametrize(
    ("data", "name", "seems"),
    [
        (b"MZ\x90\x00" + b"\x00" * 300, "a.pdf", "Windows program"),
        (b"BM" + b"\x00" * 60, "a.bmp", "BMP"),
        (b"GIF89a" + b"\x00" * 30, "a.gif", "GIF"),
        (b"\x00\x00\x00\x18ftypheic" + b"\x00" * 30, "a.heic", "HEIC"),
        (b"{\\rtf1\\ansi hello}", "a.rtf", "Rich Text"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "a.svg", "SVG"),
        (b'<?xml version="1.0"?><data/>', "a.xml", "XML"),
        (b'{"a": [1, 2]}', "a.json", "JSON"),
        (b"From: a@example.org\r\nTo: b@example.org\r\nSubject: x\r\n\r\nHi", "a.eml", "e-mail"),
        (zip_bytes({"note.txt": b"x"}), "a.xlsx", "ZIP archive"),
        (zip_bytes({"[Content_Types].xml": b"", "xl/workbook.xml": b""}), "a.xlsx", "Excel"),
        (zip_bytes({"[Content_Types].xml": b"", "ppt/presentation.xml": b""}), "a.pptx", "PowerPoint"),
        (zip_bytes({"../../etc/passwd": b"x"}), "a.zip", "ZIP archive"),
        (bytes(range(256)) * 40, "a.bin", ""),
    ],
)
def test_other_formats_are_refused_by_name(tmp_path: Path, data: bytes, name: str, seems: str) -> None:
    with pytest.raises(UnsupportedFormat) as caught:
        detect(tmp_path, data, name)
    assert seems in caught.value.detail
    assert caught.value.facts["supported"] == [format.value for format in Format]


def test_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        detect(tmp_path, b"", "a.pdf")
    assert caught.value.code == "empty_file"


def test_encrypted_office_file_is_said_to_be_encrypted(tmp_path: Path) -> None:
    with pytest.raises(EncryptedDocument) as caught:
        detect(tmp_path, encrypted_office(), "a.docx")
    assert caught.value.code == "password_required"


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
    with pytest.raises(DocatlasError):
        detect(tmp_path, bytes(data), "a.doc")


def test_every_format_has_an_extractor_and_a_media_type() -> None:
    assert set(EXTRACTORS) == set(MEDIA_TYPES) == set(Format)
